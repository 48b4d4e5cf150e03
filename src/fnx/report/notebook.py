"""`fnx.Run`: a run with a summary for notebooks, which prints what the command ``show`` prints."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from fnx import analysis
from fnx.analysis.summary import summarize
from fnx.report.pictures.paths import sprite_path
from fnx.report.tables import named_top_features
from fnx.report.text import by, describe, signs

TOP_FEATURES = 4  # features of each sign that the summary in a notebook shows


class Run(analysis.Run):
    """A run, in memory and on disk: its record, tables and distances, and ways to look at them."""

    def show(
        self,
        class_name: str | None = None,
        *,
        against: str | None = None,
        feature: str | None = None,
        layer: str | None = None,
        top: int = 10,
        every_class: bool = False,
        detectors: bool = False,
    ) -> None:
        """Print what ``python -m fnx show`` prints: the answer, a class, a feature or a layer.

        Args:
            class_name: a class by its name, the beginning of it, or its id; beside a feature, the
                class whose values are set against all others'.
            against: another class, to find what tells the first from it.
            feature: "layer/unit".
            layer: a layer.
            top: features or pairs listed by presence and by absence.
            every_class: list every class of a feature, not only those at both ends.
            detectors: the unit that detects each class best alone.

        Raises:
            DataError: the run has no such class, feature or layer.
        """
        from fnx.report.subjects import subject
        from fnx.report.terminal.terminal import Terminal

        found = subject(
            self,
            class_name=class_name,
            against=against,
            feature=feature,
            layer=layer,
            top=top,
            every_class=every_class,
            detectors=detectors,
        )
        Terminal(sys.stdout).print(found.text)

    def _repr_html_(self) -> str:
        """Return a summary for a notebook: thresholds, layers, top features, a link to the page."""
        from fnx.report.page.html import environment

        return (
            environment()
            .get_template("notebook.html.j2")
            .render(
                run=self,
                described=describe(self),
                found=summarize(self),
                tops=[(by(self, sign), _top_features(self, sign)) for sign in signs(self)],
                page=_page(self.path),
            )
        )


def _top_features(run: analysis.Run, sign: str) -> list[dict[str, Any]]:
    """Return the features farthest out for any class, each once, with its picture if any."""
    top = (
        named_top_features(run)
        .filter(sign=sign)
        .sort((pl.col("distance") - run.neutral).abs(), descending=True, maintain_order=True)
        .unique("feature_id", keep="first", maintain_order=True)
        .head(TOP_FEATURES)
    )
    return [
        row | {"picture": _data_uri(sprite_path(run.path, row["layer"], row["unit"]))}
        for row in top.rows(named=True)
    ]


def _data_uri(picture: Path) -> str | None:
    if not picture.is_file():
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _page(folder: Path) -> str | None:
    """Return the address of a run's page, relative below the working directory (for Jupyter)."""
    page = (folder / "report.html").resolve()
    if not page.is_file():
        return None
    if page.is_relative_to(Path.cwd()):
        return quote(page.relative_to(Path.cwd()).as_posix())
    return page.as_uri()

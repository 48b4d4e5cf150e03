"""The page of a run's advice, ``advice.html``: which layer to use, how good it will be, and why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from fnx.analysis import Run
from fnx.analysis.advice import Advice
from fnx.analysis.summary import summarize
from fnx.report.page import front
from fnx.report.page.html import TEMPLATES, environment
from fnx.report.page.page import STYLES
from fnx.report.pictures.paths import sprite_path
from fnx.report.text import detector_rule, things
from fnx.report.verdict import verdict
from fnx.utils.files import write_atomically

FILE = "advice.html"
MOST_DETECTORS = 12

MARKS = {"D": "●", "F-test": "◆", "random": "○"}


def write(run: Run) -> Path | None:
    """Write the page beside the run's own; nothing for a run without advice."""
    advice, path = run.advice, run.path / FILE
    if advice is None:
        path.unlink(missing_ok=True)
        return None
    write_atomically(path, render(run, advice))
    return path


def render(run: Run, advice: Advice) -> str:
    """Return the page as text."""
    told, caution = verdict(summarize(run), advice)
    style = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in STYLES)
    return (
        environment()
        .get_template("advice.html.j2")
        .render(
            run=run,
            advice=advice,
            told=told,
            caution=caution,
            things=things(run),
            entries=advice.table.rows(named=True),
            tested=advice.table["test_accuracy"].is_not_null().any(),
            depth=front.depth(run),
            height=front.HEIGHT,
            curve=curve(advice.curve),
            detectors=_detectors(run, advice),
            confusions=advice.confusions.rows(named=True),
            page=(run.path / "report.html").is_file(),
            style=Markup(style),  # noqa: S704
        )
    )


def curve(table: pl.DataFrame) -> dict[str, Any] | None:
    """Place the points of the curve: x in percent of the width, y in pixels; None without any."""
    if not table.height:
        return None
    shares = table["accuracy"]
    low = max(0.0, math.floor(10 * float(shares.min() or 0)) / 10)  # type: ignore[arg-type]
    high = min(1.0, max(low + 0.1, math.ceil(10 * float(shares.max() or 0)) / 10))  # type: ignore[arg-type]
    ends = math.log(table["features"].min() or 1), math.log(table["features"].max() or 1)  # type: ignore[arg-type]
    wide = max(ends[1] - ends[0], 1e-9)

    def y(share: float) -> float:
        return round(front.HEIGHT * (high - share) / (high - low), 1)

    def x(features: int) -> float:
        return round(2 + 96 * (math.log(features) - ends[0]) / wide, 2)

    lines = [
        {
            "name": name,
            "mark": mark,
            "points": [
                {"x": x(row["features"]), "y": y(row["accuracy"]), "row": row}
                for row in table.filter(chosen_by=name).sort("features").rows(named=True)
            ],
        }
        for name, mark in MARKS.items()
    ]
    tenths = range(round(10 * low), round(10 * high) + 1, 1 if high - low < 0.55 else 2)
    counts = table.filter(chosen_by="random")["features"].unique().sort().to_list()
    return {
        "lines": lines,
        "ticks": [(y(tenth / 10), 10 * tenth) for tenth in tenths],
        "counts": [(x(count), count) for count in counts],
    }


def _detectors(run: Run, advice: Advice) -> list[dict[str, Any]]:
    """Return the strongest detectors, each with its rule and the address of its picture, if any."""
    rows = []
    for row in advice.detectors.head(MOST_DETECTORS).iter_rows(named=True):
        picture = sprite_path(run.path, row["layer"], row["unit"])
        shown = picture.relative_to(run.path).as_posix() if picture.is_file() else None
        rows.append(row | {"rule": detector_rule(row), "picture": shown})
    return rows

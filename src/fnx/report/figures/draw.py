"""All figures of one run: their names, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.comparison.table3 import table3
from fnx.analysis.distributions import Sign
from fnx.config.schema import ReportConfig
from fnx.report.figures import counts as fig09
from fnx.report.figures import datasets_table as table2
from fnx.report.figures import distances as fig06
from fnx.report.figures import features as fig_features
from fnx.report.figures import kept as fig10
from fnx.report.figures import layers as fig05
from fnx.report.figures import network_table as table1
from fnx.report.figures import pair as fig01
from fnx.report.figures import style
from fnx.report.figures import thresholds_table as table3_picture


@dataclass(frozen=True)
class Picture:
    """A drawn figure, the name of its files, and exactly the numbers that are drawn."""

    name: str
    figure: Figure
    table: pl.DataFrame


def pictures(run: Run, config: ReportConfig | None = None) -> Iterator[Picture]:
    """Draw the figures of a run, one after the other; call within `fnx.report.figures.style.style`.

    Args:
        run: a finished run.
        config: which pair Figure 1 shows, and how Figure 5 finds its modes.
    """
    config = config or ReportConfig()
    only = [run], [run.dataset]
    pair = fig01.table(run, config.pair)
    if pair is not None:
        yield Picture(fig01.NAME, fig01.draw(run, pair), pair)
    layers = fig05.table(*only, config.mode).drop("run")
    yield Picture("fig05_layers", fig05.draw(run, config.mode), layers)
    distances = fig06.table(*only).drop("run")
    yield Picture("fig06_distribution", fig06.draw(run, distances), distances)
    signs: list[tuple[str, Sign]] = [("fig09_presence", "+"), ("fig09_absence", "-")]
    for name, sign in signs[: 2 if run.signed else 1]:
        counts = fig09.table(*only, sign).drop("run")
        yield Picture(name, fig09.draw(run, sign, counts), counts)
    yield Picture("fig10_kept", fig10.draw(run), fig10.table(*only).drop("run"))
    for name, sign in (("features_presence", "+"), ("features_absence", "-")):
        figure = fig_features.draw(run, sign)
        if figure is not None:
            yield Picture(name, figure, fig_features.table(run, sign))
    if run.has("network"):
        yield Picture("table1", table1.draw(run.network), run.network)
    data_set, thresholds = table2.table([run]), table3([run])
    yield Picture("table2", table2.draw(data_set), data_set)
    yield Picture("table3", table3_picture.draw(thresholds), thresholds)


def save_all(pictures: Iterable[Picture], folder: Path, formats: Sequence[str]) -> dict[str, str]:
    """Write pictures and their numbers into a folder; call within `fnx.report.figures.style.style`.

    Returns:
        Each picture's SVG text, by name.
    """
    drawn: dict[str, str] = {}
    for picture in pictures:
        save_table(picture.table, folder / picture.name)
        others = [suffix for suffix in formats if suffix != "svg"]
        style.save(picture.figure, folder / picture.name, others)
        drawn[picture.name] = style.svg(picture.figure)
        if "svg" in formats:
            (folder / f"{picture.name}.svg").write_text(drawn[picture.name], encoding="utf-8")
    return drawn


def save_table(table: pl.DataFrame, stem: Path) -> None:
    """Write a table as `stem`.parquet and `stem`.csv; infinities are "inf" in the latter."""
    table.write_parquet(stem.with_name(f"{stem.name}.parquet"))
    table.write_csv(stem.with_name(f"{stem.name}.csv"))

"""All figures and tables of one run: their names, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.comparison.table3 import table3
from fnx.config.schema import ReportConfig
from fnx.report.figures import counts, distances, features, kept, layers, pair, style
from fnx.report.tables import datasets_table, write_csv
from fnx.report.text import signs
from fnx.utils import forked

_NAMES = {"+": "presence", "-": "absence"}


@dataclass(frozen=True)
class Picture:
    """A drawn figure, the name of its files, and exactly the numbers that are drawn."""

    name: str
    figure: Figure
    table: pl.DataFrame


def figures(run: Run, config: ReportConfig) -> Iterator[Picture]:
    """Draw the figures of a run, one after the other; call within `fnx.report.figures.style.style`.

    The configuration says which pair Figure 1 shows, how Figure 5 finds its modes, and whether
    Figures 5 and 6 show calibrated distances, of a run that has them.
    """
    only = [run], [run.dataset]
    chosen = pair.table(run, config.pair)
    if chosen is not None:
        yield Picture(pair.NAME, pair.draw(run, chosen), chosen)
    shown = config.distance if run.calibrated is not None else "raw"
    modes = layers.table(*only, config.mode, shown)
    fig05 = layers.draw(*only, modes, config.mode, distance=shown)
    yield Picture("fig05_layers", fig05, modes.drop("run"))
    shares = distances.table(*only, shown)
    yield Picture("fig06_distribution", distances.draw(*only, shares, shown), shares.drop("run"))
    for sign in signs(run):
        curves = counts.table(run, sign)
        yield Picture(f"fig09_{_NAMES[sign]}", counts.draw(run, sign, curves), curves)
    beyond = kept.table(*only)
    yield Picture("fig10_kept", kept.draw(*only, beyond), beyond.drop("run"))
    for sign in signs(run):
        pairs = features.table(run, sign)
        if not pairs.is_empty():
            yield Picture(f"features_{_NAMES[sign]}", features.draw(run, sign, pairs), pairs)


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """Return the run's Tables 1 (of a network that is known), 2 and 3 by name."""
    network = {"table1": run.network} if run.has("network") else {}
    return network | {"table2": datasets_table([run]), "table3": table3([run])}


def save_all(pictures: Iterable[Picture], folder: Path, formats: Sequence[str]) -> dict[str, str]:
    """Write pictures and their numbers into a folder; call within `fnx.report.figures.style.style`.

    Returns:
        Each picture's SVG text, by name.
    """
    ready = {}
    for picture in pictures:
        save_table(picture.table, folder / picture.name)
        ready[picture.name] = picture.figure

    def save(name: str) -> str:
        box = style.settle(ready[name])
        others = [suffix for suffix in formats if suffix != "svg"]
        style.save(ready[name], folder / name, others, box)
        drawn = style.svg(ready[name], box)
        if "svg" in formats:
            (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
        return drawn

    # The last first, for pictures of features, which hold most, come last.
    names = list(reversed(ready))
    drawn = dict(zip(names, forked.each(save, names), strict=True))
    return {name: drawn[name] for name in ready}


def save_table(table: pl.DataFrame, stem: Path) -> None:
    """Write a table as `stem`.parquet and `stem`.csv; infinities are "inf" in the latter."""
    table.write_parquet(stem.with_name(f"{stem.name}.parquet"))
    write_csv(table, stem.with_name(f"{stem.name}.csv"))

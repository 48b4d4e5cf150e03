"""Several runs side by side: Table 3 with its fits, and Figures 5 and 6 over data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.fits import CURVES, Fit, fits_table
from fnx.analysis.table3 import table3
from fnx.errors import DataError
from fnx.report import fig05, fig06, style
from fnx.report import table3 as table3_picture


def labels(runs: Sequence[Run]) -> list[str]:
    """Short names that tell runs apart: the data set, and whatever else differs among them.

    Runs that differ in none of data set, network, statistic and tap are numbered.
    """
    parts = [
        [run.dataset, run.model, run.statistic, str(run.record.get("tap", ""))] for run in runs
    ]
    differing = [i for i in range(4) if i == 0 or len({part[i] for part in parts}) > 1]
    names = [", ".join(part[i] for i in differing) for part in parts]
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return unique


def in_order(runs: Sequence[Run]) -> list[Run]:
    """The paper's order: ascending mean number of images a class."""
    return sorted(runs, key=lambda run: (run.images_per_class, run.dataset))


def compare(runs: Sequence[Run], folder: Path, formats: Sequence[str]) -> pl.DataFrame:
    """Write the tables (Parquet and CSV) and figures of several runs into a folder.

    Figures 5 and 6 are drawn apart for each statistic, whose distances cannot share an axis.

    Args:
        runs: at least one run.
        folder: made if it is not there.
        formats: of the figures.

    Returns:
        The fits (see `fnx.analysis.fits.fits_table`).
    """
    if not runs:
        raise DataError("no runs to compare")
    runs = in_order(runs)
    names = labels(runs)
    folder.mkdir(parents=True, exist_ok=True)
    table = table3(runs).with_columns(pl.Series("label", names))
    fits = fits_table(table)
    layers = [
        run.layers.select(pl.lit(name).alias("run"), pl.all())
        for run, name in zip(runs, names, strict=True)
    ]
    _write(table, folder / "table3")
    _write(fits, folder / "fits")
    _write(pl.concat(layers, how="diagonal_relaxed"), folder / "fig05_layers")

    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault(run.statistic, []).append(i)
    with style.style():
        style.save(table3_picture.draw(table, names), folder / "table3", formats)
        for statistic, members in groups.items():
            suffix = f"_{statistic}" if len(groups) > 1 else ""
            chosen, called = [runs[i] for i in members], [names[i] for i in members]
            _write(fig06.table(chosen, called), folder / f"fig06_distribution{suffix}")
            for name, figure in (
                ("fig05_layers", fig05.draw_many(chosen, called)),
                ("fig06_distribution", fig06.draw_many(chosen, called)),
            ):
                style.save(figure, folder / f"{name}{suffix}", formats)
        for (model, statistic), found in fits.group_by(["model", "statistic"], maintain_order=True):
            group = table.filter(model=model, statistic=statistic)
            several = fits.select("model", "statistic").unique().height > 1
            suffix = f"_{model}_{statistic}" if several else ""
            style.save(draw_fits(group, found), folder / f"fits{suffix}", formats)
    return fits


def draw_fits(table: pl.DataFrame, fits: pl.DataFrame) -> Figure:
    """Thresholds against the mean number of images a class, with both curves (Section 7.1)."""
    signs = [sign for sign in ("+", "-") if sign in fits["sign"].to_list()]
    figure = style.new_figure(height=3.5)
    panels = np.atleast_1d(figure.subplots(1, len(signs)))
    n = table["images_per_class"].to_numpy()
    x = np.geomspace(n.min() * 0.85, n.max() * 1.18, 200)
    for panel, sign in zip(panels, signs, strict=True):
        plus = sign == "+"
        colour = style.PRESENCE if plus else style.ABSENCE
        thresholds = table["t_plus" if plus else "t_minus"].to_numpy()
        panel.plot(n, thresholds, "o" if plus else "s", color=colour, zorder=3)
        for row in fits.filter(sign=sign).rows(named=True):
            curve = Fit(
                row["curve"], row["intercept"], row["slope"], row["r_squared"], row["points"]
            )
            panel.plot(
                x,
                curve(x),
                color=style.INK,
                linewidth=1.2,
                linestyle="-" if row["curve"] == "log" else (0, (4, 2)),
                label=f"{CURVES[row['curve']][0]}, R² = {style.number(row['r_squared'], 3)}",
            )
        for position, value, name in zip(n, thresholds, table["label"], strict=True):
            panel.annotate(
                style.shorten(name, 20),
                (position, value),
                xytext=(5, 4 if plus else -4),
                textcoords="offset points",
                fontsize=7,
                color=style.MUTED,
                va="bottom" if plus else "top",
            )
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda value, _: style.number(value))
        panel.xaxis.set_minor_formatter(
            lambda value, _: style.number(value) if f"{value:.0f}"[0] in "25" else ""
        )
        panel.tick_params(axis="x", which="minor", labelsize=8)
        panel.set_xlabel("mean number of images a class (logarithmic)")
        panel.set_ylabel(f"{'t⁺' if plus else 't⁻'} / units of D")
        panel.legend(loc="upper right" if plus else "lower right")
    style.title(
        figure,
        "Fewer images a class, thresholds farther from 0",
        f"{table['model'][0]}, {table['statistic'][0]}: {table.height} data sets or runs",
    )
    return figure


def _write(table: pl.DataFrame, stem: Path) -> None:
    table.write_parquet(stem.with_name(f"{stem.name}.parquet"))
    table.write_csv(stem.with_name(f"{stem.name}.csv"))

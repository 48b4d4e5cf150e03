"""How far runs of a data set agree, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.report.figures import style
from fnx.report.text import shorten

MANY_PAIRS = 8
"""Pairs of runs above which a figure has a column of colours for each instead of dots."""


@dataclass(frozen=True)
class Measure:
    """A column of the table of agreement, and the label and limits of its axis."""

    column: str
    label: str
    best: float
    low: float | None = None
    high: float | None = None


BY_UNIT = (
    Measure("spearman", "rank correlation of D", 1.0, 0.0, 1.02),
    Measure("jaccard", "kept by both / kept by either", 1.0, 0.0, 1.02),
)
BY_DISTRIBUTION = (
    Measure("wasserstein", "Wasserstein distance / units of D", 0.0, 0.0),
    Measure("pct_kept_shift", "kept by the second minus the first / percentage points", 0.0),
)
HEADINGS = {
    "unit": "Agreement of runs on the same features, per layer",
    "distribution": "Difference between networks trained separately, per layer",
}


def draw(layers: pl.DataFrame, by: str) -> Figure:
    """Draw the agreement of all pairs of runs of one kind, layer by layer.

    `layers` is of `fnx.analysis.comparison.agreement.agreement`, with a row of this kind, "unit" or
    "distribution".
    """
    table = layers.filter(by=by).with_columns(
        (
            pl.format("{} : {}", "run_a", "run_b")
            + pl.when(distance="calibrated").then(pl.lit(" (calibrated D)")).otherwise(pl.lit(""))
        ).alias("pair"),
        pct_kept_shift=pl.col("pct_kept_b") - pl.col("pct_kept_a"),
    )
    measures = [
        measure
        for measure in (BY_UNIT if by == "unit" else BY_DISTRIBUTION)
        if table[measure.column].null_count() < table.height
    ]
    pairs = table["pair"].unique(maintain_order=True).to_list()
    names, kinds = style.layers_of(table, "pair")
    if len(pairs) > MANY_PAIRS:
        figure = _colours(table, measures, pairs, names)
    else:
        figure = _dots(table, measures, pairs, names, kinds)
    detail = (
        "Rank correlation over the (feature, class) pairs of each layer; overlap of the pairs kept"
        if by == "unit"
        else "Unit numbers do not correspond: distributions of D are compared, not features"
    )
    style.title(figure, HEADINGS[by], detail)
    return figure


def _dots(
    table: pl.DataFrame,
    measures: Sequence[Measure],
    pairs: Sequence[str],
    names: Sequence[str],
    kinds: Sequence[str],
) -> Figure:
    height, legend = style.layers_height(len(names), 0.15 + 0.05 * len(pairs)), 0.18 * len(pairs)
    figure = style.new_figure(height=height + 1.2 + legend)
    grid = figure.add_gridspec(2, len(measures), height_ratios=(height, legend))
    panels: list[Axes] = []
    for i in range(len(measures)):
        panels.append(figure.add_subplot(grid[0, i], sharey=panels[0] if panels else None))
        panels[i].tick_params(axis="y", labelleft=not i)
    foot = figure.add_subplot(grid[1, :])
    foot.axis("off")
    y = {name: i for i, name in enumerate(names)}
    offsets = (np.arange(len(pairs)) - (len(pairs) - 1) / 2) * (0.6 / len(pairs))
    for panel, measure in zip(panels, measures, strict=True):
        for pair, offset, (colour, marker, _) in zip(
            pairs, offsets, style.series_styles(len(pairs)), strict=True
        ):
            rows = table.filter(pl.col("pair") == pair).drop_nulls(measure.column)
            at = np.array([y[name] + offset for name in rows["layer"]])
            values = rows[measure.column].to_numpy()
            panel.hlines(at, measure.best, values, color=style.GRID, linewidth=0.7, zorder=1)
            panel.plot(
                values, at, marker, color=colour, markersize=5, linestyle="none",
                markeredgecolor=style.PAPER, markeredgewidth=0.4, label=shorten(pair, 90),
                zorder=3,
            )  # fmt: skip
        panel.axvline(measure.best, color=style.MUTED, linewidth=0.9)
        low, high = panel.get_xlim()
        if measure.low is not None:
            low = min(measure.low, low)
        panel.set_xlim(low, measure.high if measure.high is not None else high)
        panel.set_xlabel(measure.label)
        style.layer_axis(panel, names, kinds, height)
    panels[0].set_ylabel("layer, input at the top")
    handles, called = panels[0].get_legend_handles_labels()
    foot.legend(handles, called, loc="upper center", ncols=1, borderaxespad=0)
    return figure


def _colours(
    table: pl.DataFrame, measures: Sequence[Measure], pairs: Sequence[str], names: Sequence[str]
) -> Figure:
    height = style.layers_height(len(names), 0.2)
    figure = style.new_figure(height=len(measures) * (height + 0.5) + 0.5 + 0.16 * len(pairs))
    panels = np.atleast_1d(figure.subplots(len(measures), 1))
    row = {name: i for i, name in enumerate(names)}
    column = {pair: i for i, pair in enumerate(pairs)}
    for panel, measure in zip(panels, measures, strict=True):
        grid = np.full((len(names), len(pairs)), np.nan)
        for pair, layer, value in table.select("pair", "layer", measure.column).rows():
            grid[row[layer], column[pair]] = np.nan if value is None else value
        low = min(np.nanmin(grid), np.inf if measure.low is None else measure.low)
        high = 1.0 if measure.high is not None else np.nanmax(grid)
        image = panel.imshow(grid, aspect="auto", cmap="cividis", vmin=low, vmax=high)
        figure.colorbar(image, ax=panel, label=measure.label, shrink=0.8)
        style.layer_ticks(panel, names, height, 8)
        panel.set_xticks(range(len(pairs)), [str(i + 1) for i in range(len(pairs))], fontsize=6)
        panel.grid(visible=False)
        panel.tick_params(length=0)
    panels[-1].set_xlabel(
        "pair of runs:\n"
        + "\n".join(f"{i + 1}  {shorten(pair, 90)}" for i, pair in enumerate(pairs)),
        fontsize=7,
    )
    return figure

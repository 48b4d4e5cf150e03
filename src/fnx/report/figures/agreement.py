"""How far runs of a data set agree: by layer, and distance against distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import joint_counts
from fnx.analysis.comparison.shared import shared
from fnx.analysis.distributions import domain
from fnx.report.figures import style
from fnx.report.figures.layers import series_styles
from fnx.report.text import shorten

MANY_PAIRS = 8
"""Pairs of runs above which a figure has a column of colours for each instead of dots."""

MOST_PANELS = 6
"""Pairs of runs whose distances are drawn against each other."""

_BINS = 60


@dataclass(frozen=True)
class Measure:
    """A column of the table of agreement, and how its axis is called and limited."""

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
    Measure("pct_kept_shift", "kept by the second less by the first / percentage points", 0.0),
)
HEADINGS = {
    "unit": "How far runs agree about the same features, by layer",
    "distribution": "How far networks trained apart differ, by layer",
}


def draw(layers: pl.DataFrame, by: str) -> Figure:
    """The agreement of all pairs of runs of one kind, layer by layer.

    Args:
        layers: as of `fnx.analysis.comparison.agreement.agreement`, at least one row of this kind.
        by: "unit" or "distribution".
    """
    table = layers.filter(by=by).with_columns(
        pl.format("{} : {}", "run_a", "run_b").alias("pair"),
        pct_kept_shift=pl.col("pct_kept_b") - pl.col("pct_kept_a"),
    )
    measures = [
        measure
        for measure in (BY_UNIT if by == "unit" else BY_DISTRIBUTION)
        if table[measure.column].null_count() < table.height
    ]
    pairs = table["pair"].unique(maintain_order=True).to_list()
    names, kinds = _layers(table)
    if len(pairs) > MANY_PAIRS:
        figure = _colours(table, measures, pairs, names)
    else:
        figure = _dots(table, measures, pairs, names, kinds)
    detail = (
        "Rank correlation over the (feature, class) pairs of each layer; the overlap of what the"
        " thresholds keep"
        if by == "unit"
        else "Unit numbers do not correspond: distributions of D are compared, not features"
    )
    style.title(figure, HEADINGS[by], detail)
    return figure


def _layers(table: pl.DataFrame) -> tuple[list[str], list[str]]:
    """All layers; the pair with most of them gives their order, what others add comes last."""
    kinds: dict[str, str] = {}
    for part in sorted(table.partition_by("pair", maintain_order=True), key=lambda p: -p.height):
        for name, kind in part.select("layer", "kind").rows():
            kinds.setdefault(name, kind)
    return list(kinds), list(kinds.values())


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
            pairs, offsets, series_styles(len(pairs)), strict=True
        ):
            rows = table.filter(pl.col("pair") == pair).drop_nulls(measure.column)
            at = np.array([y[name] for name in rows["layer"]], np.float64) + offset
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
            low = min(measure.low, low) if low < 0 else measure.low
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
        low = measure.low if measure.low is not None else float(np.nanmin(grid))
        high = 1.0 if measure.high is not None else float(np.nanmax(grid))
        image = panel.imshow(
            grid, aspect="auto", cmap="cividis", vmin=min(low, float(np.nanmin(grid))), vmax=high
        )
        figure.colorbar(image, ax=panel, label=measure.label, shrink=0.8)
        room = max(1, round(len(names) * 9.6 / (72 * height)))
        shown = range(0, len(names), room)
        panel.set_yticks(list(shown), [shorten(names[i], 28) for i in shown])
        panel.set_xticks(range(len(pairs)), [str(i + 1) for i in range(len(pairs))], fontsize=6)
        panel.grid(visible=False)
        panel.tick_params(length=0)
    panels[-1].set_xlabel(
        "pair of runs:\n"
        + "\n".join(f"{i + 1}  {shorten(pair, 90)}" for i, pair in enumerate(pairs)),
        fontsize=7,
    )
    return figure


def joint_table(
    runs: Sequence[Run], labels: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> pl.DataFrame:
    """How often a (feature, class) pair has one D in a run and another in a second run.

    Args:
        runs: as in `pairs`.
        labels: what each is called.
        pairs: indices of runs whose features correspond.

    Returns:
        ``run_a``, ``run_b``; ``low_a``, ``high_a``, ``low_b``, ``high_b`` of a bin in units of D of
        each run; ``pairs``, their number, above 0. Infinite distances are in no bin.
    """
    parts = []
    for i, j in pairs:
        common = shared(runs[i], runs[j])
        if common.same_scale:
            both = domain(runs[i].extents[0], runs[j].extents[0])
            edges = [both.edges(_BINS)] * 2
        else:
            edges = [domain(runs[k].extents[0]).edges(_BINS) for k in (i, j)]
        counts = joint_counts(runs[i], runs[j], common, edges[0], edges[1])
        rows, columns = np.nonzero(counts)
        parts.append(
            pl.DataFrame(
                {
                    "run_a": [labels[i]] * len(rows),
                    "run_b": [labels[j]] * len(rows),
                    "low_a": edges[0][rows],
                    "high_a": edges[0][rows + 1],
                    "low_b": edges[1][columns],
                    "high_b": edges[1][columns + 1],
                    "pairs": counts[rows, columns],
                }
            )
        )
    names = ("low_a", "high_a", "low_b", "high_b")
    return (
        pl.concat(parts)
        if parts
        else pl.DataFrame(
            schema={"run_a": pl.String, "run_b": pl.String}
            | dict.fromkeys(names, pl.Float64)
            | {"pairs": pl.Int64}
        )
    )


def draw_joint(runs: Sequence[Run], labels: Sequence[str], joint: pl.DataFrame) -> Figure:
    """Distance against distance of the first pairs of runs; their table is `joint_table`.

    Darker is more. With a common scale, runs that agree wholly lie on the line.
    """
    run_of = dict(zip(labels, runs, strict=True))
    shown = joint.partition_by("run_a", "run_b", maintain_order=True)[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = style.new_figure(
        height=0.9 + rows * (4.2 if columns == 1 else 3.4 if columns == 2 else 2.35)
    )
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for panel, part in zip(grid, shown, strict=False):
        first, second = part.row(0)[:2]
        _panel(panel, part, run_of[first], run_of[second])
        panel.set_xlabel(shorten(f"D, {first}", 48 if columns < 3 else 34))
        panel.set_ylabel(shorten(f"D, {second}", 48 if columns < 3 else 34))
    for panel in grid[len(shown) :]:
        panel.set_visible(False)
    style.title(
        figure,
        "The same feature and class in two runs",
        "Number of (feature, class) pairs, darker is more (logarithmic); dashed: thresholds",
    )
    return figure


def _panel(panel: Axes, part: pl.DataFrame, a: Run, b: Run) -> None:
    sides = []
    for which in "ab":
        low, high = part[f"low_{which}"].to_numpy(), part[f"high_{which}"].to_numpy()
        width = float((high - low)[0])
        first = float(low.min())
        count = round((float(high.max()) - first) / width)
        sides.append((first + width * np.arange(count + 1), np.rint((low - first) / width)))
    (x, column), (y, row) = sides
    counts = np.zeros((len(y) - 1, len(x) - 1))
    counts[row.astype(int), column.astype(int)] = part["pairs"].to_numpy()
    most = float(counts.max())
    panel.pcolormesh(
        x,
        y,
        np.ma.masked_equal(counts, 0),
        norm=LogNorm(0.3, max(most, 1.0)),  # so that one pair is not white
        cmap="Blues",
        rasterized=True,
    )
    for sign in "+-":
        for run, line in ((a, panel.axvline), (b, panel.axhline)):
            limit = run.threshold(sign)
            if limit is not None and np.isfinite(limit["threshold"]):
                line(limit["threshold"], color=style.MUTED, linewidth=0.6, linestyle=(0, (4, 2)))
    if shared(a, b).same_scale:
        ends = [max(x[0], y[0]), min(x[-1], y[-1])]
        panel.plot(ends, ends, color=style.ABSENCE, linewidth=0.9)
        span = float(min(x[0], y[0])), float(max(x[-1], y[-1]))
        panel.set_xlim(span)
        panel.set_ylim(span)
    panel.set_box_aspect(1)

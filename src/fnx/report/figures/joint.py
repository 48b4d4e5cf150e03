"""Distance against distance: the same feature and class in two runs."""

from __future__ import annotations

from collections.abc import Sequence

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
from fnx.report.text import shorten

MOST_PANELS = 6  # pairs of runs whose distances are drawn against each other

_BINS = 60
_SCHEMA = {
    **dict.fromkeys(("run_a", "run_b", "distance"), pl.String),
    **dict.fromkeys(("low_a", "high_a", "low_b", "high_b"), pl.Float64),
    "pairs": pl.Int64,
}


def table(
    runs: Sequence[Run], labels: Sequence[str], pairs: Sequence[tuple[int, int, str]]
) -> pl.DataFrame:
    """Count how often a (feature, class) pair has one D in a run and another in a second run.

    `pairs` are indices of runs whose features correspond, and "raw" or "calibrated".

    Returns:
        ``run_a``, ``run_b``, ``distance``; ``low_a``, ``high_a``, ``low_b``, ``high_b`` of a bin in
        units of D of each run; ``pairs``, their number, above 0. Infinite distances are in no bin.
    """
    found = pl.DataFrame(schema=_SCHEMA)
    for i, j, distance in pairs:
        common = shared(runs[i], runs[j])
        extents = [runs[k].extents[0] for k in (i, j)]
        a, b = (
            domain(*(extents if common.same_scale else [extent])).edges(_BINS) for extent in extents
        )
        counts = joint_counts(runs[i], runs[j], common, a, b, distance)
        rows, columns = np.nonzero(counts)
        part = {
            "run_a": [labels[i]] * len(rows),
            "run_b": [labels[j]] * len(rows),
            "distance": [distance] * len(rows),
            "low_a": a[rows],
            "high_a": a[rows + 1],
            "low_b": b[columns],
            "high_b": b[columns + 1],
            "pairs": counts[rows, columns],
        }
        found.vstack(pl.DataFrame(part, schema=_SCHEMA), in_place=True)
    return found


def draw(runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame) -> Figure:
    """Draw the distances of the first pairs of runs against each other; darker is more.

    With a common scale, runs that agree wholly lie on the line.
    """
    run_of = dict(zip(labels, runs, strict=True))
    shown = drawn.partition_by("run_a", "run_b", "distance", maintain_order=True)[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = style.new_figure(height=0.9 + rows * {1: 4.2, 2: 3.4, 3: 2.35}[columns])
    panels = style.grid(figure, len(shown), columns)
    for panel, part in zip(panels, shown, strict=True):
        first, second, distance = part.row(0)[:3]
        name = "calibrated D, {}" if distance == "calibrated" else "D, {}"
        _panel(panel, part, run_of[first], run_of[second])
        room = 48 if columns < 3 else 34
        panel.set(
            xlabel=shorten(name.format(first), room), ylabel=shorten(name.format(second), room)
        )
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
    panel.pcolormesh(
        x,
        y,
        np.ma.masked_equal(counts, 0),
        norm=LogNorm(0.3, counts.max()),  # so that one pair is not white
        cmap="Blues",
        rasterized=True,
    )
    for sign in "+-" if part["distance"][0] == "raw" else "":  # thresholds are of raw D
        for run, line in ((a, panel.axvline), (b, panel.axhline)):
            limit = run.threshold(sign)
            if limit is not None and np.isfinite(limit["threshold"]):
                line(limit["threshold"], color=style.MUTED, linewidth=0.6, linestyle=style.DASHED)
    if shared(a, b).same_scale:
        ends = [max(x[0], y[0]), min(x[-1], y[-1])]
        panel.plot(ends, ends, color=style.ABSENCE, linewidth=0.9)
        span = min(x[0], y[0]), max(x[-1], y[-1])
        panel.set(xlim=span, ylim=span)
    panel.set_box_aspect(1)

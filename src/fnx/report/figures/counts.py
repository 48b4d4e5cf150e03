"""How many features are kept for each class at every threshold, and where to cut (Figure 9)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.report.figures import style
from fnx.report.text import by, describe, distance_label, number

MANY = 300  # classes from which the lines are a picture in the SVG, not so many paths


def table(run: Run, sign: str) -> pl.DataFrame:
    """Return what is drawn: the curves of each class, their means and d_avg, and the threshold.

    The sign "+" counts features with D > x, "-" those with D < x, for x from the neutral value on.

    Returns:
        ``curve``: "class", "mean" (over the classes; of random labels over all permutations, too),
        "davg" or "threshold" (one row); ``class_id`` (null but for "class"); ``x``; ``real`` and
        ``random``, numbers of features (per class under the first permutation); ``davg`` (Eq. 4)
        for the last two.
    """
    (side,) = (side for side in run.scan.sides if side.sign == sign)
    kept = run.kept[sign]
    direction = 1.0 if sign == "+" else -1.0
    x = run.neutral + direction * run.scan.x
    curves: dict[str, dict[str, Any]] = {
        "class": {
            "class_id": np.repeat(run.classes["class_id"].to_numpy(), len(x)),
            "x": np.tile(x, run.classes.height),
            "real": side.counts.ravel(),
            # The paper draws one randomisation; all of them would only hide each other.
            "random": side.counts_random[0].ravel(),
        },
        "mean": {
            "x": x,
            "real": side.counts.mean(axis=0),
            "random": side.counts_random.mean(axis=(0, 1)),
        },
        "davg": {
            "x": run.neutral + run.davg["x"] * direction,
            "davg": run.davg[f"davg_{'plus' if sign == '+' else 'minus'}"],
        },
        "threshold": {
            "x": [kept.threshold],
            "real": [kept.kept],
            "random": [kept.kept_random],
            "davg": [kept.davg],
        },
    }
    numbers = dict.fromkeys(("x", "real", "random", "davg"), pl.Float64())
    schema = pl.Schema({"curve": pl.String(), "class_id": pl.Int64(), **numbers})
    parts = [pl.DataFrame(part).with_columns(curve=pl.lit(name)) for name, part in curves.items()]
    return pl.concat(parts, how="diagonal_relaxed").select(*schema).cast(schema)


def draw(run: Run, sign: str, drawn: pl.DataFrame) -> Figure:
    """Draw features with D > x (for absence, D < x) of each class, real and random, above d_avg.

    `drawn` is the run's `table` for the same sign.
    """
    row = drawn.filter(curve="threshold").row(0, named=True)
    figure = style.new_figure(height=5.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _curves(top, drawn, many=run.classes.height > MANY)
    top.plot([], [], color=style.MUTED, linewidth=0.8, label="thin lines: one class each")
    relation = "D > x" if sign == "+" else "D < x"
    top.set_ylabel(f"features with {relation} / number per class")
    x, start = drawn.filter(curve="class")["x"].to_numpy(), run.neutral
    top.set_xlim(*((start, x.max()) if sign == "+" else (x.min(), start)))
    if math.isfinite(row["x"]):
        _gap(top, row, sign, abs(row["x"] - start) / float(np.abs(x - start).max()))
    style.threshold_line(top, row["x"], "t⁺" if sign == "+" else "t⁻")
    top.legend(loc="upper right" if sign == "+" else "upper left")

    davg = drawn.filter(curve="davg")
    bottom.plot(davg["x"].to_numpy(), davg["davg"].to_numpy(), color=style.INK, linewidth=1.2)
    if math.isfinite(row["x"]):
        bottom.axvline(row["x"], color=style.INK, linestyle=style.DASHED, linewidth=1.0)
        bottom.plot([row["x"]], [row["davg"]], "o", color=style.INK, markersize=4)
    bottom.set_ylabel("$d_{avg}$ / features", parse_math=True)
    bottom.yaxis.set_major_formatter(lambda value, _: number(value))
    bottom.set_xlabel(f"threshold x on {distance_label(run)}")
    heading = f"Features kept {by(run, sign)} at every threshold: classes of {run.dataset}"
    style.title(figure, heading, describe(run))
    return figure


def _curves(axes: Axes, drawn: pl.DataFrame, *, many: bool) -> None:
    """Draw a line per class, red for random labels and black for real ones, and their means."""
    rows, mean = drawn.filter(curve="class"), drawn.filter(curve="mean")
    x = mean["x"].to_numpy()
    # Red above black, as in the paper: it hides less, for it falls sooner.
    for name, colour, order in (("random", style.RANDOM_LINE, 2), ("real", style.REAL_LINE, 1)):
        counts = rows[name].to_numpy().reshape(-1, len(x))
        lines = LineCollection(
            [np.column_stack([x, count]) for count in counts],
            colors=colour,
            linewidths=0.6,
            # Fainter the more lines there are, so that dense parts show their density.
            alpha=float(np.clip(4 / np.sqrt(len(counts)), 0.08, 0.6)),
            rasterized=many,
            zorder=order,
        )
        axes.add_collection(lines)
    for name, colour, line in (
        ("real", style.REAL_LINE, "-"),
        ("random", style.RANDOM_LINE, (0, (3, 1.2))),
    ):
        y, label = mean[name].to_numpy(), f"{name} labels: mean of the classes"
        axes.plot(x, y, color=style.PAPER, linewidth=4.2, zorder=3, solid_capstyle="butt")
        axes.plot(x, y, color=colour, linestyle=line, linewidth=2.2, zorder=4, label=label)
    highest = max(float(np.nanmax(rows[name].to_numpy(), initial=1)) for name in ("real", "random"))
    axes.set_ylim(0, highest * 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))


def _gap(axes: Axes, row: dict[str, float], sign: str, place: float) -> None:
    """Mark the widest gap between the two mean lines, d_avg, at a `place` 0 … 1 along the axis."""
    at, ends = row["x"], (row["random"], row["real"])
    axes.plot([at, at], ends, color=style.INK, linewidth=2, zorder=5, solid_capstyle="butt")
    axes.plot(
        [at, at],
        ends,
        "o",
        color=style.INK,
        markeredgecolor=style.PAPER,
        markeredgewidth=1,
        markersize=6,
        zorder=6,
    )
    # The far corner is empty: the curves fall outwards.
    away = min(place + 0.12, 0.55)
    axes.annotate(
        f"widest gap: {number(row['davg'])} features per class\n"
        f"kept {number(row['real'])}, under random labels {number(row['random'])}",
        (at, 0.45 * ends[0] + 0.55 * ends[1]),
        xytext=(away if sign == "+" else 1 - away, 0.66),
        textcoords="axes fraction",
        ha="left" if sign == "+" else "right",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": style.INK, "linewidth": 0.7},
        bbox={"facecolor": style.PAPER, "edgecolor": style.GRID, "pad": 3},
        zorder=7,
    )

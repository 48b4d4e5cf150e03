"""Figure 9: how many features speak about each class at every threshold, and where to cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.analysis.distributions import Sign, counts_beyond, domain
from fnx.report import style

POINTS = 201  # points of a curve: every 0.005 for a statistic within −1…1
MANY = 300  # classes from which the lines are a picture in the SVG, not so many paths


def draw(run: Run, sign: Sign) -> Figure:
    """Features with D > x (for absence, D < x) of each class, real and random; below, d_avg."""
    row = run.threshold(sign)
    assert row is not None
    x = np.linspace(0, domain(run.distances, run.distances_random).high, POINTS)
    real = counts_beyond(run.distances, x, sign)
    random = counts_beyond(run.distances_random, x, sign)
    x = x if sign == "+" else -x
    figure = style.new_figure(height=5.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    rasterised = run.classes.height > MANY
    # The paper draws one randomisation; the lines of all of them would only hide each other.
    for counts, colour, order in ((random[0], style.RANDOM_LINE, 2), (real, style.REAL_LINE, 1)):
        lines = LineCollection(
            [np.column_stack([x, count]) for count in counts],
            colors=colour,
            linewidths=0.6,
            alpha=_alpha(len(counts)),
            rasterized=rasterised,
            zorder=order,
        )
        top.add_collection(lines)
    _mean(top, x, real.mean(axis=0), style.REAL_LINE, "-", "real labels: mean of the classes")
    _mean(
        top,
        x,
        random.mean(axis=(0, 1)),
        style.RANDOM_LINE,
        (0, (3, 1.2)),
        "random labels: mean of the classes",
    )
    top.plot([], [], color=style.MUTED, linewidth=0.8, label="thin lines: one class each")
    top.set_ylim(0, max(float(real.max()), float(random.max()), 1.0) * 1.03)
    relation = "D > x" if sign == "+" else "D < x"
    top.set_ylabel(f"features with {relation} / number a class")
    top.yaxis.set_major_formatter(lambda value, _: style.number(value))
    _gap(top, row, sign, float(abs(x).max()))
    mark = "t⁺" if sign == "+" else "t⁻"
    style.threshold_line(top, row["threshold"], mark)
    top.legend(loc="upper right" if sign == "+" else "upper left")

    davg = run.davg[f"davg_{'plus' if sign == '+' else 'minus'}"].to_numpy()
    fine = run.davg["x"].to_numpy() * (1 if sign == "+" else -1)
    bottom.plot(fine, davg, color=style.INK, linewidth=1.2)
    bottom.axvline(row["threshold"], color=style.INK, linestyle=(0, (4, 2)), linewidth=1.0)
    bottom.plot([row["threshold"]], [row["davg"]], "o", color=style.INK, markersize=4)
    bottom.set_ylabel("$d_{avg}$ / features", parse_math=True)
    bottom.yaxis.set_major_formatter(lambda value, _: style.number(value))
    bottom.set_xlabel(f"threshold x on {style.distance_label(run)}")
    bottom.set_xlim(min(x[0], x[-1]), max(x[0], x[-1]))
    what = "presence" if sign == "+" else "absence"
    of = f" by their {what}" if run.signed else ""
    style.title(figure, f"Features that speak{of}: classes of {run.dataset}", style.describe(run))
    return figure


def _alpha(count: int) -> float:
    """Fainter lines the more there are, so that dense parts still show their density."""
    return float(np.clip(6 / np.sqrt(count) / 1.5, 0.08, 0.6))


def _mean(axes: Any, x: NDArray[Any], y: NDArray[Any], colour: str, line: Any, label: str) -> None:
    axes.plot(x, y, color=style.PAPER, linewidth=4.2, zorder=3, solid_capstyle="butt")
    axes.plot(x, y, color=colour, linestyle=line, linewidth=2.2, zorder=4, label=label)


def _gap(axes: Any, row: dict[str, float], side: Sign, span: float) -> None:
    """The widest gap between the two mean lines, which is d_avg at the threshold."""
    at, ends = row["threshold"], (row["kept_random"], row["kept"])
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
    # The far corner is empty: the curves fall from 0 outwards.
    away = min(abs(at) / span + 0.12, 0.55)
    axes.annotate(
        f"widest gap: {style.number(row['davg'])} features a class\n"
        f"kept {style.number(row['kept'])}, by chance {style.number(row['kept_random'])}",
        (at, 0.45 * ends[0] + 0.55 * ends[1]),
        xytext=(away if side == "+" else 1 - away, 0.66),
        textcoords="axes fraction",
        ha="left" if side == "+" else "right",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": style.INK, "linewidth": 0.7},
        bbox={"facecolor": style.PAPER, "edgecolor": style.GRID, "pad": 3},
        zorder=7,
    )

"""Figure 9: how many features speak about each class at every threshold, and where to cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.distributions import Sign
from fnx.errors import DataError
from fnx.report.figures import style
from fnx.report.text import describe, distance_label, number, shorten

MANY = 300  # classes from which the lines are a picture in the SVG, not so many paths


def table(runs: Sequence[Run], labels: Sequence[str], sign: Sign) -> pl.DataFrame:
    """What is drawn: the curves of each class, their means and d_avg, and the threshold.

    Args:
        runs: any; those whose statistic has no such sign are left out.
        labels: what to call them.
        sign: "+" counts features with D > x, "-" those with D < x.

    Returns:
        ``run``; ``curve``: "class", "mean" (over the classes; of random labels over all
        permutations, too), "davg" or "threshold" (one row); ``class_id`` (null but for "class");
        ``x``; ``real`` and ``random``, numbers of features (of a class under the first
        permutation); ``davg`` (Eq. 4) for the last two.
    """
    parts = []
    for run, label in zip(runs, labels, strict=True):
        row = run.threshold(sign)
        if row is None:
            continue
        side = next(side for side in run.scan.sides if side.sign == sign)
        x, real, random = run.scan.x, side.counts, side.counts_random
        direction = 1.0 if sign == "+" else -1.0
        fine = run.davg
        curves = [
            {
                "curve": "class",
                "class_id": np.repeat(run.classes["class_id"].to_numpy(), len(x)),
                "x": np.tile(x * direction, len(real)),
                "real": real.ravel(),
                # The paper draws one randomisation; all of them would only hide each other.
                "random": random[0].ravel(),
            },
            {
                "curve": "mean",
                "x": x * direction,
                "real": real.mean(axis=0),
                "random": random.mean(axis=(0, 1)),
            },
            {
                "curve": "davg",
                "x": fine["x"].to_numpy() * direction,
                "davg": fine[f"davg_{'plus' if sign == '+' else 'minus'}"].to_numpy(),
            },
            {
                "curve": "threshold",
                "x": [row["threshold"]],
                "real": [row["kept"]],
                "random": [row["kept_random"]],
                "davg": [row["davg"]],
            },
        ]
        parts += [_as_table(label, curve) for curve in curves]
    return pl.concat(parts) if parts else _as_table("", {"curve": "class", "x": []})


def _as_table(label: str, curve: dict[str, Any]) -> pl.DataFrame:
    numbers = dict.fromkeys(("x", "real", "random", "davg"), pl.Float64)
    schema: dict[str, Any] = {"run": pl.String, "curve": pl.String, "class_id": pl.Int64} | numbers
    count = len(curve["x"])
    columns = {"run": [label] * count} | curve | {"curve": [curve["curve"]] * count}
    absent = [None] * count
    return pl.DataFrame(
        [pl.Series(name, columns.get(name, absent)).cast(dtype) for name, dtype in schema.items()]
    )


def draw(run: Run, sign: Sign, drawn: pl.DataFrame | None = None) -> Figure:
    """Features with D > x (for absence, D < x) of each class, real and random; below, d_avg.

    Args:
        run: what to draw.
        sign: "+", or of a signed statistic "-".
        drawn: its `table`, if it is there already.
    """
    drawn = table([run], [run.dataset], sign) if drawn is None else drawn
    row = drawn.filter(curve="threshold").row(0, named=True)
    figure = style.new_figure(height=5.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _curves(top, drawn, many=run.classes.height > MANY)
    top.plot([], [], color=style.MUTED, linewidth=0.8, label="thin lines: one class each")
    relation = "D > x" if sign == "+" else "D < x"
    top.set_ylabel(f"features with {relation} / number a class")
    span = float(np.abs(drawn.filter(curve="class")["x"].to_numpy()).max())
    top.set_xlim(*((0, span) if sign == "+" else (-span, 0)))
    if math.isfinite(row["x"]):
        _gap(top, row, sign, span)
    mark = "t⁺" if sign == "+" else "t⁻"
    style.threshold_line(top, row["x"], mark)
    top.legend(loc="upper right" if sign == "+" else "upper left")

    davg = drawn.filter(curve="davg")
    bottom.plot(davg["x"].to_numpy(), davg["davg"].to_numpy(), color=style.INK, linewidth=1.2)
    if math.isfinite(row["x"]):
        bottom.axvline(row["x"], color=style.INK, linestyle=(0, (4, 2)), linewidth=1.0)
        bottom.plot([row["x"]], [row["davg"]], "o", color=style.INK, markersize=4)
    bottom.set_ylabel("$d_{avg}$ / features", parse_math=True)
    bottom.yaxis.set_major_formatter(lambda value, _: number(value))
    bottom.set_xlabel(f"threshold x on {distance_label(run)}")
    what = "presence" if sign == "+" else "absence"
    of = f" by their {what}" if run.signed else ""
    style.title(figure, f"Features that speak{of}: classes of {run.dataset}", describe(run))
    return figure


def draw_many(
    runs: Sequence[Run], labels: Sequence[str], sign: Sign, drawn: pl.DataFrame | None = None
) -> Figure:
    """The same for several runs, one panel each, as the paper has it; without d_avg.

    Args:
        runs: any; those whose statistic has no such sign are left out.
        labels: what to call them.
        sign: "+" or "-".
        drawn: their `table`, if it is there already.

    Raises:
        DataError: if no run has this sign.
    """
    drawn = table(runs, labels, sign) if drawn is None else drawn
    shown = drawn.partition_by("run", maintain_order=True)
    if not shown:
        raise DataError(f"no run tells distances of sign {sign}")
    relation = "D > x" if sign == "+" else "D < x"
    figure, panels, foot = style.small_multiples(len(shown), panel_height=2.0)
    many = sum(part["class_id"].n_unique() for part in shown) > MANY
    for panel, part in zip(panels, shown, strict=True):
        _curves(panel, part, many=many, width=1.3)
        span = float(np.abs(part.filter(curve="class")["x"].to_numpy()).max())
        panel.set_xlim(*((0, span) if sign == "+" else (-span, 0)))
        row = part.filter(curve="threshold").row(0, named=True)
        style.threshold_line(panel, row["x"], "t⁺" if sign == "+" else "t⁻")
        panel.set_title(shorten(row["run"], 40), loc="left", fontsize=9)
    style.share_labels(
        figure,
        panels,
        foot,
        f"threshold x on {distance_label(runs[0])}",
        f"features with {relation} / number a class",
    )
    what = "presence" if sign == "+" else "absence"
    style.title(
        figure,
        f"Features that speak by their {what}",
        "Thin lines: one class each; dashed: the threshold",
    )
    return figure


def _curves(axes: Axes, drawn: pl.DataFrame, *, many: bool, width: float = 2.2) -> None:
    """A line a class, red for random labels and black for real ones, and their means."""
    rows, mean = drawn.filter(curve="class"), drawn.filter(curve="mean")
    x = mean["x"].to_numpy()
    # Red above black, as in the paper: it hides less, for it falls sooner.
    for name, colour, order in (("random", style.RANDOM_LINE, 2), ("real", style.REAL_LINE, 1)):
        counts = rows[name].to_numpy().reshape(-1, len(x))
        lines = LineCollection(
            [np.column_stack([x, count]) for count in counts],
            colors=colour,
            linewidths=0.6,
            alpha=_alpha(len(counts)),
            rasterized=many,
            zorder=order,
        )
        axes.add_collection(lines)
    real, random = mean["real"].to_numpy(), mean["random"].to_numpy()
    for y, colour, line, labels in (
        (real, style.REAL_LINE, "-", "real"),
        (random, style.RANDOM_LINE, (0, (3, 1.2)), "random"),
    ):
        label = f"{labels} labels: mean of the classes"
        axes.plot(x, y, color=style.PAPER, linewidth=1.9 * width, zorder=3, solid_capstyle="butt")
        axes.plot(x, y, color=colour, linestyle=line, linewidth=width, zorder=4, label=label)
    highest = max(float(np.nanmax(rows[name].to_numpy(), initial=1)) for name in ("real", "random"))
    axes.set_ylim(0, highest * 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))


def _alpha(count: int) -> float:
    """Fainter lines the more there are, so that dense parts still show their density."""
    return float(np.clip(6 / np.sqrt(count) / 1.5, 0.08, 0.6))


def _gap(axes: Axes, row: dict[str, float], side: Sign, span: float) -> None:
    """The widest gap between the two mean lines, which is d_avg at the threshold."""
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
    # The far corner is empty: the curves fall from 0 outwards.
    away = min(abs(at) / span + 0.12, 0.55)
    axes.annotate(
        f"widest gap: {number(row['davg'])} features a class\n"
        f"kept {number(row['real'])}, by chance {number(row['random'])}",
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

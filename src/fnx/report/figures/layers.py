"""Where the distances of each layer lie, by presence and by absence (Figures 5 and 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.errors import DataError
from fnx.report.figures import style
from fnx.report.text import distance_label, heading_of, signs

HEADING = "Distribution of D per layer"

MODES = {"empirical": "", "lognormal": "lognormal_"}
"""Ways to find the mode and the bars, and what their columns in ``layers.parquet`` begin with."""

DETAIL = {
    "raw": "Mode and bars of 68 % on each side of it, the bars of random labels behind; "
    "runs in ascending order of images per class",
    "calibrated": "Modes and bars of 68 % are of the pairs that are not at 0, diamonds are means "
    "of all; random labels behind",
}

_ENDS = ("mode", "low", "high", "mode_random", "low_random", "high_random")

_LOOK = {
    "+": (style.PRESENCE, "o", "D⁺, by presence"),
    "-": (style.ABSENCE, "s", "D⁻, by absence"),
}


def table(
    runs: Sequence[Run],
    labels: Sequence[str],
    mode: str = "empirical",
    distance: str = "raw",
) -> pl.DataFrame:
    """Return what is drawn: the mode of D⁺ and of D⁻ of each layer, with the ends of the bars.

    The mode of runs of one statistic is "empirical", or that of the "lognormal" law fitted to them
    (the paper's Fig 5 names both); `distance` is "raw" or "calibrated".

    Returns:
        ``run``, ``layer``, ``kind``, ``sign``; ``mode``, ``low``, ``high`` of the real labels, and
        with ``_random`` of random labels; ``threshold``, t⁺ or t⁻ (of raw distances: null beside
        calibrated ones); ``mean`` of calibrated ones, 0 included.

    Raises:
        DataError: if a run's table of layers lacks the fitted law.
    """
    before = "calibrated_" if distance == "calibrated" else ""
    columns = {before + MODES[mode] + name: name for name in _ENDS}
    means = ["calibrated_mean"] if distance == "calibrated" else []
    limit = pl.col("threshold") if distance == "raw" else pl.lit(None, pl.Float64)
    for run in runs:
        if missing := columns.keys() - set(run.layers.columns):
            raise DataError(f"{run.path}: layers.parquet has no column {min(missing)}: run it anew")
    return pl.concat(
        layers_by_sign(run).select(
            pl.lit(label).alias("run"),
            "layer",
            "kind",
            "sign",
            *(pl.col(column).alias(name) for column, name in columns.items()),
            limit.alias("threshold"),
            *(pl.col(column).alias("mean") for column in means),
        )
        for run, label in zip(runs, labels, strict=True)
    )


def layers_by_sign(run: Run) -> pl.DataFrame:
    """Return the run's table of layers with each layer's ``kind`` and the sign's ``threshold``."""
    kinds = run.features.select("layer", "kind").unique("layer")
    limits = run.thresholds.select("sign", "threshold")
    return run.layers.join(kinds, on="layer", maintain_order="left").join(
        limits, on="sign", how="left", maintain_order="left"
    )


def draw(
    runs: Sequence[Run],
    labels: Sequence[str],
    drawn: pl.DataFrame,
    mode: str = "empirical",
    heading: str = HEADING,
    distance: str = "raw",
) -> Figure:
    """Draw the mode of D⁺ and D⁻ of each layer with bars of 68 % a side, and random labels' behind.

    Several runs lie side by side within each layer, in the given order; `drawn` is their `table`,
    and `mode` and `distance` are those of it.
    """
    names, kinds = style.layers_of(drawn, "run")
    alone = len(runs) == 1
    height = style.layers_height(len(names), 0.2 if alone else 0.12 + 0.085 * len(runs))
    figure = style.new_figure(height=height + (1.2 if alone else 1.5))
    axes = figure.subplots()
    place = {name: i for i, name in enumerate(names)}
    if alone:
        _one(axes, runs[0], drawn, place, thresholds=distance == "raw")
    else:
        _several(axes, runs, labels, drawn, place)
    style.layer_axis(axes, names, kinds, height)
    if runs[0].signed:
        axes.axvline(runs[0].neutral, color=style.MUTED, linewidth=0.8)
        style.centre(axes, runs[0].neutral)
    else:
        axes.set_xlim(left=runs[0].neutral)
    law = " of a log-normal fit" if mode == "lognormal" else ""
    axes.set_xlabel(f"{distance_label(runs[0], distance)}: mode{law}, and 68 % on each side of it")
    axes.set_ylabel("layer, input at the top")
    style.legend_below(axes, 3 if alone else min(4, len(runs) + 1))
    style.titles(
        figure,
        runs,
        heading_of(heading, distance),
        DETAIL[distance],
    )
    return figure


def _one(
    axes: Axes, run: Run, drawn: pl.DataFrame, place: dict[str, int], *, thresholds: bool
) -> None:
    """Draw a single run in colours by sign, the modes of random labels, and its `thresholds`."""
    for sign in reversed(signs(run)):
        rows = _finite(drawn.filter(sign=sign), "mode", run.neutral)
        noise = _finite(drawn.filter(sign=sign), "mode_random", run.neutral)
        at = np.array([place[name] for name in noise["layer"]], np.float64)
        _bands(axes, noise, at, 0.72)
        modes = noise["mode_random"].to_numpy()
        axes.vlines(modes, at - 0.36, at + 0.36, color=style.MUTED, linewidth=1)
        colour, marker, label = _LOOK[sign]
        label = label if run.signed else "real labels"
        positions = [place[name] for name in rows["layer"]]
        _points(axes, rows, positions, colour, marker, label)
        _means(axes, rows, positions, colour, "mean, 0 included" if sign == "+" else None)
    if thresholds:
        style.run_thresholds(axes, run, above=True)


def _several(
    axes: Axes,
    runs: Sequence[Run],
    labels: Sequence[str],
    drawn: pl.DataFrame,
    place: dict[str, int],
) -> None:
    """Draw several runs side by side within each layer, each in a colour of its own."""
    step = 0.78 / len(runs)
    offsets = (np.arange(len(runs)) - (len(runs) - 1) / 2) * step
    for run, label, offset, (colour, marker, _) in zip(
        runs, labels, offsets, style.series_styles(len(runs)), strict=True
    ):
        for sign in reversed(signs(run)):
            chosen = drawn.filter(run=label, sign=sign)
            rows, noise = (_finite(chosen, name, run.neutral) for name in ("mode", "mode_random"))
            _bands(axes, noise, [place[name] + offset for name in noise["layer"]], step)
            positions = [place[name] + offset for name in rows["layer"]]
            _points(axes, rows, positions, colour, marker, label if sign == "+" else None, 4)
            _means(axes, rows, positions, colour, None)
    for i in range(1, len(place)):
        axes.axhline(i - 0.5, color=style.GRID, linewidth=0.6)


def _finite(rows: pl.DataFrame, mode: str, neutral: float) -> pl.DataFrame:
    """Drop layers that have no value of this sign; clip infinite ends to the largest finite one."""
    rows = rows.filter(pl.col(mode).is_finite())
    ends = [name for name in _ENDS if "mode" not in name]
    finite = [abs(v - neutral) for name in ends for v in rows[name].drop_nulls() if np.isfinite(v)]
    limit = max(finite, default=1.0)
    return rows.with_columns(pl.col(name).clip(neutral - limit, neutral + limit) for name in ends)


def _bands(axes: Axes, noise: pl.DataFrame, positions: Any, height: float) -> None:
    named = "random labels" in axes.get_legend_handles_labels()[1]
    axes.barh(
        positions,
        (noise["high_random"] - noise["low_random"]).to_numpy(),
        left=noise["low_random"].to_numpy(),
        height=height,
        color=style.RANDOM_FILL,
        label=None if named else "random labels",
    )


def _points(
    axes: Axes,
    rows: pl.DataFrame,
    positions: Sequence[float],
    colour: Any,
    marker: str,
    label: str | None,
    size: float = 5,
) -> None:
    mode = rows["mode"].to_numpy()
    bars = np.stack([mode - rows["low"].to_numpy(), rows["high"].to_numpy() - mode])
    axes.errorbar(
        mode,
        positions,
        xerr=np.maximum(bars, 0),
        fmt=marker,
        color=colour,
        markersize=size,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.5 if size > 4 else 0.2,
        elinewidth=1.4 if size > 4 else 0.9,
        label=label,
        zorder=3,
    )


def _means(
    axes: Axes, rows: pl.DataFrame, positions: Sequence[float], colour: Any, label: str | None
) -> None:
    """Draw the means of calibrated distances, which compare classes of any size; none of raw."""
    if "mean" in rows.columns:
        look: dict[str, Any] = {
            "markersize": 5,
            "markerfacecolor": style.PAPER,
            "linestyle": "none",
        }
        axes.plot(rows["mean"], positions, "D", color=colour, label=label, zorder=4, **look)

"""Figure 5: where the distances of each layer lie, by presence and by absence."""

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
from fnx.report.text import describe, distance_label

MODES = {"empirical": "", "lognormal": "lognormal_"}
"""Ways to find the mode and the bars, and what their columns in ``layers.parquet`` begin with."""

_ENDS = ("mode", "low", "high", "mode_random", "low_random", "high_random")


def table(runs: Sequence[Run], labels: Sequence[str], mode: str = "empirical") -> pl.DataFrame:
    """What is drawn: the mode of D⁺ and of D⁻ of each layer, with the ends of the bars.

    Args:
        runs: of one statistic.
        labels: what to call them.
        mode: "empirical", or "lognormal" for the law fitted to them (the paper's Fig 5 names both).

    Returns:
        ``run``, ``layer``, ``kind``, ``sign``; ``mode``, ``low``, ``high`` of the real labels, and
        with ``_random`` of random labels; ``threshold``, t⁺ or t⁻.

    Raises:
        DataError: if a run's table of layers lacks the fitted law.
    """
    parts = []
    for run, label in zip(runs, labels, strict=True):
        columns = {MODES[mode] + name: name for name in _ENDS}
        if missing := columns.keys() - set(run.layers.columns):
            raise DataError(f"{run.path}: layers.parquet has no column {min(missing)}: run it anew")
        parts.append(
            layers_by_sign(run).select(
                pl.lit(label).alias("run"),
                "layer",
                "kind",
                "sign",
                *(pl.col(column).alias(name) for column, name in columns.items()),
                "threshold",
            )
        )
    return pl.concat(parts)


def layers_by_sign(run: Run) -> pl.DataFrame:
    """The run's table of layers with each layer's ``kind`` and the sign's ``threshold``."""
    kinds = run.features.select("layer", "kind").unique("layer")
    limits = run.thresholds.select("sign", "threshold")
    return run.layers.join(kinds, on="layer", maintain_order="left").join(
        limits, on="sign", how="left", maintain_order="left"
    )


def draw(run: Run, mode: str = "empirical") -> Figure:
    """Mode of D⁺ and D⁻ of each layer with bars of 68 % a side; random labels as grey bands."""
    drawn = table([run], [run.dataset], mode)
    names, kinds = _layers(drawn)
    height = style.layers_height(len(names))
    figure = style.new_figure(height=height + 1.2)
    axes = figure.subplots()
    y = {name: i for i, name in enumerate(names)}
    noise_label: str | None = "random labels"
    for sign, colour, marker, label in _signs(run):
        rows = _finite(drawn.filter(sign=sign), "mode")
        noise = _finite(drawn.filter(sign=sign), "mode_random")
        at = [y[name] for name in noise["layer"]]
        _bands(axes, noise, at, 0.72, noise_label)
        noise_label = None
        axes.vlines(
            noise["mode_random"].to_numpy(),
            [position - 0.36 for position in at],
            [position + 0.36 for position in at],
            color=style.MUTED,
            linewidth=1,
        )
        _points(axes, rows, [y[name] for name in rows["layer"]], colour, marker, label)
    style.run_thresholds(axes, run, above=True)
    _finish(axes, run, names, kinds, height, mode)
    style.legend_below(axes, 3)
    style.title(
        figure,
        f"How strongly each layer speaks about the classes of {run.dataset}",
        describe(run),
    )
    return figure


def draw_many(
    runs: Sequence[Run],
    labels: Sequence[str],
    mode: str = "empirical",
    heading: str = "Distribution of D by layer",
) -> Figure:
    """The same for several runs, side by side within each layer, in the given order."""
    drawn = table(runs, labels, mode)
    names: list[str] = []
    kinds: list[str] = []
    # The run with most layers gives their order; those that only others have come last.
    by_run = [_layers(part) for part in drawn.partition_by("run", maintain_order=True)]
    for found in sorted(by_run, key=lambda found: -len(found[0])):
        for name, kind in zip(*found, strict=True):
            if name not in names:
                names.append(name)
                kinds.append(kind)
    height = style.layers_height(len(names), per_layer=0.12 + 0.085 * len(runs))
    figure = style.new_figure(height=height + 1.5)
    axes = figure.subplots()
    y = {name: i for i, name in enumerate(names)}
    step = 0.78 / max(len(runs), 1)
    offsets = (np.arange(len(runs)) - (len(runs) - 1) / 2) * step
    noise_label: str | None = "random labels"
    for run, label, offset, (colour, marker, _) in zip(
        runs, labels, offsets, series_styles(len(runs)), strict=True
    ):
        for sign, *_ in _signs(run):
            chosen = drawn.filter(run=label, sign=sign)
            rows, noise = _finite(chosen, "mode"), _finite(chosen, "mode_random")
            _bands(axes, noise, [y[name] + offset for name in noise["layer"]], step, noise_label)
            noise_label = None
            positions = [y[name] + offset for name in rows["layer"]]
            _points(axes, rows, positions, colour, marker, label if sign == "+" else None, 4)
    for i in range(1, len(names)):
        axes.axhline(i - 0.5, color=style.GRID, linewidth=0.6)
    _finish(axes, runs[0], names, kinds, height, mode)
    style.legend_below(axes, min(4, len(runs) + 1))
    style.title(
        figure,
        heading,
        "Mode and bars of 68 % on each side of it, the bars of random labels behind; "
        "runs in ascending order of images a class",
    )
    return figure


def series_styles(count: int) -> list[tuple[Any, str, Any]]:
    """Colour, marker and line style of each of several runs, darker to lighter in their order."""
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 0.82, count))
    markers = "osD^vP*X<>h"
    lines = ["-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1.5, 1.5))]
    return [
        (tuple(colours[i]), markers[i % len(markers)], lines[i % len(lines)]) for i in range(count)
    ]


def _layers(drawn: pl.DataFrame) -> tuple[list[str], list[str]]:
    unique = drawn.unique("layer", keep="first", maintain_order=True)
    return unique["layer"].to_list(), unique["kind"].to_list()


def _signs(run: Run) -> list[tuple[str, str, str, str]]:
    if not run.signed:
        return [("+", style.PRESENCE, "o", "real labels")]
    return [
        ("-", style.ABSENCE, "s", "D⁻, by absence"),
        ("+", style.PRESENCE, "o", "D⁺, by presence"),
    ]


def _finite(rows: pl.DataFrame, mode: str) -> pl.DataFrame:
    """Without layers that have no value of this sign; infinite ends drawn to the largest finite."""
    rows = rows.filter(pl.col(mode).is_not_null() & pl.col(mode).is_finite())
    ends = [name for name in _ENDS if "mode" not in name]
    finite = [v for name in ends for v in rows[name].drop_nulls().to_list() if np.isfinite(v)]
    limit = max((abs(v) for v in finite), default=1.0)
    return rows.with_columns(pl.col(name).clip(-limit, limit) for name in ends)


def _bands(
    axes: Axes, noise: pl.DataFrame, positions: Sequence[float], height: float, label: str | None
) -> None:
    axes.barh(
        positions,
        (noise["high_random"] - noise["low_random"]).to_numpy(),
        left=noise["low_random"].to_numpy(),
        height=height,
        color=style.RANDOM_FILL,
        linewidth=0,
        label=label,
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


def _finish(
    axes: Axes, run: Run, names: Sequence[str], kinds: Sequence[str], height: float, mode: str
) -> None:
    style.layer_axis(axes, names, kinds, height)
    if run.signed:
        axes.axvline(0, color=style.MUTED, linewidth=0.8)
        low, high = axes.get_xlim()
        side = max(abs(low), abs(high))
        axes.set_xlim(-side, side)
    else:
        axes.set_xlim(left=0)
    law = " of a log-normal fit" if mode == "lognormal" else ""
    axes.set_xlabel(f"{distance_label(run)}: mode{law}, and 68 % on each side of it")
    axes.set_ylabel("layer, input at the top")

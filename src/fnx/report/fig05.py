"""Figure 5: where the distances of each layer lie, by presence and by absence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.report import style


def draw(run: Run) -> Figure:
    """Mode of D⁺ and D⁻ of each layer with bars of 68 % a side; random labels as grey bands."""
    names, kinds = _layers(run)
    height = style.layers_height(len(names))
    figure = style.new_figure(height=height + 1.2)
    axes = figure.subplots()
    y = {name: i for i, name in enumerate(names)}
    noise_named = False
    for sign, colour, marker, label in _signs(run):
        rows = _finite(run.layers.filter(pl.col("sign") == sign))
        if "mode_random" in rows.columns:
            noise = rows.drop_nulls("mode_random")
            axes.barh(
                [y[name] for name in noise["layer"]],
                (noise["high_random"] - noise["low_random"]).to_numpy(),
                left=noise["low_random"].to_numpy(),
                height=0.72,
                color=style.RANDOM_FILL,
                linewidth=0,
                label=None if noise_named else "random labels",
            )
            noise_named = True
            axes.vlines(
                noise["mode_random"].to_numpy(),
                [y[name] - 0.36 for name in noise["layer"]],
                [y[name] + 0.36 for name in noise["layer"]],
                color=style.MUTED,
                linewidth=1,
            )
        _points(axes, rows, [y[name] for name in rows["layer"]], colour, marker, label)
    _finish(axes, run, names, kinds, height)
    style.legend_below(axes, 3)
    style.title(
        figure,
        f"How strongly each layer speaks about the classes of {run.dataset}",
        style.describe(run),
    )
    return figure


def draw_many(runs: Sequence[Run], labels: Sequence[str]) -> Figure:
    """The same for several runs, side by side within each layer, in the given order."""
    names: list[str] = []
    kinds: list[str] = []
    # The run with most layers gives their order; those that only others have come last.
    for run in sorted(runs, key=lambda run: -len(_layers(run)[0])):
        for name, kind in zip(*_layers(run), strict=True):
            if name not in names:
                names.append(name)
                kinds.append(kind)
    height = style.layers_height(len(names), per_layer=0.12 + 0.085 * len(runs))
    figure = style.new_figure(height=height + 1.5)
    axes = figure.subplots()
    y = {name: i for i, name in enumerate(names)}
    offsets = (np.arange(len(runs)) - (len(runs) - 1) / 2) * (0.78 / max(len(runs), 1))
    for run, label, offset, (colour, marker, _) in zip(
        runs, labels, offsets, series_styles(len(runs)), strict=True
    ):
        for sign, *_ in _signs(run):
            rows = _finite(run.layers.filter(pl.col("sign") == sign))
            positions = [y[name] + offset for name in rows["layer"]]
            _points(axes, rows, positions, colour, marker, label if sign == "+" else None, 4)
    for i in range(1, len(names)):
        axes.axhline(i - 0.5, color=style.GRID, linewidth=0.6)
    _finish(axes, runs[0], names, kinds, height)
    style.legend_below(axes, min(4, len(runs)))
    style.title(
        figure,
        "Distribution of D by layer",
        "Mode and bars of 68 % on each side of it; runs in ascending order of images a class",
    )
    return figure


def series_styles(count: int) -> list[tuple[Any, str, Any]]:
    """Colour, marker and line style of each of several runs, darker to lighter in their order."""
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 0.88, count))
    markers = "osD^vP*X<>h"
    lines = ["-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1.5, 1.5))]
    return [
        (tuple(colours[i]), markers[i % len(markers)], lines[i % len(lines)]) for i in range(count)
    ]


def _layers(run: Run) -> tuple[list[str], list[str]]:
    table = run.features.group_by("layer", maintain_order=True).agg(pl.col("kind").first())
    return table["layer"].to_list(), table["kind"].to_list()


def _signs(run: Run) -> list[tuple[str, str, str, str]]:
    if not run.signed:
        return [("+", style.PRESENCE, "o", "real labels")]
    return [
        ("-", style.ABSENCE, "s", "D⁻, by absence"),
        ("+", style.PRESENCE, "o", "D⁺, by presence"),
    ]


def _finite(rows: pl.DataFrame) -> pl.DataFrame:
    """Without layers that have no value of this sign; infinite ends drawn to the largest finite."""
    rows = rows.drop_nulls("mode").filter(pl.col("mode").is_finite())
    ends = [name for name in rows.columns if name.startswith(("low", "high"))]
    finite = [v for name in ends for v in rows[name].drop_nulls().to_list() if np.isfinite(v)]
    limit = max((abs(v) for v in finite), default=1.0)
    return rows.with_columns(pl.col(name).clip(-limit, limit) for name in ends)


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
    axes: Axes, run: Run, names: Sequence[str], kinds: Sequence[str], height: float
) -> None:
    style.layer_axis(axes, names, kinds, height)
    if run.signed:
        axes.axvline(0, color=style.MUTED, linewidth=0.8)
        low, high = axes.get_xlim()
        side = max(abs(low), abs(high))
        axes.set_xlim(-side, side)
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(f"{style.distance_label(run)}: mode, and 68 % on each side of it")
    axes.set_ylabel("layer, input at the top")

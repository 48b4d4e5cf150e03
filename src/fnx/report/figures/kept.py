"""How many of each layer's (feature, class) pairs the thresholds keep (Figure 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.report.figures import style
from fnx.report.figures.layers import layers_by_sign
from fnx.report.text import number, shorten

X_LABEL = "(feature, class) pairs of the layer beyond the threshold / %"
Y_LABEL = "layer, input at the top"
HEADING = "Share of each layer that the thresholds keep"


def table(runs: Sequence[Run], labels: Sequence[str]) -> pl.DataFrame:
    """Return what is drawn: the percentage of each layer's pairs beyond each threshold.

    Returns:
        ``run``, ``layer``, ``kind``, ``sign``, ``threshold``, ``pct_kept``, ``pct_kept_random``.
    """
    columns = ("layer", "kind", "sign", "threshold", "pct_kept", "pct_kept_random")
    return pl.concat(
        layers_by_sign(run).select(pl.lit(label).alias("run"), *columns)
        for run, label in zip(runs, labels, strict=True)
    )


def draw(runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame) -> Figure:
    """Draw the percent of pairs kept by t⁺ (right) and by t⁻ (left), real against random labels.

    Several runs have a panel each, on one scale.
    """
    if len(runs) == 1:
        height = style.layers_height(drawn["layer"].n_unique(), 0.22)
        figure = style.new_figure(height=height + 1.2)
        axes = figure.subplots()
        _bars(axes, drawn, height)
        _limits(axes, drawn)
        axes.set_xlabel(X_LABEL)
        axes.set_ylabel(Y_LABEL)
        style.legend_below(axes, 2)
        style.titles(figure, runs, HEADING)
        return figure
    parts = [drawn.filter(run=label) for label in labels]
    height = style.layers_height(max(part["layer"].n_unique() for part in parts), 0.13)
    alike = len({tuple(part["layer"]) for part in parts}) == 1
    figure, panels, foot = style.small_multiples(
        len(parts), panel_height=height + 0.55, share_y=alike
    )
    for panel, part in zip(panels, parts, strict=True):
        _bars(panel, part, height, 6.5)
        _limits(panel, part, brief=True)
        panel.set_title(shorten(part["run"][0], 40), loc="left", fontsize=9, pad=16)
    widest = max(max(map(abs, panel.get_xlim())) for panel in panels)
    for panel, run in zip(panels, runs, strict=True):
        panel.set_xlim(-widest if run.signed else 0, widest)
    figure.supylabel(Y_LABEL, fontsize=9)
    foot.text(0.5, 1.0, X_LABEL, ha="center", va="top", fontsize=9, transform=foot.transAxes)
    handles, names = panels[0].get_legend_handles_labels()
    foot.legend(handles, names, loc="lower center", ncols=2, columnspacing=1.5, borderaxespad=0)
    detail = "To the right by presence, D > t⁺; to the left by absence, D < t⁻"
    style.titles(figure, runs, HEADING, detail)
    return figure


def _bars(axes: Axes, drawn: pl.DataFrame, height: float, size: float | None = None) -> None:
    layers = drawn.unique("layer", keep="first", maintain_order=True)
    names = layers["layer"].to_list()
    y = {name: i for i, name in enumerate(names)}
    for rows in drawn.partition_by("sign", maintain_order=True):
        named = rows["sign"][0] == "+"
        direction = 1 if named else -1
        at = np.array([y[name] for name in rows["layer"]])
        axes.barh(
            at - 0.15,
            rows["pct_kept"].to_numpy() * direction,
            height=0.44,
            color=style.KEPT,
            label="real labels" if named else None,
        )
        axes.barh(
            at + 0.22,
            rows["pct_kept_random"].to_numpy() * direction,
            height=0.30,
            color=style.KEPT_RANDOM,
            hatch="/////",
            edgecolor=style.PAPER,
            linewidth=0,
            label="random labels" if named else None,
        )
    style.layer_axis(axes, names, layers["kind"].to_list(), height, size)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    if "-" in drawn["sign"].to_list():
        axes.axvline(0, color=style.INK, linewidth=0.8)
        style.centre(axes)


def _limits(axes: Axes, drawn: pl.DataFrame, *, brief: bool = False) -> None:
    """Write the thresholds, each above its side of the axes."""
    signed = drawn["sign"].n_unique() > 1
    for sign, threshold in drawn.select("sign", "threshold").unique(maintain_order=True).rows():
        right = sign == "+"
        what = ("presence" if right else "absence") if signed else "distance"
        name, relation = ("t⁺", ">") if right else ("t⁻", "<")
        words = "" if brief else f"by {what}, D {relation} "  # a small panel has no room for them
        axes.annotate(
            f"{words}{name} = {number(threshold, 3)}",
            (1.0 if right else 0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=7 if brief else 8.5,
        )

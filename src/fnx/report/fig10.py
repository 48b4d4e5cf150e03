"""Figure 10: how many of each layer's (feature, class) pairs the thresholds keep."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.report import style


def draw(run: Run) -> Figure:
    """Percent of pairs kept by t⁺ (right) and by t⁻ (left), real against random labels."""
    table = run.features.group_by("layer", maintain_order=True).agg(pl.col("kind").first())
    names, kinds = table["layer"].to_list(), table["kind"].to_list()
    height = style.layers_height(len(names), 0.22)
    figure = style.new_figure(height=height + 1.2)
    axes = figure.subplots()
    y = {name: i for i, name in enumerate(names)}
    signs = ["-", "+"] if run.signed else ["+"]
    for sign in signs:
        rows = run.layers.filter(pl.col("sign") == sign)
        direction = 1 if sign == "+" else -1
        at = [y[name] for name in rows["layer"]]
        named = sign == "+"
        axes.barh(
            [i - 0.15 for i in at],
            rows["pct_kept"].to_numpy() * direction,
            height=0.44,
            color=style.KEPT,
            label="real labels" if named else None,
        )
        axes.barh(
            [i + 0.22 for i in at],
            rows["pct_kept_random"].to_numpy() * direction,
            height=0.30,
            color=style.KEPT_RANDOM,
            hatch="/////",
            edgecolor=style.PAPER,
            linewidth=0,
            label="random labels" if named else None,
        )
    style.layer_axis(axes, names, kinds, height)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    for sign in signs:
        row = run.threshold(sign)
        assert row is not None
        right = sign == "+"
        limit = style.number(row["threshold"], 3)
        speaks = ("presence" if right else "absence") if run.signed else "distance"
        axes.annotate(
            f"by {speaks}, D > t⁺ = {limit}" if right else f"by {speaks}, D < t⁻ = {limit}",
            (1.0 if right else 0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=8.5,
        )
    if run.signed:
        axes.axvline(0, color=style.INK, linewidth=0.8)
        side = max(abs(limit) for limit in axes.get_xlim())
        axes.set_xlim(-side, side)
    axes.set_xlabel("(feature, class) pairs of the layer beyond the threshold / %")
    axes.set_ylabel("layer, input at the top")
    style.legend_below(axes, 2)
    style.title(
        figure, f"What each layer keeps about the classes of {run.dataset}", style.describe(run)
    )
    return figure

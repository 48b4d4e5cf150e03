"""How well the units of each layer of a network are matched by units of another."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.report.figures import style
from fnx.report.text import shorten

MOST_PANELS = 6  # pairs of networks that are drawn; all are in the table


def draw(table: pl.DataFrame) -> Figure:
    """Draw the correlation of the units of each layer with their partners, and that by chance.

    `table` is `fnx.analysis.comparison.networks.Networks.layers`, with a row at least.
    """
    pairs = table.partition_by("run_a", "run_b", maintain_order=True)[:MOST_PANELS]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    height = style.layers_height(max(part.height for part in pairs), 0.16)
    figure = style.new_figure(height=rows * (height + 0.8) + 0.3)
    panels = style.grid(figure, len(pairs), columns, sharex=True)
    for panel, part in zip(panels, pairs, strict=True):
        _panel(panel, part, height, 110 // columns)
    style.title(
        figure,
        "Units with a partner in another network, per layer",
        "Dot: correlation of a unit's D with that of its partner, median; tick: by chance, the"
        " classes in another order",
    )
    return figure


def _panel(panel: Axes, part: pl.DataFrame, height: float, room: int) -> None:
    names = part["layer_a"].to_list()
    y = np.arange(len(names))
    found, chance = (
        part[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("correlation", "correlation_chance")
    )
    panel.hlines(y, chance, found, color=style.GRID, linewidth=3, zorder=1)
    panel.plot(
        chance, y, "|", color=style.MUTED, markersize=7, markeredgewidth=1.6,
    )  # fmt: skip
    panel.plot(found, y, "o", color=style.PRESENCE, markersize=4.5)
    style.layer_axis(panel, names, [""] * len(names), height, 7)
    panel.set_xlabel("correlation of D, median")
    panel.set_title(
        f"{shorten(part['run_a'][0], room)} : {shorten(part['run_b'][0], room)}", fontsize=8
    )

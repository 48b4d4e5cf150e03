"""Linear CKA of the layers of two networks on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from fnx.report.figures import style
from fnx.report.text import shorten

MOST_PANELS = 6  # pairs of networks that are drawn; all are in the table

_COLOURS = "viridis"
_SIDES = ("layer_a", "layer_b")


def draw(table: pl.DataFrame) -> Figure:
    """Draw the CKA of all layers of each pair of networks, those of the first downwards.

    `table` is `fnx.analysis.comparison.networks.Networks.cka`, with a row at least.
    """
    pairs = table.partition_by("run_a", "run_b", maintain_order=True)[:MOST_PANELS]
    columns = min(2, len(pairs))
    rows = -(-len(pairs) // columns)
    tallest = max(part["layer_a"].n_unique() for part in pairs)
    height = min(style.layers_height(tallest), 6.0 if columns > 1 else 8.0) + 1.3
    figure = style.new_figure(height=rows * height + 0.6)
    panels = style.grid(figure, len(pairs), columns)
    for panel, part in zip(panels, pairs, strict=True):
        mesh = _panel(panel, part, height - 1.3, (style.WIDTH - 1.6) / columns - 0.8)
    bar = figure.colorbar(mesh, ax=panels, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("linear CKA, unbiased / dimensionless")
    outline: Any = bar.outline
    outline.set_visible(False)
    style.title(
        figure,
        "How alike the layers of two networks arrange the same images",
        "1: the same but for a rotation and a scale; 0: unrelated; dot: the most alike layer of the"
        " second, row by row",
    )
    return figure


def _panel(panel: Axes, part: pl.DataFrame, height: float, width: float) -> QuadMesh:
    names_a, names_b = (part[name].unique(maintain_order=True).to_list() for name in _SIDES)
    values = part["cka"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    values = values.reshape(len(names_a), len(names_b))
    mesh = panel.pcolormesh(
        np.arange(len(names_b) + 1) - 0.5,
        np.arange(len(names_a) + 1) - 0.5,
        np.ma.masked_invalid(values),
        vmin=0,
        vmax=1,
        cmap=_COLOURS,
        rasterized=True,
    )
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    best = np.nanargmax(values[known], axis=1)
    panel.plot(
        best, known, "o", color=style.PAPER, markeredgecolor=style.INK, markersize=3.2,
        markeredgewidth=0.6,
    )  # fmt: skip
    panel.set_ylim(len(names_a) - 0.5, -0.5)
    style.layer_ticks(panel, names_a, height, 7)
    room = max(1, round(len(names_b) * 1.2 * 7 / (72 * width)))
    shown = range(0, len(names_b), room)
    panel.set_xticks(list(shown), [shorten(names_b[i], 28) for i in shown], fontsize=7, rotation=90)
    panel.tick_params(length=0)
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.set_ylabel(shorten(part["run_a"][0], 40))
    panel.set_xlabel(shorten(part["run_b"][0], 40))
    return mesh

"""Probe accuracy over the depth of several networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis.advice import ALL
from fnx.report.figures import style
from fnx.report.text import shorten

MOST_PANELS = 6  # data sets that are drawn; all are in the table

_BESIDE = {"all": 1.09, "full_network": 1.18}  # where entries of several layers stand


def draw(table: pl.DataFrame) -> Figure:
    """Draw accuracy over relative depth, a panel for each data set and a line for each run.

    `table` is the second one of `fnx.analysis.comparison.probes.probes`, with a row at least.
    """
    groups = table.partition_by("group", "measure", maintain_order=True)[:MOST_PANELS]
    runs = table["run"].unique(maintain_order=True).to_list()
    looks = dict(zip(runs, style.series_styles(len(runs)), strict=True))
    if len(groups) > 1:
        figure, panels, foot = style.small_multiples(len(groups), panel_height=2.6)
    else:
        figure = style.new_figure(height=4.0)
        panels = [figure.subplots()]
        foot = panels[0]
    for panel, group in zip(panels, groups, strict=True):
        _panel(panel, group, looks)
        panel.set_title(shorten(group["dataset"][0], 40), loc="left")
    handles = [
        panels[0].plot([], [], color=c, marker=m, linestyle=line)[0]
        for c, m, line in looks.values()
    ]
    names = [shorten(name, 40) for name in runs]
    style.legend_below(foot, 3, handles=handles, labels=names)
    style.title(
        figure,
        "Probe accuracy over depth, one line per run",
        "Bars: standard error; ring: the entry to use; dotted: chance; all: all layers; full:"
        " full-network embedding",
    )
    return figure


def _panel(panel: Axes, group: pl.DataFrame, looks: dict[str, tuple[Any, str, Any]]) -> None:
    for rows in group.partition_by("run", maintain_order=True):
        colour, marker, line = looks[rows["run"][0]]
        x = np.array(
            [
                _BESIDE.get(kind, depth)
                for kind, depth in rows.select("kind", "relative_depth").iter_rows()
            ],
            np.float64,
        )
        accuracy, error = (100 * rows[name].to_numpy() for name in ("accuracy", "standard_error"))
        layers = (rows["kind"] == "layer").to_numpy()
        common: dict[str, Any] = {"color": colour, "markersize": 4, "elinewidth": 0.7}
        panel.errorbar(
            x[layers], accuracy[layers], error[layers], fmt=marker, linestyle=line, **common
        )
        panel.errorbar(x[~layers], accuracy[~layers], error[~layers], fmt=marker, **common)
        used = rows["recommended"].to_numpy()
        panel.plot(
            x[used], accuracy[used], "o", markersize=11, markerfacecolor="none",
            markeredgecolor=style.INK, markeredgewidth=1.2, zorder=5,
        )  # fmt: skip
    for chance in group["chance"].unique():
        panel.axhline(100 * chance, color=style.MUTED, linestyle=":", linewidth=1)
    panel.set_xticks([0, 0.5, 1, *_BESIDE.values()], ["first", "½", "last", ALL.split()[0], "full"])
    panel.set_xlabel("relative depth of the layer")
    panel.set_ylabel(f"{group['measure'][0]} / %")

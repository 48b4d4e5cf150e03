"""Figure 8: the distances of fully connected layers, apart by the overlap with ImageNet.

One run has no Figure 8 of its own: it is the lower panel of its Figure 6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.errors import DataError
from fnx.images.official import overlap
from fnx.report.figures import distances as fig06
from fnx.report.figures import style
from fnx.report.figures.layers import series_styles
from fnx.report.text import distance_label

GROUPS = {
    "a": "(a) classes that are a part of ImageNet 2012",
    "b": "(b) classes some of which are in ImageNet 2012",
    "c": "(c) no class is in ImageNet 2012",
    "other": "other data sets",
}


def table(
    runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame | None = None
) -> pl.DataFrame:
    """What is drawn: Figure 6's table of the fully connected layers, with the data set's ``group``.

    Args:
        runs: of one statistic.
        labels: what to call them.
        drawn: their table of `fnx.report.figures.distances.table`, if it is there already.

    Raises:
        DataError: if no run has fully connected layers.
    """
    drawn = fig06.table(runs, labels) if drawn is None else drawn
    groups = {label: group(run) for run, label in zip(runs, labels, strict=True)}
    rows = drawn.filter(kind="fc").with_columns(
        group=pl.col("run").replace_strict(groups, return_dtype=pl.String)
    )
    if rows.is_empty():
        raise DataError("no run has fully connected layers")
    return rows


def draw_many(
    runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame | None = None
) -> Figure:
    """One panel a group of data sets that is there; random labels as faint lines behind.

    Args:
        runs: of one statistic; those without fully connected layers are left out, and named.
        labels: what to call them.
        drawn: their `table`, if it is there already.

    Raises:
        DataError: if no run has fully connected layers.
    """
    drawn = table(runs, labels) if drawn is None else drawn
    present = set(drawn["run"])
    shown = [name for name in GROUPS if name in set(drawn["group"])]
    figure = style.new_figure(height=1.0 + 2.3 * len(shown))
    panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    styles = dict(zip(labels, series_styles(len(runs)), strict=True))
    for panel, name in zip(panels, shown, strict=True):
        rows = drawn.filter(group=name)
        fig06.curves(panel, rows, styles)
        fig06.label_panel(panel, fig06.bin_edges(rows), GROUPS[name], signed=runs[0].signed)
        panel.legend(loc="upper right")
    panels[-1].set_xlabel(distance_label(runs[0]))
    absent = [label for label in labels if label not in present]
    left_out = f"; no such layers: {', '.join(absent)}" if absent else ""
    heading = "Distances between features of fully connected layers and classes"
    style.title(figure, heading, fig06.READING + left_out)
    return figure


def group(run: Run) -> str:
    """The paper's group of the run's data set (Section 6.2): a, b or c; "other" if it has none."""
    layout = run.record.setting("dataset.layout")
    return overlap(str(layout)) or overlap(run.dataset) or "other"

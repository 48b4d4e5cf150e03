"""The distances of fully connected layers, by the data sets' overlap with ImageNet (Figure 8).

One run has no Figure 8 of its own: it is the lower panel of its Figure 6.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.images.official import overlap
from fnx.report.figures import distances, style
from fnx.report.text import distance_label, heading_of

GROUPS = {
    "a": "(a) classes that are a part of ImageNet 2012",
    "b": "(b) classes some of which are in ImageNet 2012",
    "c": "(c) no class is in ImageNet 2012",
    "other": "other data sets",
}


def table(runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame) -> pl.DataFrame:
    """Return what is drawn: the distances of fully connected layers, with the data set's ``group``.

    `drawn` is the runs' table of `fnx.report.figures.distances.table`.
    """
    groups = {label: group(run) for run, label in zip(runs, labels, strict=True)}
    return drawn.filter(kind="fc").with_columns(
        group=pl.col("run").replace_strict(groups, return_dtype=pl.String)
    )


def draw(
    runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame, distance: str = "raw"
) -> Figure:
    """Draw one panel per group of data sets; random labels as faint lines behind.

    `drawn` is the runs' `table`, not empty; runs without fully connected layers are named.
    """
    shown = [name for name in GROUPS if name in set(drawn["group"])]
    figure = style.new_figure(height=1.0 + 2.3 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False).ravel()
    styles = dict(zip(labels, style.series_styles(len(runs)), strict=True))
    for panel, name in zip(panels, shown, strict=True):
        rows = drawn.filter(group=name)
        distances.curves(panel, rows, styles)
        edges = distances.bin_edges(rows)
        distances.label_panel(panel, edges, GROUPS[name], runs[0])
        panel.legend(loc="upper right")
    panels[-1].set_xlabel(distance_label(runs[0], distance))
    absent = [label for label in labels if label not in set(drawn["run"])]
    left_out = f"; no such layers: {', '.join(absent)}" if absent else ""
    heading = heading_of(
        "Distances between features of fully connected layers and classes", distance
    )
    style.title(figure, heading, distances.READING[distance] + left_out)
    return figure


def group(run: Run) -> str:
    """Return the paper's group of the run's data set (Section 6.2): a, b, c; "other" if none."""
    return overlap(str(run.record.setting("dataset.layout"))) or overlap(run.dataset) or "other"

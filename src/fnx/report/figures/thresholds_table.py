"""Table 3 as a picture: thresholds, what they keep, and what chance would have kept."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from fnx.report.figures.tabular import Column, Group
from fnx.report.figures.tabular import draw as draw_table
from fnx.report.text import number, shorten

_COLUMNS = (
    # heading, column, digits, x of the right edge in inches
    ("images", "images", 0, 2.15),
    ("classes", "classes", 0, 2.75),
    ("a class", "images_per_class", 1, 3.4),
    ("t⁺", "t_plus", 3, 4.05),
    ("$d_{avg}$", "davg_plus", 0, 4.65),
    ("kept", "kept_plus", 0, 5.2),
    ("chance", "kept_random_plus", 0, 5.8),
    ("t⁻", "t_minus", 3, 6.55),
    ("$d_{avg}$", "davg_minus", 0, 7.15),
    ("kept", "kept_minus", 0, 7.7),
    ("chance", "kept_random_minus", 0, 8.3),
)


def draw(table: pl.DataFrame, labels: Sequence[str] | None = None) -> Figure:
    """One row a run, in the table's order (see `fnx.analysis.comparison.table3.table3`)."""
    names = [shorten(name, 22) for name in labels or table["dataset"].to_list()]
    columns = [
        Column(
            heading,
            [number(value, digits) for value in table[column]],
            right,
            math="$" in heading,
        )
        for heading, column, digits, right in _COLUMNS
    ]
    groups = [
        Group("images", 1.7, 3.4),
        Group("by presence: D > t⁺", 3.65, 5.8),
        Group("by absence: D < t⁻", 6.1, 8.3),
    ]
    return draw_table(
        "data set",
        names,
        columns,
        groups,
        "Numbers of features are means over the classes; chance: kept under random labels; "
        "d_avg: their difference",
    )

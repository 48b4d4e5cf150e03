"""Table 3 as a picture: thresholds, what they keep, and what chance would have kept."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from fnx.report import style

_COLUMNS = (
    # heading, column, digits, x of the right edge in inches
    ("images", "images", 0, 2.15),
    ("classes", "classes", 0, 2.75),
    ("per class", "images_per_class", 1, 3.4),
    ("t⁺", "t_plus", 3, 4.05),
    ("$d_{avg}$", "davg_plus", 0, 4.65),
    ("kept", "kept_plus", 0, 5.2),
    ("chance", "kept_random_plus", 0, 5.8),
    ("t⁻", "t_minus", 3, 6.55),
    ("$d_{avg}$", "davg_minus", 0, 7.15),
    ("kept", "kept_minus", 0, 7.7),
    ("chance", "kept_random_minus", 0, 8.3),
)
_ROW = 0.24


def draw(table: pl.DataFrame, labels: list[str] | None = None) -> Figure:
    """One row a run, in the table's order (see `fnx.analysis.table3.table3`)."""
    names = labels or table["dataset"].to_list()
    width, height = 8.4, 0.9 + _ROW * table.height
    figure = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    head = 0.66
    axes.text(0.1, head, "data set", va="baseline", fontsize=9)
    for heading, _, _, x in _COLUMNS:
        axes.text(x, head, heading, ha="right", va="baseline", fontsize=9, parse_math=True)
    for text, left, right in (
        ("by presence: D > t⁺", 3.65, 5.8),
        ("by absence: D < t⁻", 6.1, 8.3),
    ):
        axes.text((left + right) / 2, 0.36, text, ha="center", va="bottom", fontsize=9)
        axes.plot([left, right], [0.42, 0.42], color=style.INK, linewidth=0.5)
    for y, thickness in ((0.14, 1.2), (head + 0.09, 0.7), (height - 0.08, 1.2)):
        axes.plot([0.1, 8.3], [y, y], color=style.INK, linewidth=thickness)
    for i, row in enumerate(table.rows(named=True)):
        y = head + 0.09 + _ROW * (i + 0.72)
        axes.text(0.1, y, style.shorten(names[i], 22), fontsize=9)
        for _, column, digits, x in _COLUMNS:
            axes.text(x, y, style.number(row[column], digits), ha="right", fontsize=9)
    return figure

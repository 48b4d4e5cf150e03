"""Tables as pictures: headings, columns aligned to the right, and rules, as books print them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.report.figures import style

ROW = 0.24
"""Height of a row in inches."""


@dataclass(frozen=True)
class Column:
    """A column: heading, the texts of its cells, and the x of its right edge in inches."""

    heading: str
    cells: Sequence[str]
    right: float
    math: bool = False


@dataclass(frozen=True)
class Group:
    """A heading over several columns, from an x to another in inches."""

    heading: str
    left: float
    right: float


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty page whose coordinates are inches from its upper left corner."""
    figure = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return figure, axes


def draw(
    heading: str,
    names: Sequence[str],
    columns: Sequence[Column],
    groups: Sequence[Group] = (),
    note: str = "",
) -> Figure:
    """A table with a first column of names, aligned to the left.

    Args:
        heading: of the first column.
        names: its cells.
        columns: the others, from left to right.
        groups: headings over some of them.
        note: one line under the table.
    """
    end = columns[-1].right
    width, head = end + 0.1, 0.66 if groups else 0.36
    height = head + 0.24 + ROW * len(names) + (0.24 if note else 0)
    figure, axes = sheet(width, height)
    axes.text(0.1, head, heading, va="baseline", fontsize=9)
    for column in columns:
        axes.text(
            column.right,
            head,
            column.heading,
            ha="right",
            va="baseline",
            fontsize=9,
            parse_math=column.math,
        )
    for group in groups:
        middle = (group.left + group.right) / 2
        axes.text(middle, 0.36, group.heading, ha="center", va="bottom", fontsize=9)
        axes.plot([group.left, group.right], [0.42, 0.42], color=style.INK, linewidth=0.5)
    foot = head + 0.16 + ROW * len(names)
    for y, thickness in ((0.14, 1.2), (head + 0.09, 0.7), (foot, 1.2)):
        axes.plot([0.1, end], [y, y], color=style.INK, linewidth=thickness)
    for i, name in enumerate(names):
        y = head + 0.09 + ROW * (i + 0.72)
        axes.text(0.1, y, name, fontsize=9)
        for column in columns:
            axes.text(column.right, y, column.cells[i], ha="right", fontsize=9)
    if note:
        axes.text(0.1, foot + 0.2, note, fontsize=7.5, color=style.MUTED)
    return figure

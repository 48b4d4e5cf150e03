"""Prints to a terminal within its width, its characters and its colours; tables with bars."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fnx.report.text import plain
from fnx.utils.text import printable

FALLBACK_WIDTH = 100
NARROWEST = 60
SHORTEST_BAR = 8

_EIGHTHS = "▏▎▍▌▋▊▉█"
# As many characters as they stand for, so that columns stay columns.
_ASCII = str.maketrans("█▉▊▋▌▍▎▏┊−⁺⁻…–·×", "#####   |-+-~-,x")
_STYLES = {"": "", "head": "bold", "+": "blue", "-": "yellow", "dim": "dim"}

Cell = str | tuple[str, str] | RenderableType
"""A text, a text and its role ("head", "+" for presence, "-" for absence, "dim"), or a `Bar`."""


class Terminal:
    """Where text is printed: plain in a file or pipe, and where NO_COLOR asks for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.console = Console(
            file=stream,
            width=max(NARROWEST, shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns),
            color_system=None if os.environ.get("NO_COLOR") else "auto",
            force_jupyter=False,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def print(self, parts: Iterable[RenderableType]) -> None:
        """Print parts one below the other, in characters that the stream's encoding has."""
        shown_parts = [Text(printable(part)) if isinstance(part, str) else part for part in parts]
        with self.console.capture() as captured:
            self.console.print(Group(*shown_parts))
        shown = encodable(captured.get(), self._stream.encoding or "ascii")
        self._stream.write("".join(f"{line.rstrip()}\n" for line in shown.splitlines()))


def encodable(text: str, encoding: str) -> str:
    """Replace what an encoding lacks by what it has.

    >>> encodable("██┊ −0.1 …é", "ascii")
    '##| -0.1 ~?'
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        replaced = text.translate(_ASCII).replace("∞", "inf")
        return replaced.encode(encoding, "replace").decode(encoding)
    return text


def text(content: str, role: str = "", *, fold: bool = False) -> Text:
    """Return a text of a role, cut or folded where there is too little room for it."""
    overflow: Literal["fold", "ellipsis"] = "fold" if fold else "ellipsis"
    return Text(plain(content), _STYLES[role], no_wrap=not fold, overflow=overflow)


@dataclass(frozen=True)
class Bar:
    """A bar over `share` (0 to 1) of its column's width, at most `widest`; ┊ stands at `mark`."""

    share: float
    role: str = ""
    mark: float | None = None
    widest: int = 24

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = bar(self.share, min(options.max_width, self.widest), self.mark)
        yield Text(drawn, _STYLES[self.role], no_wrap=True)


def bar(share: float, width: int, mark: float | None = None) -> str:
    """Draw a bar over `share` (0 to 1) of `width` columns, to an eighth of one; ┊ at `mark`.

    >>> bar(0.5, 8), bar(0.0, 4), bar(1.0, 4, mark=0.5)
    ('████    ', '    ', '██┊█')
    """
    full, rest = divmod(round(min(max(share, 0.0), 1.0) * width * 8), 8)
    drawn = ("█" * full + (_EIGHTHS[rest - 1] if rest else "")).ljust(width)
    if mark is None or not 0 <= mark <= 1:
        return drawn
    place = min(int(mark * width), width - 1)
    return f"{drawn[:place]}┊{drawn[place + 1 :]}"


def facts(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Set names beside what there is to say of each, which is folded in a column of its own."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, said in rows:
        grid.add_row(name, plain(said))
    return Padding.indent(grid, 2)


def table(
    rows: Iterable[Sequence[Cell]], aligned: str, heads: Sequence[str] = ()
) -> RenderableType:
    """Set rows in columns two spaces apart.

    Args:
        rows: cells; a shorter row leaves its last columns empty.
        aligned: "<", ">", "~", "/" or "=" for each column: "~" and "/" are left ones whose texts
            are cut and folded where there is too little room, "=" bars, which share what is left.
        heads: of the columns, if any.
    """
    made = Table(
        box=None,
        show_header=bool(heads),
        header_style="",
        expand="=" in aligned,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for side, head in zip(aligned, heads or [""] * len(aligned), strict=True):
        made.add_column(
            Text(head, _STYLES["dim"]),
            justify="right" if side == ">" else "left",
            no_wrap=side not in "~/",
            ratio=1 if side == "=" else None,
            width=SHORTEST_BAR if side == "=" else None,
        )
    for row in rows:
        made.add_row(
            *(_rendered(cell, fold=side == "/") for cell, side in zip(row, aligned, strict=False))
        )
    return Padding(made, (0, 0, 0, 2))


def _rendered(cell: Cell, *, fold: bool) -> RenderableType:
    if isinstance(cell, str):
        return text(cell, fold=fold)
    return text(*cell) if isinstance(cell, tuple) else cell

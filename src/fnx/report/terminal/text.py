"""Plain text in aligned columns that fits a terminal: its width, its characters, its colours."""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

FALLBACK_WIDTH = 100
NARROWEST = 60

_EIGHTHS = "▏▎▍▌▋▊▉█"
# As many characters as they stand for, so that columns stay columns.
_ASCII = str.maketrans("█▉▊▋▌▍▎▏┊−⁺⁻…–·", "#####   |-+-~-,")
_COLOURS = {"head": "1", "+": "34", "-": "33", "dim": "2"}

Cell = str | tuple[str, str]
"""A text, or a text and its role: "head", "+" (presence), "-" (absence) or "dim"."""


@dataclass(frozen=True)
class Terminal:
    """What the place that is written to can show."""

    width: int = FALLBACK_WIDTH
    colour: bool = False
    encoding: str = "utf-8"

    @classmethod
    def of(cls, stream: TextIO) -> Terminal:
        """What `stream` can show: no colour in a file, nor where NO_COLOR asks for none."""
        width = shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(max(NARROWEST, width), stream.isatty() and wanted, stream.encoding or "ascii")

    def encoded(self, text: str) -> str:
        """`text` with what the stream's encoding lacks replaced by what it has."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII)
            return text.encode(self.encoding, "replace").decode(self.encoding)
        return text

    def painted(self, text: str, role: str) -> str:
        """`text` in the colour of its role."""
        code = _COLOURS.get(role)
        return f"\033[{code}m{text}\033[0m" if self.colour and code and text.strip() else text


def plain(text: str) -> str:
    r"""A name on one line, without what would steer a terminal.

    >>> plain("a\x1b[31mb\nc")
    'a?[31mb c'
    """
    line = " ".join(text.split())
    return "".join("?" if unicodedata.category(char)[0] == "C" else char for char in line)


def columns(text: str) -> int:
    """Columns that a text takes in a terminal: two for each wide character."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def cut(text: str, width: int) -> str:
    """A text of at most `width` columns, with … where something was left out.

    >>> cut("abcdefghij", 5)
    'ab…ij'
    """
    if columns(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{_fitting(text, width - 1 - half)}…{_fitting(text[::-1], half)[::-1]}"


def _fitting(text: str, width: int) -> str:
    """The longest beginning of a text that takes no more than `width` columns."""
    while columns(text) > width:
        text = text[:-1]
    return text


def number(value: float | None, digits: int = 0, *, sign: bool = False) -> str:
    """A number for people: thousands apart, a true minus, "–" for none.

    >>> number(12416), number(-0.106, 3), number(0.2, 2, sign=True), number(None)
    ('12,416', '−0.106', '+0.20', '–')
    """
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−")


def bar(share: float, width: int, mark: float | None = None) -> str:
    """A bar over `share` (0 to 1) of `width` columns, to an eighth of one; ┊ stands at `mark`.

    >>> bar(0.5, 8), bar(0.0, 4), bar(1.0, 4, mark=0.5)
    ('████    ', '    ', '██┊█')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    drawn = ("█" * full + (_EIGHTHS[rest - 1] if rest else "")).ljust(width)
    if mark is None or not 0 <= mark <= 1:
        return drawn
    place = min(int(mark * width), width - 1)
    return f"{drawn[:place]}┊{drawn[place + 1 :]}"


def facts(rows: Sequence[tuple[str, str]], terminal: Terminal) -> list[str]:
    """Names, and what there is to say of each, folded in a column of its own."""
    indent = 4 + max((len(name) for name, _ in rows), default=0)
    lines = []
    for name, text in rows:
        first = f"  {name}".ljust(indent)
        folded = textwrap.wrap(text, terminal.width - indent) or [""]
        lines += [first + folded[0], *(" " * indent + line for line in folded[1:])]
    return lines


def table(rows: Sequence[Sequence[Cell]], aligned: str, terminal: Terminal) -> list[str]:
    """Rows in columns two spaces apart.

    Args:
        rows: cells; a shorter row leaves its last columns empty.
        aligned: "<", ">" or "~" for each column: "~" is a left one that gives way for the others.
        terminal: where they will stand.
    """
    texts = [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in rows]
    widths = [
        max((columns(r[i]) for r in texts if i < len(r)), default=0) for i in range(len(aligned))
    ]
    room = terminal.width - 2 * len(aligned)
    excess = sum(widths) - room
    if excess > 0 and "~" in aligned:
        yielding = aligned.index("~")
        widths[yielding] = max(8, widths[yielding] - excess)
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, aligned, strict=False):
            text, role = (cell, "") if isinstance(cell, str) else cell
            text = cut(text, width)
            space = " " * (width - columns(text))
            cells.append(terminal.painted(space + text if side == ">" else text + space, role))
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines

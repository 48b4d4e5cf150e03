"""Text from data, made fit to be printed: nothing in it steers a terminal or turns a line round."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FORMULA = r"^[=+\-@\t\r][\s\S]"
"""How a cell begins that a spreadsheet takes for a formula; a sign alone is none."""


def printable(text: str) -> str:
    r"""Put a text on one line; control characters and marks of direction become "?".

    >>> printable("a\x1b[31mb\nc\u202ed")
    'a?[31mb c?d'
    """
    shown = (c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    return "".join(shown)


def plain(text: str) -> str:
    r"""Put a name on one line as `printable` does, with single blanks.

    >>> plain("a\x1b[31mb\n  c")
    'a?[31mb c'
    """
    return " ".join(printable(text).split())


def cell(text: str) -> str:
    """Put a mark before a text that a spreadsheet would take for a formula.

    >>> cell("=1+1"), cell("-"), cell("wren")
    ("'=1+1", '-', 'wren')
    """
    return f"'{text}" if re.match(FORMULA, text) else text


def without_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """Put that mark before all such texts of a table."""
    import polars as pl

    texts = pl.col(pl.String)
    marked = pl.when(texts.str.contains(FORMULA)).then(pl.lit("'") + texts).otherwise(texts)
    return table.with_columns(marked.name.keep())


def amount(count: int) -> str:
    """Write a number of bytes for people.

    >>> amount(999), amount(1000), amount(53_500_000), amount(8_700_000_000)
    ('999 bytes', '1.0 kB', '53.5 MB', '8.7 GB')
    """
    if count < 1000:
        return f"{count} bytes"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.1f} {unit}"

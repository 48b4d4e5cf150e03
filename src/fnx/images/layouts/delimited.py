"""Delimited text as people save it: any usual encoding, separator, quoting and end of line."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from fnx.errors import DataError
from fnx.images.paths import shown

log = logging.getLogger(__name__)

_SEPARATORS = (",", ";", "\t", "|")
_LONGEST_HEADER = 100_000  # letters in which the separator is looked for
_NAMES_ITS_SEPARATOR = re.compile(r'"?sep=([^\s"\\])"?[^\n\r]*[\n\r]+|"?sep=(\t)"?[\n\r]+', re.I)
_MARKS = (  # of UTF-32 first, whose mark begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\x1f\x8b": "compressed: unpack it first",
    b"BZh": "compressed: unpack it first",
    b"\xfd7zX": "compressed: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed: unpack it first",
}


def read_delimited(file: Path, known: Collection[str]) -> pl.DataFrame:
    """Return a table as texts, null where a cell is empty; rows without any text are left out.

    The first line names the columns. `known` are the names that are looked for: the separator is
    the one that makes most of them columns. A column ``""``, a name that no other has, counts the
    rows from 1 as the file has them.

    Raises:
        DataError: a file that is no text, has no first line, or has rows of more values than
            columns.
        OSError: a file that cannot be read.
    """
    text = _decoded(file)
    separator = "\t" if file.suffix.lower() in (".tsv", ".tab") else ","
    if named := _NAMES_ITS_SEPARATOR.match(text):
        separator = named[1] or named[2]
        text = text[named.end() :]
    else:
        separator = _separator(text, known, separator)
    try:
        rows = _rows(text, separator)
        names = _header(rows)
        while names and not names[-1]:
            names.pop()
        if not names:
            raise DataError(f"{shown(file)}: its first line must name the columns, as path,label")
        if twice := [name for name in known if names.count(name) > 1]:
            raise DataError(f"{shown(file)} has several columns {twice[0]!r}")
        columns: list[list[str | None]] = [[] for _ in names]
        numbers = []
        for number, values in enumerate(rows, start=1):
            if not any(values):
                continue
            if any(values[len(names) :]):
                raise DataError(
                    f"cannot read the table {shown(file)}: row {number} has {len(values)} values "
                    f"where the first line names {len(names)} columns: {values[:9]} (a value that "
                    f"holds {separator!r} must stand between quotes)"
                )
            numbers.append(number)
            filled = [*values, *[""] * (len(names) - len(values))]
            for column, value in zip(columns, filled, strict=False):
                column.append(value or None)
    except csv.Error as error:
        raise DataError(
            f"cannot read the table {shown(file)}: {error} (a quote that is not closed?)"
        ) from error
    found = {name: values for name, values in zip(names, columns, strict=True) if name}
    table = pl.DataFrame(found, schema=dict.fromkeys(found, pl.String))
    return table.with_columns(pl.Series("", numbers, pl.Int64))


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _header(rows: Iterator[list[str]]) -> list[str]:
    """Return the first row that is not empty, without blanks around the names."""
    return [name.strip() for name in next(filter(any, rows), [])]


def _separator(text: str, known: Collection[str], usual: str) -> str:
    """Return the separator with which the first line names most known columns, or most columns."""

    def columns(separator: str) -> tuple[int, int]:
        try:
            names = [name.casefold() for name in _header(_rows(text[:_LONGEST_HEADER], separator))]
        except csv.Error:  # a quote that another separator leaves open
            return 0, 0
        return len({name.casefold() for name in known}.intersection(names)), len(names)

    return max((usual, *_SEPARATORS), key=columns)


def _decoded(file: Path) -> str:
    """Return a file's text, whatever the program that saved it."""
    content = file.read_bytes()
    for mark, what in _NOT_TEXT.items():
        if content.startswith(mark):
            raise DataError(f"{shown(file)} is not text but {what}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:200]:  # two bytes a letter, and no mark
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise DataError(
                f"{shown(file)} is not the {encoding.upper()} that it begins as: save it as UTF-8"
            ) from error
        place = error.start
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{shown(file)} is neither UTF-8 nor UTF-16 nor Windows' cp1252: save it as UTF-8"
        ) from error
    start = max(place - 10, text.rfind("\n", 0, place) + 1)
    around = text[start : place + 10].splitlines()[0]
    log.warning("%s is not UTF-8: read as Windows' cp1252, as in %r", shown(file), around)
    return text

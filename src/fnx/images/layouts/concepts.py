"""Concepts in a table: columns of true and false, or several names in one cell."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import polars as pl

from fnx.errors import ConfigError, DataError, unknown


def concept_table(table: pl.DataFrame, patterns: Sequence[str], name: str) -> pl.DataFrame:
    """Return the columns of true and false that some names or globs choose.

    Raises:
        ConfigError: a pattern that chooses none.
        DataError: other values, by their row and column.
    """
    chosen = [column for column in table.columns if is_like_any(column, patterns)]
    for pattern in patterns:
        if not any(fnmatchcase(column, pattern) for column in chosen):
            raise ConfigError(unknown("dataset.concept_columns", pattern, table.columns))
    truths = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = {}
    for column in chosen:
        values = table[column].cast(pl.String).str.to_lowercase().str.strip_chars()
        read = values.str.strip_suffix(".0").replace_strict(
            truths, default=None, return_dtype=pl.Boolean
        )
        if read.has_nulls():
            row = int(read.is_null().arg_max() or 0)
            raise DataError(
                f"{name}: row {row}, column {column!r} is {table[column][row]!r}: concepts are "
                "true or false"
            )
        found[column] = read
    return pl.DataFrame(found)


def split_names(column: pl.Series, separator: str) -> list[list[str]]:
    """Return the names that a separator parts in each cell; none of an empty one."""
    parts = column.fill_null("").str.split(separator)
    return [[name for part in own if (name := part.strip())] for own in parts.to_list()]


def is_like_any(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a name is one of some names or globs."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)

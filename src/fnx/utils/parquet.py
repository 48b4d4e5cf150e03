"""Reads Parquet files, which may be damaged, without what Polars writes as it panics."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from fnx.errors import reason


def read_parquet(file: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a Parquet file, or some columns of it.

    Raises:
        ValueError: it cannot be read; says why in one line.
    """
    try:
        with _without_stderr():
            return pl.read_parquet(file, columns=columns)
    except (OSError, MemoryError, pl.exceptions.PolarsError) as error:
        raise ValueError((str(error).splitlines() or [reason(error)])[0]) from error
    except pl.exceptions.PanicException as error:
        raise ValueError("it is damaged") from error


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep off standard error what a library writes there past Python."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # it is closed, or there is none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

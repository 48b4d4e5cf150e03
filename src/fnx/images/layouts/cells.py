"""Images that stand in the cells of a table, as their bytes or as the hub's {bytes, path}."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fnx.images.dataset import Stream
from fnx.images.paths import Files


def cell_stream(value: Any, folder: Path | None = None) -> Stream:
    """Open the image of a cell: its bytes, or the file that it names, below `folder` if relative.

    Raises:
        ValueError: a cell without an image.
        OSError: a file that cannot be read.
    """
    if isinstance(value, Mapping):
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if value is None:
        raise ValueError("the row has no image")
    if isinstance(value, bytes):
        return io.BytesIO(value)
    return Files("" if folder is None else str(folder)).stream(value)


@dataclass(frozen=True)
class Cells:
    """Source of images that are cells of one column (see `fnx.images.dataset.Source`)."""

    column: pl.Series
    folder: Path

    def stream(self, path: str) -> Stream:
        """Open the image's bytes."""
        return cell_stream(self.column[int(path)], self.folder)

    def stamp(self, path: str) -> None:
        """Remember nothing: the table does not say when a row was changed."""

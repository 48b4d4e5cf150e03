"""Labelled images: what a layout's reader finds on disk, and what a run works on once checked."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

#: Columns of `LabelledImages.table`, as `images.parquet` of a run has them, and the file's digest.
TABLE_SCHEMA = pl.Schema(
    {
        "image_id": pl.Int64,
        "path": pl.String,
        "class_id": pl.Int32,
        "class_name": pl.String,
        "split": pl.String,
        "status": pl.String,
        "error": pl.String,
        "digest": pl.String,
    }
)

#: A file open for reading, or its bytes in memory.
Stream = io.BufferedReader | io.BytesIO

#: Size in bytes, time of modification and time of the last change, both in nanoseconds.
Stamp = tuple[int, int, int]


class Opener(Protocol):
    """Opens an image by its path in the table; picklable, so that worker processes can hold it."""

    def __call__(self, path: str) -> Image.Image:
        """The image, its pixels not yet decoded; may raise whatever Pillow or the system raises."""
        ...


class Source(Opener, Protocol):
    """An `Opener` that also gives an image's encoded bytes, for the check before any work."""

    def stream(self, path: str) -> Stream:
        """The image's encoded bytes, seekable."""
        ...

    def stamp(self, path: str) -> Stamp | None:
        """What changes when the image changes; None if it cannot, or need not, be remembered."""
        ...


@dataclass(frozen=True)
class Listing:
    """What the reader of a layout finds, before any file is opened: candidates in their order.

    Attributes:
        paths: one a candidate, relative to the root, `/` between folders; all different.
        class_names: the class of each.
        splits: the official split of each, None where there is none.
        open: how to read them.
        root: the folder they lie in; None if they lie in none (then no check is remembered).
    """

    paths: list[str]
    class_names: list[str]
    splits: list[str | None]
    open: Source
    root: Path | None = None

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.class_names) == len(self.splits):
            raise ValueError("paths, class_names and splits must be equally long")


@dataclass(frozen=True)
class LabelledImages:
    """Checked images with their labels.

    Attributes:
        name: name of the data set.
        table: one row a candidate: image_id Int64 (0…), path, class_id Int32 (null if no image of
            the class can be read), class_name, split (nullable), status ("ok" | "failed"), error
            (nullable), digest (of the file's bytes, hex; null if it failed).
        class_names: names in order of class_id.
        open: opens an image by its path.
        warnings: what is not as the paper's Table 2 has it, one line each.
    """

    name: str
    table: pl.DataFrame
    class_names: tuple[str, ...]
    open: Opener
    warnings: tuple[str, ...] = ()

    def ok(self) -> pl.DataFrame:
        """The rows of readable images, in order: row i is row i of the embedding."""
        return self.table.filter(pl.col("status") == "ok")

    def labels(self) -> NDArray[np.int32]:
        """class_id of the readable images, in order: int32 (N,)."""
        return self.ok()["class_id"].to_numpy().astype(np.int32)

    def digest(self) -> str:
        """Hex digest of all that the images bring to an embedding: content, order and labels."""
        rows = self.ok().select("path", "digest", "class_name", "split")
        total = hashlib.blake2b(json.dumps(self.class_names).encode(), digest_size=16)
        for row in rows.iter_rows():
            total.update(json.dumps(row).encode() + b"\n")
        return total.hexdigest()

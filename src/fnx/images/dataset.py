"""Labelled images: as the reader of a layout finds them on disk, and as a run works on them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from fnx.utils.files import digest

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

    def __call__(
        self, path: str, content_digest: str | None = None, *, side: int | None = None
    ) -> Image.Image:
        """Return the image as 8-bit RGB, upright; may raise what Pillow or the system does.

        With `content_digest`, the table's, a file of other content is an error. With `side`, a
        JPEG may be decoded at a half, a quarter or an eighth of its size, which is faster, but no
        smaller than that on its short side: for pictures to look at, not for the network.
        """


class Source(Protocol):
    """Gives the encoded bytes of an image by its path in the table; picklable."""

    def stream(self, path: str) -> Stream:
        """Open the image's encoded bytes, seekable."""

    def stamp(self, path: str) -> Stamp | None:
        """Return what changes when the image does; None if checks of it are not remembered."""


@dataclass(frozen=True)
class Listing:
    """Candidates in their order, as the reader of a layout finds them; no file is opened yet.

    Attributes:
        paths: path of each candidate, relative to the root, `/` between folders; all different.
        class_names: class of each candidate; None without one, which only reference images may be.
        splits: official split of each candidate, None where there is none.
        open: how to read them.
        root: the folder they lie in; None if they lie in none (then no check is remembered).
        concepts: names of the concepts that each candidate has, where it may have any number of
            them; `class_names` are then None.
        concept_order: their names in order, as far as there is one.
        groups: what each candidate belongs to, where labels are to be shuffled group by group.
    """

    paths: Sequence[str]
    class_names: Sequence[str | None]
    splits: Sequence[str | None]
    open: Source
    root: Path | None = None
    concepts: Sequence[Sequence[str]] | None = None
    concept_order: Sequence[str] = ()
    groups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.class_names) == len(self.splits):
            raise ValueError("paths, class_names and splits must be equally long")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in their order."""
        if self.concepts is not None:
            there = {name for own in self.concepts for name in own}
            first = [name for name in self.concept_order if name in there]
            return tuple(dict.fromkeys([*first, *(n for own in self.concepts for n in own)]))
        return tuple(name for name in dict.fromkeys(self.class_names) if name is not None)

    def take(self, rows: Iterable[int]) -> Listing:
        """Return some of the candidates."""
        kept = list(rows)
        return replace(
            self,
            paths=[self.paths[row] for row in kept],
            class_names=[self.class_names[row] for row in kept],
            splits=[self.splits[row] for row in kept],
            concepts=self.concepts and [self.concepts[row] for row in kept],
            groups=self.groups and [self.groups[row] for row in kept],
        )


@dataclass(frozen=True)
class LabelledImages:
    """Checked images with their labels.

    Attributes:
        name: name of the data set.
        table: one row per candidate: image_id Int64 (0…), path, class_id Int32 (null without a
            class, or if none of its images can be read), class_name (nullable, as in `Listing`),
            split (nullable), status ("ok" | "failed"), error (nullable), digest (of the file's
            bytes, hex; null if it failed).
        class_names: names in order of class_id.
        open: opens an image by its path.
        warnings: what differs from the paper's Table 2, one line each.
        decoding: how their pixels depend on more than each file, for the fingerprint.
        special: digests of the images to which `decoding` may apply: those of more than 8 bits, and
            TIFFs that are turned upright.
        largest: pixels of the largest image.
    """

    name: str
    table: pl.DataFrame
    class_names: tuple[str, ...]
    open: Opener
    warnings: tuple[str, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)
    special: frozenset[str] = frozenset()
    largest: int = 0

    def ok(self) -> pl.DataFrame:
        """Return the rows of readable images, in order: row i is row i of the embedding."""
        return self.table.filter(pl.col("status") == "ok")

    def labels(self) -> NDArray[np.int32]:
        """Return the class_id of each readable image, in order: int32 (N,)."""
        return self.ok()["class_id"].to_numpy().astype(np.int32)

    def digest(self) -> str:
        """Return a digest of the images' contents in their order; labels and names have no part."""
        return contents_digest(self.ok()["digest"])


def contents_digest(digests: pl.Series) -> str:
    """Return a digest of the digests of images, in their order.

    >>> contents_digest(pl.Series(["a", "b"])) == contents_digest(pl.Series(["b", "a"]))
    False
    """
    return digest(f"{one}\n".encode() for one in digests)

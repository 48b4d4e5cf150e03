"""Receptive fields as boxes of pixels, and as a table beside an embedding; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

_COLUMNS = ("size", "stride", "start", "map")
_AXES = ("down", "right")


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see of an image: boxes of one size on a regular grid.

    Attributes:
        size: height and width in pixels.
        stride: pixels from one position of the layer's map to the next, down and to the right.
        start: top and left edge of the first position's box; negative where it begins in padding.
        map: rows and columns of the layer's map of a square image.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    map: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Return top, left, bottom and right of what one position sees, in pixels of the image.

        It is as large at the border as inside, and so may reach beyond the image.

        >>> ReceptiveField((3, 3), (1, 1), (-1, -1), map=(224, 224)).box(0, 10)
        (-1, 9, 2, 12)
        """
        top, left, bottom, right = self.boxes(np.array([[row, column]]))[0].tolist()
        return top, left, bottom, right

    def boxes(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return what several positions (n, 2) see, as `box` does, int64 (n, 4)."""
        first = np.add(self.start, positions * self.stride)
        return np.hstack([first, np.add(first, self.size)])


def decode_position(code: ArrayLike, count: ArrayLike) -> NDArray[np.int64]:
    """Return the cell of `count` that `encode_position` wrote: floor((2 c + 1) · n / 512).

    It is the very one where `count` is at most 256.

    >>> decode_position([32, 96, 160, 224], 4).tolist()
    [0, 1, 2, 3]
    """
    codes, counts = np.asarray(code, np.int64), np.asarray(count, np.int64)  # uint8 would overflow
    return (2 * codes + 1) * counts // 512


def as_table(fields: Mapping[str, ReceptiveField | None]) -> pl.DataFrame:
    """Return one row per layer: ``layer``, and ``size_down``, ``size_right``, ``stride_down`` ….

    They are null for a layer that is shown whole.
    """
    names = [f"{column}_{axis}" for column in _COLUMNS for axis in _AXES]
    rows = [
        (layer, *(n for column in _COLUMNS for n in getattr(field, column, (None, None))))
        for layer, field in fields.items()
    ]
    schema = {"layer": pl.String(), **dict.fromkeys(names, pl.Int64())}
    return pl.DataFrame(rows, schema=schema, orient="row")


def from_table(table: pl.DataFrame) -> dict[str, ReceptiveField | None]:
    """Return the receptive fields that `as_table` wrote, by layer."""
    return {
        layer: None
        if None in numbers
        else ReceptiveField(*zip(numbers[::2], numbers[1::2], strict=True))
        for layer, *numbers in table.iter_rows()
    }

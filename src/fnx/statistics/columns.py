"""Reads an embedding block of columns by block of columns, whatever array it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError
from fnx.utils.arrays import as_numbers

WIDTH = 64  # columns of a block: the width of the embedding store's inner chunks
MAX_WIDTH = 512  # of a block of an array whose own chunks are wider


@dataclass(frozen=True)
class Columns:
    """An (N, F) array that is read a block of columns at a time."""

    array: Any
    n_rows: int
    n_columns: int
    width: int
    dtype: np.dtype[Any]

    def blocks(self) -> list[tuple[int, int]]:
        """First and last-but-one column of each block."""
        edges = range(0, self.n_columns, self.width)
        return [(start, min(start + self.width, self.n_columns)) for start in edges]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(N, stop - start) float32 or float64; a view where the array is one already."""
        block = self.array[:, start:stop]
        dense = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        return np.asarray(dense, dtype=self.dtype)


def open_columns(features: Any) -> Columns:
    """Wrap what `fnx.utils.arrays.as_array` takes.

    float16 is read as float32 and integers as float64, both without loss (integers to 2**53).

    Raises:
        DataError: not two-dimensional, empty, of missing values, or not of real numbers.
    """
    features = as_numbers("features", features)
    shape = tuple(features.shape)
    if len(shape) != 2:
        raise DataError(f"features have shape {shape}: must be (N, F), images by features")
    if 0 in shape:
        raise DataError(f"features have shape {shape}: there is nothing to compare")
    kind = features.dtype
    if kind.kind not in "fiub" or kind.itemsize > 8:
        raise DataError(f"features are {kind}: must be float16, float32, float64 or integers")
    single = kind.kind == "f" and kind.itemsize <= 4
    chunks = getattr(features, "chunks", None)
    if chunks:
        across = chunks[1] if isinstance(chunks[1], int) else max(chunks[1])  # Dask names them all
        width = min(max(across, WIDTH), MAX_WIDTH)
    else:
        width = WIDTH
    return Columns(features, *shape, width, np.dtype(np.float32 if single else np.float64))

"""Reads an embedding block of columns by block of columns, whatever array it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError
from fnx.registry.registry import Statistic
from fnx.utils.arrays import as_numbers

log = logging.getLogger(__name__)

WIDTH = 64  # columns of a block: the width of the embedding store's inner chunks
MOSTLY = 0.99  # share of zeros from which on bins of equal width tell little apart
ROWS_LOOKED_AT = 250  # of an array in memory, to find such features
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
        block = self.block(start, stop)
        dense: NDArray[Any] = block.toarray() if hasattr(block, "toarray") else block
        return dense

    def block(self, start: int, stop: int) -> Any:
        """Return the same as `read`, but of a sparse matrix still a sparse one."""
        block = self.array[:, start:stop]
        if hasattr(block, "toarray"):
            return block.astype(self.dtype)
        return np.asarray(block, dtype=self.dtype)


def open_columns(features: Any) -> Columns:
    """Wrap what `fnx.utils.arrays.as_array` takes.

    float16 is read as float32 and integers as float64, both without loss (integers to 2**53).

    Raises:
        DataError: not two-dimensional, empty, of missing values, or not of real numbers.
    """
    features = as_numbers("features", features)
    if hasattr(features, "toarray"):
        features = _each_value_once(features)
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


def _each_value_once(sparse: Any) -> Any:
    """Return a matrix of sorted columns (CSC) in which no place occurs twice; its own is kept.

    Values of one place are added in the order in which they are stored, as ``toarray`` adds them.
    """
    if sparse.has_canonical_format:
        return sparse
    ordered = sparse.tocsr().tocsc()  # which keeps that order, unlike sorting each column
    ordered.sum_duplicates()
    return ordered


def warn_of_zeros(
    columns: Columns, statistic: Statistic, parameters: Mapping[str, Any] | None = None
) -> None:
    """Warn of features whose values nearly all are 0, where a statistic has bins of equal width.

    Of an array in memory, some rows are looked at.
    """
    bins = statistic.bind(parameters or {}).get("bins")
    if bins is None:
        return
    array, rows = columns.array, columns.n_rows
    if hasattr(array, "toarray"):
        zeros = rows - np.diff(array.indptr)
    elif isinstance(array, np.ndarray):
        some = array[:: -(-rows // ROWS_LOOKED_AT)]
        zeros, rows = (some == 0).sum(axis=0, dtype=np.uint16), len(some)
    else:
        return
    alone = zeros == columns.n_rows  # a constant, which no statistic tells apart
    many = int(((zeros >= MOSTLY * rows) & ~alone).sum())
    if many:
        log.warning(
            "%d of %d features are 0 in %d %% of the rows or more, where %d bins of equal width "
            "tell little apart: statistic=ks_exact has no bins",
            many,
            columns.n_columns,
            round(100 * MOSTLY),
            bins,
        )

"""Fills a tile with the columns of an embedding, and finds the extremes of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.sorting import integer_view, sign_mask

Array = Any  # Numba's arrays: their types are the callers'


class CallError(Exception):
    """A plugin's function raised, for a feature of the tile and a class (-1: of none)."""

    def __init__(self, feature: int, of_class: int, reason: str) -> None:
        super().__init__(reason)
        self.feature, self.of_class, self.reason = feature, of_class, reason


class Features(NamedTuple):
    """A tile of features, and where their distances go: the last argument of every kernel."""

    columns: Array  # (width, N or more) float32 or float64, one feature per row, all finite
    varying: Array  # numbers of the features that are not constant, the only ones to compute
    low: Array  # (width,) float64: each feature's smallest value
    high: Array  # and its largest
    values: Array  # (L, width, C) float32: the result


@cached_njit(nogil=True)
def transpose(block: Array, tile: Array) -> None:
    """Copy the columns of `block` (N, width) into the rows of `tile` (width or more, N or more)."""
    n, width = block.shape
    for i in range(n):
        for j in range(width):
            tile[j, i] = block[i, j]


@cached_njit(nogil=True)
def extremes(columns: Array, n: int, low: Array, high: Array) -> None:
    """Find the smallest and the largest value of each row of `columns` (width, N or more).

    Results are `low` and `high` (width,) float64. A NaN is beyond the infinity of its sign, so that
    it shows here.
    """
    ends = np.empty(2, columns.dtype)
    end_bits = integer_view(ends)
    for f in range(columns.shape[0]):
        bits = integer_view(columns[f, :n])
        kind, mask = bits.dtype.type, sign_mask(bits)
        sign = kind(8 * bits.itemsize - 1)
        # As integers, which the compiler makes vector code of (of floats it does not: 7 times
        # slower).
        least = most = kind(bits[0] ^ ((bits[0] >> sign) & mask))
        for i in range(n):
            key = kind(bits[i] ^ ((bits[i] >> sign) & mask))
            least = min(least, key)
            most = max(most, key)
        end_bits[0] = least ^ ((least >> sign) & mask)
        end_bits[1] = most ^ ((most >> sign) & mask)
        low[f], high[f] = ends[0], ends[1]

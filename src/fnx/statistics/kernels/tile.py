"""Fills a tile with the columns of an embedding, and finds the extremes of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fnx.statistics.kernels.sorting import integer_view, sign_mask

Array = Any  # Numba's arrays: their types are the callers'


@njit(nogil=True, cache=True)
def transpose(block: Array, tile: Array) -> None:
    """Copy the columns of `block` into the rows of `tile`.

    Args:
        block: (N, width), the values of a row side by side in memory.
        tile: (width or more, N or more) of the same type.
    """
    n, width = block.shape
    for i in range(n):
        for j in range(width):
            tile[j, i] = block[i, j]


@njit(nogil=True, cache=True)
def extremes(columns: Array, n: int, low: Array, high: Array) -> None:
    """Find the smallest and the largest value of each row of `columns` (width, N or more).

    A NaN is beyond the infinity of its sign, so that it shows here.

    Args:
        columns: (width, N or more) float32 or float64.
        n: number N of values.
        low: (width,) float64, the result.
        high: likewise.
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

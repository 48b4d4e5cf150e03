"""Finds the rows with the highest values of each feature, in one pass over a block of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.statistics.kernels.compilation import cached_njit


def highest(block: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the rows of a block (N, width) with the k highest values of each column: (width, k).

    Equal values are in order of the rows. Zeros and values that are not finite are left out, and a
    constant has no highest values: there are -1 at the end where a column has fewer.

    >>> highest(np.array([[0, 3, 1, 3, 2]], np.float32).T, 3).tolist()
    [[1, 3, 4]]
    """
    best = np.full((block.shape[1], k), -1, np.int64)
    _highest(block, best)
    return best


@cached_njit(nogil=True)
def _highest(block: Any, best: Any) -> None:
    """Fill `best` (width, k), all -1, as `highest` says."""
    n, width = block.shape
    k = best.shape[1]
    least = np.full(width, -np.inf, block.dtype)  # the lowest value of those that are full
    varying = np.zeros(width, np.bool_)
    for i in range(n):
        for f in range(width):
            value = block[i, f]
            varying[f] |= value != block[0, f]
            # NaN is greater than nothing.
            if value > least[f] and value != 0 and value < np.inf:
                place = k - 1
                while place > 0 and (
                    best[f, place - 1] < 0 or block[best[f, place - 1], f] < value
                ):
                    best[f, place] = best[f, place - 1]
                    place -= 1
                best[f, place] = i
                if best[f, k - 1] >= 0:
                    least[f] = block[best[f, k - 1], f]
    for f in range(width):
        if not varying[f]:
            best[f] = -1

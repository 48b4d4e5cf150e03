"""Brownian bridges, and their largest absolute values at the positions of each feature.

Bridges are held side by side, `LANES` to a row: what is read of one position is one cache line, and
is compared at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit

LANES = 16
STRIDE = 64  # positions of which the largest value is kept, so that long runs are read fast

Array = Any  # Numba's arrays: their types are the callers'


@cached_njit(nogil=True)
def make_bridges(walks: Array, tops: Array) -> None:
    """Make |B(i / n)|, i = 0 … n, of independent standard normal numbers.

    Args:
        walks: (n + 1, `LANES`) float32: the numbers, of which the first row is not used; then the
            absolute values of the bridges.
        tops: (n // `STRIDE` + 1, `LANES`) float32: then the largest of each `STRIDE` rows.
    """
    n = walks.shape[0] - 1
    last = np.zeros(LANES)
    walks[0] = 0
    for i in range(1, n + 1):
        for k in range(LANES):
            last[k] += walks[i, k]
            walks[i, k] = last[k]
    scale = 1 / np.sqrt(n)
    tops[:] = 0
    walks[n] = 0
    for i in range(n):  # at the end it is 0, and stays so
        share = i / n
        for k in range(LANES):
            value = np.float32(abs(walks[i, k] - share * last[k]) * scale)
            walks[i, k] = value
            tops[i // STRIDE, k] = max(tops[i // STRIDE, k], value)


@cached_njit(nogil=True)
def suprema(
    walks: Array, tops: Array, offsets: Array, firsts: Array, lasts: Array, result: Array
) -> None:
    """Find the largest value of each bridge at the positions of each feature.

    Args:
        walks: (n + 1, `LANES`) of `make_bridges`.
        tops: likewise.
        offsets: (F + 1,) where the runs of each feature begin in the following.
        firsts: (runs,) the first of positions that follow each other.
        lasts: (runs,) the last of them.
        result: (F, `LANES`) float32.
    """
    best = np.empty(LANES, np.float32)
    for f in range(offsets.size - 1):
        best[:] = 0
        for r in range(offsets[f], offsets[f + 1]):
            i, last = firsts[r], lasts[r]
            while i <= last:
                if i % STRIDE == 0 and i + STRIDE - 1 <= last:
                    row = tops[i // STRIDE]
                    i += STRIDE
                else:
                    row = walks[i]
                    i += 1
                for k in range(LANES):
                    best[k] = max(best[k], row[k])
        for k in range(LANES):  # compiled in a tenth of the time of an assignment of rows
            result[f, k] = best[k]

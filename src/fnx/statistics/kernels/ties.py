"""Where a feature's pooled distribution function rises: the ends of its groups of tied values."""

from __future__ import annotations

from typing import Any

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.histogram import bin_column
from fnx.statistics.kernels.sorting import sort_column, sort_scratch

Array = Any  # Numba's arrays: their types are the callers'


@cached_njit(nogil=True)
def binned_ends(columns: Array, n: int, low: Array, high: Array, ends: Array, found: Array) -> None:
    """Count the values up to the upper edge of each bin that holds some.

    Args:
        columns: (width, n or more), one feature per row.
        n: number of images.
        low: (width,) each feature's smallest value.
        high: (width,) and its largest.
        ends: (width, bins) int32: the results, ascending, of which the last is n.
        found: (width,) int64: how many there are of each feature.
    """
    bins = ends.shape[1]
    index = np.empty(n, np.uint16)
    counts = np.empty(bins, np.int32)
    for f in range(ends.shape[0]):
        if low[f] == high[f]:
            ends[f, 0], found[f] = n, 1
            continue
        bin_column(columns[f, :n], low[f], high[f], bins, index)
        counts[:] = 0
        for i in range(n):
            counts[index[i]] += 1
        total, k = np.int32(0), 0
        for b in range(bins):
            if counts[b]:
                total += counts[b]
                ends[f, k] = total
                k += 1
        found[f] = k


@cached_njit(nogil=True)
def exact_ends(columns: Array, n: int, low: Array, high: Array, ends: Array, found: Array) -> None:
    """Count the values up to each distinct value; arguments as above, `ends` is (width, n)."""
    rows, starts, stops = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    for f in range(ends.shape[0]):
        front = sort_column(columns[f, :n], low[f], high[f], scratch, rows, starts, stops)
        k = 0
        if front:
            ends[f, 0] = front
            k = 1
        i = 0
        while i < n - front:
            i = int(stops[i])
            ends[f, k] = front + i
            k += 1
        found[f] = k

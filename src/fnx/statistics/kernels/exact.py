"""The exact KS for all classes in one pass over a feature's sorted values.

See `fnx.statistics.kernels.histogram` for the arguments of a kernel, and for the integers that
stand for D. A feature is sorted once for all labellings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fnx.statistics.kernels.histogram import signed_distances
from fnx.statistics.kernels.sorting import sort_column, sort_scratch

SEEN, HIGH, LOW = range(3)  # rows of the state of the classes

Array = Any  # Numba's arrays: their types are the callers'


@njit(nogil=True, cache=True)
def ks_exact_tile(
    labellings: Array,
    sizes: Array,
    columns: Array,
    varying: Array,
    low: Array,
    high: Array,
    values: Array,
) -> None:
    """Compute the exact signed KS for the features of a tile."""
    n = labellings.shape[1]
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    state = np.empty((3, sizes.shape[1]), np.int64)
    for f in varying:
        front = sort_column(columns[f, :n], low[f], high[f], scratch, rows, starts, ends)
        for k in range(labellings.shape[0]):
            exact_extremes(rows, front, starts, ends, labellings[k], sizes[k], state)
            signed_distances(state[HIGH], state[LOW], sizes[k], n, values[k, f])


@njit(nogil=True, cache=True)
def exact_extremes(
    rows: Array,
    front: int,
    starts: Array,
    ends: Array,
    labels: Array,
    sizes: Array,
    state: Array,
) -> None:
    """Find the largest and smallest N_c n - N n_c per class, in one pass over the sorted images.

    The difference of class c rises at images of other classes and falls at its own, so it peaks
    just before a tie group with an image of c and bottoms just after one. Within a group the counts
    of c are taken as they grow: the first image sees the true count before the group and the last
    one the true count after it; those between only give values that are no more extreme.

    The `front` images that come first are one tie group; `starts` and `ends` are those of the
    others, counted from them on. Results are rows `HIGH` and `LOW` of `state` (3, C).
    """
    n = rows.size
    state[:] = 0
    seen, high, low = state[SEEN], state[HIGH], state[LOW]
    quarter = np.uint64(front // 4)
    for i in range(quarter):  # from four places: see `count_classes`
        first = np.uint64(i)
        second = first + quarter
        third = second + quarter
        fourth = third + quarter
        seen[np.uint64(labels[np.uint64(rows[first])])] += n
        seen[np.uint64(labels[np.uint64(rows[second])])] += n
        seen[np.uint64(labels[np.uint64(rows[third])])] += n
        seen[np.uint64(labels[np.uint64(rows[fourth])])] += n
    for i in range(front - front % 4, front):
        seen[np.uint64(labels[np.uint64(rows[i])])] += n
    for c in range(sizes.size):
        low[c] = min(0, sizes[c] * front - seen[c])
    later = rows[front:]
    for i in range(n - front):
        own = np.uint64(labels[np.uint64(later[i])])
        count, size = seen[own], sizes[own]
        before = size * (front + np.int64(starts[i])) - count
        count += n
        after = size * (front + np.int64(ends[i])) - count
        seen[own] = count
        # Branches: they are seldom taken, and cheaper than two stores for every image.
        if before > high[own]:
            high[own] = before
        if after < low[own]:
            low[own] = after

"""The exact KS for all classes in one pass over a feature's sorted values.

Like the kernels of `fnx.statistics.kernels.histogram` (see there for the integers that stand for
D), it works on one tile, alone and without the GIL; a feature is sorted once for all labellings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fnx.statistics.kernels.histogram import extremes, first_not_finite, signed_distances
from fnx.statistics.kernels.sorting import (
    RADIX_BITS,
    integer_view,
    radix_sort,
    sign_mask,
    sort_keys,
    sort_pairs,
    tie_groups,
)

SEEN, HIGH, LOW = range(3)  # rows of the state of the classes

Array = Any  # Numba's arrays: their types are the callers'


@njit(nogil=True, cache=True)
def ks_exact_tile(
    columns: Array,
    labellings: Array,
    sizes: Array,
    values: Array,
    constant: Array,
    faults: Array,
) -> None:
    """Exact signed KS for all features of a tile.

    The arguments are those of `fnx.statistics.kernels.histogram.ks_tile`; `sizes` (L, C) are int64.
    """
    n = labellings.shape[1]
    single, keys = np.empty(n, np.float32), np.empty(n, np.uint32)
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    pairs = np.empty((2, n), np.uint64)
    state = np.empty((3, sizes.shape[1]), np.int64)
    for f in range(columns.shape[0]):
        column = columns[f, :n]
        low, high = extremes(column)
        if not (np.isfinite(low) and np.isfinite(high)):
            faults[f] = first_not_finite(column)
            continue
        constant[f] = low == high
        if constant[f]:
            values[:, f] = 0
            continue
        front = 0
        if narrow(column, single):
            front = sort_single(single, low, high, pairs, keys, rows)
            tie_groups(keys[: n - front], starts, ends)
        else:
            sort_double(column, rows, starts, ends)
        for k in range(labellings.shape[0]):
            exact_extremes(rows, front, starts, ends, labellings[k], sizes[k], state)
            signed_distances(state[HIGH], state[LOW], sizes[k], n, values[k, f])


@njit(nogil=True, cache=True)
def narrow(column: Array, single: Array) -> bool:
    """Write the column as float32, -0 as 0; whether nothing was lost."""
    lost = np.int32(0)
    for i in range(column.size):
        single[i] = np.float32(column[i]) + np.float32(0)
        lost |= np.int32(single[i] != column[i])
    return bool(lost == 0)


@njit(nogil=True, cache=True)
def sort_single(
    column: Array, low: float, high: float, pairs: Array, keys: Array, rows: Array
) -> int:
    """Sort float32 values, (N,) without -0; returns how many are in front of the sorted ones.

    After a ReLU many values are the smallest, 0: they are put in front and left out of the sort.

    Args:
        column: the values.
        low: the smallest of them.
        high: the largest.
        pairs: (2, N) scratch of uint64.
        keys: (N,) uint32; the first ones order as the sorted values do, the result.
        rows: (N,) uint32 row numbers of those in front, then of those sorted, the result.
    """
    n = column.size
    smallest = np.float32(low) + np.float32(0)
    bits, mask, sign = integer_view(column), sign_mask(integer_view(column)), np.int32(31)
    ends = np.array([smallest, np.float32(high) + np.float32(0)])
    last = integer_view(ends)
    first = np.uint32(last[0] ^ ((last[0] >> sign) & mask))
    span = int(np.uint32(np.uint32(last[1] ^ ((last[1] >> sign) & mask)) - first))
    lowest = 0
    for i in range(n):
        lowest += int(column[i] == smallest)
    apart = lowest > n // 16  # worth a pass of its own
    source = pairs[1 if apart else 0]
    for i in range(n):
        key = np.uint32(np.uint32(bits[i] ^ ((bits[i] >> sign) & mask)) - first)
        source[i] = np.uint64(key) << np.uint64(32) | np.uint64(i)
    front = 0
    if apart:
        front = lowest
        target = pairs[0]
        z, m = np.uint64(0), np.uint64(0)
        for i in range(n):  # each is written to both, and one of them stays
            rows[z] = i
            target[m] = source[i]
            is_lowest = column[i] == smallest
            z += np.uint64(is_lowest)
            m += np.uint64(not is_lowest)
    ordered = pairs[sort_pairs(pairs, n - front, span)]
    for i in range(n - front):
        rows[front + i] = np.uint32(ordered[i])
        keys[i] = np.uint32(ordered[i] >> np.uint64(32))
    return front


@njit(nogil=True, cache=True)
def sort_double(column: Array, rows: Array, starts: Array, ends: Array) -> None:
    """Sort values into row numbers and tie groups, all (N,) uint32."""
    n = column.size
    keys = np.empty((2, n), np.uint64)
    places = np.empty((2, n), np.uint32)
    sort_keys(column, keys[0])
    now = radix_sort(keys, places, 64 // RADIX_BITS)
    rows[:] = places[now]
    tie_groups(keys[now], starts, ends)


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
    """Largest and smallest N_c n - N n_c for all classes in one pass over the sorted images.

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

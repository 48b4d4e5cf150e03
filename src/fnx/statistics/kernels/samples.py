"""Kernels of fnx's own statistics on samples: the exact KS, the area under the ROC, Cohen's d.

See `fnx.statistics.kernels.histogram` for the arguments of a kernel, and for the integers that
stand for a KS. A feature is sorted once for all labellings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.histogram import signed_distances
from fnx.statistics.kernels.sorting import sort_column, sort_scratch

SEEN, HIGH, LOW = range(3)  # rows of the state of the classes

Array = Any  # Numba's arrays: their types are the callers'


@cached_njit(nogil=True)
def ks_exact_tile(labellings: Array, sizes: Array, features: Any) -> None:
    """Compute the exact signed KS for the features of a tile."""
    columns, varying, low, high, values = features
    n = labellings.shape[1]
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    state = np.empty((3, sizes.shape[1]), np.int64)
    for f in varying:
        front = sort_column(columns[f, :n], low[f], high[f], scratch, rows, starts, ends)
        for k in range(labellings.shape[0]):
            exact_extremes(rows, front, starts, ends, labellings[k], sizes[k], state)
            signed_distances(state[HIGH], state[LOW], sizes[k], n, values[k, f])


@cached_njit(nogil=True)
def exact_extremes(
    rows: Array, front: int, starts: Array, ends: Array, labels: Array, sizes: Array, state: Array
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
    for i in range(quarter):  # from four parts: see `count_places`
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
        high[own] = max(high[own], before)
        low[own] = min(low[own], after)


@cached_njit(nogil=True)
def auroc_tile(labellings: Array, sizes: Array, features: Any) -> None:
    """Compute the area under the ROC curve: rank sums in one pass over the sorted images.

    U = R - n_c (n_c + 1) / 2 with R the sum of the class's ranks, ties having their mean rank; held
    as integers, doubled.
    """
    columns, varying, low, high, values = features
    n = labellings.shape[1]
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    ranks = np.empty(sizes.shape[1], np.int64)
    for f in varying:
        front = sort_column(columns[f, :n], low[f], high[f], scratch, rows, starts, ends)
        for k in range(labellings.shape[0]):
            ranks[:] = 0
            for i in range(front):
                ranks[np.uint64(labellings[k, np.uint64(rows[i])])] += front + 1
            for i in range(n - front):
                own = np.uint64(labellings[k, np.uint64(rows[front + i])])
                # Ranks start + 1 … end: twice their mean is start + end + 1.
                ranks[own] += 2 * front + np.int64(starts[i]) + np.int64(ends[i]) + 1
            for c in range(ranks.size):
                size = sizes[k, c]
                doubled = ranks[c] - size * (size + 1)
                values[k, f, c] = 0.5 * np.float64(doubled) / np.float64(size * (n - size))


@cached_njit(nogil=True, error_model="numpy")
def cohen_d_tile(labellings: Array, sizes: Array, features: Any) -> None:
    """Compute Cohen's d for the features of a tile.

    The outer mean and sum of squares of class c are merged from those of the classes before it and
    after it (Chan, Golub and LeVeque 1979): nothing is ever subtracted, so nothing cancels.
    """
    columns, varying, low, high, values = features
    n, classes = labellings.shape[1], sizes.shape[1]
    scaled = np.empty(n)
    first, mean, square = np.empty(classes), np.empty(classes), np.empty(classes)
    after = np.empty((classes + 1, 2))
    for f in varying:
        for i in range(n):
            scaled[i] = (np.float64(columns[f, i]) - low[f]) / (high[f] - low[f])
        for k in range(labellings.shape[0]):
            moments(scaled, labellings[k], sizes[k], first, mean, square)
            after[classes] = 0
            rest = 0
            for c in range(classes - 1, -1, -1):
                size = sizes[k, c]
                a, s = after[c + 1, 0], after[c + 1, 1]
                after[c, 0], after[c, 1] = merged(rest, a, s, size, mean[c], square[c])
                rest += size
            count, before, squares = 0, 0.0, 0.0
            for c in range(classes):
                size = sizes[k, c]
                a, s = after[c + 1, 0], after[c + 1, 1]
                outer, spread = merged(count, before, squares, n - count - size, a, s)
                values[k, f, c] = effect(mean[c] - outer, square[c] + spread, n)
                before, squares = merged(count, before, squares, size, mean[c], square[c])
                count += size


@cached_njit(nogil=True, error_model="numpy")
def cohen_d_of_sets(
    labellings: Array, sizes: Array, holder_starts: Array, holders: Array, features: Any
) -> None:
    """Compute Cohen's d of concepts: `labellings` (L, N) say which set of them each image has.

    ``holders[holder_starts[c] : holder_starts[c + 1]]`` are the sets that hold concept c.
    """
    columns, varying, low, high, values = features
    n, classes = labellings.shape[1], sizes.shape[1]
    scaled, inside = np.empty(n), np.empty(n, np.uint8)
    holds = np.zeros(labellings.max() + 1 if labellings.size else 0, np.uint8)
    first, mean, square = np.empty(2), np.empty(2), np.empty(2)
    for f in varying:
        for i in range(n):
            scaled[i] = (np.float64(columns[f, i]) - low[f]) / (high[f] - low[f])
        for k in range(labellings.shape[0]):
            for c in range(classes):
                own = holders[holder_starts[c] : holder_starts[c + 1]]
                mark(labellings[k], own, holds, inside)
                both = np.array([n - sizes[k, c], sizes[k, c]])
                moments(scaled, inside, both, first, mean, square)
                values[k, f, c] = effect(mean[1] - mean[0], square[0] + square[1], n)


@cached_njit(nogil=True)
def mark(codes: Array, own: Array, holds: Array, inside: Array) -> None:
    """Write which images have one of `own` sets: `inside` (N,); `holds` is 0, and is so again."""
    for s in own:
        holds[s] = 1
    for i in range(codes.size):
        inside[i] = holds[np.uint64(codes[i])]
    for s in own:
        holds[s] = 0


@cached_njit(nogil=True, error_model="numpy")
def moments(
    column: Array, labels: Array, sizes: Array, first: Array, mean: Array, square: Array
) -> None:
    """Compute mean and sum of squared deviations of each class, in two passes.

    Deviations are from a value of the class, so those of equal values are exactly 0.
    """
    first[:] = np.nan
    mean[:] = 0
    square[:] = 0
    for i in range(column.size):
        own = np.uint64(labels[i])
        if np.isnan(first[own]):
            first[own] = column[i]
        mean[own] += column[i] - first[own]
    for c in range(mean.size):
        mean[c] = first[c] + mean[c] / sizes[c]
    for i in range(column.size):
        own = np.uint64(labels[i])
        deviation = column[i] - mean[own]
        square[own] += deviation * deviation


@cached_njit(nogil=True, error_model="numpy")
def merged(n: int, mean: float, square: float, m: int, other: float, others: float) -> Any:
    """Merge mean and sum of squares of two groups."""
    if n == 0:
        return other, others
    if m == 0:
        return mean, square
    difference = other - mean
    share = m / (n + m)
    return mean + difference * share, square + others + difference * difference * share * n


@cached_njit(nogil=True, error_model="numpy")
def effect(difference: float, squares: float, n: int) -> float:
    """Compute Cohen's d from the difference of the means and both samples' sum of squares."""
    if difference == 0:
        return 0.0
    if squares == 0:
        return np.inf if difference > 0 else -np.inf
    return float(difference / np.sqrt(squares / (n - 2)))

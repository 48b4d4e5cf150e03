"""Kernels for statistics on the samples: for all classes at once, or calling any function.

Like those of `fnx.statistics.kernels.histogram`, they work on one tile, alone and without the GIL;
what does not depend on the labels (checking, sorting, scaling) is done once per feature for all
labellings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from fnx.statistics.kernels.histogram import OK, OVERFLOW, extremes, first_not_finite
from fnx.statistics.kernels.sorting import RADIX_BITS, radix_sort, sort_keys, tie_groups

Array = Any

VECTOR = types.float64[::1]
# Of every plugin: inner, outer, n_inner, n_outer. One type, so that the loops compile once.
SIGNATURE = types.float64(VECTOR, VECTOR, types.int64, types.int64)


@njit(nogil=True, cache=True)
def sort_column(column: Array, keys: Array, rows: Array) -> int:
    """Sort a column; returns which row of `keys` and `rows` (2, N) holds keys and row numbers."""
    passes = (8 * keys.itemsize + RADIX_BITS - 1) // RADIX_BITS
    sort_keys(column, keys[0])
    return int(radix_sort(keys, rows, passes))


@njit(nogil=True, cache=True)
def auroc_tile(
    columns: Array,
    labellings: Array,
    sizes: Array,
    keys: Array,
    values: Array,
    constant: Array,
    faults: Array,
) -> None:
    """Area under the ROC curve for all features of a tile: rank sums in one pass over the sorted.

    U = R - n_c (n_c + 1) / 2 with R the sum of the class's ranks, ties having their mean rank; held
    as integers, doubled. The arguments are those of
    `fnx.statistics.kernels.exact.ks_exact_tile`.
    """
    width, n = columns.shape
    rows = np.empty((2, n), np.uint32)
    starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32)
    ranks = np.empty(sizes.shape[1], np.int64)
    for f in range(width):
        column = columns[f]
        faults[f] = first_not_finite(column)
        if faults[f] != OK:
            continue
        now = sort_column(column, keys, rows)
        constant[f] = keys[now, 0] == keys[now, n - 1]
        if constant[f]:
            values[:, f] = 0.5
            continue
        tie_groups(keys[now], starts, ends)
        for k in range(labellings.shape[0]):
            ranks[:] = 0
            for i in range(n):
                own = np.uint64(labellings[k, np.uint64(rows[now, i])])
                # Ranks start + 1 … end: twice their mean is start + end + 1.
                ranks[own] += np.int64(starts[i]) + np.int64(ends[i]) + 1
            for c in range(ranks.size):
                size = sizes[k, c]
                doubled = ranks[c] - size * (size + 1)
                values[k, f, c] = 0.5 * np.float64(doubled) / np.float64(size * (n - size))


@njit(nogil=True, cache=True, error_model="numpy")
def cohen_d_tile(
    columns: Array,
    labellings: Array,
    sizes: Array,
    values: Array,
    constant: Array,
    faults: Array,
) -> None:
    """Compute Cohen's d for all features of a tile; arguments as in `ks_tile`.

    The outer mean and sum of squares of class c are merged from those of the classes before it and
    after it (Chan, Golub and LeVeque 1979): nothing is ever subtracted, so nothing cancels.
    """
    width, n = columns.shape
    classes = sizes.shape[1]
    scaled = np.empty(n)
    first, mean, square = np.empty(classes), np.empty(classes), np.empty(classes)
    after = np.empty((classes + 1, 2))
    for f in range(width):
        column = columns[f]
        faults[f] = first_not_finite(column)
        if faults[f] != OK:
            continue
        low, high = extremes(column)
        constant[f] = low == high
        if constant[f]:
            values[:, f] = 0
            continue
        if not np.isfinite(high - low):
            faults[f] = OVERFLOW
            continue
        for i in range(n):
            scaled[i] = (np.float64(column[i]) - low) / (high - low)
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


@njit(nogil=True, cache=True, error_model="numpy")
def moments(
    column: Array, labels: Array, sizes: Array, first: Array, mean: Array, square: Array
) -> None:
    """Mean and sum of squared deviations of each class, in two passes.

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


@njit(nogil=True, cache=True, error_model="numpy")
def merged(n: int, mean: float, square: float, m: int, other: float, others: float) -> Any:
    """Mean and sum of squares of two groups together, from those of each."""
    if n == 0:
        return other, others
    if m == 0:
        return mean, square
    difference = other - mean
    share = m / (n + m)
    return mean + difference * share, square + others + difference * difference * share * n


@njit(nogil=True, cache=True, error_model="numpy")
def effect(difference: float, squares: float, n: int) -> float:
    """Cohen's d from the difference of the means and both samples' sum of squares."""
    if difference == 0:
        return 0.0
    if squares == 0:
        return np.inf if difference > 0 else -np.inf
    return float(difference / np.sqrt(squares / (n - 2)))


def _tile_signature(real: Any, key: Any) -> Any:
    return types.void(
        real[:, ::1],
        types.uint16[:, ::1],
        types.int64[:, ::1],
        key[:, ::1],
        types.FunctionType(SIGNATURE),
        types.float64,
        types.float32[:, :, ::1],
        types.boolean[::1],
        types.int64[::1],
    )


@njit(
    [
        _tile_signature(types.float32, types.uint32),
        _tile_signature(types.float64, types.uint64),
    ],
    nogil=True,
    cache=True,
)
def samples_tile(
    columns: Any,
    labellings: Any,
    sizes: Any,
    keys: Any,
    function: Any,
    at_constant: Any,
    values: Any,
    constant: Any,
    faults: Any,
) -> None:
    """A function of two sorted samples for all features of a tile, classes and labellings.

    `function` is a Numba first-class function, so this is compiled once, whatever the plugin;
    `at_constant` is the value for a constant feature. A feature is sorted once; taking a class out
    of the sorted values keeps both parts sorted.
    """
    width, n = columns.shape
    rows = np.empty((2, n), np.uint32)
    ordered, labels = np.empty(n), np.empty(n, np.uint16)
    # One place more than is ever used: each value is written to both, and one of them stays.
    inner, outer = np.empty(n + 1), np.empty(n + 1)
    for f in range(width):
        column = columns[f]
        faults[f] = first_not_finite(column)
        if faults[f] != OK:
            continue
        now = sort_column(column, keys, rows)
        constant[f] = keys[now, 0] == keys[now, n - 1]
        if constant[f]:
            values[:, f] = at_constant
            continue
        for i in range(n):
            ordered[i] = column[np.uint64(rows[now, i])]
        for k in range(labellings.shape[0]):
            for i in range(n):
                labels[i] = labellings[k, np.uint64(rows[now, i])]
            for c in range(sizes.shape[1]):
                size, n_inner, n_outer = sizes[k, c], 0, 0
                for i in range(n):
                    inner[n_inner] = outer[n_outer] = ordered[i]
                    inside = int(labels[i] == c)
                    n_inner += inside
                    n_outer += 1 - inside
                values[k, f, c] = function(inner[:size], outer[: n - size], size, n - size)

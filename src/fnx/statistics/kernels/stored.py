"""Kernels on the values that are not 0, for sparse features and for concepts that overlap.

What they give is to the bit what the kernels of `fnx.statistics.kernels.histogram` and of
`fnx.statistics.kernels.samples` give of all values: the zeros that are left out are counted by the
sizes of the classes. An image has the classes of its set, ``members[starts[s]:starts[s + 1]]``
(see `fnx.statistics.labels.Sets`), where s is its code in a labelling (N,).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.histogram import bin_column, binned_extremes, signed_distances
from fnx.statistics.kernels.samples import HIGH, LOW, SEEN
from fnx.statistics.kernels.sorting import sort_column, sort_scratch

Array = Any  # Numba's arrays: their types are the callers'


class Stored(NamedTuple):
    """A tile of features by their values that are not 0: the last argument of these kernels."""

    starts: Array  # (width + 1,) int64: where each feature's values begin
    rows: Array  # the image of each value, ascending within a feature
    data: Array  # float32 or float64, all finite
    varying: Array  # numbers of the features that are not constant, the only ones to compute
    low: Array  # (width,) float64: each feature's smallest value, zeros included
    high: Array  # and its largest
    values: Array  # (L, width, C) float32: the result


@cached_njit(nogil=True)
def drop_zeros(columns: Array, n: int, starts: Array, rows: Array, data: Array) -> None:
    """Write what is not 0 of each row of `columns` (width, N or more) as `Stored` has it."""
    place = 0
    for f in range(columns.shape[0]):
        starts[f] = place
        for i in range(n):
            value = columns[f, i]
            rows[place] = i  # overwritten where it is 0
            data[place] = value
            place += int(value != 0)
    starts[columns.shape[0]] = place


@cached_njit(nogil=True)
def stored_extremes(starts: Array, data: Array, n: int, low: Array, high: Array) -> None:
    """Find the smallest and largest value of each feature, zeros included; NaN where one is."""
    for f in range(low.size):
        own = data[starts[f] : starts[f + 1]]
        least = most = 0.0
        if own.size == n:
            least = most = np.float64(own[0])
        broken = False
        for value in own:
            least, most = min(least, np.float64(value)), max(most, np.float64(value))
            broken = broken or not np.isfinite(value)
        low[f], high[f] = (np.nan, np.nan) if broken else (least, most)


@cached_njit(nogil=True)
def count_bins_of_classes(
    index: Array,
    zero: int,
    rows: Array,
    codes: Array,
    starts: Array,
    members: Array,
    sizes: Array,
    counts: Array,
) -> None:
    """Count the images per bin and class: `counts` (bins, C).

    `index` holds the bin of each value that is not 0, `zero` that of the others; `sizes` (C,) the
    number of images of each class.
    """
    counts[:] = 0
    for i in range(rows.size):
        own = np.uint64(codes[np.uint64(rows[i])])
        row = counts[np.uint64(index[i])]
        for m in range(starts[own], starts[own + np.uint64(1)]):
            row[np.uint64(members[np.uint64(m)])] += 1
    if rows.size == codes.size:
        return
    lacking = np.empty(sizes.size, counts.dtype)
    for c in range(sizes.size):
        lacking[c] = sizes[c]
    for b in range(counts.shape[0]):
        row = counts[b]
        for c in range(sizes.size):
            lacking[c] -= row[c]
    row = counts[np.uint64(zero)]
    for c in range(sizes.size):
        row[c] += lacking[c]


@cached_njit(nogil=True)
def bin_stored(
    data: Array, n: int, low: float, high: float, bins: int, index: Array, totals: Array
) -> int:
    """Find the bins of the values that are not 0, and that of 0; count all N images per bin."""
    bin_column(data, low, high, bins, index[: data.size])
    zero = 0
    totals[:] = 0
    for i in range(data.size):
        totals[np.uint64(index[i])] += 1
    if data.size < n:
        one = np.zeros(1, index.dtype)
        bin_column(np.zeros(1, data.dtype), low, high, bins, one)
        zero = int(one[0])
        totals[zero] += n - data.size
    return zero


@cached_njit(nogil=True)
def ks_stored(
    labellings: Array,
    sizes: Array,
    set_starts: Array,
    members: Array,
    bins: int,
    counts: Array,
    features: Any,
) -> None:
    """Compute the signed KS on equal-width bins; arguments as of `ks_tile`, and the sets."""
    starts, rows, data, varying, low, high, values = features
    n = labellings.shape[1]
    index = np.empty(n, np.uint16)
    totals = np.zeros(counts.shape[0], sizes.dtype)
    state = np.empty((3, sizes.shape[1]), sizes.dtype)
    for f in varying:
        own, at = data[starts[f] : starts[f + 1]], rows[starts[f] : starts[f + 1]]
        zero = bin_stored(own, n, low[f], high[f], bins, index, totals)
        for k in range(labellings.shape[0]):
            count_bins_of_classes(
                index, zero, at, labellings[k], set_starts, members, sizes[k], counts
            )
            binned_extremes(counts, totals, sizes[k], n, state)
            signed_distances(state[1], state[2], sizes[k], n, values[k, f])


@cached_njit(nogil=True)
def sort_stored(own: Array, at: Array, n: int, order: Array, below: Array, to: Array) -> int:
    """Sort the values of a feature that are not 0 among all N.

    Results, one for each value in ascending order: `order`, its image; `below`, how many of the N
    values are below it; `to`, how many are not above it. Returns how many values are negative.
    """
    count = own.size
    low = high = np.float64(own[0])
    for value in own:
        low, high = min(low, np.float64(value)), max(high, np.float64(value))
    scratch = sort_scratch(count)
    front = sort_column(own, low, high, scratch, order[:count], below[:count], to[:count])
    # The first `front` tie, and the places of the others are counted from them on.
    for i in range(count - 1, front - 1, -1):
        below[i], to[i] = below[i - front] + front, to[i - front] + front
    below[:front], to[:front] = 0, front
    zeros, negative = n - count, 0
    for i in range(count):
        value = own[np.uint64(order[i])]
        if value < 0:
            negative += 1
        else:
            below[i] += zeros
            to[i] += zeros
        order[i] = at[np.uint64(order[i])]
    return negative


@cached_njit(nogil=True)
def exact_stored(
    labellings: Array, sizes: Array, set_starts: Array, members: Array, features: Any
) -> None:
    """Compute the exact signed KS: N_c n - N n_c before and after each group of equal values."""
    starts, rows, data, varying, _low, _high, values = features
    n = labellings.shape[1]
    order, below, to = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    state = np.empty((3, sizes.shape[1]), np.int64)
    for f in varying:
        own, at = data[starts[f] : starts[f + 1]], rows[starts[f] : starts[f + 1]]
        negative = sort_stored(own, at, n, order, below, to)
        for k in range(labellings.shape[0]):
            state[:] = 0
            seen, high_of, low_of = state[SEEN], state[HIGH], state[LOW]
            codes, size_of = labellings[k], sizes[k]
            for part in range(2):
                begin, end = (0, negative) if part == 0 else (negative, own.size)
                for i in range(begin, end):
                    mine = np.uint64(codes[np.uint64(order[i])])
                    for m in range(set_starts[mine], set_starts[mine + np.uint64(1)]):
                        c = np.uint64(members[np.uint64(m)])
                        count, size = seen[c], size_of[c]
                        high_of[c] = max(high_of[c], size * np.int64(below[i]) - count)
                        low_of[c] = min(low_of[c], size * np.int64(to[i]) - count - n)
                        seen[c] = count + n
                if part == 0 and own.size < n:
                    pass_zeros(
                        order[negative : own.size],
                        n - own.size,
                        negative,
                        codes,
                        set_starts,
                        members,
                        size_of,
                        state,
                    )
            signed_distances(high_of, low_of, size_of, n, values[k, f])


@cached_njit(nogil=True)
def pass_zeros(
    later: Array,
    zeros: int,
    before: int,
    codes: Array,
    set_starts: Array,
    members: Array,
    sizes: Array,
    state: Array,
) -> None:
    """Count the zeros of each class as one group of equal values, after `before` negative ones.

    They are the images of a class that are neither negative nor among the `later` ones.
    """
    n = codes.size
    seen, high, low = state[SEEN], state[HIGH], state[LOW]
    for c in range(sizes.size):
        high[c] = max(high[c], sizes[c] * before - seen[c])
        seen[c] = n * sizes[c]
    for i in range(later.size):
        mine = np.uint64(codes[np.uint64(later[i])])
        for m in range(set_starts[mine], set_starts[mine + np.uint64(1)]):
            seen[np.uint64(members[np.uint64(m)])] -= n
    for c in range(sizes.size):
        low[c] = min(low[c], sizes[c] * (before + zeros) - seen[c])


@cached_njit(nogil=True)
def auroc_stored(
    labellings: Array, sizes: Array, set_starts: Array, members: Array, features: Any
) -> None:
    """Compute the area under the ROC curve from rank sums, held as integers, doubled."""
    starts, rows, data, varying, _low, _high, values = features
    n = labellings.shape[1]
    order, below, to = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    ranks = np.empty(sizes.shape[1], np.int64)
    for f in varying:
        own, at = data[starts[f] : starts[f + 1]], rows[starts[f] : starts[f + 1]]
        negative = sort_stored(own, at, n, order, below, to)
        # Twice the mean rank of the zeros: from negative + 1 to negative + zeros.
        of_zero = 2 * negative + n - own.size + 1
        for k in range(labellings.shape[0]):
            for c in range(ranks.size):
                ranks[c] = sizes[k, c] * of_zero
            for i in range(own.size):
                mine = np.uint64(labellings[k, np.uint64(order[i])])
                doubled = np.int64(below[i]) + np.int64(to[i]) + 1
                for m in range(set_starts[mine], set_starts[mine + np.uint64(1)]):
                    ranks[np.uint64(members[np.uint64(m)])] += doubled - of_zero
            for c in range(ranks.size):
                size = sizes[k, c]
                excess = ranks[c] - size * (size + 1)
                values[k, f, c] = 0.5 * np.float64(excess) / np.float64(size * (n - size))

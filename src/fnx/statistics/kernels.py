"""All-pairs kernels: some features against every class of every labelling, in one pass.

What does not depend on the labels (transposing, checking, binning, sorting) is done once a feature;
only the grouping is repeated for each labelling. Every kernel works on one tile, alone and without
the GIL, so that a result does not depend on the number of threads. Numba keeps the compiled code
on disk (beside this file, or where ``NUMBA_CACHE_DIR`` says).

Differences of two distribution functions are held as integers: D(x) = n(x)/M - n_c(x)/N_c for the
outer part of M = N - N_c images is (N_c n(x) - N n_c(x)) / (N_c M) with n = n_inner + n_outer. So
sides that tie, tie exactly, and nothing is lost before the one division at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

TILE = 16  # columns transposed together: with float32, one cache line of each row
OK, OVERFLOW = -1, -2  # faults of a feature, beside the row of a value that is not finite
RADIX_BITS = 11

Array = Any  # Numba's arrays: their types are the callers'


@njit(nogil=True, cache=True)
def transpose(block: Array, first: int, columns: Array) -> int:
    """Copy columns `first`… of `block` (N, width) into the rows of `columns`; returns how many."""
    n, width = block.shape
    count = min(columns.shape[0], width - first)
    if count == columns.shape[0]:  # a constant trip count is what makes the inner loop fast
        for i in range(n):
            for j in range(TILE):
                columns[j, i] = block[i, first + j]
    else:
        for i in range(n):
            for j in range(count):
                columns[j, i] = block[i, first + j]
    return int(count)


@njit(nogil=True, cache=True)
def first_not_finite(column: Array) -> int:
    """Row of the first NaN or infinity, else `OK`."""
    found = np.int32(0)
    for i in range(column.size):
        found |= np.int32(column[i] - column[i] != 0)
    if found == 0:
        return OK
    for i in range(column.size):
        if column[i] - column[i] != 0:
            return i
    return OK


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def extremes(column: Array) -> tuple[float, float]:
    """Smallest and largest of finite values."""
    low = high = column[0]
    for i in range(column.size):
        low = min(low, column[i])
        high = max(high, column[i])
    return np.float64(low), np.float64(high)


@njit(nogil=True, cache=True, error_model="numpy")
def bin_column(column: Array, low: float, high: float, bins: int, index: Array) -> None:
    """Bin of every value, as ``numpy.histogram(column.astype(float64), bins)`` has it.

    The edges are ``numpy.linspace(low, high, bins + 1)``: k * step + low. A quotient gives the bin
    but for rounding; comparing with its two edges settles it, so the bin of a value that lies on an
    edge is well defined.
    """
    width = high - low
    step = width / bins
    scale = bins / width
    last = np.int32(bins - 1)
    if step == 0 or not np.isfinite(scale):  # a range of subnormal numbers
        for i in range(column.size):
            index[i] = min(np.int32((column[i] - low) / width * bins), last)
        return
    for i in range(column.size):
        x = np.float64(column[i])
        k = min(np.int32((x - low) * scale), last)
        k = np.int32(k - np.int32(x < np.float64(k) * step + low))
        above = np.float64(np.int32(k + 1)) * step + low
        index[i] = np.int32(k + np.int32((k < last) & (x >= above)))


@njit(nogil=True, cache=True)
def count_classes(index: Array, labels: Array, counts: Array) -> None:
    """Number of images of each bin and class: `counts` (bins, C) from `index` and `labels` (N,)."""
    counts[:] = 0
    flat = counts.reshape(-1)
    classes = np.uint64(counts.shape[1])
    # Unsigned, so that Numba does not test every index for being negative.
    for i in range(index.size):
        flat[np.uint64(index[i]) * classes + np.uint64(labels[i])] += 1


@njit(nogil=True, cache=True)
def count_bins(counts: Array, totals: Array) -> None:
    """Number of images of each bin: sums over the classes of `counts` (bins, C)."""
    for b in range(counts.shape[0]):
        total = np.int64(0)
        for c in range(counts.shape[1]):
            total += counts[b, c]
        totals[b] = total


@njit(nogil=True, cache=True)
def binned_extremes(counts: Array, totals: Array, sizes: Array, n: int, state: Array) -> None:
    """Largest and smallest N_c n - N n_c over the bins' upper edges, into `state` rows 1 and 2.

    `state` (3, C) is int32 while N**2 / 4 fits (sums may wrap on the way, what is left does not),
    else int64.
    """
    state[:] = 0
    now, high, low = state[0], state[1], state[2]
    for b in range(counts.shape[0]):
        total = totals[b]
        if total == 0:
            continue
        row = counts[b]
        for c in range(counts.shape[1]):
            now[c] = now[c] + (sizes[c] * total - n * row[c])
            value = now[c]
            high[c] = max(high[c], value)
            low[c] = min(low[c], value)


@njit(nogil=True, cache=True)
def signed_distances(high: Array, low: Array, sizes: Array, n: int, values: Array) -> None:
    """The side of larger magnitude, as a distance; a tie goes to +."""
    for c in range(values.size):
        top, bottom = np.int64(high[c]), np.int64(low[c])
        scale = np.float64(sizes[c]) * np.float64(n - np.int64(sizes[c]))
        values[c] = np.float64(bottom if -bottom > top else top) / scale


@njit(nogil=True, cache=True)
def ks_tile(
    columns: Array,
    labellings: Array,
    sizes: Array,
    totals: Array,
    index: Array,
    counts: Array,
    state: Array,
    values: Array,
    constant: Array,
    faults: Array,
) -> None:
    """Signed KS on equal-width bins for all features of a tile.

    Args:
        columns: (width, N) float32 or float64, a feature a row.
        labellings: (L, N) unsigned integers.
        sizes: (L, C) number of images of each class, of the type of `state`.
        totals: (bins,) scratch, of the type of `state`.
        index: (N,) scratch for bins.
        counts: (bins, C) scratch for histograms.
        state: (3, C) scratch, int32 or int64.
        values: (L, width, C) float32, the result.
        constant: (width,) bool, the result.
        faults: (width,) the result: `OK`, `OVERFLOW`, or the row of a value that is not finite.
    """
    width, n = columns.shape
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
        bin_column(column, low, high, counts.shape[0], index)
        for k in range(labellings.shape[0]):
            count_classes(index, labellings[k], counts)
            if k == 0:
                count_bins(counts, totals)
            binned_extremes(counts, totals, sizes[k], n, state)
            signed_distances(state[1], state[2], sizes[k], n, values[k, f])


@njit(nogil=True, cache=True)
def sort_keys(column: Array, keys: Array) -> None:
    """Unsigned integers that order as the values do: the float's bits, -0 made equal to 0."""
    floats = keys.view(column.dtype)
    top = keys.dtype.type(1) << keys.dtype.type(8 * keys.itemsize - 1)
    for i in range(column.size):
        floats[i] = column[i] + 0.0
    for i in range(column.size):
        keys[i] = ~keys[i] if keys[i] & top else keys[i] | top


@njit(nogil=True, cache=True)
def radix_sort(keys: Array, rows: Array, passes: int) -> int:
    """Sort `keys[0]` (2, N) and the row numbers beside them; returns which of the two holds them.

    A stable sort by 11 bits a pass, from the lowest; a pass in which all keys agree is left out.
    """
    n = keys.shape[1]
    buckets = 1 << RADIX_BITS
    mask = np.uint64(buckets - 1)
    places = np.zeros((passes, buckets), np.int64)
    for i in range(n):
        key = np.uint64(keys[0, i])
        for p in range(passes):
            places[p, (key >> np.uint64(RADIX_BITS * p)) & mask] += 1
        rows[0, i] = i
    now = 0
    for p in range(passes):
        shift = np.uint64(RADIX_BITS * p)
        if places[p, (np.uint64(keys[now, 0]) >> shift) & mask] == n:
            continue
        position = 0
        for b in range(buckets):
            count = places[p, b]
            places[p, b] = position
            position += count
        after = 1 - now
        for i in range(n):
            key = keys[now, i]
            digit = (np.uint64(key) >> shift) & mask
            to = places[p, digit]
            places[p, digit] = to + 1
            keys[after, to] = key
            rows[after, to] = rows[now, i]
        now = after
    return now


@njit(nogil=True, cache=True)
def tie_groups(keys: Array, starts: Array, ends: Array) -> None:
    """For each sorted position, the number of values below its value, and of those not above it."""
    n = keys.size
    for i in range(n):
        starts[i] = starts[i - 1] if i > 0 and keys[i] == keys[i - 1] else i
    for i in range(n - 1, -1, -1):
        ends[i] = ends[i + 1] if i < n - 1 and keys[i] == keys[i + 1] else i + 1


@njit(nogil=True, cache=True)
def exact_extremes(
    rows: Array, starts: Array, ends: Array, labels: Array, sizes: Array, n: int, state: Array
) -> None:
    """Largest and smallest N_c n - N n_c for all classes in one pass over the sorted images.

    The difference of class c rises at images of other classes and falls at its own, so it peaks
    just before a tie group with an image of c and bottoms just after one. Within a group the counts
    of c are taken as they grow: the first image sees the true count before the group and the last
    one the true count after it; those between only give values that are no more extreme.
    """
    state[:] = 0
    seen, high, low = state[0], state[1], state[2]
    for i in range(rows.size):
        c = np.uint64(labels[np.uint64(rows[i])])
        size, count = sizes[c], seen[c]
        high[c] = max(high[c], size * np.int64(starts[i]) - n * count)
        low[c] = min(low[c], size * np.int64(ends[i]) - n * (count + 1))
        seen[c] = count + 1


@njit(nogil=True, cache=True)
def ks_exact_tile(
    columns: Array,
    labellings: Array,
    sizes: Array,
    keys: Array,
    values: Array,
    constant: Array,
    faults: Array,
) -> None:
    """Exact signed KS for all features of a tile.

    The arguments are those of `ks_tile`; `sizes` are int64, and `keys` (2, N) is scratch of uint32
    for float32 and uint64 for float64.
    """
    width, n = columns.shape
    passes = (8 * keys.itemsize + RADIX_BITS - 1) // RADIX_BITS
    rows = np.empty((2, n), np.uint32)
    starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32)
    state = np.empty((3, sizes.shape[1]), np.int64)
    for f in range(width):
        column = columns[f]
        faults[f] = first_not_finite(column)
        if faults[f] != OK:
            continue
        sort_keys(column, keys[0])
        now = radix_sort(keys, rows, passes)
        constant[f] = keys[now, 0] == keys[now, n - 1]
        if constant[f]:
            values[:, f] = 0
            continue
        tie_groups(keys[now], starts, ends)
        for k in range(labellings.shape[0]):
            exact_extremes(rows[now], starts, ends, labellings[k], sizes[k], n, state)
            signed_distances(state[1], state[2], sizes[k], n, values[k, f])

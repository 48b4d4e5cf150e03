"""All-pairs kernels: some features against every class of every labelling, in one pass.

What does not depend on the labels (transposing, checking, binning, sorting) is done once per
feature; only the grouping is repeated for each labelling. Every kernel works on one tile, alone and
without the GIL, so that a result does not depend on the number of threads. Numba keeps the compiled
code on disk (beside this file, or where ``NUMBA_CACHE_DIR`` says). A kernel takes ``labellings``
(L, N) of unsigned integers, ``sizes`` (L, C), the number of images per class, and the `Features` of
`fnx.statistics.kernels.tile`.

Differences of two distribution functions are held as integers: D(x) = n(x)/M - n_c(x)/N_c for the
outer part of M = N - N_c images is (N_c n(x) - N n_c(x)) / (N_c M) with n = n_inner + n_outer. So
sides that tie, tie exactly, and nothing is lost before the one division at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit

UNROLL, LANES = 4, 16  # bins and classes that are taken together
MANY_LABELLINGS = 4  # from here on, dropping images once is cheaper than counting them each time

Array = Any  # Numba's arrays: their types are the callers'


@cached_njit(nogil=True, error_model="numpy")
def bin_column(column: Array, low: float, high: float, bins: int, index: Array) -> None:
    """Find the bin of every value, as ``numpy.histogram(column.astype(float64), bins)`` has it.

    The edges are ``numpy.linspace(low, high, bins + 1)``: k * step + low. A quotient gives the
    nearest edge; comparing with it settles on which side the value lies, so the bin of a value that
    lies on an edge is well defined.
    """
    width = high - low
    step = width / bins
    scale = bins / width
    last = np.int32(bins - 1)
    if step == 0 or not np.isfinite(scale):  # a range of subnormal numbers
        for i in range(column.size):
            index[i] = min(np.int32((column[i] - low) / width * bins), last)
    elif step > max(abs(low), abs(high)) * 2.0**-40 and scale < 2.0**960:
        # The quotient is off by far less than half an edge: float32 data is always here.
        for i in range(column.size):
            x = np.float64(column[i])
            nearest = np.rint((x - low) * scale)
            k = np.int32(np.int32(nearest) - np.int32(x < nearest * step + low))
            index[i] = min(k, last)
    else:
        for i in range(column.size):
            x = np.float64(column[i])
            k = min(np.int32((x - low) * scale), last)
            k = np.int32(k - np.int32(x < np.float64(k) * step + low))
            above = np.float64(np.int32(k + 1)) * step + low
            index[i] = np.int32(k + np.int32((k < last) & (x >= above)))


@cached_njit(nogil=True)
def drop_lowest(index: Array, rows: Array) -> Any:
    """Drop the images of the lowest bin from `index` (N,) where they are many, after a ReLU.

    Returns how many stay, at the front of `index`; `rows` says which. As many as there are: none
    was dropped, and `rows` is not written.
    """
    n = index.size
    lowest = 0
    for i in range(n):
        lowest += int(index[i] == 0)
    if lowest < n // 4:
        return n
    kept = np.uint64(0)
    for i in range(n):  # each is written, and some are written over
        rows[kept] = i
        index[kept] = index[i]
        kept += np.uint64(index[i] != 0)
    return np.int64(kept)


@cached_njit(nogil=True)
def count_classes(index: Array, labels: Array, places: Array, counts: Array) -> None:
    """Count the images per bin and class: `counts` (bins, C) uint32 from `index`, `labels` (N,).

    `places` (N,) is scratch: where in `counts`, row by row, an image is counted. (Counters of 16
    bits take twice as long as those of 32, which is more than their larger table costs.)
    """
    classes = places.dtype.type(counts.shape[1])
    for i in range(index.size):
        places[i] = index[i] * classes + labels[i]
    count_places(places[: index.size], counts)


@cached_njit(nogil=True)
def count_places(places: Array, counts: Array) -> None:
    """Count how often each place of `counts` (bins, C), row by row, occurs in `places`."""
    counts[:] = 0
    flat = counts.reshape(-1)
    n = places.size
    # Unsigned, so that Numba does not test every index for being negative. From eight parts, since
    # neighbours often share bin and class (images in order of their class), and the same counter
    # again before it is stored is several times as slow.
    s1 = np.uint64(n // 8)
    s2, s3, s4 = s1 * np.uint64(2), s1 * np.uint64(3), s1 * np.uint64(4)
    s5, s6, s7 = s1 * np.uint64(5), s1 * np.uint64(6), s1 * np.uint64(7)
    for i in range(s1):
        j = np.uint64(i)
        flat[np.uint64(places[j])] += 1
        flat[np.uint64(places[j + s1])] += 1
        flat[np.uint64(places[j + s2])] += 1
        flat[np.uint64(places[j + s3])] += 1
        flat[np.uint64(places[j + s4])] += 1
        flat[np.uint64(places[j + s5])] += 1
        flat[np.uint64(places[j + s6])] += 1
        flat[np.uint64(places[j + s7])] += 1
    for i in range(n - n % 8, n):
        flat[np.uint64(places[np.uint64(i)])] += 1


@cached_njit(nogil=True)
def count_bins(counts: Array, totals: Array) -> None:
    """Count the images per bin: sums over the classes of `counts` (bins, C)."""
    for b in range(counts.shape[0]):
        total = totals.dtype.type(0)
        for c in range(counts.shape[1]):
            total += totals.dtype.type(counts[b, c])
        totals[b] = total


@cached_njit(nogil=True)
def binned_extremes(counts: Array, totals: Array, sizes: Array, n: int, state: Array) -> None:
    """Find the largest and smallest N_c n - N n_c over the bins' lower edges.

    From the highest bin down, where n counts what is above an edge, with its sign turned; so the
    lowest bin's images need not be counted. They are rows 1 and 2 of `state` (3, C), which is int32
    while N**2 / 4 fits (sums may wrap on the way, what is left does not), else int64; `sizes` (C,)
    and `totals` are of that type. The number of bins is a multiple of `UNROLL`, that of classes
    best one of `LANES`; those that fill up are empty.
    """
    state[:] = 0
    kind = state.dtype.type
    now, high, low = state[0], state[1], state[2]
    images = kind(n)
    for b in range(counts.shape[0] - UNROLL, -1, -UNROLL):
        t0, t1, t2, t3 = totals[b + 3], totals[b + 2], totals[b + 1], totals[b]
        if t0 | t1 | t2 | t3 == 0:
            continue
        r0, r1, r2, r3 = counts[b + 3], counts[b + 2], counts[b + 1], counts[b]
        # Four bins at once: what is kept for the classes is loaded and stored once for them. With
        # every type and choice spelled out, this is vector code of 32-bit integers.
        for c in range(counts.shape[1]):
            size = sizes[c]
            v0 = kind(now[c] + kind(kind(images * kind(r0[c])) - kind(size * t0)))
            v1 = kind(v0 + kind(kind(images * kind(r1[c])) - kind(size * t1)))
            v2 = kind(v1 + kind(kind(images * kind(r2[c])) - kind(size * t2)))
            v3 = kind(v2 + kind(kind(images * kind(r3[c])) - kind(size * t3)))
            now[c] = v3
            top, bottom = high[c], low[c]
            top = v0 if v0 > top else top
            top = v1 if v1 > top else top
            top = v2 if v2 > top else top
            high[c] = v3 if v3 > top else top
            bottom = v0 if v0 < bottom else bottom
            bottom = v1 if v1 < bottom else bottom
            bottom = v2 if v2 < bottom else bottom
            low[c] = v3 if v3 < bottom else bottom


@cached_njit(nogil=True)
def signed_distances(high: Array, low: Array, sizes: Array, n: int, values: Array) -> None:
    """Write the side of larger magnitude, as a distance; a tie goes to +."""
    for c in range(values.size):
        top, bottom = np.int64(high[c]), np.int64(low[c])
        scale = np.float64(sizes[c]) * np.float64(n - np.int64(sizes[c]))
        values[c] = np.float64(bottom if -bottom > top else top) / scale


@cached_njit(nogil=True)
def ks_tile(labellings: Array, sizes: Array, bins: int, scratch: Any, features: Any) -> None:
    """Compute the signed KS on equal-width bins for the features of a tile.

    Here `sizes` are (L, C') int32 or int64 (see `binned_extremes`), at the end zeros: C' is C made
    a multiple of `LANES`. `scratch` is `counts` (bins', C') uint32, bins' a multiple of `UNROLL`,
    and `places` (N,), of unsigned integers that hold a place of `counts`.
    """
    columns, varying, low, high, values = features
    counts, places = scratch
    n = labellings.shape[1]
    index, labels, rows = np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.uint32)
    totals = np.zeros(counts.shape[0], sizes.dtype)
    state = np.empty((3, sizes.shape[1]), sizes.dtype)
    for f in varying:
        bin_column(columns[f, :n], low[f], high[f], bins, index)
        kept = drop_lowest(index, rows) if labellings.shape[0] >= MANY_LABELLINGS else n
        for k in range(labellings.shape[0]):
            if kept == n:
                count_classes(index, labellings[k], places, counts)
            else:
                for i in range(kept):
                    labels[i] = labellings[k, np.uint64(rows[i])]
                count_classes(index[:kept], labels[:kept], places, counts)
            if k == 0:
                count_bins(counts, totals)
            binned_extremes(counts, totals, sizes[k], n, state)
            signed_distances(state[1], state[2], sizes[k], n, values[k, f])

"""Kernels for any compiled function, of concepts that overlap and of values that are not 0.

Apart from `fnx.statistics.kernels.plugin`, for they are compiled when this is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.plugin_calls import (
    OUT_OF_FLOAT32,
    SIGNATURE,
    beyond_float32,
    call_histograms,
)
from fnx.statistics.kernels.samples import mark
from fnx.statistics.kernels.sorting import sort_column, sort_scratch
from fnx.statistics.kernels.stored import Stored, bin_stored, count_bins_of_classes
from fnx.statistics.kernels.tile import Features

# Labellings by sets of concepts, their sizes, and the sets or those that hold each concept.
_SETS = types.uint32[:, ::1], types.int64[:, ::1], types.int64[::1], types.int32[::1]
_REST = types.int64[::1], types.float64[::1], types.float64[::1], types.float32[:, :, ::1]


def _signatures(bound: Any, kind: Any, *values: Any) -> list[Any]:
    """Return a kernel's signature for float32 and for float64, which `values` are made for."""
    given = *_SETS, types.FunctionType(SIGNATURE), bound, types.int64[::1]
    named: Any = types.NamedTuple
    return [
        types.void(*given, named((*(of(real) for of in values), *_REST), kind))
        for real in (types.float32, types.float64)
    ]


@cached_njit(_signatures(types.float64, Features, lambda real: real[:, ::1]), nogil=True)
def samples_of_sets(
    labellings: Any,
    sizes: Any,
    holder_starts: Any,
    holders: Any,
    function: Any,
    least: float,
    place: Any,
    features: Any,
) -> None:
    """Do what `samples_tile` does for concepts; see `samples.cohen_d_of_sets` for their holders."""
    columns, varying, low, high, values = features
    n = labellings.shape[1]
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    ordered, codes, inside = np.empty(n), np.empty(n, np.uint32), np.empty(n, np.uint8)
    holds = np.zeros(labellings.max() + 1 if labellings.size else 0, np.uint8)
    inner, outer = np.empty(n + 1), np.empty(n + 1)
    for f in varying:
        column = columns[f, :n]
        sort_column(column, low[f], high[f], scratch, rows, starts, ends)
        for i in range(n):
            ordered[i] = column[np.uint64(rows[i])]
        for k in range(labellings.shape[0]):
            for i in range(n):
                codes[i] = labellings[k, np.uint64(rows[i])]
            for c in range(sizes.shape[1]):
                mark(codes, holders[holder_starts[c] : holder_starts[c + 1]], holds, inside)
                size, n_inner, n_outer = sizes[k, c], 0, 0
                for i in range(n):
                    inner[n_inner] = outer[n_outer] = ordered[i]
                    n_inner += int(inside[i])
                    n_outer += 1 - int(inside[i])
                place[0], place[1] = f, c
                value = function(inner[:size], outer[: n - size], size, n - size)
                values[k, f, c] = value
                if beyond_float32(value, least):
                    raise OverflowError(OUT_OF_FLOAT32)


@cached_njit(
    _signatures(
        types.int64, Stored, lambda _: types.int64[::1], lambda _: types.uint32[::1],
        lambda real: real[::1],
    ),
    nogil=True,
)  # fmt: skip
def histograms_stored(
    labellings: Any,
    sizes: Any,
    set_starts: Any,
    members: Any,
    function: Any,
    bins: int,
    place: Any,
    features: Any,
) -> None:
    """Call a function of two histograms for every pair; see `fnx.statistics.kernels.stored`."""
    starts, rows, data, varying, low, high, values = features
    n, classes = labellings.shape[1], sizes.shape[1]
    index = np.empty(n, np.uint16)
    counts = np.empty((bins, classes), np.uint32)
    totals = np.empty(bins, np.int64)
    for f in varying:
        own, at = data[starts[f] : starts[f + 1]], rows[starts[f] : starts[f + 1]]
        zero = bin_stored(own, n, low[f], high[f], bins, index, totals)
        for k in range(labellings.shape[0]):
            count_bins_of_classes(
                index, zero, at, labellings[k], set_starts, members, sizes[k], counts
            )
            place[0] = f
            call_histograms(function, counts, totals, sizes[k], n, place, values[k, f])

"""Fills a tile with the columns of an embedding, and finds the extremes of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.sorting import integer_view, sign_mask

CACHE_LINE = 64  # bytes
ROWS_AHEAD = 16  # that are fetched while a row is copied

Array = Any  # Numba's arrays: their types are the callers'


class CallError(Exception):
    """A plugin's function raised, for a feature of the tile and a class (-1: of none)."""

    def __init__(self, feature: int, of_class: int, reason: str) -> None:
        super().__init__(reason)
        self.feature, self.of_class, self.reason = feature, of_class, reason


class Features(NamedTuple):
    """A tile of features, and where their distances go: the last argument of every kernel."""

    columns: Array  # (width, N or more) float32 or float64, one feature per row, all finite
    varying: Array  # numbers of the features that are not constant, the only ones to compute
    low: Array  # (width,) float64: each feature's smallest value
    high: Array  # and its largest
    values: Array  # (L, width, C) float32: the result


@intrinsic
def _prefetch(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """Have the cache line of `array` (N, width) that holds a value loaded; nothing waits for it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_array, byte, int32 = signature.args[0], ir.IntType(8), ir.IntType(32)
        view = context.make_array(of_array)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
            context, builder, of_array, view, arguments[1:], wraparound=False
        )
        place = builder.bitcast(place, byte.as_pointer())
        takes = ir.FunctionType(ir.VoidType(), [place.type, int32, int32, int32])
        function = builder.module.declare_intrinsic("llvm.prefetch", (place.type,), takes)
        builder.call(function, [place, int32(0), int32(3), int32(1)])  # to read, often, data
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), emit


prefetch: Any = _prefetch  # which Numba calls without the first argument


@cached_njit(nogil=True)
def transpose(block: Array, tile: Array) -> None:
    """Copy the columns of `block` (N, width) into the rows of `tile` (width or more, N or more).

    Where rows lie far apart, the processor does not guess which memory comes next, and waiting for
    each row took two thirds of the time.
    """
    n, width = block.shape
    line = CACHE_LINE // block.itemsize
    for i in range(n):
        if i + ROWS_AHEAD < n:
            for j in range(0, width, line):
                prefetch(block, i + ROWS_AHEAD, j)
        for j in range(width):
            tile[j, i] = block[i, j]


@cached_njit(nogil=True)
def extremes(columns: Array, n: int, low: Array, high: Array) -> None:
    """Find the smallest and the largest value of each row of `columns` (width, N or more).

    Results are `low` and `high` (width,) float64. A NaN is beyond the infinity of its sign, so that
    it shows here.
    """
    ends = np.empty(2, columns.dtype)
    end_bits = integer_view(ends)
    for f in range(columns.shape[0]):
        bits = integer_view(columns[f, :n])
        kind, mask = bits.dtype.type, sign_mask(bits)
        sign = kind(8 * bits.itemsize - 1)
        # As integers, which the compiler makes vector code of (of floats it does not: 7 times
        # slower).
        least = most = kind(bits[0] ^ ((bits[0] >> sign) & mask))
        for i in range(n):
            key = kind(bits[i] ^ ((bits[i] >> sign) & mask))
            least = min(least, key)
            most = max(most, key)
        end_bits[0] = least ^ ((least >> sign) & mask)
        end_bits[1] = most ^ ((most >> sign) & mask)
        low[f], high[f] = ends[0], ends[1]

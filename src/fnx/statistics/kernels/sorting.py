"""Radix sorts of a feature's values, by the bits of its floats."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numba import njit, objmode, types
from numba.extending import overload

# Of a digit. Fewer, wider digits take longer: what is written must stay in the nearest cache.
RADIX_BITS = 8
BUCKETS = 1 << RADIX_BITS
SORTED_BITS = 3 * RADIX_BITS  # of a float32, before the last exchanges
# Above it a radix sort's scattered writes miss the cache, and NumPy's vectorised sort is faster:
# measured, 11 against 12 ns an element at 100,000, 10 against 35 at 1,000,000.
FITS_CACHE = 1 << 17

# It warns that NumPy is called under the interpreter's lock; NumPy's sort gives the lock back.
warnings.filterwarnings("ignore", message="(?s).*Code running in object mode")

Array = Any  # Numba's arrays: their types are the callers'


def integer_view(column: Array) -> Array:
    """The bits of floats as signed integers of the same size (compiled code only)."""
    raise NotImplementedError


@overload(integer_view)
def _integer_view(column: Any) -> Any:
    kind = np.int32 if column.dtype == types.float32 else np.int64

    def view(column: Any) -> Any:
        return column.view(kind)

    return view


@njit(nogil=True, cache=True)
def sign_mask(bits: Array) -> Any:
    """All bits but the sign: `b ^ ((b >> 63) & mask)` (31 for float32) orders as the floats do.

    -0 is below 0 in this order; the map is its own inverse.
    """
    return bits.dtype.type((np.uint64(1) << np.uint64(8 * bits.itemsize - 1)) - np.uint64(1))


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

    A stable sort by `RADIX_BITS` a pass, from the lowest; a pass in which all keys agree is left
    out.
    """
    n = keys.shape[1]
    mask = np.uint64(BUCKETS - 1)
    places = np.zeros((passes, BUCKETS), np.uint32)
    for i in range(n):
        key = np.uint64(keys[0, i])
        for p in range(passes):
            places[p, (key >> np.uint64(RADIX_BITS * p)) & mask] += 1
        rows[0, i] = i
    now = 0
    for p in range(passes):
        shift = np.uint64(RADIX_BITS * p)
        place = places[p]
        if place[(np.uint64(keys[now, 0]) >> shift) & mask] == n:
            continue
        begin_buckets(place)
        after = 1 - now
        for i in range(n):
            key = keys[now, i]
            digit = (np.uint64(key) >> shift) & mask
            to = place[digit]
            place[digit] = to + 1
            keys[after, np.uint64(to)] = key
            rows[after, np.uint64(to)] = rows[now, i]
        now = after
    return now


@njit(nogil=True, cache=True)
def begin_buckets(counts: Array) -> None:
    """Numbers of elements to the position of the first, in place."""
    position = counts.dtype.type(0)
    for b in range(counts.size):
        count = counts[b]
        counts[b] = position
        position += count


@njit(nogil=True, cache=True)
def sort_pairs(pairs: Array, count: int, span: int) -> int:
    """Sort `pairs[0, :count]` (2, N) uint64, made of key and row; returns where they are then.

    Key (upper half, at most `span`) and row number (lower half, ascending) travel as one integer:
    one store an element and pass instead of two. Three passes put the upper 24 bits of the keys in
    order, which leaves little to exchange; where it is much after all, a fourth pass goes before
    them. Many elements are NumPy's to sort.
    """
    if count > FITS_CACHE:
        with objmode():
            pairs[0, :count].sort()
        return 0
    low = 0
    while span >> low >= 1 << SORTED_BITS:
        low += 1
    now = three_passes(pairs, 0, count, 32 + low)
    if low and not insertion_sort(pairs[now, :count], 4 * count):
        counts = np.zeros(BUCKETS, np.uint32)
        source = pairs[now]
        for i in range(count):
            counts[(source[i] >> np.uint64(32)) & np.uint64(BUCKETS - 1)] += 1
        distribute(source, pairs[1 - now], count, np.uint64(32), counts)
        now = three_passes(pairs, 1 - now, count, 32 + low)
    return now


@njit(nogil=True, cache=True)
def three_passes(pairs: Array, now: int, count: int, first_bit: int) -> int:
    """A stable sort of `pairs[now, :count]` by three digits; returns where they are then."""
    places = np.zeros((3, BUCKETS), np.uint32)
    counts, source = places.reshape(-1), pairs[now]
    mask, step, first = np.uint64(BUCKETS - 1), np.uint64(RADIX_BITS), np.uint64(first_bit)
    for i in range(count):
        digits = source[i] >> first
        counts[digits & mask] += 1
        counts[((digits >> step) & mask) + np.uint64(BUCKETS)] += 1
        counts[((digits >> (step + step)) & mask) + np.uint64(2 * BUCKETS)] += 1
    for p in range(3):
        shift = first + np.uint64(p) * step
        if count and places[p, (pairs[now, 0] >> shift) & mask] < count:  # else all agree
            distribute(pairs[now], pairs[1 - now], count, shift, places[p])
            now = 1 - now
    return now


@njit(nogil=True, cache=True)
def distribute(source: Array, target: Array, count: int, shift: Any, counts: Array) -> None:
    """One pass: the elements into the buckets of their digit, of which `counts` are the sizes."""
    begin_buckets(counts)
    mask = np.uint64(BUCKETS - 1)
    for i in range(count):
        pair = source[i]
        digit = (pair >> shift) & mask
        to = counts[digit]
        counts[digit] = to + 1
        target[np.uint64(to)] = pair


@njit(nogil=True, cache=True)
def insertion_sort(values: Array, moves: int) -> bool:
    """Sort what is nearly sorted; gives up, and says so, after that many moves."""
    for i in range(1, values.size):
        value = values[i]
        if value >= values[i - 1]:
            continue
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
        moves -= i - j
        if moves < 0:
            return False
    return True


@njit(nogil=True, cache=True)
def tie_groups(keys: Array, starts: Array, ends: Array) -> None:
    """For each sorted position, the number of values below its value, and of those not above it."""
    n = keys.size
    for i in range(n):
        starts[i] = i
        ends[i] = i + 1
    # Few values tie, or whole runs of them: a branch that is guessed right most of the time.
    i = 1
    while i < n:
        if keys[i] != keys[i - 1]:
            i += 1
            continue
        begin = i - 1
        while i < n and keys[i] == keys[begin]:
            starts[i] = begin
            i += 1
        ends[begin:i] = i

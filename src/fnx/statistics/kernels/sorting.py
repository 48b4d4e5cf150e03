"""Radix sorts of a feature's values, by the bits of its floats."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numba import objmode, types
from numba.extending import overload

from fnx.statistics.kernels.compilation import cached_njit

# Of a digit. Fewer, wider digits take longer: what is written must stay in the nearest cache.
RADIX_BITS = 8
BUCKETS = 1 << RADIX_BITS
SORTED_BITS = 3 * RADIX_BITS  # of a float32, before the last exchanges
# Above it the writes of every pass can miss the cache: one pass puts the elements into buckets, in
# which the others stay.
FITS_CACHE = 1 << 17
FEW = 32  # elements that are exchanged: a pass has its counters to clear
SHORT = 1 << 16  # a row number of so many fits 16 bits

# It warns that NumPy is called under the interpreter's lock; NumPy's sort gives the lock back.
warnings.filterwarnings("ignore", message="(?s).*Code running in object mode")

Array = Any  # Numba's arrays: their types are the callers'


def integer_view(column: Array) -> Array:
    """View the bits of floats as signed integers of the same size (compiled code only)."""
    raise NotImplementedError


@overload(integer_view)
def _integer_view(column: Any) -> Any:
    kind = np.int32 if column.dtype == types.float32 else np.int64

    def view(column: Any) -> Any:
        return column.view(kind)

    return view


@cached_njit(nogil=True)
def sign_mask(bits: Array) -> Any:
    """Return all bits but the sign.

    `b ^ ((b >> 63) & mask)` (31 for float32) orders as the floats do, with -0 below 0; the map is
    its own inverse.
    """
    return bits.dtype.type((np.uint64(1) << np.uint64(8 * bits.itemsize - 1)) - np.uint64(1))


@cached_njit(nogil=True)
def sort_column(
    column: Array, low: float, high: float, scratch: Array, rows: Array, starts: Array, ends: Array
) -> int:
    """Sort row numbers by value, and find the groups of values that tie.

    Results are `rows`, `starts` and `ends` (see `tie_groups`), (N,) uint32; `low` and `high` are
    the extremes of `column` (N,). Returns how many rows are in front: they all have the smallest
    value, and `starts` and `ends` are those of the others, counted from them on.
    """
    single, keys, pairs = scratch
    if narrow(column, single):
        front = sort_single(single, low, high, pairs, keys, rows)
        tie_groups(keys[: column.size - front], starts, ends)
        return front
    sort_double(column, rows, starts, ends)
    return 0


@cached_njit(nogil=True)
def sort_scratch(n: int) -> Any:
    """Return memory that `sort_column` works in."""
    return np.empty(n, np.float32), np.empty(n, np.uint32), np.empty((2, n), np.uint64)


@cached_njit(nogil=True)
def narrow(column: Array, single: Array) -> bool:
    """Write the column as float32, -0 as 0; return whether nothing was lost."""
    lost = np.int32(0)
    for i in range(column.size):
        single[i] = np.float32(column[i]) + np.float32(0)
        lost |= np.int32(single[i] != column[i])
    return bool(lost == 0)


@cached_njit(nogil=True)
def sort_single(
    column: Array, low: float, high: float, pairs: Array, keys: Array, rows: Array
) -> int:
    """Sort float32 values, (N,) without -0; return how many are in front of the sorted ones.

    After a ReLU many values are the smallest, 0: they are put in front and left out of the sort.
    Results are `rows` (N,) uint32, those in front, then those sorted; and the first of `keys` (N,)
    uint32, which order as the sorted values do. `pairs` (2, N) uint64 is scratch.
    """
    n = column.size
    smallest, largest = np.float32(low) + np.float32(0), np.float32(high) + np.float32(0)
    first, last = ordered_bits(np.array([smallest, largest]))
    lowest = 0
    for i in range(n):
        lowest += int(column[i] == smallest)
    front = lowest * int(lowest > n // 16)  # if worth a pass of its own
    if n <= SHORT:
        items = pairs[0].view(np.uint32).reshape((2, n))
        if sort_short(column, smallest, largest, front, items, keys, rows):
            return front
    bits, mask, sign = integer_view(column), sign_mask(integer_view(column)), np.int32(31)
    source = pairs[1 if front else 0]
    for i in range(n):
        key = np.uint32(np.uint32(bits[i] ^ ((bits[i] >> sign) & mask)) - first)
        source[i] = np.uint64(key) << np.uint64(32) | np.uint64(i)
    if front:
        take_lowest(column, smallest, source, pairs[0], rows)
    ordered = pairs[sort_pairs(pairs, n - front, int(np.uint32(last - first)))]
    for i in range(n - front):
        rows[front + i] = np.uint32(ordered[i])
        keys[i] = np.uint32(ordered[i] >> np.uint64(32))
    return front


@cached_njit(nogil=True)
def ordered_bits(values: Array) -> Array:
    """Return integers uint32 that order as float32 values do, -0 below 0."""
    bits, mask, sign = integer_view(values), sign_mask(integer_view(values)), np.int32(31)
    return (bits ^ ((bits >> sign) & mask)).view(np.uint32)


@cached_njit(nogil=True)
def take_lowest(column: Array, smallest: Any, source: Array, target: Array, rows: Array) -> None:
    """Write the rows of the smallest value to `rows`, and the others' elements to `target`."""
    z, m = np.uint64(0), np.uint64(0)
    for i in range(column.size):  # each is written to both, and one of them stays
        rows[z] = i
        target[m] = source[i]
        is_lowest = column[i] == smallest
        z += np.uint64(is_lowest)
        m += np.uint64(not is_lowest)


@cached_njit(nogil=True, error_model="numpy")
def sort_short(
    column: Array,
    smallest: Any,
    largest: Any,
    front: int,
    items: Array,
    keys: Array,
    rows: Array,
) -> bool:
    """Sort at most `SHORT` values as `sort_single` does; gives up, and says so, on long tails.

    An element is one integer of 32 bits: where the value lies between the extremes, in 65,536
    steps, and its row. Two passes order the steps; few values share one, and are exchanged. `items`
    (2, N) uint32 is scratch.
    """
    n = column.size
    scale = np.float32(SHORT - 1) / np.float32(largest - smallest)
    if not 0 < scale < np.inf:  # the range overflows, or is one of subnormal numbers
        return False
    source = items[1 if front else 0]
    for i in range(n):
        step = np.int32(np.float32(column[i] - smallest) * scale)
        source[i] = np.uint32(step) << np.uint32(16) | np.uint32(i)
    if front:
        take_lowest(column, smallest, source, items[0], rows)
    count, now = n - front, items[0]
    places = np.zeros((2, BUCKETS), np.uint32)
    low, high = places[0], places[1]
    mask = np.uint32(BUCKETS - 1)
    for i in range(count):
        low[np.uint64(now[i] >> np.uint32(16) & mask)] += 1
        high[np.uint64(now[i] >> np.uint32(24))] += 1
    distribute(now[:count], items[1], np.uint64(16), low)
    distribute(items[1, :count], now, np.uint64(24), high)
    bits, sign, every = integer_view(column), np.int32(31), sign_mask(integer_view(column))
    first = ordered_bits(np.array([smallest]))[0]
    later = rows[front:]
    moves = 2 * count
    before = np.uint32(0)
    for i in range(count):
        row = now[i] & np.uint32(SHORT - 1)
        value = bits[np.uint64(row)]
        key = np.uint32(np.uint32(value ^ ((value >> sign) & every)) - first)
        if key >= before:
            keys[i], later[i] = key, row
            before = key
            continue
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j], later[j] = keys[j - 1], later[j - 1]
            j -= 1
        keys[j], later[j] = key, row
        moves -= i - j
        if moves < 0:
            return False
    return True


@cached_njit(nogil=True)
def sort_double(column: Array, rows: Array, starts: Array, ends: Array) -> None:
    """Sort values into row numbers and tie groups, all (N,) uint32."""
    with objmode(order="int64[:]"):
        order = column.argsort()
    for i in range(order.size):  # compiled in a tenth of the time of an assignment of slices
        rows[i] = order[i]
    tie_groups(column[order], starts, ends)


@cached_njit(nogil=True)
def begin_buckets(counts: Array) -> None:
    """Turn numbers of elements into the position of the first, in place."""
    position = counts.dtype.type(0)
    for b in range(counts.size):
        count = counts[b]
        counts[b] = position
        position += count


@cached_njit(nogil=True)
def sort_pairs(pairs: Array, count: int, span: int) -> int:
    """Sort `pairs[0, :count]` (2, N) uint64, made of key and row; return where they are then.

    Key (upper half, at most `span`) and row number (lower half, ascending) travel as one integer:
    one store an element and pass instead of two. Three passes put the upper 24 bits of the keys in
    order, which leaves little to exchange; where it is much after all, a fourth pass goes before
    them. Of many elements the upper 8 bits go first.
    """
    if count > FITS_CACHE:
        sort_many(pairs[0, :count], pairs[1, :count], span)
        return 0
    low = 0
    while span >> low >= 1 << SORTED_BITS:
        low += 1
    now = three_passes(pairs[0, :count], pairs[1, :count], 32 + low)
    if low and not insertion_sort(pairs[now, :count], 4 * count):
        counts = np.zeros(BUCKETS, np.uint32)
        source, target = pairs[now, :count], pairs[1 - now, :count]
        for i in range(count):
            counts[(source[i] >> np.uint64(32)) & np.uint64(BUCKETS - 1)] += 1
        distribute(source, target, np.uint64(32), counts)
        now = (1 - now + three_passes(target, source, 32 + low)) % 2
    return now


@cached_njit(nogil=True)
def sort_many(items: Array, scratch: Array, span: int) -> None:
    """Sort elements as `sort_pairs` does: the upper digit first, then each bucket by the others."""
    low = 0
    while span >> low >= BUCKETS:
        low += 1
    shift, mask = np.uint64(32 + low), np.uint64(BUCKETS - 1)
    ends = np.zeros(BUCKETS, np.uint32)
    for i in range(items.size):
        ends[(items[i] >> shift) & mask] += 1
    distribute(items, scratch, shift, ends)
    begin = np.int64(0)
    for b in range(BUCKETS):
        end = np.int64(ends[b])
        bucket, target = scratch[begin:end], items[begin:end]
        begin = end
        if bucket.size <= FEW:
            insertion_sort(bucket, bucket.size * bucket.size)
        elif three_passes(bucket, target, 32):
            continue
        for i in range(bucket.size):
            target[i] = bucket[i]


@cached_njit(nogil=True)
def three_passes(items: Array, scratch: Array, first_bit: int) -> int:
    """Sort `items` by three digits, stably; return whether they are in `scratch` then."""
    places = np.zeros((3, BUCKETS), np.uint32)
    counts = places.reshape(-1)
    mask, step, first = np.uint64(BUCKETS - 1), np.uint64(RADIX_BITS), np.uint64(first_bit)
    for i in range(items.size):
        digits = items[i] >> first
        counts[digits & mask] += 1
        counts[((digits >> step) & mask) + np.uint64(BUCKETS)] += 1
        counts[((digits >> (step + step)) & mask) + np.uint64(2 * BUCKETS)] += 1
    now = 0
    for p in range(3):
        shift = first + np.uint64(p) * step
        if items.size and places[p, (items[0] >> shift) & mask] < items.size:  # else all agree
            distribute(items, scratch, shift, places[p])
            items, scratch, now = scratch, items, 1 - now
    return now


@cached_njit(nogil=True)
def distribute(source: Array, target: Array, shift: Any, counts: Array) -> None:
    """Put the elements into the buckets of their digit; `counts` are the sizes, then the ends."""
    begin_buckets(counts)
    mask = np.uint64(BUCKETS - 1)
    for i in range(source.size):
        pair = source[i]
        digit = (pair >> shift) & mask
        to = counts[digit]
        counts[digit] = to + 1
        target[np.uint64(to)] = pair


@cached_njit(nogil=True)
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


@cached_njit(nogil=True)
def tie_groups(keys: Array, starts: Array, ends: Array) -> None:
    """Count, for each sorted position, the values below its value, and those not above it."""
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

"""The parts of the kernels with tricks: sorting by bits, transposing in registers, counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fnx.statistics.kernels import histogram as kernels
from fnx.statistics.kernels import sorting
from fnx.statistics.kernels.sorting import narrow, sort_double, sort_single
from fnx.statistics.kernels.tile import extremes, transpose

rng = np.random.default_rng(0)
COLUMNS = {
    "normal": rng.standard_normal(5_000),
    "relu": np.maximum(rng.standard_normal(5_000), 0),
    "nearly the same": 1000 + 0.01 * rng.random(5_000),
    "heavy-tailed": np.exp(20 * rng.standard_normal(5_000)),
    # The upper bits of nearly all keys agree: the case in which exchanging gives up.
    "two far out": np.r_[-1e30, 1e30, 1 + 1e-4 * rng.random(4_998)],
    "integers": rng.integers(-5, 5, 5_000),
    "negative zeros": np.where(rng.random(5_000) < 0.5, -0.0, rng.random(5_000)),
    "two": np.array([2.0, 1.0]),
}


MANY = 3 * sorting.FITS_CACHE


@pytest.mark.parametrize("n", [None, sorting.SHORT, sorting.SHORT + 1, MANY])
@pytest.mark.parametrize("kind", COLUMNS)
def test_float32_sort_is_numpys(kind: str, n: int | None) -> None:
    column = COLUMNS[kind].astype(np.float32)
    column = column if n is None else np.resize(column, n)
    n = column.size
    plain = np.empty(n, np.float32)
    assert narrow(column, plain)
    keys, rows = np.empty(n, np.uint32), np.empty(n, np.uint32)
    pairs = np.empty((2, n), np.uint64)
    front = sort_single(plain, plain.min(), plain.max(), pairs, keys, rows)
    np.testing.assert_array_equal(column[rows], np.sort(column))
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    assert (column[rows[:front]] == column.min()).all()
    later = column[rows[front:]]
    ordered = keys[: n - front].astype(np.int64)
    np.testing.assert_array_equal(np.diff(ordered) > 0, np.diff(later) > 0)
    assert (np.diff(ordered) >= 0).all()
    rising = np.diff(rows[front:].astype(np.int64)) > 0
    assert rising[np.diff(later) == 0].all()  # values that tie keep their order


@pytest.mark.parametrize(
    "keys",
    [
        rng.integers(0, 1 << 32, MANY),
        rng.integers(0, 1 << 18, MANY),  # less than three digits after the first
        rng.integers(0, 200, MANY),  # none
        np.r_[(1 << 32) - 1, rng.integers(0, 1 << 16, MANY)],  # one bucket of nearly all
        # Buckets of one element and of two to `FEW` and more, in falling order.
        np.r_[(np.arange(3_000)[::-1] << 20), np.arange(40)[::-1] << 26, rng.integers(0, 9, MANY)],
        np.zeros(MANY, np.int64),
    ],
)
def test_many_elements_are_sorted_by_key_and_row(keys: Any) -> None:
    items = keys.astype(np.uint64) << np.uint64(32) | np.arange(keys.size, dtype=np.uint64)
    expected = np.sort(items)
    sorting.sort_many(items, np.empty_like(items), int(keys.max()))
    np.testing.assert_array_equal(items, expected)


@pytest.mark.parametrize(
    ("column", "sorts"),
    [
        (rng.standard_normal(5_000), True),
        (np.round(rng.standard_normal(5_000), 2), True),
        (np.r_[-1e30, 1e30, 1 + 1e-4 * rng.random(4_998)], False),  # one step of nearly all
        (np.array([-3e38, 3e38, 0]), False),  # the range is beyond float32
        (np.array([0, 1e-45, 3e-45]), False),  # the steps per unit are
    ],
)
def test_short_sort_gives_up_on_long_tails(column: Any, sorts: bool) -> None:
    column = column.astype(np.float32) + np.float32(0)  # without -0, as `narrow` leaves it
    n = column.size
    items, keys, rows = np.empty((2, n), np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    assert sorting.sort_short(column, column.min(), column.max(), 0, items, keys, rows) == sorts
    if sorts:
        np.testing.assert_array_equal(rows, np.argsort(column, kind="stable"))


@pytest.mark.parametrize("kind", COLUMNS)
def test_float64_sort_and_its_tie_groups_are_numpys(kind: str) -> None:
    column = COLUMNS[kind].astype(np.float64)
    rows, starts, ends = (np.empty(column.size, np.uint32) for _ in range(3))
    sort_double(column, rows, starts, ends)
    ordered = np.sort(column)
    np.testing.assert_array_equal(column[rows], ordered)
    np.testing.assert_array_equal(starts, np.searchsorted(ordered, ordered, side="left"))
    np.testing.assert_array_equal(ends, np.searchsorted(ordered, ordered, side="right"))


def test_narrowing_tells_what_float32_cannot_hold() -> None:
    single = np.empty(2, np.float32)
    assert narrow(np.array([0.5, -3.0]), single)
    assert not narrow(np.array([0.5, 0.1]), single)


def test_insertion_sort_gives_up_when_there_is_much_to_move() -> None:
    assert sorting.insertion_sort(np.array([1, 3, 2], np.uint64), 1)
    assert not sorting.insertion_sort(np.arange(50, 0, -1).astype(np.uint64), 100)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (15, 40), (50, 33), (64, 7)])
def test_transposing_blocks_of_every_shape(dtype: Any, shape: tuple[int, int]) -> None:
    whole = rng.random((2 * shape[0], shape[1] + 5)).astype(dtype)
    for block in (whole[: shape[0], : shape[1]], whole[::2, 5:]):
        tile = np.full((shape[1] + 2, shape[0] + 3), -1, dtype)
        transpose(block, tile)
        np.testing.assert_array_equal(tile[: shape[1], : shape[0]], block.T)
        assert (tile[shape[1] :] == -1).all()
        assert (tile[:, shape[0] :] == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", COLUMNS)
def test_extremes_are_numpys(kind: str, dtype: Any) -> None:
    column = COLUMNS[kind].astype(dtype)
    columns = np.stack([column, np.full(column.size, 3, dtype), -column, column])
    columns[3, -1] = np.nan  # beyond N
    low, high = np.empty((2, 4))
    extremes(columns, column.size - 1, low, high)
    used = columns[:, :-1]
    np.testing.assert_array_equal(low, used.min(axis=1))
    np.testing.assert_array_equal(high, used.max(axis=1))


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 4_099])
def test_counts_of_bins_and_classes(n: int, kind: Any) -> None:
    index, labels = rng.integers(0, 6, n), rng.integers(0, 3, n)
    counts, places = np.full((6, 3), 9, np.uint32), np.full(n + 1, 99, kind)
    kernels.count_classes(index.astype(np.uint16), labels.astype(np.uint16), places, counts)
    np.testing.assert_array_equal(counts.ravel(), np.bincount(index * 3 + labels, minlength=18))


def test_more_places_than_16_bits_hold() -> None:
    index, labels = np.array([0, 699, 699], np.uint16), np.array([999, 0, 999], np.uint16)
    counts = np.empty((700, 1_000), np.uint32)
    kernels.count_classes(index, labels, np.empty(3, np.uint32), counts)
    assert np.argwhere(counts).tolist() == [[0, 999], [699, 0], [699, 999]]


@pytest.mark.parametrize("share", [0, 0.24, 0.26, 1])
def test_a_crowded_lowest_bin_is_dropped(share: float) -> None:
    plain = rng.permutation(np.where(np.arange(100) < 100 * share, 0, 3))
    index, rows = plain.astype(np.uint16), np.full(100, 999, np.uint32)
    kept = kernels.drop_lowest(index, rows)
    expected = np.flatnonzero(plain) if share > 0.25 else np.arange(100)
    assert kept == expected.size
    np.testing.assert_array_equal(index[:kept], plain[expected])
    if share > 0.25:
        np.testing.assert_array_equal(rows[:kept], expected)


EDGES = {
    "values on edges": rng.integers(0, 101, 3_000) / 100,
    "far from zero": 1e9 + rng.integers(0, 71, 3_000) * 1e-3,
    "subnormal": rng.integers(0, 99, 3_000) * 5e-324,
    "small": rng.integers(0, 99, 3_000) * 1e-300,
    "large": rng.standard_normal(3_000) * 1e300,
}


@pytest.mark.parametrize("bins", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("kind", [*COLUMNS, *EDGES])
def test_bins_are_numpys(kind: str, bins: int) -> None:
    column = (COLUMNS | EDGES)[kind].astype(np.float64)
    index = np.empty(column.size, np.uint16)
    low, high = column.min(), column.max()
    kernels.bin_column(column, low, high, bins, index)
    order = np.argsort(column, kind="stable")
    try:
        counts = np.histogram(column, bins)[0]
    except ValueError:  # it refuses a range that has no room for its edges
        counts = np.bincount(((column - low) / (high - low) * bins).clip(max=bins - 1).astype(int))
    np.testing.assert_array_equal(index[order], np.repeat(np.arange(counts.size), counts))

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


@pytest.mark.parametrize("kind", COLUMNS)
def test_float32_sort_is_numpys(kind: str) -> None:
    column = COLUMNS[kind].astype(np.float32)
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


@pytest.mark.parametrize("n", [0, 1, 5, 4_099])
def test_counts_of_bins_and_classes(n: int) -> None:
    index, labels = rng.integers(0, 6, n), rng.integers(0, 3, n)
    counts = np.full((6, 3), 9, np.uint16)
    kernels.count_classes(index.astype(np.uint16), labels.astype(np.uint16), counts)
    np.testing.assert_array_equal(counts.ravel(), np.bincount(index * 3 + labels, minlength=18))

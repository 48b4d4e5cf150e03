"""How an array is cut into blocks of columns and tiles, and what is refused on the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fnx
from fnx.errors import DataError, PluginError
from fnx.statistics import tiles
from fnx.statistics.columns import open_columns
from fnx.statistics.tiles import group


def stored(width: int, columns: int = 1200) -> Any:
    """What is read of a zarr array whose inner chunks have this width."""
    array = np.zeros((3, columns), np.float32)
    return SimpleNamespace(shape=array.shape, dtype=array.dtype, chunks=(3, width), array=array)


def test_columns_are_read_64_at_a_time() -> None:
    assert open_columns(np.zeros((2, 150))).blocks() == [(0, 64), (64, 128), (128, 150)]
    assert open_columns(np.zeros((2, 128))).blocks() == [(0, 64), (64, 128)]


@pytest.mark.parametrize(
    ("width", "read"), [(1, 64), (63, 64), (64, 64), (100, 100), (512, 512), (513, 512)]
)
def test_or_as_the_arrays_chunks_are_from_64_to_512(width: int, read: int) -> None:
    assert open_columns(stored(width)).width == read


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int8", "float64"),
        ("uint16", "float64"), ("int64", "float64"), ("bool", "float64"),
    ],
)  # fmt: skip
def test_short_floats_are_read_as_float32_all_else_as_float64(dtype: str, read: str) -> None:
    columns = open_columns(np.ones((2, 3), dtype))
    assert (columns.n_rows, columns.n_columns) == (2, 3)
    assert columns.read(1, 3).dtype == read
    assert columns.read(1, 3).tolist() == [[1, 1], [1, 1]]


def test_types_that_float64_cannot_hold_are_refused() -> None:
    with pytest.raises(DataError, match="must be float16, float32, float64 or integers"):
        open_columns(np.zeros((2, 2), np.longdouble))
    with pytest.raises(DataError, match="there is nothing to compare"):
        open_columns(np.zeros((0, 2)))


def test_labellings_are_counted() -> None:
    found = group(np.array([[0, 1, 1, 2], [2, 2, 1, 0]]), 4, 3)
    assert found.sizes.tolist() == [[1, 2, 1], [1, 1, 2]]
    assert found.labellings.dtype == np.uint16
    assert group(np.zeros((0, 4), int), 4, 3).sizes.shape == (0, 3)


def test_up_to_65536_classes() -> None:
    assert group(np.arange(65_536)[None], 65_536, 65_536).labellings[0, -1] == 65_535
    assert group(np.array([[0, 1]]), 2, 2).sizes.shape == (1, 2)
    for count in (1, 65_537):
        with pytest.raises(DataError, match=rf"{count} classes: must be 2 to 65,536"):
            group(np.array([[0, 0]]), 2, count)


@pytest.mark.parametrize(
    ("labellings", "message"),
    [
        (5, "labels for 0 images, features of 2: must be the same number"),
        ([0, 1, 1], "labels for 3 images, features of 2"),
        ([0, 1], "labels for 2 images, features of 2"),  # no labelling, but labels
        ([[0, 1, 1]], "labels for 3 images, features of 2"),
        ([[-1, 1]], "labels must lie in 0 … 1"),
        ([[0, 2]], "labels must lie in 0 … 1"),
        ([[0, 1], [0, 0]], "class 1 has no images"),
    ],
)
def test_labellings_that_do_not_fit_are_refused(labellings: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        group(np.array(labellings), 2, 2)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(1, 64), (2**17, 64), (2**17 + 1, 48), (2**18, 32), (2**19, 16), (2**30, 16)],
)
def test_a_tile_is_four_cache_lines_of_each_row_or_fewer_where_rows_are_many(
    rows: int, columns: int
) -> None:
    assert tiles.tile_width(rows) == columns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 16, 17, 33, 1000])
def test_a_tiles_rows_begin_on_cache_lines_an_odd_number_apart(dtype: Any, n: int) -> None:
    tile = tiles._empty_tile(5, n, np.dtype(dtype))
    assert tile.shape[0] == 5
    assert n <= tile.shape[1] < n + 2 * 64 // tile.itemsize
    assert tile.ctypes.data % 64 == 0
    assert tile.strides[0] % 128 == 64


def test_a_plugin_may_leave_its_range_by_rounding_only(restored_registry: None) -> None:
    @fnx.statistic("nearly", range=(-10, 10))
    def nearly(inner: Any, outer: Any, value: float = 0.0) -> float:
        """Whatever is asked for."""
        return value

    features, labels = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    for value in (10.00009, -10.00009):  # 1e-5 of the range's end
        found = fnx.distances(features, labels, statistic="nearly", value=value)
        assert found == pytest.approx(value)
    for value in (10.0002, -10.0002, float("nan")):
        with pytest.raises(PluginError, match=r"gave .* for feature 0 and class 0: its declared"):
            fnx.distances(features, labels, statistic="nearly", value=value)

"""Arrays of any library as NumPy's, and missing values as one line."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from scipy import sparse

from fnx.errors import DataError
from fnx.utils.arrays import as_array, as_numbers, is_missing


class NAType:
    """As pandas' NA, which is neither true nor false."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    "value",
    [None, np.nan, float("nan"), np.float32("nan"), np.datetime64("NaT"), np.ma.masked, NAType(),
     "", " \t", b"", b" "],
)  # fmt: skip
def test_what_stands_for_no_value(value: Any) -> None:
    assert is_missing(value) is True


@pytest.mark.parametrize("value", [0, 0.0, False, "nan", "None", b"x", np.inf, (), [], np.zeros(2)])
def test_what_stands_for_a_value(value: Any) -> None:
    assert is_missing(value) is False


def test_arrays_that_are_read_block_by_block_stay_as_they_are(tmp_path: Any) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    for same in (
        np.eye(3),
        np.load(tmp_path / "a.npy", mmap_mode="r"),
        zarr.array(np.eye(3)),
    ):
        assert as_array("x", same) is same
    assert as_array("x", sparse.coo_array(np.eye(3))).format == "csc"


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3, requires_grad=True),
        torch.eye(3).to_sparse(),
        torch.eye(3).bfloat16(),
        torch.eye(3, dtype=torch.int8),
        np.eye(3).tolist(),
        [np.ma.array(row) for row in np.eye(3)],
        np.ma.array(np.eye(3)),
    ],
)
def test_what_numpy_can_hold_becomes_an_array(value: Any) -> None:
    found = as_array("x", value)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, np.eye(3))


def test_numbers_that_are_objects_become_float64() -> None:
    found = as_numbers("x", np.array([1, 2.5, Fraction(1, 4), Decimal("0.5"), True], dtype=object))
    assert found.dtype == np.float64
    assert found.tolist() == [1, 2.5, 0.25, 0.5, 1]
    assert as_numbers("x", np.arange(3)).dtype == np.int64


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "x: None is not an array"),
        ([[1], [2, 3]], "x: cannot be read as an array: its rows have different lengths"),
        (np.ma.array([1, 2, 3], mask=[0, 1, 1]),
         "x: 2 of 3 values are masked, the first at 1: leave them out, or fill them in"),
        (np.ma.array(np.eye(2), mask=[[0, 0], [0, 1]]),
         "x: 1 of 4 values are masked, the first in row 1, column 1: leave them out, or fill them"
         " in"),
        ([1, None, None],
         "x: 2 of 3 values are missing, the first (None) at 1: leave them out, or fill them in"),
        (np.array(["1", 2], dtype=object), "x: '1' at 0 is not a number"),
        (np.array([[1, b"2"]], dtype=object), "x: b'2' in row 0, column 1 is not a number"),
        (np.array([1, "2" * 50], dtype=object), f"x: '{'2' * 39} at 1 is not a number"),
    ],
)  # fmt: skip
def test_what_holds_no_numbers_is_refused(value: Any, line: str) -> None:
    with pytest.raises(DataError) as caught:
        as_numbers("x", value)
    assert str(caught.value) == line


def test_whatever_a_library_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no\narray")

    with pytest.raises(DataError, match=r"^x: cannot be read as an array: RuntimeError: no array$"):
        as_array("x", Broken())

"""Reads the arrays that people have, of any library, and refuses missing values in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError, reason


def as_array(name: str, value: Any) -> Any:
    """Return a NumPy array, or an array with a shape and a NumPy dtype that is read block by block.

    The latter are memory maps, zarr, h5py and Dask arrays, and sparse matrices, as columns.

    Raises:
        DataError: a value is masked or missing, or it is no array; names `name`.
    """
    if value is None:
        raise DataError(f"{name}: None is not an array")
    try:
        if hasattr(value, "tocsc"):  # scipy.sparse
            return value.tocsc()
        if hasattr(value, "compute_chunk_sizes") and np.isnan(value.shape).any():  # Dask
            value = value.compute_chunk_sizes()
        if hasattr(value, "detach"):  # torch
            value = _from_torch(value)
        if isinstance(value, list | tuple) and any(np.ma.isMaskedArray(item) for item in value):
            value = np.ma.array(value)
        if isinstance(value, np.ma.MaskedArray):
            return _unmasked(name, value)
        if hasattr(value, "shape") and isinstance(getattr(value, "dtype", None), np.dtype):
            array = value
        else:  # lists, data frames, columns of other libraries
            array = np.asarray(value)
    except DataError:
        raise
    # Any library's code: whatever it raises says that this is no array of numbers or text.
    except Exception as error:
        ragged = "inhomogeneous" in str(error)
        why = "its rows have different lengths" if ragged else reason(error)
        raise DataError(f"{name}: cannot be read as an array: {why}") from error
    if array.dtype.kind == "T":  # NumPy's text of any length, which may hold missing values
        array = np.asarray(array).astype(object)
    if array.dtype.kind == "O":
        _refuse_missing(name, np.asarray(array))
    return array


def as_numbers(name: str, value: Any) -> Any:
    """Return what `as_array` does, with numbers that are held as Python objects as float64.

    Raises:
        DataError: as there, or something is no number.
    """
    array = as_array(name, value)
    if array.dtype.kind != "O":
        return array
    array = np.asarray(array)
    for place, item in np.ndenumerate(array):
        if isinstance(item, str | bytes) or not hasattr(item, "__float__"):
            raise DataError(f"{name}: {repr(item)[:40]} {_at(place)} is not a number")
    return array.astype(np.float64)


def is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, NaT, pandas' NA, a masked or empty one."""
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str | bytes):
        return not value.strip()
    return bool(np.isscalar(value) and value != value)


def _from_torch(tensor: Any) -> NDArray[Any]:
    if "sparse" in str(tensor.layout):
        tensor = tensor.to_dense()
    try:
        array: NDArray[Any] = tensor.numpy(force=True)
    except TypeError:  # bfloat16 and the like, which NumPy lacks
        array = tensor.float().numpy(force=True)
    return array


def _unmasked(name: str, value: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    mask = np.ma.getmaskarray(value)
    if mask.any():
        first = np.argwhere(mask)[0]
        raise DataError(
            f"{name}: {int(mask.sum()):,} of {mask.size:,} values are masked, the first "
            f"{_at(first)}: leave them out, or fill them in"
        )
    return np.asarray(value.data)


def _refuse_missing(name: str, array: NDArray[Any]) -> None:
    missing = [place for place, item in np.ndenumerate(array) if is_missing(item)]
    if missing:
        raise DataError(
            f"{name}: {len(missing):,} of {array.size:,} values are missing, the first "
            f"({array[missing[0]]!r}) {_at(missing[0])}: leave them out, or fill them in"
        )


def _at(place: Any) -> str:
    names = ("at", "column") if len(place) == 1 else ("in row", "column")
    return ", ".join(f"{word} {int(i)}" for word, i in zip(names, place, strict=False))

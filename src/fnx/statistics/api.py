"""The public function: distances of all features and classes from arrays."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import DataError
from fnx.registry import load_installed, statistics
from fnx.statistics.engine import all_distances
from fnx.statistics.labels import Labels
from fnx.utils.arrays import as_array, is_missing

COERCED = 32  # characters that NumPy gives texts among which a float was: NaN is then "nan"


def distances(
    features: Any,
    labels: ArrayLike,
    *,
    statistic: str | Callable[..., Any] = "ks",
    **parameters: Any,
) -> NDArray[np.float32]:
    """Distance of every feature and every class (paper, Section 4).

    For each feature f and class c, the statistic compares the values of the images of c with those
    of all other images. A signed statistic is positive where the class has the higher values.

    Args:
        features: (N, F) real numbers: NumPy array, memory map, zarr, h5py or Dask array (read block
            by block), sparse matrix, torch tensor, data frame, or what `numpy.asarray` takes.
            float16, float32, float64 and integers.
        labels: (N,) integers or strings; a class is a value that occurs. Or a boolean table (N, C)
            of concepts, which may overlap: each is compared with all rows that lack it.
        statistic: name of a built-in or of a plugin, or the function that was registered.
        **parameters: the statistic's own, for example ``bins``.

    Returns:
        float32 (F, C): rows in order of the features, columns in order of ``numpy.unique(labels)``,
        which is 0 … C-1 for such labels, or of the table's. A constant feature has distance 0.

    Raises:
        DataError: NaN or infinity (named by feature and image), missing or masked values, fewer
            than 2 classes, shapes that do not fit.
        ConfigError: an unknown statistic or parameter, or a value that is not allowed.
        PluginError: a statistic that cannot be compiled, or that leaves its declared range.

    >>> import fnx
    >>> fnx.distances([[0.0], [0.2], [0.9], [1.0]], ["cat", "cat", "dog", "dog"])
    array([[-1.,  1.]], dtype=float32)
    """
    load_installed()
    own = as_labels(labels)
    entry = statistics.get(statistic)
    found = all_distances(
        features, own.codes[None], own.n_classes, entry, parameters, sets=own.sets
    )
    return np.asarray(found.values[0], dtype=np.float32)


def as_labels(labels: Any) -> Labels:
    """Return labels of one class each, or those of a table (N, C) of concepts.

    Raises:
        DataError: see `encode`; a table of other values than true and false, or 1 and 0.
    """
    if len(getattr(labels, "shape", ())) != 2:
        nested = isinstance(labels, list | tuple) and labels and isinstance(labels[0], list | tuple)
        if not nested:
            return Labels(*encode(labels))
    table = as_array("labels", labels)
    values = table.data if hasattr(table, "toarray") else np.asarray(table)
    if len(table.shape) != 2 or 0 in table.shape:
        raise DataError(f"labels have shape {table.shape}: must be (N,), or (N, C) of concepts")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(
            "labels are a table of other values than true and false: must be (N,), one class for "
            "each row, or a boolean table (N, C) of concepts"
        )
    return Labels.of_table(table if hasattr(table, "toarray") else values)


def encode(labels: ArrayLike) -> tuple[NDArray[np.int32], int]:
    """Integers 0 … C-1 for any integer or string labels, and C.

    Raises:
        DataError: labels that are missing, or of another kind or shape, or of one class only.
    """
    if isinstance(labels, list | tuple) and all(map(np.isscalar, labels)):
        labels = np.array(labels, dtype=object)  # else NumPy turns 1 and NaN into text
    values = np.asarray(as_array("labels", labels))
    if values.ndim != 1:
        raise DataError(f"labels have shape {values.shape}: must be (N,), one for each image")
    if not values.size:
        raise DataError("labels are empty: there must be one for each image")
    if values.dtype.kind == "O":
        values = _of_one_kind(values)
    if values.dtype.kind not in "biuUS":
        as_array("labels", values.astype(object))  # names NaN and NaT
        raise DataError(f"labels are {values.dtype}: must all be integers, or all strings")
    names, codes = np.unique(values, return_inverse=True)
    _refuse_missing_names(names)
    if names.size < 2:
        raise DataError(f"labels have {names.size} class: a distance needs at least 2")
    return codes.astype(np.int32), int(names.size)


def _of_one_kind(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels that are Python objects as text or as integers."""
    kinds = {
        kind.__name__
        for kind in map(type, labels)
        for kind in (next((k for k in (str, bytes, bool) if issubclass(kind, k)), kind),)
    }
    if kinds <= {"str"}:
        return labels.astype(np.str_)
    if kinds <= {"bytes"}:
        return labels.astype(np.bytes_)
    if kinds <= {"bool", "bool_"}:
        return labels.astype(np.bool_)
    if all(isinstance(label, numbers.Integral) for label in labels) and "bool" not in kinds:
        return np.array(labels.tolist())
    raise DataError(
        f"labels are {' and '.join(sorted(kinds))}: must all be integers, or all strings"
    )


def _refuse_missing_names(names: NDArray[Any]) -> None:
    if names.dtype.kind not in "US":
        return
    if any(map(is_missing, names.tolist())):
        raise DataError("labels: some are empty: leave those images out, or name their class")
    coerced = names.dtype == np.dtype((np.str_, COERCED)) and "nan" in names
    if coerced and max(map(len, names.tolist())) < COERCED:
        raise DataError(
            "labels: NaN is among them, which NumPy made the text 'nan': leave those images out"
        )

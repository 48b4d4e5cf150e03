"""The public function: distances of all features and classes from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import DataError
from fnx.registry import load_installed, statistics
from fnx.statistics.engine import all_distances


def distances(
    features: Any, labels: ArrayLike, *, statistic: str = "ks", **parameters: Any
) -> NDArray[np.float32]:
    """Distance of every feature and every class (paper, Section 4).

    For each feature f and class c, the statistic compares the values of the images of c with those
    of all other images. A signed statistic is positive where the class has the higher values.

    Args:
        features: (N, F) real numbers: NumPy array, memory map, zarr array (read block by block), or
            what `numpy.asarray` takes. float16, float32, float64 and integers.
        labels: (N,) integers or strings; a class is a value that occurs.
        statistic: name of a built-in or of a plugin.
        **parameters: the statistic's own, for example ``bins``.

    Returns:
        float32 (F, C): rows in order of the features, columns in order of ``numpy.unique(labels)``,
        which is 0 … C-1 for such labels. A constant feature has distance 0.

    Raises:
        DataError: NaN or infinity (named by feature and image), fewer than 2 classes, shapes that
            do not fit.
        ConfigError: an unknown statistic or parameter, or a value that is not allowed.
        PluginError: a statistic that cannot be compiled, or that leaves its declared range.

    >>> import fnx
    >>> fnx.distances([[0.0], [0.2], [0.9], [1.0]], ["cat", "cat", "dog", "dog"])
    array([[-1.,  1.]], dtype=float32)
    """
    load_installed()
    codes, n_classes = encode(labels)
    entry = statistics.get(statistic)
    found = all_distances(features, codes[None], n_classes, entry, parameters)
    return np.asarray(found.values[0], dtype=np.float32)


def encode(labels: ArrayLike) -> tuple[NDArray[np.int32], int]:
    """Integers 0 … C-1 for any integer or string labels, and C.

    Raises:
        DataError: labels of another kind or shape, or of one class only.
    """
    values = np.asarray(labels)
    if values.dtype.kind == "O":
        if not all(isinstance(value, str) for value in values.flat):
            raise DataError("labels must be integers or strings, of one kind and none missing")
        values = values.astype(np.str_)
    if values.ndim != 1:
        raise DataError(f"labels have shape {values.shape}: must be (N,), one for each image")
    if values.dtype.kind not in "biuUST":
        raise DataError(f"labels are {values.dtype}: must be integers or strings")
    names, codes = np.unique(values, return_inverse=True)
    if names.size < 2:
        raise DataError(f"labels have {names.size} class: a distance needs at least 2")
    return codes.astype(np.int32), int(names.size)

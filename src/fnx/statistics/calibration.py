"""Distances calibrated by what random labels give, so that classes of any size compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import ConfigError, DataError
from fnx.registry import load_installed, statistics
from fnx.registry.registry import Statistic
from fnx.utils.arrays import as_array, as_numbers

METHODS = ("permutation", "bridge", "exact")
KOLMOGOROV_SMIRNOV = ("ks", "ks_exact")  # whose law is known: bridge and exact
BLOCK_VALUES = 1 << 20  # distances that are read at a time

Vector = NDArray[np.float64]


def calibrate(
    distances: Any,
    null: Any,
    class_sizes: ArrayLike,
    *,
    statistic: str | Callable[..., Any] | None = None,
    n_images: int | None = None,
) -> NDArray[Any]:
    """Take from every distance what random labels give a class of its size.

    D_cal = neutral + sign(D - neutral) sqrt(max((D - neutral)**2 - s_f / n_e, 0)), of which the
    mean hardly depends on the number of images. Under random labels it is above 0 on average, for
    it is never negative: a distance that means the same for classes of any size, no test.

    Args:
        distances: (F, C), or (R, F, C).
        null: of `fnx.null`, or (F,) its second moments.
        class_sizes: (C,) number of images of each class.
        statistic: that of the distances, where `null` are second moments; default ``ks``.
        n_images: N; default the sum of `class_sizes`.

    Returns:
        What `distances` are, float32 or float64, calibrated. Where the second moment is infinite,
        all are neutral.

    Raises:
        DataError: shapes that do not fit, distances that are NaN, second moments below 0.
        ConfigError: a statistic that cannot be calibrated.

    >>> import numpy as np, fnx
    >>> D, second_moments, class_sizes = np.array([[0.5, -0.1]]), [0.64], [8, 8]
    >>> fnx.calibrate(D, second_moments, class_sizes)
    array([[0.3, 0. ]])
    """
    load_installed()
    entry = statistics.get(getattr(null, "statistic", statistic or "ks"))
    check_method(entry, "permutation")
    moments = _read_moments(getattr(null, "second_moment", null))
    found = read_distances(distances, moments.size)
    effective = effective_sizes(class_sizes, found.shape[-1], n_images)
    result = np.empty(found.shape, found.dtype if found.dtype.kind == "f" else np.float64)
    for start, stop in blocks(moments.size, found[..., 0, :].size):
        noise = moments[start:stop, None] / effective
        result[..., start:stop, :] = less_noise(found[..., start:stop, :], noise, entry.neutral)
    return result


def less_noise(distances: NDArray[Any], noise: NDArray[Any], neutral: float = 0.0) -> Vector:
    """Take from each distance its `noise`, the mean of (D - neutral)**2 under random labels.

    >>> less_noise(np.array([0.5, -0.5, 0.2]), np.array(0.09)).round(3)
    array([ 0.4, -0.4,  0. ])
    """
    shifted = distances.astype(np.float64) - neutral
    with np.errstate(invalid="ignore"):  # of inf - inf
        excess = shifted**2 - noise
    kept: Vector = neutral + np.copysign(np.sqrt(np.where(excess > 0, excess, 0)), shifted)
    return kept


def second_moment(
    random: Any, class_sizes: ArrayLike, *, neutral: float = 0.0, n_images: int | None = None
) -> Vector:
    """Return s_f (F,), the mean of n_e (D - neutral)**2 over permutations and classes.

    Args:
        random: (R, F, C) distances under random labels; may be a memory map.
        class_sizes: (C,) number of images of each class.
        neutral: of the statistic.
        n_images: N; default the sum of `class_sizes`.
    """
    _, features, classes = random.shape
    effective = effective_sizes(class_sizes, classes, n_images)
    result = np.empty(features)
    for start, stop in blocks(features, len(random) * classes):
        squares = (random[:, start:stop].astype(np.float64) - neutral) ** 2
        result[start:stop] = (squares @ effective).mean(axis=0) / classes
    return result


def check_method(statistic: Statistic, method: str) -> None:
    """Refuse a statistic that cannot be calibrated, or not by this method.

    Raises:
        ConfigError: naming those that can.
    """
    if method not in METHODS:
        raise ConfigError(f"method={method}: allowed are {', '.join(METHODS)}")
    if not statistic.calibratable:
        raise ConfigError(
            f"statistic={statistic.name} cannot be calibrated: its distances under random labels "
            "do not shrink as 1 / √n_e; allowed are "
            + ", ".join(one.name for one in statistics if one.calibratable)
        )
    if method != "permutation" and statistic.name not in KOLMOGOROV_SMIRNOV:
        raise ConfigError(
            f"calibration by {method} is for statistic={' and '.join(KOLMOGOROV_SMIRNOV)}, not "
            f"{statistic.name}: choose permutation"
        )


def effective_sizes(class_sizes: ArrayLike, n_classes: int, n_images: int | None = None) -> Vector:
    """Return n_e = n (N - n) / N of every class.

    Raises:
        DataError: another number of classes, or sizes that no class can have.
    """
    sizes = np.asarray(as_array("class_sizes", class_sizes))
    if sizes.shape != (n_classes,) or sizes.dtype.kind not in "iu" or (sizes < 1).any():
        raise DataError(f"class_sizes: must be {n_classes} numbers of images, each 1 or more")
    n = sizes.astype(np.float64)
    total = n.sum() if n_images is None else float(n_images)
    if (n >= total).any():
        raise DataError(f"class_sizes: a class of {int(n.max())} of {int(total)} images is all")
    return n * (total - n) / total


def read_distances(distances: Any, n_features: int) -> NDArray[Any]:
    """Return distances (F, C) or (R, F, C) as an array; a memory map stays one.

    Raises:
        DataError: other shapes, no numbers, or NaN.
    """
    found = np.asarray(as_numbers("distances", distances))
    if found.ndim not in (2, 3) or found.shape[-2] != n_features:
        raise DataError(
            f"distances have shape {found.shape}: must be (F, C) or (R, F, C), with the "
            f"{n_features} features of the null"
        )
    if found.dtype.kind not in "fiub":
        raise DataError(f"distances are {found.dtype}: must be real numbers")
    if any(np.isnan(found[..., a:b, :]).any() for a, b in blocks(n_features, found.shape[-1])):
        raise DataError("distances: some are NaN")
    return found


def _read_moments(values: Any) -> Vector:
    moments = np.asarray(as_numbers("null", values))
    if moments.ndim != 1 or moments.dtype.kind not in "fiu" or not (moments >= 0).all():
        raise DataError("null: must be of fnx.null, or its second moments (F,), each 0 or more")
    return moments.astype(np.float64)


def blocks(features: int, values: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last-but-one feature of blocks; each has so many `values`."""
    step = max(1, BLOCK_VALUES // max(1, values))
    yield from ((start, min(start + step, features)) for start in range(0, features, step))

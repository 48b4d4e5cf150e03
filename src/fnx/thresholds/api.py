"""The public function: thresholds from real and random distances."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import ConfigError, DataError, FnxError, PluginError
from fnx.registry import load_installed, statistics, thresholds
from fnx.registry.registry import Statistic, ThresholdStrategy
from fnx.thresholds.counting import blocks
from fnx.thresholds.evaluation import evaluate
from fnx.thresholds.result import Thresholds
from fnx.utils.arrays import as_array, as_numbers

Range = tuple[float, float]


def find_thresholds(
    real: Any,
    random: Any,
    *,
    strategy: str | Callable[..., Any] = "randomized_labels",
    range: tuple[float, float] | None = None,
    neutral: float | None = None,
    class_sizes: ArrayLike | None = None,
    n_images: int | None = None,
    statistic: str | Callable[..., Any] | None = None,
    null: Any = None,
    find_null: Callable[[str], Any] | None = None,
    **parameters: Any,
) -> Thresholds:
    """Thresholds beyond which distances tell more than noise does (paper, Section 7).

    Args:
        real: (F, C) distances under the real labels; may be a memory map.
        random: (R, F, C) distances under R permutations of the labels, R >= 1; an array, a memory
            map, or R arrays (F, C). An (F, C) array is taken as one permutation.
        strategy: name of a built-in or of a plugin.
        range: smallest and largest value of the statistic; default: found from the data (signed if
            any distance is below `neutral`). A statistic whose range starts at `neutral` or above
            is unsigned. Distances of which some pass 0.01 and none 1 are taken for bounded ones.
        neutral: value of the statistic where a class is like all others; default that of
            `statistic`, or 0.
        class_sizes: (C,) number of images of each class, for the strategies that need it.
        n_images: N, for them; default the sum of `class_sizes`, which that of concepts is not.
        statistic: name of the statistic that gave the distances, for the strategies that only fit
            some; its declared range is the default of `range`. Thresholds of an unbounded statistic
            do not depend on the unit of its distances.
        null: the `fnx.Null` of the distances, for the strategies that take p-values from one; or
            the method of such a strategy, for example ``"permutation"``.
        find_null: instead of it, a function that returns the null of a method; called only where
            the strategy asks for it.
        **parameters: the strategy's own, for example ``step``; ``permutations`` uses only that many
            of `random`.

    Raises:
        DataError: no arrays of numbers, shapes that do not fit, or distances that are NaN.
        ConfigError: an unknown strategy or parameter, or a value that is not allowed.

    >>> import numpy as np, fnx
    >>> real, noise = np.array([[0.9, -0.8]]), np.array([[[0.1, -0.2]]])
    >>> found = fnx.find_thresholds(real, noise)
    >>> found.plus.threshold, found.minus.threshold, found.plus.kept, found.plus.kept_random
    (0.1, -0.2, 0.5, 0.0)
    """
    load_installed()
    entry = thresholds.get(strategy)
    known = None if statistic is None else statistics.get(statistic)
    limits = None if known is None else known.range
    if range is not None:
        limits = _read_range(range)
    if neutral is None:
        neutral = known.neutral if known else 0.0
    real, random = _read("real", real), _read_random(random)
    if isinstance(null, str):
        parameters["null"] = null
    elif null is not None:
        _check_null(null, known, real)
        find_null = partial(_given, null)
        if "null" in entry.parameters:
            parameters["null"] = null.method
    bound = entry.bind({"permutations": len(random), **parameters}, range=limits, neutral=neutral)
    wanted = bound.pop("permutations")
    shapes = {one.shape for one in random}
    if real.ndim != 2 or 0 in real.shape or shapes != {real.shape}:
        raise DataError(
            f"real distances have shape {real.shape}, random ones {sorted(shapes)}: must be "
            "(F, C) and (R, F, C) with F, C and R of 1 or more"
        )
    if "permutations" in parameters:
        if not 1 <= wanted <= len(random):
            raise ConfigError(
                f"threshold.permutations={wanted}: must lie in 1 … {len(random)}, the number given"
            )
        random = random[:wanted]
    _refuse_nan("real", real)
    for i, one in enumerate(random):
        _refuse_nan(f"random[{i}]", one)
    if known is not None:
        entry.check_defined_for(known.name)
    context: dict[str, Any] = {
        "class_sizes": None if class_sizes is None else _read_sizes(class_sizes, real.shape[1]),
        "n_images": n_images,
        "statistic": None if known is None else known.name,
        "find_null": find_null,
    }
    asked = inspect.signature(entry.function).parameters
    if neutral == 0 or "neutral" in asked:
        return _call(entry, real, random, bound, context | {"range": limits, "neutral": neutral})
    # The strategy knows of no other neutral value than 0.
    context["range"] = limits and (limits[0] - neutral, limits[1] - neutral)
    moved = np.stack([one - neutral for one in random])
    found = _call(entry, real - neutral, moved, bound, context)
    ends = [
        neutral + (side.threshold if side.by_class is None else side.by_class)
        for side in (found.plus, found.minus)
        if side is not None
    ]
    return evaluate(real, random, *ends, range=limits, neutral=neutral)


def _given(null: Any, _: str) -> Any:
    return null


def _check_null(null: Any, statistic: Statistic | None, real: NDArray[Any]) -> None:
    """Refuse a null of other distances.

    Raises:
        ConfigError: of another statistic.
        DataError: of another number of features, or no null at all.
    """
    if not hasattr(null, "p_values"):
        raise DataError(f"null: must be what fnx.null returns, not {type(null).__name__}")
    if statistic is not None and null.statistic != statistic.name:
        raise ConfigError(f"null is of statistic={null.statistic}, not of {statistic.name}")
    if null.second_moment.shape != real.shape[:1]:
        raise DataError(f"null is of {null.second_moment.size} features, not of {len(real)}")


def _call(
    entry: ThresholdStrategy,
    real: NDArray[Any],
    random: Any,
    bound: dict[str, Any],
    context: dict[str, Any],
) -> Thresholds:
    """Call a strategy with its parameters and what of the context it asks for."""
    asked = inspect.signature(entry.function).parameters
    told = f"threshold '{entry.name}' ({entry.origin})"
    try:
        known = {key: value for key, value in context.items() if key in asked}
        found = entry.function(real, random, **bound, **known)
    except FnxError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{told} failed: {reason}") from error
    if not isinstance(found, Thresholds):
        raise PluginError(
            f"{told} returned {type(found).__name__}: must be Thresholds, which "
            "fnx.thresholds.evaluate makes"
        )
    return found


def _read(name: str, value: Any) -> NDArray[Any]:
    """Return distances as a NumPy array; a memory map stays one."""
    held = as_numbers(name, value)
    array: NDArray[Any] = held.toarray() if hasattr(held, "toarray") else np.asarray(held)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name}: distances are {array.dtype}: must be real numbers")
    return array


def _read_random(value: Any) -> Any:
    """Return R distances (F, C): one array, or a list where they were given as several."""
    if not isinstance(value, list | tuple):
        array = _read("random", value)
        return array[None] if array.ndim == 2 else np.atleast_1d(array)
    parts = [_read(f"random[{i}]", one) for i, one in enumerate(value)]
    rows = {part.shape for part in parts}
    return np.stack(parts)[None] if len(rows) == 1 and parts[0].ndim == 1 else parts


def _refuse_nan(name: str, distances: NDArray[Any]) -> None:
    for start, block in blocks(distances):
        missing = np.isnan(block)
        if missing.any():
            feature, c = np.argwhere(missing)[0]
            raise DataError(f"{name}: distance of feature {start + feature} and class {c} is NaN")


def _read_range(value: Any) -> Range:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not low < high:
        raise ConfigError(f"range={value!r}: must be the smallest and the largest value")
    return low, high


def _read_sizes(value: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    sizes = np.asarray(as_array("class_sizes", value))
    whole = sizes.dtype.kind in "iu"
    if sizes.shape != (n_classes,) or not whole or (sizes < 1).any():
        raise DataError(f"class_sizes: must be {n_classes} numbers of images, each 1 or more")
    return sizes.astype(np.int64)

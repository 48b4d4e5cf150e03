"""The public function and its result: thresholds from real and random distances."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import ConfigError, DataError, FnxError, PluginError
from fnx.registry import load_installed, statistics, thresholds


@dataclass(frozen=True)
class Side:
    """One sign's threshold and what it keeps.

    `kept` is the mean number of features per class with a distance beyond the threshold, under real
    labels; `kept_random` the same under random labels, averaged over the permutations, so the
    expected number of false features among those kept, were none of them true; `spread` its
    standard deviation over the permutations (NaN for one); `davg` = kept - kept_random (paper,
    Eq. 4).

    A strategy may have a threshold for each class: `by_class` (C,), else None; inf (-inf) for a
    class that keeps nothing. It then determines what is kept, and `threshold` only summarises it:
    the median over the classes that keep anything, and the end of the curve if there are none.
    """

    threshold: float
    davg: float
    kept: float
    kept_random: float
    spread: float
    by_class: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Curve:
    """The excess of real over random features at each candidate threshold (paper, Eq. 4).

    `x` (K,) are the magnitudes of the candidates, from 0 up; `davg_minus` at `x` belongs to the
    threshold -x, and is None for an unsigned statistic.
    """

    x: NDArray[np.float64]
    davg_plus: NDArray[np.float64]
    davg_minus: NDArray[np.float64] | None


@dataclass(frozen=True)
class Thresholds:
    """What to keep: features with D above the threshold of `plus`, or below that of `minus`.

    `minus` is None for an unsigned statistic.
    """

    plus: Side
    minus: Side | None
    curve: Curve


def find_thresholds(
    real: NDArray[Any],
    random: NDArray[Any],
    *,
    strategy: str = "randomized_labels",
    range: tuple[float, float] | None = None,
    class_sizes: ArrayLike | None = None,
    statistic: str | None = None,
    **parameters: Any,
) -> Thresholds:
    """Thresholds beyond which distances tell more than noise does (paper, Section 7).

    Args:
        real: (F, C) distances under the real labels; may be a memory map.
        random: (R, F, C) distances under R permutations of the labels, R >= 1; an array, a memory
            map, or R arrays (F, C). An (F, C) array is taken as one permutation.
        strategy: name of a built-in or of a plugin.
        range: smallest and largest value of the statistic; default: found from the data (signed if
            any distance is negative). A statistic whose range starts at 0 or above is unsigned.
        class_sizes: (C,) number of images of each class, for the strategies that need it.
        statistic: name of the statistic that gave the distances, for the strategies that only fit
            some; its declared range is the default of `range`.
        **parameters: the strategy's own, for example ``step``; ``permutations`` uses only that many
            of `random`.

    Raises:
        DataError: shapes that do not fit, or distances that are NaN.
        ConfigError: an unknown strategy or parameter, or a value that is not allowed.

    >>> import numpy as np, fnx
    >>> real, noise = np.array([[0.9, -0.8]]), np.array([[[0.1, -0.2]]])
    >>> found = fnx.find_thresholds(real, noise)
    >>> found.plus.threshold, found.minus.threshold, found.plus.kept, found.plus.kept_random
    (0.1, -0.2, 0.5, 0.0)
    """
    load_installed()
    entry = thresholds.get(strategy)
    if getattr(random, "ndim", 3) == 2:
        random = random[None]
    known = None if statistic is None else statistics.get(statistic)
    of_statistic = range if range is not None or known is None else known.range
    bound = entry.bind({"permutations": len(random), **parameters}, range=of_statistic)
    wanted = bound.pop("permutations")
    shapes = {tuple(np.shape(one)) for one in random}
    if np.ndim(real) != 2 or shapes != {tuple(np.shape(real))}:
        raise DataError(
            f"real distances have shape {np.shape(real)}, random ones {sorted(shapes)}: must be "
            "(F, C) and (R, F, C) with R of 1 or more"
        )
    if "permutations" in parameters:
        if not 1 <= wanted <= len(random):
            raise ConfigError(
                f"threshold.permutations={wanted}: must lie in 1 … {len(random)}, the number given"
            )
        random = random[:wanted]
    if known is not None:
        entry.check_defined_for(known.name)
    if class_sizes is not None:
        class_sizes = np.asarray(class_sizes)
        n_classes = np.shape(real)[1]
        whole = class_sizes.dtype.kind in "iu"
        if class_sizes.shape != (n_classes,) or not whole or (class_sizes < 1).any():
            raise DataError(f"class_sizes: must be {n_classes} numbers of images, each 1 or more")
        class_sizes = class_sizes.astype(np.int64)
    context = {
        "range": of_statistic,
        "class_sizes": class_sizes,
        "statistic": None if known is None else known.name,
    }
    asked = inspect.signature(entry.function).parameters
    bound |= {key: value for key, value in context.items() if key in asked}
    try:
        found = entry.function(real, random, **bound)
    except FnxError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"threshold '{strategy}' ({entry.origin}) failed: {reason}") from error
    if not isinstance(found, Thresholds):
        raise PluginError(
            f"threshold '{strategy}' ({entry.origin}) returned {type(found).__name__}: must be "
            "Thresholds, which fnx.thresholds.evaluate makes"
        )
    return found

"""Threshold strategies for fnx that control errors: false discovery rate and family-wise error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx import threshold
from fnx.errors import ConfigError
from fnx.thresholds import Thresholds, evaluate
from fnx.thresholds.counting import blocks

Range = tuple[float, float]

# Their distance is that of two distribution functions. On bins it is never larger than the exact
# one, so its p-values are too large, if anything: errors stay controlled.
KOLMOGOROV_SMIRNOV = ("ks", "ks_exact")


def _check_alpha(alpha: float, permutations: int) -> None:
    if not 0 < alpha < 1:
        raise ConfigError(f"threshold.alpha={alpha:g}: must lie between 0 and 1")


@threshold("benjamini_hochberg", check=_check_alpha, statistics=KOLMOGOROV_SMIRNOV)
def benjamini_hochberg(
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float = 0.05,
    range: Range | None = None,
    class_sizes: NDArray[np.int64] | None = None,
) -> Thresholds:
    """Keep the false discovery rate per class at most alpha (Benjamini and Hochberg 1995).

    For each class, the p-values of all its features are those of the exact two-sided two-sample
    Kolmogorov-Smirnov test; the sign of D then tells presence from absence, so both sides of a
    class have one threshold. Proved for features that are independent or positively dependent;
    `benjamini_yekutieli` holds for all. Ties make the p-values too large, never too small. Random
    labels are not needed for the thresholds: they tell what chance keeps.
    """
    return evaluate(real, random, _step_up(real, alpha, class_sizes), range=range)


@threshold("benjamini_yekutieli", check=_check_alpha, statistics=KOLMOGOROV_SMIRNOV)
def benjamini_yekutieli(
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float = 0.05,
    range: Range | None = None,
    class_sizes: NDArray[np.int64] | None = None,
) -> Thresholds:
    """Keep the false discovery rate per class at most alpha, however features depend on each other.

    As `benjamini_hochberg`, with alpha divided by 1 + 1/2 + … + 1/F (Benjamini and Yekutieli 2001).
    """
    harmonic = float(np.sum(1 / np.arange(1, real.shape[0] + 1)))
    return evaluate(real, random, _step_up(real, alpha / harmonic, class_sizes), range=range)


def _check_max(alpha: float, family: str, permutations: int) -> None:
    _check_alpha(alpha, permutations)
    if family not in ("class", "all"):
        raise ConfigError(f"threshold.family={family}: allowed are class, all")
    if alpha * (permutations + 1) < 1 - 1e-9:
        least = int(np.ceil(1 / alpha - 1e-9)) - 1
        raise ConfigError(
            f"threshold.alpha={alpha:g} needs threshold.permutations of {least} or more, found "
            f"{permutations}"
        )


@threshold("max_statistic", permutations=19, check=_check_max)
def max_statistic(
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float = 0.05,
    family: str = "class",
    range: Range | None = None,
) -> Thresholds:
    """Keep the family-wise error at most alpha, however features correlate (Westfall, Young 1993).

    Under random labels the largest |D| of all features is what must be exceeded by chance to keep
    even one false feature. The threshold is the k-th largest of these R maxima, k = the integer
    part of alpha (R + 1): real labels that were themselves random would exceed it with probability
    k / (R + 1) at most. Permuting labels leaves features as correlated as they are, so nothing is
    assumed of them. Works for every statistic; both signs have one threshold. R is 1 / alpha - 1 or
    more, 19 for 0.05.

    With `family` ``class`` the features of one class are a family, each class has its threshold;
    with ``all`` those of all classes together are one, with one threshold.
    """
    maxima = np.array([_largest(one, range) for one in random])  # (R, C)
    k = int(alpha * (len(maxima) + 1) + 1e-9)
    if family == "all":
        highest = np.sort(maxima.max(axis=1))
        return evaluate(real, random, float(highest[-k]), range=range)
    return evaluate(real, random, np.sort(maxima, axis=0)[-k], range=range)


def _largest(distances: NDArray[Any], range: Range | None) -> NDArray[np.float64]:
    """Find the largest |D|, or D of an unsigned statistic, per class."""
    unsigned = range is not None and range[0] >= 0
    found = np.zeros(distances.shape[1])
    for _, block in blocks(distances):
        found = np.maximum(found, (block if unsigned else np.abs(block)).max(axis=0))
    return found


def _step_up(
    real: NDArray[Any], alpha: float, class_sizes: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Find the threshold of |D| of each class by Benjamini and Hochberg's step-up procedure."""
    from fnx_fdr.smirnov import step_up_threshold  # Numba: only now

    if class_sizes is None:
        raise ConfigError("this threshold strategy needs class_sizes, the images of each class")
    total = int(class_sizes.sum())
    columns = (column for _, block in blocks(real.T) for column in np.abs(block))
    return np.array(
        [
            step_up_threshold(np.asarray(column, np.float64), int(size), total - int(size), alpha)
            for column, size in zip(columns, class_sizes, strict=True)
        ]
    )

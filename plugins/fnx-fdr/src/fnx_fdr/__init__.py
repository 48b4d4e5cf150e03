"""Threshold strategies for fnx that control errors: false discovery rate and family-wise error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx import threshold
from fnx.errors import ConfigError
from fnx.thresholds import Thresholds, evaluate
from fnx.thresholds.counting import blocks
from fnx_fdr.step_up import by_null, by_permutation

Range = tuple[float, float]
FindNull = Callable[[str], Any]  # from a method, its `fnx.Null`

# Their law under random labels is known: exactly, and in the limit of many images.
KOLMOGOROV_SMIRNOV = ("ks", "ks_exact")
NULLS = ("exact", "bridge", "permutation")


def _check_alpha(alpha: float, permutations: int) -> None:
    if not 0 < alpha < 1:
        raise ConfigError(f"threshold.alpha={alpha:g}: must lie between 0 and 1")


def _check_step_up(alpha: float, null: str, permutations: int) -> None:
    _check_alpha(alpha, permutations)
    if null not in NULLS:
        raise ConfigError(f"threshold.null={null}: allowed are {', '.join(NULLS)}")


@threshold("benjamini_hochberg", check=_check_step_up, statistics=KOLMOGOROV_SMIRNOV)
def benjamini_hochberg(
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float = 0.05,
    null: str = "exact",
    range: Range | None = None,
    class_sizes: NDArray[np.int64] | None = None,
    n_images: int | None = None,
    find_null: FindNull | None = None,
) -> Thresholds:
    """Keep the false discovery rate per class at most alpha (Benjamini and Hochberg 1995).

    For each class, the features with the k largest |D| are kept, for the largest k with
    E <= alpha k: E is the number of features that random labels would bring as far, the sum over
    the features of P(|D| >= d), each of its own values with all their ties. The sign of D then
    tells presence from absence, so both sides of a class have one threshold. Where no values tie,
    all features have the same p-value at d, and this is Benjamini and Hochberg's procedure on
    p-values; where they do, it is the step-up of Heyse (2011) and of Döhler, Durand and Roquain
    (2018), with |D| in place of p. It holds for features that are independent, to a good
    approximation for those that are positively dependent; `benjamini_yekutieli` holds for all.

    `null` says where the probabilities come from. ``exact``: all permutations of the labels, by
    calculation; nothing is assumed. ``bridge``: the limit for many images per class. Both need the
    features. ``permutation``: the distances under random labels, (R, F, C), counted; right on
    average, with the error of R permutations, which is large where features are strongly
    correlated.
    """
    return evaluate(
        real,
        random,
        _step_up(real, random, alpha, null, (class_sizes, n_images), find_null),
        range=range,
    )


@threshold("benjamini_yekutieli", check=_check_step_up, statistics=KOLMOGOROV_SMIRNOV)
def benjamini_yekutieli(
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float = 0.05,
    null: str = "exact",
    range: Range | None = None,
    class_sizes: NDArray[np.int64] | None = None,
    n_images: int | None = None,
    find_null: FindNull | None = None,
) -> Thresholds:
    """Keep the false discovery rate per class at most alpha, however features depend on each other.

    As `benjamini_hochberg`, with alpha divided by 1 + 1/2 + … + 1/F (Benjamini and Yekutieli 2001),
    which holds for features with any ties.
    """
    level = alpha / float(np.sum(1 / np.arange(1, real.shape[0] + 1)))
    return evaluate(
        real,
        random,
        _step_up(real, random, level, null, (class_sizes, n_images), find_null),
        range=range,
    )


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
    real: NDArray[Any],
    random: NDArray[Any],
    alpha: float,
    method: str,
    of: tuple[NDArray[np.int64] | None, int | None],
    find_null: FindNull | None,
) -> NDArray[np.float64]:
    """Find the threshold of |D| of each class by the step-up procedure."""
    class_sizes, n_images = of
    counted = by_permutation(real, random, class_sizes, alpha)
    if method == "permutation":
        return counted
    if class_sizes is None:
        raise ConfigError("this threshold strategy needs class_sizes, the images of each class")
    if find_null is None:
        raise ConfigError(
            f"threshold.null={method} needs null=fnx.null(features, labels, method='{method}', …); "
            "without the features: null='permutation'"
        )
    null, total = find_null(method), n_images or int(class_sizes.sum())

    def expected(d: NDArray[np.float32], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        at_all = np.broadcast_to(d, (real.shape[0], d.size))
        found: NDArray[np.float64] = null.p_values(at_all, sizes, n_images=total).sum(axis=0)
        return found

    return by_null(real, class_sizes, total, alpha, expected, start=counted)

"""How likely chance alone brings the top features of a run as far: p-values and q-values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import BLOCK, Distances
from fnx.registry import Statistic
from fnx.statistics.calibration import KOLMOGOROV_SMIRNOV, effective_sizes, second_moment
from fnx.statistics.exact import exact_p_values
from fnx.statistics.null import Null
from fnx.statistics.survival import Survival, count


def add_significance(
    top: pl.DataFrame,
    real: Distances,
    class_sizes: NDArray[np.int64],
    features: Any,
    null: Null | None,
    n_images: int | None = None,
) -> pl.DataFrame:
    """Add ``p_value`` and ``q_value`` to the top features of a run.

    p is two-sided: the probability that random labels bring the feature as far from the neutral
    value for a class of this size, or farther. For ``ks`` and ``ks_exact`` it is exact. For other
    statistics it is that of `null`, as are those of the pairs that are not listed. q is p adjusted
    for all (feature, class) pairs of the run (Benjamini and Hochberg 1995): the smallest rate of
    false discoveries at which the pair is one.

    Args:
        top: see `fnx.analysis.tables.top_features_table`.
        real: [F, C] distances.
        class_sizes: (C,) number of images of each class.
        features: (N, F) the embedding.
        null: of these distances; None where there is none: both columns are then null.
        n_images: N; default the sum of `class_sizes`.
    """
    if null is None:
        nothing = pl.lit(None, pl.Float64)
        return top.with_columns(p_value=nothing, q_value=nothing)
    pairs = top["feature_id"].to_numpy(), top["class_id"].to_numpy()
    p = null.p_values(real, class_sizes, n_images=n_images)
    if null.statistic in KOLMOGOROV_SMIRNOV:
        listed = np.zeros(p.shape, np.bool_)
        listed[pairs] = True
        bins = null.parameters.get("bins")
        exact = exact_p_values(features, real, class_sizes, bins, wanted=listed)
        p[listed] = exact[listed]
    return top.with_columns(p_value=p[pairs], q_value=adjusted(p, p[pairs]))


def adjusted(p: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the q-values of some p-values among all p, by Benjamini and Hochberg's procedure.

    >>> adjusted(np.array([0.03, 0.01, 0.5, 0.02]), np.array([0.01, 0.5])).round(4).tolist()
    [0.04, 0.5]
    """
    ordered = np.sort(p, axis=None)
    q = ordered * (ordered.size / np.arange(1, ordered.size + 1))
    q = np.minimum.accumulate(q[::-1])[::-1]
    return q[np.searchsorted(ordered, some)]


def pooled_null(
    random: Distances,
    class_sizes: NDArray[np.int64],
    statistic: Statistic,
    parameters: Mapping[str, Any],
    n_images: int | None = None,
) -> Null:
    """Return the null that the distances of a run under random labels [R, F, C] make.

    As of `fnx.null` with ``permutation`` and few permutations: n_e (D - neutral)**2 of all
    features together, each divided by its mean under the other permutations (of one: under it).
    """
    moments = second_moment(random, class_sizes, neutral=statistic.neutral, n_images=n_images)
    effective = effective_sizes(class_sizes, random.shape[2], n_images)
    counts: Any = 0
    for start in range(0, random.shape[1], BLOCK):
        block = random[:, start : start + BLOCK].astype(np.float64) - statistic.neutral
        squares = effective * block**2
        means = squares.mean(axis=2, keepdims=True)
        others = (means.sum(axis=0) - means) / (len(means) - 1) if len(means) > 1 else means
        with np.errstate(divide="ignore", invalid="ignore"):
            counts = counts + count(np.where(squares == 0, 0.0, squares / others))
    survival = Survival.of_counts(counts)
    bound = statistic.bind(parameters)
    return Null("permutation", statistic.name, bound, moments, survival, pooled=True)

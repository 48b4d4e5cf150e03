"""p-values and q-values of the top features, worked out again with plain NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control

import fnx
from fnx.analysis.significance import add_significance, adjusted, pooled_null
from fnx.analysis.tables import top_features_table
from fnx.registry import statistics
from fnx.statistics.permutations import permutations

LABELS = np.repeat([0, 1, 2], [6, 10, 14])
SIZES = np.bincount(LABELS)


def values(features: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(30, features)) + 0.7 * rng.normal(size=(3, features))[LABELS]
    drawn[:, 3] = 1
    return np.maximum(drawn, -0.2).astype(np.float32)


def random_distances(count: int, statistic: str) -> np.ndarray:
    return np.stack(
        [
            fnx.distances(values(), one, statistic=statistic)
            for one in permutations(LABELS, count, 0)
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_q_values_are_those_of_scipy(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(size=(20, 7)) ** 3
    p[:5] = np.round(p[:5], 1)  # some tie
    np.testing.assert_allclose(adjusted(p, p.ravel()), false_discovery_control(p.ravel()))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("statistic", ["ks_exact", "auroc"])
def test_distances_of_all_features_are_pooled_in_units_of_their_mean(
    statistic: str, count: int
) -> None:
    real, random = (
        fnx.distances(values(), LABELS, statistic=statistic),
        random_distances(count, statistic),
    )
    entry = statistics.get(statistic)
    null = pooled_null(random, SIZES, entry, {})
    effective = SIZES * (30 - SIZES) / 30
    squares = effective * (random.astype(float) - entry.neutral) ** 2
    np.testing.assert_allclose(null.second_moment, squares.mean(axis=(0, 2)))
    assert null.second_moment[3] == 0
    means = squares.mean(axis=2)
    others = (means.sum(axis=0) - means) / (count - 1) if count > 1 else means
    with np.errstate(invalid="ignore"):
        drawn = np.nan_to_num(squares / others[..., None]).ravel()
        sought = effective * (real.astype(float) - entry.neutral) ** 2
        sought = np.nan_to_num(sought / null.second_moment[:, None])
    expected = [(1 + (drawn >= one).sum()) / (1 + drawn.size) for one in sought.ravel()]
    # Draws are counted in bins of about a percent, each as the largest value of its bin.
    found = null.p_values(real, SIZES).ravel()
    np.testing.assert_allclose(found, expected, rtol=0.15, atol=2 / drawn.size)
    assert (found >= np.array(expected) - 1e-12).all()
    assert (null.p_values(real, SIZES)[3] == 1).all()


def test_listed_pairs_are_exact_and_others_are_pooled() -> None:
    real, random = fnx.distances(values(), LABELS), random_distances(4, "ks")
    null = pooled_null(random, SIZES, statistics.get("ks"), {"bins": 100})
    top = add_significance(top_features_table(real, 2), real, SIZES, values(), null)
    pairs = top["feature_id"].to_numpy(), top["class_id"].to_numpy()
    exact = fnx.null(values(), LABELS, method="exact", draws=1).p_values(real, SIZES)
    np.testing.assert_allclose(top["p_value"], exact[pairs], rtol=1e-12)
    p = null.p_values(real, SIZES)
    assert (p[pairs] != exact[pairs]).any()
    p[pairs] = exact[pairs]
    q = false_discovery_control(p.ravel()).reshape(p.shape)
    np.testing.assert_allclose(top["q_value"], q[pairs], rtol=1e-12)


def test_other_statistics_have_the_null_that_they_are_given_or_nothing() -> None:
    real, random = fnx.distances(values(), LABELS, statistic="auroc"), random_distances(4, "auroc")
    null = pooled_null(random, SIZES, statistics.get("auroc"), {})
    listed = top_features_table(real, 2, 0.5)
    top = add_significance(listed, real, SIZES, values(), null)
    pairs = top["feature_id"].to_numpy(), top["class_id"].to_numpy()
    np.testing.assert_array_equal(top["p_value"], null.p_values(real, SIZES)[pairs])
    top = add_significance(listed, real, SIZES, values(), None)
    assert top.schema["p_value"] == top.schema["q_value"] == pl.Float64
    assert top["p_value"].null_count() == top["q_value"].null_count() == listed.height > 0
    assert top.drop("p_value", "q_value").equals(listed)

"""p-values against SciPy's, the procedures against the textbook, and errors really made."""

from __future__ import annotations

import numpy as np
import pytest
from fnx_fdr.smirnov import critical, p_value, step_up_threshold
from scipy.stats import false_discovery_control, ks_2samp

import fnx
from fnx.errors import ConfigError
from fnx.registry import statistics, thresholds
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (3, 4), (7, 7), (5, 40), (40, 5), (30, 45)])
def test_p_values_are_scipys_exact_ones(n, m):
    rng = np.random.default_rng(n * m)
    for shift in (0, 0.5, 2):
        a, b = rng.normal(size=n), rng.normal(size=m) + shift
        expected = ks_2samp(a, b, method="exact")
        z = round(expected.statistic * n * m)
        assert p_value(n, m, z) == pytest.approx(expected.pvalue, rel=1e-9)


def test_small_p_values_keep_their_digits():
    a, b = np.arange(40.0), np.arange(40.0, 80)
    assert p_value(40, 40, 1600) == pytest.approx(ks_2samp(a, b, method="exact").pvalue, rel=1e-6)


def test_large_samples_agree_with_the_asymptotic_distribution():
    d = 0.05
    n, m = 1500, 20_000
    expected = 2 * sum(
        (-1) ** (k - 1) * np.exp(-2 * k**2 * d**2 * n * m / (n + m)) for k in range(1, 20)
    )
    assert p_value(n, m, round(d * n * m)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("level", [0.5, 0.05, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize(("n", "m"), [(1, 5), (6, 11), (30, 45)])
def test_the_critical_distance_is_the_smallest_one(n, m, level):
    z = critical(n, m, level)
    assert z == n * m + 1 or p_value(n, m, z) <= level
    assert p_value(n, m, z - 1) > level


@pytest.mark.parametrize("seed", range(5))
def test_step_up_rejects_what_scipys_adjusted_p_values_reject(seed):
    rng = np.random.default_rng(seed)
    n, m = 12, 40
    inner, outer = rng.normal(size=(n, 60)), rng.normal(size=(m, 60))
    inner[:, :15] += 1.2
    tests = [ks_2samp(inner[:, f], outer[:, f], method="exact") for f in range(60)]
    distances = np.array([t.statistic for t in tests]).astype(np.float32).astype(float)
    adjusted = false_discovery_control([t.pvalue for t in tests])
    for alpha in (0.01, 0.05, 0.2):
        t = step_up_threshold(distances, n, m, alpha)
        np.testing.assert_array_equal(distances > t, adjusted <= alpha)


def simulate(rng, *, features=40, correlated=0.0, effect=0.0, true=0):
    """60 images of 3 classes; `true` features are higher by `effect` in class 0."""
    labels = np.repeat([0, 1, 2], [12, 18, 30])
    common = rng.normal(size=(60, 1))
    values = (
        np.sqrt(1 - correlated) * rng.normal(size=(60, features)) + np.sqrt(correlated) * common
    )
    values[:12, :true] += effect
    return values.astype(np.float32), labels


def kept(values, labels, strategy, count, seed, **parameters):
    """Which (feature, class) pairs a strategy keeps."""
    labellings = np.vstack([labels, permutations(labels, count, seed)])
    real, *random = all_distances(values, labellings, 3, statistics.get("ks_exact"), threads=1)[0]
    found = fnx.find_thresholds(
        real,
        np.array(random),
        strategy=strategy,
        class_sizes=np.bincount(labels),
        statistic="ks_exact",
        **parameters,
    )
    plus, minus = found.plus.by_class, found.minus.by_class
    if plus is None:
        plus, minus = found.plus.threshold, found.minus.threshold
    beyond = (real > np.float32(plus)), (real < np.float32(minus))
    assert found.plus.kept == pytest.approx(beyond[0].sum() / 3)
    assert found.minus.kept == pytest.approx(beyond[1].sum() / 3)
    return beyond[0] | beyond[1]


@pytest.mark.parametrize("strategy", ["benjamini_hochberg", "benjamini_yekutieli"])
def test_the_false_discovery_rate_is_controlled(strategy):
    rng = np.random.default_rng(0)
    shares, found = [], []
    for _ in range(150):
        values, labels = simulate(rng, effect=1.5, true=10)
        selected = kept(values, labels, strategy, 1, 0, alpha=0.2)[:, 0]
        shares.append(selected[10:].sum() / max(selected.sum(), 1))
        found.append(selected[:10].mean())
    # 150 shares of mean 0.2 would have a standard error of about 0.01.
    assert np.mean(shares) < 0.2 + 0.03
    assert np.mean(found) > (0.8 if strategy == "benjamini_hochberg" else 0.5)


def test_without_any_signal_hardly_anything_is_ever_found():
    rng = np.random.default_rng(1)
    wrong = np.array(
        [
            kept(*simulate(rng), "benjamini_hochberg", 1, 0, alpha=0.1).any(axis=0)
            for _ in range(200)
        ]
    )
    # Under the complete null the false discovery rate is the probability of finding anything.
    assert wrong.mean(axis=0).max() < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200)


@pytest.mark.parametrize("correlated", [0.0, 0.9])
@pytest.mark.parametrize("family", ["class", "all"])
def test_the_family_wise_error_is_controlled_with_correlated_features(correlated, family):
    rng = np.random.default_rng(2)
    wrong = np.array(
        [
            kept(
                *simulate(rng, features=25, correlated=correlated),
                "max_statistic", 9, trial, alpha=0.1, family=family,
            ).any(axis=0)
            for trial in range(250)
        ]
    )  # fmt: skip
    slack = 3 * np.sqrt(0.1 * 0.9 / 250)
    rates = wrong.mean(axis=0) if family == "class" else np.array([wrong.any(axis=1).mean()])
    assert rates.max() < 0.1 + slack
    # Not for being deaf: ties apart, the level is reached exactly.
    assert rates.max() > 0.02


def test_a_strong_signal_is_found_whatever_the_noise():
    values, labels = simulate(np.random.default_rng(3), correlated=0.5, effect=4, true=5)
    for strategy in ("benjamini_hochberg", "benjamini_yekutieli", "max_statistic"):
        selected = kept(values, labels, strategy, 19, 0)
        assert selected[:5, 0].all(), strategy
        assert selected[5:, 0].mean() < 0.2


def test_a_class_that_keeps_nothing_has_an_infinite_threshold():
    rng = np.random.default_rng(4)
    real = rng.uniform(-0.2, 0.2, size=(30, 2)).astype(np.float32)
    found = fnx.find_thresholds(
        real, real[None], strategy="benjamini_hochberg", class_sizes=[10, 10], range=(-1, 1)
    )
    assert np.isinf(found.plus.by_class).all()
    assert (found.plus.kept, found.plus.kept_random) == (0, 0)
    assert (found.plus.threshold, found.minus.threshold) == (1, -1)  # the sum of it stays a number


def noise(permutations=19):
    """Random distances (R, 30, 3) and real ones (30, 3): the real ones are larger."""
    rng = np.random.default_rng(5)
    random = rng.uniform(-0.5, 0.4, size=(permutations, 30, 3)).astype(np.float32)
    return rng.uniform(-1, 1, size=(30, 3)).astype(np.float32), random


@pytest.mark.parametrize(
    ("permutations", "alpha", "k"), [(19, 0.05, 1), (19, 0.099, 1), (19, 0.1, 2), (39, 0.05, 2)]
)
def test_the_maxima_beyond_the_threshold_are_the_share_that_is_allowed(permutations, alpha, k):
    real, random = noise(permutations)
    found = fnx.find_thresholds(real, random, strategy="max_statistic", alpha=alpha)
    maxima = np.abs(random).max(axis=1)  # (R, C)
    expected = np.sort(maxima, axis=0)[permutations - k]
    np.testing.assert_array_equal(found.plus.by_class, expected.astype(np.float64))
    np.testing.assert_array_equal(found.minus.by_class, -expected.astype(np.float64))
    assert found.plus.kept == (real > expected).sum() / 3
    options = {"strategy": "max_statistic", "alpha": alpha, "family": "all"}
    together = fnx.find_thresholds(real, random, **options)
    assert together.plus.threshold == np.sort(maxima.max(axis=1))[permutations - k]
    assert together.plus.by_class is None


def test_of_an_unsigned_statistic_only_high_distances_count():
    real, random = noise()
    for limits, maxima in (
        ((0, 1), random.max(axis=1)),
        ((0.5, 1), random.max(axis=1)),
        ((-1, 1), np.abs(random).max(axis=1)),
    ):
        found = fnx.find_thresholds(real, random, strategy="max_statistic", range=limits)
        np.testing.assert_array_equal(found.plus.by_class, maxima.max(axis=0).astype(np.float64))
        assert (found.minus is None) == (limits[0] >= 0)


def test_the_largest_distance_is_the_farthest_from_the_neutral_value():
    real, random = (np.float32((values + 1) / 2) for values in noise(19))
    found = fnx.find_thresholds(real, random, strategy="max_statistic", statistic="auroc")
    farthest = np.abs(random.astype(float) - 0.5).max(axis=(0, 1))  # the largest of 19, alpha 0.05
    np.testing.assert_allclose(found.plus.by_class, 0.5 + farthest)
    np.testing.assert_allclose(found.minus.by_class, 0.5 - farthest)
    assert found.plus.kept == (real > np.float32(0.5 + farthest)).sum() / 3
    assert found.minus.kept == (real < np.float32(0.5 - farthest)).sum() / 3


def test_a_threshold_lies_halfway_to_the_next_distance():
    assert step_up_threshold(np.array([0.9, 0.1]), 10, 10, 0.05) == pytest.approx(0.5)
    assert step_up_threshold(np.array([0.9, 0.8, 0.1, 0.1]), 10, 10, 0.05) == pytest.approx(0.45)
    assert step_up_threshold(np.array([0.9]), 10, 10, 0.05) == pytest.approx(0.45)
    assert step_up_threshold(np.array([0.1]), 10, 10, 0.05) == np.inf
    assert step_up_threshold(np.array([0.9, 0.9]), 10, 10, 0.05) == pytest.approx(0.45)


def test_the_ends_of_the_scale():
    assert [p_value(3, 4, z) for z in (-1, 0, 13)] == [1, 1, 0]
    assert p_value(3, 4, 12) == pytest.approx(2 / 35)
    assert p_value(4, 3, 12) == p_value(3, 4, 12)
    assert (critical(3, 4, 1.0), critical(3, 4, 2.0)) == (0, 0)
    assert (critical(3, 4, 2 / 35), critical(3, 4, 0.057)) == (10, 13)  # 10 and 11 cannot occur
    assert critical(30, 45, 1e-300) == 30 * 45 + 1


@pytest.mark.parametrize("values", [1, 7, 90])
def test_blocks_of_features_and_classes_do_not_change_the_result(values, monkeypatch):
    real, random = noise()
    by_class = {"strategy": "benjamini_hochberg", "class_sizes": [8, 12, 30], "alpha": 0.5}
    whole = [fnx.find_thresholds(real, random, **o).plus.by_class
             for o in ({"strategy": "max_statistic"}, by_class)]  # fmt: skip
    monkeypatch.setattr("fnx.thresholds.counting.BLOCK_VALUES", values)
    parts = [fnx.find_thresholds(real, random, **o).plus.by_class
             for o in ({"strategy": "max_statistic"}, by_class)]  # fmt: skip
    np.testing.assert_array_equal(parts, whole)


def test_the_thresholds_of_a_class_are_those_of_its_size():
    real, random = noise()
    options = {"class_sizes": [8, 12, 30], "alpha": 0.3}
    found = fnx.find_thresholds(real, random, strategy="benjamini_hochberg", **options)
    expected = [
        step_up_threshold(np.abs(real[:, c]).astype(float), n, 50 - n, 0.3)
        for c, n in enumerate(options["class_sizes"])
    ]
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(found.plus.by_class, expected)
    found = fnx.find_thresholds(real, random, strategy="benjamini_yekutieli", **options)
    level = 0.3 / sum(1 / k for k in range(1, 31))
    expected = [
        step_up_threshold(np.abs(real[:, c]).astype(float), n, 50 - n, level)
        for c, n in enumerate(options["class_sizes"])
    ]
    np.testing.assert_array_equal(found.plus.by_class, expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "benjamini_hochberg"}, "needs class_sizes"),
        (
            {"strategy": "benjamini_hochberg", "statistic": "kl"},
            "not defined for statistic=kl; allowed: ks, ks_exact",
        ),
        ({"strategy": "benjamini_yekutieli", "alpha": 0.0}, r"threshold.alpha=0: must lie between"),
        ({"strategy": "benjamini_hochberg", "alpha": 1.0}, r"threshold.alpha=1: must lie between"),
        ({"strategy": "max_statistic", "alpha": 1.0}, r"threshold.alpha=1: must lie between"),
        ({"strategy": "max_statistic", "alpha": 0.33}, "of 3 or more, found 2"),
        ({"strategy": "max_statistic"}, "needs threshold.permutations of 19 or more, found 2"),
        (
            {"strategy": "max_statistic", "family": "x"},
            "threshold.family=x: allowed are class, all",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(parameters, message):
    with pytest.raises(ConfigError, match=message):
        fnx.find_thresholds(np.zeros((3, 2)), np.zeros((2, 3, 2)), **parameters)


def test_as_many_permutations_as_the_level_needs_are_enough():
    real, random = noise(2)
    found = fnx.find_thresholds(real, random, strategy="max_statistic", alpha=1 / 3)
    maxima = np.abs(random).max(axis=(0, 1)).astype(np.float64)
    np.testing.assert_array_equal(found.plus.by_class, maxima)


def test_their_defaults():
    assert registered("max_statistic") == {"permutations": 19, "alpha": 0.05, "family": "class"}
    for name in ("benjamini_hochberg", "benjamini_yekutieli"):
        assert registered(name) == {"permutations": 5, "alpha": 0.05}


def registered(name):
    return thresholds.get(name).bind({})

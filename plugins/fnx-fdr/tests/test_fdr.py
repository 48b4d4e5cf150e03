"""p-values against SciPy's, the procedures against the textbook, and errors really made."""

from __future__ import annotations

import numpy as np
import pytest
from fnx_fdr import step_up
from scipy.stats import false_discovery_control, ks_2samp

import fnx
from fnx.errors import ConfigError
from fnx.registry import statistics, thresholds
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations


@pytest.mark.parametrize("seed", range(5))
def test_without_ties_it_rejects_what_scipys_adjusted_p_values_reject(seed):
    rng = np.random.default_rng(seed)
    n, m = 12, 40
    inner, outer = rng.normal(size=(n, 60)), rng.normal(size=(m, 60))
    inner[:, :15] += 1.2
    p = [ks_2samp(inner[:, f], outer[:, f], method="exact").pvalue for f in range(60)]
    values, labels = np.vstack([inner, outer]), np.repeat([0, 1], [n, m])
    for alpha in (0.01, 0.05, 0.2):
        for strategy, method in (("hochberg", "bh"), ("yekutieli", "by")):
            expected = false_discovery_control(p, method=method) <= alpha
            found = kept(values, labels, f"benjamini_{strategy}", 1, 0, alpha=alpha)
            np.testing.assert_array_equal(found[:, 0], expected)
            assert expected.sum() < 60


def simulate(rng, *, features=40, correlated=0.0, effect=0.0, true=0):
    """60 images of 3 classes; `true` features are higher by `effect` in class 0."""
    labels = np.repeat([0, 1, 2], [12, 18, 30])
    common = rng.normal(size=(60, 1))
    values = (
        np.sqrt(1 - correlated) * rng.normal(size=(60, features)) + np.sqrt(correlated) * common
    )
    values[:12, :true] += effect
    return values.astype(np.float32), labels


def kept(values, labels, strategy, count, seed, null="exact", **parameters):
    """Which (feature, class) pairs a strategy keeps."""
    labellings = np.vstack([labels, permutations(labels, count, seed)])
    sizes = np.bincount(labels)
    entry = statistics.get("ks_exact")
    real, *random = all_distances(values, labellings, sizes.size, entry, threads=1)[0]
    if null == "exact":  # its second moments are not needed
        null = fnx.null(values, labels, statistic="ks_exact", method="exact", draws=1)
    if strategy != "max_statistic":
        parameters["null"] = null
    found = fnx.find_thresholds(
        real,
        np.array(random),
        strategy=strategy,
        class_sizes=sizes,
        statistic="ks_exact",
        **parameters,
    )
    plus, minus = found.plus.by_class, found.minus.by_class
    if plus is None:
        plus, minus = found.plus.threshold, found.minus.threshold
    beyond = (real > np.float32(plus)), (real < np.float32(minus))
    assert found.plus.kept == pytest.approx(beyond[0].sum() / sizes.size)
    assert found.minus.kept == pytest.approx(beyond[1].sum() / sizes.size)
    return beyond[0] | beyond[1]


@pytest.mark.parametrize("null", ["exact", "permutation"])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("strategy", ["benjamini_hochberg", "benjamini_yekutieli"])
def test_the_false_discovery_rate_is_controlled(strategy, ties, null):
    rng = np.random.default_rng(0)
    shares, found = [], []
    for _ in range(150 if strategy == "benjamini_hochberg" else 40):
        values, labels = simulate(rng, effect=1.5, true=10)
        if ties:  # of every kind: 5 to 95 % are zeros, and some features have few values
            values = np.maximum(values - np.linspace(-1.6, 1.6, 40, dtype=np.float32), 0)
            values[:, ::3] = np.ceil(2 * values[:, ::3])
        selected = kept(values, labels, strategy, 9, 0, null, alpha=0.2)[:, 0]
        shares.append(selected[10:].sum() / max(selected.sum(), 1))
        found.append(selected[:10].mean())
    # 150 shares of mean 0.2 would have a standard error of about 0.01.
    assert np.mean(shares) < 0.2 + 0.03
    assert np.mean(found) > (0.8 if strategy == "benjamini_hochberg" else 0.5)
    if strategy == "benjamini_hochberg":
        # It should be 30 / 40 * 0.2; less of those false ones that differ least by chance.
        assert np.mean(shares) > (0.07 if ties else 0.1)


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
    options = {"strategy": "benjamini_hochberg", "class_sizes": [10, 10], "null": "permutation"}
    found = fnx.find_thresholds(real, real[None], range=(-1, 1), **options)
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
    d, never = np.float32([0.75, 0.75, 0.5, 0.25, 0.25]), [9.0] * 5

    def limit(expected, alpha=0.1):
        return step_up._limit(d, np.array(expected), alpha)

    assert limit([0.2, 0.2, 9, 9, 9]) == (0.75 + 0.5) / 2
    assert limit([0.1, 0.2001, 9, 9, 9]) == (0.75 + 0.5) / 2  # a distance is kept or not
    assert limit([0.1001, 0.2001, 0.3, 9, 9]) == (0.5 + 0.25) / 2  # the last that is allowed counts
    assert limit([0, 0, 0, 0.5, 0.5]) == 0.125
    assert limit(never) == np.inf
    assert step_up._limit(d[:1], np.array([0.05]), 0.05) == 0.375
    # Neighbours among the numbers: what is halfway rounds to one of them.
    neighbours = np.float32([0.3, np.nextafter(np.float32(0.3), np.float32(0))])
    for alpha, count in ((0.5, 1), (1.0, 2)):
        t = step_up._limit(neighbours, np.array([0.5, 2.0]), alpha)
        assert (neighbours > np.float32(t)).sum() == count


@pytest.mark.parametrize("values", [1, 7, 90])
def test_blocks_of_features_and_classes_do_not_change_the_result(values, monkeypatch):
    real, random = noise()
    by_class = {"strategy": "benjamini_hochberg", "class_sizes": [8, 12, 30], "alpha": 0.5,
                "null": "permutation"}  # fmt: skip
    whole = [fnx.find_thresholds(real, random, **o).plus.by_class
             for o in ({"strategy": "max_statistic"}, by_class)]  # fmt: skip
    monkeypatch.setattr("fnx.thresholds.counting.BLOCK_VALUES", values)
    parts = [fnx.find_thresholds(real, random, **o).plus.by_class
             for o in ({"strategy": "max_statistic"}, by_class)]  # fmt: skip
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("sizes", [[8, 12, 30], [12, 12, 30], None])
def test_random_labels_are_counted_for_classes_of_a_size_together(sizes):
    real, random = noise()
    found = fnx.find_thresholds(
        real,
        random,
        strategy="benjamini_hochberg",
        null="permutation",
        class_sizes=sizes,
        alpha=0.4,
    )
    for c in range(3):
        alike = [k for k in range(3) if sizes and sizes[k] == sizes[c]] or [c]
        drawn = np.abs(random[:, :, alike]).ravel()
        d = np.sort(np.abs(real[:, c]))[::-1]
        expected = np.array([30 * (1 + (drawn >= one).sum()) / (1 + drawn.size) for one in d])
        last = np.flatnonzero(expected <= 0.4 * np.arange(1, 31))[-1]
        assert found.plus.by_class[c] == pytest.approx((float(d[last]) + float(d[last + 1])) / 2)
        assert found.minus.by_class[c] == -found.plus.by_class[c]


def test_pooled_draws_are_some_where_they_are_many(monkeypatch):
    real, random = noise()
    options = {"strategy": "benjamini_hochberg", "null": "permutation", "alpha": 0.4}
    alone = fnx.find_thresholds(real[:, :1], random[:, :, :1], **options).plus.by_class
    monkeypatch.setattr(step_up, "MAX_DRAWS", 1)
    first = fnx.find_thresholds(real, random, class_sizes=[9, 9, 9], **options).plus.by_class
    assert first[0] == alone[0]


def uneven(features=300):
    """Distances of features with ties, and the null of ks with three classes of one size."""
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(5), [20, 20, 20, 35, 50])
    values = rng.normal(size=(145, features)) + 0.4 * rng.normal(size=(5, features))[labels]
    values = np.maximum(values - rng.uniform(-1, 1.5, features), 0).astype(np.float32)
    labellings = np.vstack([labels, permutations(labels, 3, 0)])
    real, *random = all_distances(values, labellings, 5, statistics.get("ks"))[0]
    null = fnx.null(values, labels, method="exact", draws=1)
    return real, np.array(random), np.bincount(labels), null


def test_the_last_feature_kept_is_the_last_whose_chance_is_small_enough():
    real, random, sizes, null = uneven(60)
    options = {"strategy": "benjamini_hochberg", "statistic": "ks", "class_sizes": sizes}
    found = fnx.find_thresholds(real, random, null=null, alpha=0.1, **options)
    for c, n in enumerate(sizes):
        d = np.sort(np.abs(real[:, c]))[::-1]
        p = null.p_values(np.broadcast_to(d, (60, 60)), np.full(60, n), n_images=145)
        allowed = p.sum(axis=0) <= 0.1 * np.arange(1, 61)
        count = 0 if not allowed.any() else int(np.flatnonzero(allowed)[-1]) + 1
        assert (np.abs(real[:, c]) > found.plus.by_class[c]).sum() == count
    assert 5 < found.plus.kept + found.minus.kept < 50


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_what_is_computed_at_some_distances_is_known_at_all(alpha, monkeypatch):
    real, random, sizes, null = uneven()
    options = {"strategy": "benjamini_hochberg", "statistic": "ks", "class_sizes": sizes}
    options |= {"null": null, "alpha": alpha}
    whole = fnx.find_thresholds(real, random, **options)
    asked = []
    computed = type(null).p_values

    def p_values(self, distances, class_sizes, **keywords):
        asked.append(distances.shape[1])
        return computed(self, distances, class_sizes, **keywords)

    monkeypatch.setattr(type(null), "p_values", p_values)
    monkeypatch.setattr(step_up, "FEW", 0)
    some = fnx.find_thresholds(real, random, **options)
    assert sum(asked) < 40 < 300
    kept_by = [(np.abs(real) > one.plus.by_class).sum(axis=0) for one in (whole, some)]
    np.testing.assert_allclose(kept_by[1], kept_by[0], rtol=0.02, atol=1)


def test_of_bridges_and_of_random_labels_much_the_same_is_kept():
    real, random, sizes, exact = uneven()
    options = {"strategy": "benjamini_hochberg", "statistic": "ks", "class_sizes": sizes}
    rng = np.random.default_rng(9)
    bridge = fnx.null(
        np.repeat(rng.normal(size=(145, 1)), 300, 1), np.repeat([0, 1], [45, 100]), method="bridge"
    )
    counts = [
        (found.plus.kept + found.minus.kept)
        for null in (exact, "permutation", bridge)
        for found in [fnx.find_thresholds(real, random, null=null, alpha=0.1, **options)]
    ]
    assert counts[1] == pytest.approx(counts[0], rel=0.1)
    assert counts[2] < 0.95 * counts[0]  # of features without ties: their D are larger by chance


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "benjamini_hochberg"}, "needs class_sizes"),
        (
            {"strategy": "benjamini_hochberg", "class_sizes": [3, 3]},
            r"threshold.null=exact needs null=fnx.null\(features, labels, method='exact', …\); "
            "without the features: null='permutation'",
        ),
        (
            {"strategy": "benjamini_yekutieli", "class_sizes": [3, 3], "null": "bridge"},
            "threshold.null=bridge needs null=",
        ),
        (
            {"strategy": "benjamini_hochberg", "null": "x"},
            "threshold.null=x: allowed are exact, bridge, permutation",
        ),
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
        assert registered(name) == {"permutations": 5, "alpha": 0.05, "null": "exact"}


def registered(name):
    return thresholds.get(name).bind({})


@pytest.mark.parametrize("null", ["exact", "bridge", "permutation"])
def test_it_chooses_features_in_scikit_learn(null):
    values, labels = simulate(np.random.default_rng(0), effect=3.0, true=2)
    chosen = fnx.sklearn.DistanceSelector(
        threshold="benjamini_hochberg", threshold_params={"null": null, "permutations": 20}
    ).fit(values, labels)
    assert chosen.get_support(indices=True).tolist()[:2] == [0, 1]
    assert chosen.get_support().sum() <= 3
    assert chosen.thresholds_.plus.by_class.shape == (3,)

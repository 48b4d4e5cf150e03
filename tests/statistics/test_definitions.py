"""Every statistic of fnx against SciPy, scikit-learn or the textbook, for every pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, mannwhitneyu
from sklearn.metrics import mutual_info_score, roc_auc_score

import fnx
from fnx.errors import ConfigError
from fnx.registry import load_installed, statistics

load_installed()

Array = np.ndarray[Any, Any]


def problem(kind: str, dtype: str = "float32") -> tuple[Array, Array]:
    """Small problems of the kinds that go wrong, with classes of 1 and 2 images."""
    rng = np.random.default_rng(len(kind))
    labels = np.r_[0, 1, 1, rng.permutation(np.repeat([2, 3, 4], [20, 30, 25]))]
    values = rng.normal(size=(labels.size, 6)) + 0.5 * labels[:, None]
    if kind == "ties":
        values = np.round(values)
    elif kind == "relu":
        values = np.maximum(values - 2, 0)
    elif kind == "heavy-tailed":
        values = np.exp(4 * values)
    elif kind == "apart":
        values += 40.0 * labels[:, None]
    elif kind == "far from 0":
        values += 1000
    return values.astype(dtype), labels


KINDS = ["continuous", "ties", "relu", "heavy-tailed", "apart", "far from 0"]


def bins_of(column: Array, bins: int) -> Array:
    edges = np.histogram_bin_edges(column.astype(np.float64), bins)
    return np.clip(np.searchsorted(edges, column, "right") - 1, 0, bins - 1)


def every_pair(values: Array, labels: Array, reference: Callable[..., float]) -> Array:
    columns = values.astype(np.float64).T
    return np.array([[reference(col, labels == c) for c in np.unique(labels)] for col in columns])


def on_bins(reference: Callable[[Array, Array], float], bins: int = 100) -> Callable[..., float]:
    def pair(column: Array, inside: Array) -> float:
        index = bins_of(column, bins)
        p, q = (np.bincount(index[rows], minlength=bins) / rows.sum() for rows in (inside, ~inside))
        return reference(p, q)

    return pair


def textbook_kl(p: Array, q: Array) -> float:
    q = np.where((q == 0) & (p > 0), 1e-10, q)
    return float(entropy(p, q / q.sum()))


def textbook_bhattacharyya(p: Array, q: Array) -> float:
    with np.errstate(divide="ignore"):
        return float(-np.log(np.sqrt(p * q).sum()))


def textbook_cohen(column: Array, inside: Array) -> float:
    a, b = column[inside], column[~inside]
    ss = a.size * np.var(a) + b.size * np.var(b)
    return float((a.mean() - b.mean()) / np.sqrt(ss / (a.size + b.size - 2)))


REFERENCES: dict[str, Callable[..., float]] = {
    "kl": on_bins(textbook_kl),
    "bhattacharyya": on_bins(textbook_bhattacharyya),
    "jensen_shannon": on_bins(lambda p, q: float(jensenshannon(p, q, base=2))),
    "hellinger": on_bins(lambda p, q: float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / 2**0.5)),
    "mutual_information": lambda column, inside: mutual_info_score(bins_of(column, 100), inside),
    "auroc": lambda column, inside: roc_auc_score(inside, column),
    "cohen_d": textbook_cohen,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REFERENCES)
def test_every_pair_is_the_references(name: str, kind: str, dtype: str) -> None:
    values, labels = problem(kind, dtype)
    found = fnx.distances(values, labels, statistic=name)
    expected = every_pair(values, labels, REFERENCES[name])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_auroc_is_mann_whitneys_u(kind: str) -> None:
    values, labels = problem(kind)

    def u(column: Array, inside: Array) -> float:
        pairs = inside.sum() * (~inside).sum()
        return float(mannwhitneyu(column[inside], column[~inside]).statistic / pairs)

    found = fnx.distances(values, labels, statistic="auroc")
    np.testing.assert_allclose(found, every_pair(values, labels, u), atol=1e-7)


@pytest.mark.parametrize("name", ["kl", "jensen_shannon", "hellinger", "mutual_information"])
@pytest.mark.parametrize("bins", [1, 2, 7, 300])
def test_other_bins(name: str, bins: int) -> None:
    values, labels = problem("relu")
    references = {
        "kl": on_bins(textbook_kl, bins),
        "jensen_shannon": on_bins(lambda p, q: float(jensenshannon(p, q, base=2)), bins),
        "hellinger": on_bins(
            lambda p, q: float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / 2**0.5), bins
        ),
        "mutual_information": lambda col, inside: mutual_info_score(bins_of(col, bins), inside),
    }
    np.testing.assert_allclose(
        fnx.distances(values, labels, statistic=name, bins=bins),
        every_pair(values, labels, references[name]),
        atol=1e-6,
    )


def test_kl_without_empty_bins_is_scipys_untouched() -> None:
    values, labels = np.tile(np.arange(12.0), 5)[:, None], np.arange(60) % 5 // 2
    labels[:7] = 2
    found = fnx.distances(values, labels, statistic="kl", bins=12, epsilon=0.5)
    expected = every_pair(values, labels, on_bins(lambda p, q: float(entropy(p, q)), 12))
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_what_shares_no_bin() -> None:
    values, labels = np.array([[0.0], [0.1], [0.9], [1.0]]), [0, 0, 1, 1]
    expected = {
        "kl": np.log(0.5 / 1e-10),
        "bhattacharyya": np.inf,
        "jensen_shannon": 1,
        "hellinger": 1,
        "mutual_information": np.log(2),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(fnx.distances(values, labels, statistic=name), value, rtol=1e-6)
    assert np.isinf(fnx.distances(values, labels, statistic="kl", epsilon=0)).all()
    np.testing.assert_array_equal(fnx.distances(values, labels, statistic="auroc"), [[0, 1]])


def test_kl_approximates_the_information_about_a_small_class() -> None:
    """The paper's claim (Section 4.1), for a class of 1 in 1,000."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [100, 99_900])
    values = rng.normal(size=(100_000, 1)) + 0.8 * (labels == 0)[:, None]
    information = fnx.distances(values, labels, statistic="mutual_information", bins=10)[0, 0]
    kl = fnx.distances(values, labels, statistic="kl", bins=10)[0, 0]
    assert information / 0.001 == pytest.approx(kl, rel=0.05)


@pytest.mark.parametrize("name", ["ks", "ks_exact", *REFERENCES])
def test_signed_statistics_are_positive_where_the_class_is_higher(name: str) -> None:
    values = np.array([[0.0], [0.3], [0.2], [0.7], [5.1], [5.0], [5.5]])
    found = fnx.distances(values, [0, 0, 0, 0, 1, 1, 1], statistic=name)[0]
    if statistics.get(name).signed:
        assert found[0] < statistics.get(name).neutral < found[1]
    else:
        assert found[0] >= 0
        assert found[1] > 0


def test_constant_features_have_their_neutral_value() -> None:
    values = np.full((6, 2), 7.0, dtype=np.float32)
    for name in REFERENCES:
        found = fnx.distances(values, [0, 0, 1, 1, 2, 2], statistic=name)
        np.testing.assert_array_equal(found, 0.5 if name == "auroc" else 0)


def test_cohens_d_where_nothing_varies() -> None:
    values = np.array([[0.1], [0.1], [0.7], [0.7]])
    np.testing.assert_array_equal(
        fnx.distances(values, [0, 0, 1, 1], statistic="cohen_d"), [[-np.inf, np.inf]]
    )
    np.testing.assert_array_equal(
        fnx.distances(values[[0, 2]], [0, 1], statistic="cohen_d"), [[-np.inf, np.inf]]
    )
    huge = np.array([[1e200], [3e200], [2e200], [4e200]])
    small = huge / 1e200 * 1e-310
    for scaled in (huge, small):
        np.testing.assert_allclose(
            fnx.distances(scaled, [0, 0, 1, 1], statistic="cohen_d"), [[-(0.5**0.5), 0.5**0.5]]
        )


def test_cohens_d_does_not_lose_digits_to_large_values() -> None:
    values, labels = problem("continuous", "float64")
    np.testing.assert_allclose(
        fnx.distances(values + 1e9, labels, statistic="cohen_d"),
        fnx.distances(values, labels, statistic="cohen_d"),
        rtol=1e-5,
    )
    outlier = np.array([0.0, 1e-6, 2e-6, 1.0, 1.0 + 1e-6, 1.0 + 2e-6])[:, None]
    labels = [0, 0, 0, 1, 1, 1]  # the classes are a million spreads apart
    np.testing.assert_allclose(
        fnx.distances(outlier, labels, statistic="cohen_d"), [[-1e6, 1e6]], rtol=1e-4
    )


@pytest.mark.parametrize("name", ["auroc", "cohen_d"])
@pytest.mark.parametrize("kind", KINDS)
def test_definition_and_all_pairs_kernel_agree(name: str, kind: str) -> None:
    values, labels = problem(kind)
    function = statistics.get(name).function

    def pair(column: Array, inside: Array) -> float:
        return function(np.sort(column[inside]), np.sort(column[~inside]))

    found = fnx.distances(values, labels, statistic=name)
    np.testing.assert_allclose(found, every_pair(values, labels, pair), rtol=1e-6, atol=1e-7)


def test_epsilon_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"statistic.epsilon=-1: must lie in 0 … 1"):
        fnx.distances([[0.0], [1.0]], [0, 1], statistic="kl", epsilon=-1)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, Array]:
    n, classes = draw(st.integers(4, 40)), draw(st.integers(2, 4))
    labels = np.array([*range(classes), *draw(st.lists(st.integers(0, classes - 1), max_size=n))])
    column = st.lists(st.integers(-50, 50), min_size=labels.size, max_size=labels.size)
    return np.array(draw(column), dtype=np.float64)[:, None] / 8, labels


law = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@law
@given(problems(), st.sampled_from(sorted(REFERENCES)), st.integers(0, 2**32 - 1))
def test_order_of_the_images_and_scale_of_the_feature_do_not_matter(
    case: tuple[Array, Array], name: str, seed: int
) -> None:
    values, labels = case
    order = np.random.default_rng(seed).permutation(labels.size)
    before = fnx.distances(values, labels, statistic=name)
    after = fnx.distances(values[order] * 1024, labels[order], statistic=name)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@law
@given(problems(), st.sampled_from(["jensen_shannon", "hellinger", "mutual_information"]))
def test_divergences_of_two_classes_are_symmetric(case: tuple[Array, Array], name: str) -> None:
    values, labels = case
    first, second = fnx.distances(values, labels % 2, statistic=name).T
    np.testing.assert_allclose(first, second, atol=1e-6)


@law
@given(problems())
def test_opposites(case: tuple[Array, Array]) -> None:
    values, labels = case
    auroc, negated = (fnx.distances(v, labels, statistic="auroc") for v in (values, -values))
    np.testing.assert_allclose(auroc, 1 - negated, atol=1e-6)
    d, negated = (fnx.distances(v, labels, statistic="cohen_d") for v in (values, -values))
    np.testing.assert_allclose(d, -negated, rtol=1e-5, atol=1e-6)
    two = fnx.distances(values, labels % 2, statistic="auroc")
    np.testing.assert_allclose(two.sum(axis=1), 1, atol=1e-6)


@law
@given(problems())
def test_hellinger_is_bounded_by_the_others(case: tuple[Array, Array]) -> None:
    values, labels = case
    hellinger = fnx.distances(values, labels, statistic="hellinger").astype(np.float64)
    bhattacharyya = fnx.distances(values, labels, statistic="bhattacharyya")
    np.testing.assert_allclose(hellinger**2, 1 - np.exp(-bhattacharyya), atol=1e-5)

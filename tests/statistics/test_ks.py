"""`ks` and `ks_exact` against SciPy for every pair, and the laws they must obey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp

import fnx
from fnx.registry import load_installed, statistics
from fnx.statistics.definitions import ks, ks_exact
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations

load_installed()


def problem(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Small problems of the kinds that go wrong, with classes of 1 and 2 images."""
    labels = np.r_[0, 1, 1, rng.permutation(np.repeat([2, 3, 4], [20, 30, 25]))]
    values = rng.normal(size=(labels.size, 6))
    values[:, :3] += 0.5 * labels[:, None]
    if kind == "ties":
        values = np.round(values)
    elif kind == "relu":
        values = np.maximum(values, 0)
    elif kind == "sparse":
        values = np.maximum(values - 2, 0)
    elif kind == "heavy-tailed":
        values = np.exp(4 * values)
    elif kind == "constant":
        values[:, ::2] = 3.25
    elif kind == "negative zero":
        values = np.where(values > 0, 0.0, -0.0) + (values > 1)
    elif kind == "two values":
        values = (values > 0).astype(float)
    return values.astype(np.float32), labels


KINDS = [
    *("continuous", "ties", "relu", "sparse", "heavy-tailed", "constant", "negative zero"),
    "two values",
]


def scipy_signed(inner: NDArray[np.floating], outer: NDArray[np.floating]) -> float:
    """SciPy's distance with fnx's sign: its own is that of F_inner - F_outer."""
    above = ks_2samp(inner, outer, alternative="less", method="asymp").statistic
    below = ks_2samp(inner, outer, alternative="greater", method="asymp").statistic
    both = ks_2samp(inner, outer, method="asymp")
    assert both.statistic == max(above, below)
    if abs(above - below) > 1e-12:
        assert both.statistic_sign == (-1 if above > below else 1)
    return float(above if above >= below - 1e-12 else -below)


def every_pair(values: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array(
        [
            [scipy_signed(column[labels == c], column[labels != c]) for c in np.unique(labels)]
            for column in values.T
        ]
    )


def binned(values: NDArray[np.floating], bins: int) -> NDArray[np.int64]:
    """The bin of each value, from NumPy's own edges."""
    result = np.zeros(values.shape, dtype=np.int64)
    for f, column in enumerate(values.astype(np.float64).T):
        if np.ptp(column):
            edges = np.histogram_bin_edges(column, bins)
            result[:, f] = np.clip(np.searchsorted(edges, column, "right") - 1, 0, bins - 1)
            counts = np.bincount(result[:, f], minlength=bins)
            np.testing.assert_array_equal(counts, np.histogram(column, bins)[0])
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_exact_distance_is_scipys_for_every_pair(kind: str) -> None:
    values, labels = problem(kind, np.random.default_rng(1))
    np.testing.assert_allclose(
        fnx.distances(values, labels, statistic="ks_exact"), every_pair(values, labels), atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", [1, 2, 7, 100, 300])
def test_binned_distance_is_scipys_on_the_bins_for_every_pair(kind: str, bins: int) -> None:
    values, labels = problem(kind, np.random.default_rng(2))
    expected = every_pair(binned(values, bins), labels)
    np.testing.assert_allclose(fnx.distances(values, labels, bins=bins), expected, atol=1e-6)


def oracle(places: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[Any]:
    """The signed KS of one feature on numbered places, in plain NumPy, rounded once at the end."""
    counts = np.zeros((classes, places.max() + 1), np.int64)
    np.add.at(counts, (labels, places), 1)
    size = counts.sum(axis=1, keepdims=True)
    sides = (size * counts.sum(axis=0) - labels.size * counts).cumsum(axis=1)
    top, bottom = sides.max(axis=1), sides.min(axis=1)
    least = size[:, 0].astype(float) * (labels.size - size[:, 0])
    return (np.where(-bottom > top, bottom, top) / least).astype(np.float32)


def hard(kind: str, rng: np.random.Generator) -> NDArray[Any]:
    """Values (1_211, 6) of which ranges, ties or types are hard."""
    normal, shape = rng.normal(size=(1_211, 6)), (1_211, 6)
    return {
        "float16": normal.astype(np.float16),
        "float64": normal,
        "integers": rng.integers(-9, 9, shape),
        "bytes": rng.integers(0, 256, shape).astype(np.uint8),
        "all zero and constant": np.c_[np.zeros((1_211, 3)), np.ones((1_211, 3))],
        "mostly zero": np.maximum(normal - 1.3, 0).astype(np.float32),
        "one value is not zero": (np.arange(1_211)[:, None] == np.arange(6)).astype(np.float32),
        "zeros of both signs": np.where(normal > 1, normal, np.where(normal > 0, 0.0, -0.0)),
        "mostly the largest": np.minimum(normal + 1.3, 0).astype(np.float32),
        "huge": normal * 1e300,
        "huge float32": (rng.random(shape) * 3e38).astype(np.float32),
        "heavy-tailed": np.exp(8 * normal).astype(np.float32),
        "small": normal * 1e-300,
        "on edges": rng.integers(0, 101, shape) / 100,
        "far from zero": 1e9 + rng.integers(0, 7_000, shape) * np.spacing(1e9),
        "neighbours of float32": (16_777_216 + rng.integers(0, 9, shape)).astype(np.float32),
    }[kind]


HARD = [
    *("float16", "float64", "integers", "bytes", "all zero and constant", "mostly zero"),
    *("one value is not zero", "zeros of both signs", "mostly the largest", "huge", "huge float32"),
    *("heavy-tailed", "small", "on edges", "far from zero", "neighbours of float32"),
]


@pytest.mark.parametrize(("classes", "count"), [(2, 5), (60, 0), (60, 5), (1_000, 0)])
@pytest.mark.parametrize("kind", HARD)
def test_distances_are_to_the_bit_those_of_plain_numpy(kind: str, classes: int, count: int) -> None:
    rng = np.random.default_rng(5)
    values = hard(kind, rng)
    labels = np.r_[np.arange(classes), rng.integers(1, classes, len(values) - classes)]
    labels.sort()  # class 0 has one image
    labellings = np.stack([labels, *permutations(labels, count, seed=1)])
    places = {
        "ks": binned(values, 100),
        "ks_exact": np.stack([np.unique(v, return_inverse=True)[1] for v in values.T], axis=1),
    }
    for statistic, numbers in places.items():
        found = all_distances(values, labellings, classes, statistics.get(statistic)).values
        for k, labelling in enumerate(labellings):
            expected = [oracle(numbers[:, f], labelling, classes) for f in range(6)]
            np.testing.assert_array_equal(found[k].view("u4"), np.stack(expected).view("u4"))


def test_values_on_the_edges_of_bins_belong_to_the_bin_above() -> None:
    values = np.linspace(0, 1, 101)[:, None]  # every one is an edge of the 100 bins
    labels = np.arange(101) % 3
    expected = every_pair(binned(values, 100), labels)
    np.testing.assert_allclose(fnx.distances(values, labels, bins=100), expected, atol=1e-6)


def test_no_bins_means_exact() -> None:
    values, labels = problem("relu", np.random.default_rng(3))
    np.testing.assert_array_equal(
        fnx.distances(values, labels, bins=None),
        fnx.distances(values, labels, statistic="ks_exact"),
    )


def test_a_class_with_higher_values_is_positive_and_one_with_lower_values_negative() -> None:
    values = np.array([[0.0], [0.1], [5.0], [5.1]])
    for statistic in ("ks", "ks_exact"):
        np.testing.assert_array_equal(
            fnx.distances(values, [0, 0, 1, 1], statistic=statistic), [[-1, 1]]
        )


def test_a_tie_between_the_sides_goes_to_plus() -> None:
    values = np.array([[1.0], [2.0], [3.0]])  # the middle one is as far above as below
    for statistic in ("ks", "ks_exact"):
        distance = fnx.distances(values, [1, 0, 1], statistic=statistic)
        np.testing.assert_array_equal(distance, [[0.5, 0.5]])


def test_constant_features_have_distance_zero() -> None:
    values = np.full((6, 2), 7.0, dtype=np.float32)
    for statistic in ("ks", "ks_exact"):
        assert not fnx.distances(values, [0, 0, 1, 1, 2, 2], statistic=statistic).any()


@pytest.mark.parametrize("kind", KINDS)
def test_definition_and_all_pairs_kernel_agree(kind: str) -> None:
    values, labels = problem(kind, np.random.default_rng(4))
    found, exact = (fnx.distances(values, labels, statistic=s) for s in ("ks", "ks_exact"))
    index = binned(values, 100)
    for f in range(values.shape[1]):
        for c in range(5):
            inside = labels == c
            inner, outer = (
                np.bincount(index[rows, f], minlength=100) / rows.sum()
                for rows in (inside, ~inside)
            )
            assert ks(inner, outer) == pytest.approx(found[f, c], abs=1e-6)
            samples = (np.sort(values[rows, f].astype(float)) for rows in (inside, ~inside))
            assert ks_exact(*samples) == pytest.approx(exact[f, c], abs=1e-6)


@st.composite
def problems(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n, classes = draw(st.integers(4, 40)), draw(st.integers(2, 4))
    labels = np.array([*range(classes), *draw(st.lists(st.integers(0, classes - 1), max_size=n))])
    column = st.lists(st.integers(-50, 50), min_size=labels.size, max_size=labels.size)
    return np.array(draw(column), dtype=np.float64)[:, None] / 8, labels


law = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@law
@given(problems())
def test_exact_distance_does_not_change_under_increasing_maps(case) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    before = fnx.distances(values, labels, statistic="ks_exact")
    after = fnx.distances(np.expm1(values) * 3 - 2, labels, statistic="ks_exact")
    np.testing.assert_array_equal(before, after)


@law
@given(problems(), st.integers(0, 2**32 - 1), st.sampled_from(["ks", "ks_exact"]))
def test_order_of_the_images_does_not_matter(case, seed: int, statistic: str) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    order = np.random.default_rng(seed).permutation(labels.size)
    np.testing.assert_array_equal(
        fnx.distances(values, labels, statistic=statistic),
        fnx.distances(values[order], labels[order], statistic=statistic),
    )


@law
@given(problems(), st.sampled_from([0.25, 2.0, 1024.0]), st.sampled_from(["ks", "ks_exact"]))
def test_scaling_a_feature_does_not_matter(case, scale: float, statistic: str) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    np.testing.assert_array_equal(
        fnx.distances(values, labels, statistic=statistic),
        fnx.distances(values * scale, labels, statistic=statistic),
    )


@law
@given(problems())
def test_negating_a_feature_negates_the_exact_distance(case) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    before = fnx.distances(values, labels, statistic="ks_exact")
    after = fnx.distances(-values, labels, statistic="ks_exact")
    # A tie between the sides is + before and after.
    assert np.all((after == -before) | (after == before))
    np.testing.assert_array_equal(np.abs(after), np.abs(before))


@law
@given(problems(), st.sampled_from(["ks", "ks_exact"]))
def test_two_classes_are_each_others_opposite(case, statistic: str) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    first, second = fnx.distances(values, labels % 2, statistic=statistic).T
    np.testing.assert_array_equal(np.abs(first), np.abs(second))
    assert np.all((first == -second) | (first == second))  # equal only where the sides tie


@law
@given(problems(), st.integers(1, 60))
def test_bins_only_shrink_the_exact_distance(case, bins: int) -> None:  # type: ignore[no-untyped-def]
    values, labels = case
    exact = np.abs(fnx.distances(values, labels, statistic="ks_exact"))
    assert np.all(np.abs(fnx.distances(values, labels, bins=bins)) <= exact + 1e-6)
    assert np.all(exact <= 1)

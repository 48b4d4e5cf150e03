"""The exact null against enumeration, SciPy and another order of the same sums."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom, ks_2samp

import fnx
from fnx.errors import DataError
from fnx.statistics.exact import exact_p_values, integers
from fnx.statistics.kernels import exact_null


def tail(groups: Any, size: int, z: int) -> float:
    groups = np.ascontiguousarray(groups, np.int64)
    logs = exact_null.log_factorials(int(groups.sum()))
    return float(exact_null.tail(groups, size, z, logs, np.empty((3, size + 1))))


def enumerated(groups: Any, size: int) -> np.ndarray[Any, Any]:
    """The largest |s n - j N| at the ends of the groups, of every set of `size` of N images."""
    total, ends = int(np.sum(groups)), np.cumsum(groups)
    chosen = np.zeros((comb(total, size), total), np.int64)
    for row, one in zip(chosen, combinations(range(total), size), strict=True):
        row[list(one)] = 1
    inner = chosen.cumsum(axis=1)[:, ends - 1]
    return np.abs(ends * size - inner * total).max(axis=1)


@pytest.mark.parametrize(
    ("values", "size", "distance", "expected"),
    [
        ((0, 0, 0, 0, 1, 2, 3), 3, 1 / 2, 15 / 35),
        ((0, 0, 0, 1, 1, 2, 2, 3, 4, 5), 4, 1 / 2, 90 / 210),
        ((0, 0, 0, 0, 0, 0, 1, 2, 3, 4), 4, 2 / 3, 22 / 210),
        ((1, 2, 2, 3, 3, 1, 2, 3, 3, 4, 5, 6), 5, 3 / 7, 192 / 792),
    ],
)
def test_known_probabilities(
    values: tuple[int, ...], size: int, distance: float, expected: float
) -> None:
    groups = np.unique(values, return_counts=True)[1]
    z = round(distance * size * (len(values) - size))
    assert tail(groups, size, z) == pytest.approx(expected, rel=1e-12)


GROUPS = [
    *((1, 1, 1, 1, 1, 1, 1, 1, 1), (9,), (4, 5), (1, 8), (8, 1), (2, 3, 1, 4, 2), (5, 1, 1, 1, 1)),
    *((1, 1, 1, 1, 6), (3, 3, 3), (1, 4, 1, 4, 1), (2, 2, 2, 2, 2)),
]


@pytest.mark.parametrize("groups", GROUPS)
def test_every_probability_of_small_samples_is_that_of_all_labellings(
    groups: tuple[int, ...],
) -> None:
    total = sum(groups)
    for size in range(1, total):
        largest = enumerated(groups, size)
        for z in range(size * (total - size) + 2):
            expected = np.mean(largest >= z)
            assert tail(groups, size, z) == pytest.approx(expected, rel=1e-9, abs=1e-300), (size, z)


@pytest.mark.parametrize(
    ("n", "m"), [(1, 1), (1, 9), (7, 7), (5, 40), (40, 5), (30, 45), (80, 900)]
)
def test_without_ties_it_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    for shift in (0, 0.5, 2):
        expected = ks_2samp(rng.normal(size=n), rng.normal(size=m) + shift, method="exact")
        z = round(expected.statistic * n * m)
        assert tail(np.ones(n + m), n, z) == pytest.approx(expected.pvalue, rel=1e-9)


def test_small_probabilities_keep_their_digits() -> None:
    assert tail(np.ones(80), 40, 1600) == pytest.approx(2 / comb(80, 40), rel=1e-9)
    # Two groups: the class is all in one of them, or has far too many of it.
    assert tail([60, 60], 60, 3600) == pytest.approx(2 / comb(120, 60), rel=1e-9)
    law = hypergeom(500, 200, 100)
    z = 25 * 500  # 200 s of 500: j is 40 on average, and 25 away from it
    expected = law.cdf(15) + law.sf(64)
    assert tail([200, 300], 100, z) == pytest.approx(expected, rel=1e-9)


def test_groups_may_be_read_from_either_end() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(1, 40, 60)
    total = int(groups.sum())
    for size in (7, 80, 500):
        for distance in (0.02, 0.1, 0.3):
            z = round(distance * size * (total - size))
            backwards = tail(groups[::-1], size, z)
            assert tail(groups, size, z) == pytest.approx(backwards, rel=1e-8)
            # ... and the class's D is also that of all others.
            assert tail(groups, total - size, z) == pytest.approx(backwards, rel=1e-8)


def test_many_images_agree_with_the_asymptotic_law() -> None:
    n, m, distance = 1500, 98_500, 0.05
    k = np.arange(1, 20)
    exponents = -2 * k**2 * distance**2 * n * m / (n + m)
    expected = 2 * np.sum((-1.0) ** (k - 1) * np.exp(exponents))
    assert tail(np.ones(n + m), n, round(distance * n * m)) == pytest.approx(expected, rel=0.05)


def test_what_is_too_small_to_matter_is_bounded_where_it_is_expensive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(1, 60, 90)
    size, total = 120, int(groups.sum())
    scale = size * (total - size)
    logs = exact_null.log_factorials(total)
    for distance in (0.45, 0.6, 0.9):
        z = round(distance * scale)
        exact = tail(groups, size, z)
        above = exact_null.bound(groups, size, z, logs)
        assert exact < exact_null.DECIDED
        assert exact * (1 - 1e-9) <= above < 4 * exact
        ends = np.cumsum(groups)
        lows = np.floor((ends * size - z) / total)
        highs = np.ceil((ends * size + z) / total)
        each = hypergeom(total, ends, size)
        assert above == pytest.approx(np.sum(each.cdf(lows) + each.sf(highs - 1)), rel=1e-6)
    # Two groups have one end: the bound is the probability itself, of a class of any size.
    big = 3000
    law = hypergeom(60_000, 20_000, big)
    z = 300 * 60_000
    expected = law.cdf(1000 - 300) + law.sf(1000 + 299)
    assert expected < exact_null.DECIDED
    assert tail([20_000, 40_000], big, z) == pytest.approx(expected, rel=1e-6)


def enumerated_p_values(column: Any, labels: Any, bins: int | None, distances: Any) -> list[float]:
    """The share of labellings whose |D|, as float32 as fnx has it, is no smaller."""
    index = column
    if bins is not None:
        edges = np.histogram_bin_edges(column.astype(float), bins)
        index = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, bins - 1)
    groups = np.unique(index, return_counts=True)[1]
    found = []
    for size, distance in zip(np.bincount(labels), distances, strict=True):
        scale = float(size * (len(labels) - size))
        largest = np.float32(enumerated(groups, int(size)) / scale)
        found.append(float(np.mean(largest >= abs(distance))))
    return found


@pytest.mark.parametrize(("statistic", "bins"), [("ks", 100), ("ks", 3), ("ks_exact", None)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_p_values_are_of_the_values_as_the_statistic_sees_them(
    statistic: str, bins: int | None, dtype: Any
) -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [3, 4, 5])
    values = np.maximum(rng.normal(size=(12, 70)), 0).astype(dtype)  # ties, and two blocks
    values[:, 1] = 0.7  # constant
    values[:, 2] = -rng.integers(0, 3, 12)
    parameters = {} if bins is None else {"bins": bins}
    distances = fnx.distances(values, labels, statistic=statistic, **parameters)
    found = exact_p_values(values, distances, np.bincount(labels), bins)
    assert found[1].tolist() == [1, 1, 1]
    for f in (0, 2, 3, 40, 69):
        expected = enumerated_p_values(values[:, f], labels, bins, distances[f])
        np.testing.assert_allclose(found[f], expected, rtol=1e-9)
    again = exact_p_values(values, distances, np.bincount(labels), bins, threads=1)
    np.testing.assert_array_equal(again, found)


def test_classes_of_one_size_and_distance_share_a_p_value() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(20, 3))
    sizes = np.array([5, 4, 5, 6, 5])
    distances = np.float32([[0.4, 0.4, -0.4, 0.4, 0.2]] * 3)
    found = exact_p_values(values, distances, sizes, None)
    assert found[0, 0] == found[0, 2] < found[0, 4]
    alone = [exact_p_values(values, distances[:, [c]], sizes[[c]], None)[:, 0] for c in range(5)]
    np.testing.assert_array_equal(found, np.transpose(alone))


@pytest.mark.parametrize(("n", "total"), [(3, 7), (80, 8160), (5000, 50_000), (400_000, 10**6)])
def test_a_distance_is_the_smallest_integer_that_rounds_to_it(n: int, total: int) -> None:
    scale = n * (total - n)
    exact = np.unique(np.random.default_rng(4).integers(0, scale + 1, 300))
    distances = np.float32(exact / scale)
    z = integers(distances[:, None], np.array([n]), total)[:, 0]
    assert (z <= exact).all()
    if scale < 1 << 23:
        np.testing.assert_array_equal(z, exact)
    np.testing.assert_array_equal(np.float32(z / scale), distances)
    below = z > 0
    assert (np.float32((z - 1) / scale) < distances)[below].all()
    np.testing.assert_array_equal(integers(-distances[:, None], np.array([n]), total)[:, 0], z)


def test_what_does_not_fit_is_refused() -> None:
    sizes = np.array([2, 2])
    with pytest.raises(DataError, match=r"distances have shape \(2, 2\): must be \(3, 2\)"):
        exact_p_values(np.zeros((4, 3)), np.zeros((2, 2)), sizes, None)
    values = np.zeros((4, 70))
    values[1, 66] = np.nan
    with pytest.raises(DataError, match="feature 66 of image 1 is nan: every value must be finite"):
        exact_p_values(values, np.zeros((70, 2)), sizes, None)


def test_progress_is_in_features() -> None:
    seen: list[int] = []
    exact_p_values(np.zeros((4, 70)), np.zeros((70, 2)), np.array([2, 2]), 3, progress=seen.append)
    assert seen == [64, 6]

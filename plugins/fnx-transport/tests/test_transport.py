"""The distances against SciPy's, for every pair, and the laws they must obey."""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, getcontext
from fractions import Fraction
from itertools import pairwise

import fnx_transport
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import energy_distance, wasserstein_distance

import fnx
from fnx.errors import PluginError

REFERENCES = {"wasserstein": wasserstein_distance, "energy": energy_distance}


def problem(kind):
    rng = np.random.default_rng(1)
    labels = np.r_[0, 1, 1, rng.permutation(np.repeat([2, 3], [20, 30]))]
    values = rng.normal(size=(labels.size, 5)) + 0.5 * labels[:, None]
    values = {"ties": np.round, "relu": lambda v: np.maximum(v - 1, 0)}.get(kind, np.array)(values)
    return values.astype(np.float32), labels


@pytest.mark.parametrize("kind", ["continuous", "ties", "relu"])
@pytest.mark.parametrize("name", REFERENCES)
def test_every_pair_is_scipys_with_the_sign_of_the_means(name, kind):
    values, labels = problem(kind)
    found = fnx.distances(values, labels, statistic=name)
    for f, column in enumerate(values.T.astype(np.float64)):
        for c in range(4):
            inner, outer = column[labels == c], column[labels != c]
            sign = 1 if inner.mean() >= outer.mean() - 1e-12 else -1
            expected = sign * REFERENCES[name](inner, outer)
            assert found[f, c] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("name", "power"), [("wasserstein", 1), ("energy", 0.5)])
def test_standardized_distances_do_not_depend_on_the_unit(name, power):
    values, labels = problem("continuous")
    found = fnx.distances(values, labels, statistic=name, standardized=True)
    other = fnx.distances(values * 1000 + 5, labels, statistic=name, standardized=True)
    np.testing.assert_allclose(found, other, rtol=1e-3, atol=1e-4)
    raw = fnx.distances(values, labels, statistic=name)
    np.testing.assert_allclose(found * values.std(axis=0)[:, None] ** power, raw, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=12), st.integers(1, 11))
def test_swapping_the_samples_changes_the_sign_only(values, cut):
    cut = min(cut, len(values) - 1)
    a, b = (np.sort(np.array(v, float)) for v in (values[:cut], values[cut:]))
    for function in (fnx_transport.wasserstein, fnx_transport.energy):
        there, back = function(a, b), function(b, a)
        assert abs(there) == pytest.approx(abs(back), abs=1e-12)
        if a.mean() != b.mean():
            assert there == pytest.approx(-back, abs=1e-12)


def test_a_shift_moves_everything_by_as_much():
    values = np.array([[0.0], [1.0], [2.5], [3.5]])
    np.testing.assert_allclose(
        fnx.distances(values, [0, 0, 1, 1], statistic="wasserstein"), [[-2.5, 2.5]]
    )


def exact(inner, outer, power):
    """The sign of the means' difference, and the integral of |F_outer - F_inner|**power."""
    a, b = ([Fraction(float(x)) for x in np.sort(values)] for values in (inner, outer))
    points = sorted({*a, *b})
    total = Fraction(0)
    for low, high in pairwise(points):
        difference = Fraction(bisect_right(b, low), len(b)) - Fraction(bisect_right(a, low), len(a))
        total += abs(difference) ** power * (high - low)
    return (1 if sum(a) * len(b) >= sum(b) * len(a) else -1), total


def variance(values):
    mean = sum(map(Fraction, values)) / len(values)
    return sum((Fraction(x) - mean) ** 2 for x in values) / len(values)


def decimal(fraction):
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


EXTREMES = {
    "tiny": lambda x: x * 1e-200,
    "huge": lambda x: x * 1e160,
    "subnormal": lambda x: x * 1e-315,
    "whole range": lambda x: x / np.abs(x).max() * 1.7e308,
    "upper half": lambda x: (1 + np.abs(x) / np.abs(x).max()) * 8e307,
    "offset": lambda x: 1e12 + 1e-3 * x,
    "large offset": lambda x: 1e15 + x,
    "mixed": lambda x: np.where(x > 1.5, x * 1e200, x * 1e-200),
    "usual": lambda x: x,
}


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("name", REFERENCES)
def test_extreme_values_have_the_exact_distance(name, extreme):
    rng = np.random.default_rng(4)
    values = EXTREMES[extreme](rng.normal(size=40) + np.repeat([0.7, 0.0], [12, 28]))
    assert np.isfinite(values).all()
    getcontext().prec = 60
    function = getattr(fnx_transport, name)
    for inner, outer in ((values[:12], values[12:]), (values[12:], values[:12])):
        inner, outer = np.sort(inner), np.sort(outer)
        sign, area = exact(inner, outer, 1 if name == "wasserstein" else 2)
        deviation = decimal(variance([*inner, *outer])).sqrt()
        raw, standard = decimal(area), decimal(area) / deviation
        if name == "energy":
            raw, standard = (2 * raw).sqrt(), (2 * standard).sqrt()
        assert function(inner, outer) == pytest.approx(sign * float(raw), rel=1e-12, abs=0)
        found = function(inner, outer, standardized=True)
        assert found == pytest.approx(sign * float(standard), rel=1e-12, abs=0)
        labels = np.repeat([0, 1], [inner.size, outer.size])
        together = np.concatenate([inner, outer])[:, None]
        found = fnx.distances(together, labels, statistic=name, standardized=True)
        np.testing.assert_allclose(found, sign * float(standard) * np.array([[1, -1]]), rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-200, 1e160])
def test_a_distance_that_float32_cannot_hold_is_refused(unit):
    values = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 4.0]]) * unit
    with pytest.raises(PluginError, match=r"failed for feature 1 and class 0: .* not fit float32"):
        fnx.distances(values, [0, 0, 1, 1], statistic="wasserstein")


def test_equal_means_give_presence_also_where_they_differ_by_rounding():
    apart, together = np.array([0.0, 2.0]), np.array([1.0, 1.0])
    for a, b in ((apart, together), (together, apart)):
        assert fnx_transport.wasserstein(a, b) == 1
        assert fnx_transport.energy(a, b) == pytest.approx(1)
    tenths, thirds = np.array([0.1, 0.2, 0.6]), np.full(3, 0.3)
    for a, b in ((tenths, thirds), (thirds, tenths)):
        assert fnx_transport.wasserstein(a, b) == pytest.approx(0.2)
    for shift, sign in ((1e-9, 1), (-1e-9, -1)):
        assert np.sign(fnx_transport.wasserstein(tenths + shift, thirds)) == sign


def test_equal_samples_are_not_apart():
    same = np.full(3, 7.0)
    for function in (fnx_transport.wasserstein, fnx_transport.energy):
        assert function(same, same) == function(same, same, standardized=True) == 0


@pytest.mark.parametrize("name", REFERENCES)
def test_metres_and_millimetres_keep_the_same_features(name):
    values, labels = problem("continuous")

    def kept(unit):
        scaled = values.astype(np.float64) * unit
        real = fnx.distances(scaled, labels, statistic=name)
        noise = [fnx.distances(scaled, labels[::-1], statistic=name),
                 fnx.distances(scaled, np.roll(labels, 3), statistic=name)]  # fmt: skip
        found = fnx.find_thresholds(real, noise, statistic=name)
        return (real > found.plus.threshold) | (real < found.minus.threshold)

    assert 0 < kept(1).mean() < 1
    for unit in (1e-8, 2.0**-10, 1e3, 1e6):
        np.testing.assert_array_equal(kept(unit), kept(1))

"""The distances against SciPy's, for every pair, and the laws they must obey."""

from __future__ import annotations

import fnx_transport
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import energy_distance, wasserstein_distance

import fnx

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

"""The statistics against SciPy and the textbook, for every pair."""

from __future__ import annotations

import fnx_rank
import numpy as np
import pytest
from scipy.stats import cramervonmises_2samp

import fnx


def problem(kind):
    rng = np.random.default_rng(2)
    labels = np.r_[0, 1, 1, rng.permutation(np.repeat([2, 3], [20, 30]))]
    values = rng.normal(size=(labels.size, 5)) + 0.5 * labels[:, None]
    values = {"ties": np.round, "relu": lambda v: np.maximum(v - 1, 0)}.get(kind, np.array)(values)
    return values.astype(np.float32), labels


def every_pair(values, labels, reference):
    return [
        [reference(column[labels == c], column[labels != c]) for c in np.unique(labels)]
        for column in values.T.astype(np.float64)
    ]


@pytest.mark.parametrize("kind", ["continuous", "ties", "relu"])
def test_cliffs_delta_counts_pairs(kind):
    values, labels = problem(kind)
    found = fnx.distances(values, labels, statistic="cliffs_delta")
    expected = every_pair(values, labels, lambda a, b: np.sign(a[:, None] - b).mean())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    auroc = fnx.distances(values, labels, statistic="auroc")
    np.testing.assert_allclose(found, 2 * auroc - 1, atol=1e-6)


def test_cramer_von_mises_is_scipys_without_ties():
    values, labels = problem("continuous")
    labels = np.maximum(labels, 1)  # SciPy needs two values
    found = fnx.distances(values, labels, statistic="cramer_von_mises")
    expected = every_pair(values, labels, lambda a, b: cramervonmises_2samp(a, b).statistic)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ties", "relu"])
def test_cramer_von_mises_with_ties_is_the_sum_over_all_values(kind):
    def textbook(a, b):
        pooled = np.concatenate([a, b])
        f, g = ((x[:, None] <= pooled).mean(axis=0) for x in (a, b))
        return a.size * b.size / pooled.size**2 * ((f - g) ** 2).sum()

    values, labels = problem(kind)
    found = fnx.distances(values, labels, statistic="cramer_von_mises")
    np.testing.assert_allclose(found, every_pair(values, labels, textbook), rtol=1e-5, atol=1e-7)


def test_equal_samples_are_not_apart():
    same = np.array([1.0, 2.0, 2.0, 5.0])
    assert fnx_rank.cliffs_delta(same, same) == 0
    assert fnx_rank.cramer_von_mises(same, same) == 0

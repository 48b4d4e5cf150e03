"""Probes: ridge with leave-one-out, neighbours, LogME, and z-scores, against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from fnx.analysis import probes
from fnx.analysis.probes import Spectrum


def fitted(features: NDArray[Any], targets: NDArray[Any], strength: float) -> Any:
    """Fit a ridge with a free intercept by its normal equations; return what predicts."""
    means, level = features.mean(axis=0), targets.mean(axis=0)
    centred = features - means
    gram = centred.T @ centred + strength * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (targets - level))
    return lambda rows: (rows - means) @ weights + level


def spectrum(features: NDArray[Any], others: NDArray[Any]) -> tuple[Spectrum, float]:
    """Return the spectrum, by the narrower way, and the unit of its strengths."""
    centred = features - features.mean(axis=0)
    unit = np.square(centred).sum() / len(features)
    if features.shape[1] <= len(features):
        found = probes.spectrum_of_features(centred, others - features.mean(axis=0))
        return found, unit
    rows = np.vstack([others, features])
    return (
        probes.spectrum_of_kernel(
            rows @ rows.T, np.arange(len(others), len(rows)), np.arange(len(others))
        ),
        unit,
    )


@pytest.mark.parametrize("width", [5, 40])
def test_leave_one_out_is_refitting_without_each_row(width: int) -> None:
    rng = np.random.default_rng(width)
    features, targets = rng.normal(3, 2, (15, width)), rng.normal(size=(15, 3))
    found, unit = spectrum(features, features[:2])
    strengths = [0.01, 1.0]
    predicted = probes.leave_one_out(found, targets, strengths)
    for number, strength in enumerate(strengths):
        for row in range(15):
            rest = np.arange(15) != row
            expected = fitted(features[rest], targets[rest], strength * unit)(features[row])
            np.testing.assert_allclose(predicted[number, row], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [5, 40])
def test_the_ridge_predicts_as_its_normal_equations_do(width: int) -> None:
    rng = np.random.default_rng(width)
    features, others = rng.normal(3, 2, (15, width)), rng.normal(3, 2, (4, width))
    targets = rng.normal(size=(15, 2))
    found, unit = spectrum(features, others)
    predicted = probes.ridge(found, targets, 0.1)
    expected = fitted(features, targets, 0.1 * unit)(others)
    np.testing.assert_allclose(predicted, expected, atol=1e-10)


def test_the_strength_is_that_of_the_least_squared_error() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 8))
    targets = features[:, :1] + rng.normal(size=(30, 1))
    found, _ = spectrum(features, features[:1])
    strength, left_out = probes.best_strength(found, targets)
    errors = [
        np.square(targets - probes.leave_one_out(found, targets, [one])[0]).sum()
        for one in probes.STRENGTHS
    ]
    assert strength == probes.STRENGTHS[int(np.argmin(errors))]
    assert np.square(targets - left_out).sum() == pytest.approx(min(errors))
    assert probes.STRENGTHS[0] < strength < probes.STRENGTHS[-1]


def test_z_scores_come_from_the_training_rows() -> None:
    block = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [7.0, 9.0, 4.0]])
    found = probes.standardise(block, np.array([0, 1]))
    np.testing.assert_allclose(found, [[-1, 0, 0], [1, 0, 0], [5, 0, 0]])


def test_a_spread_is_at_least_its_share_of_the_median() -> None:
    block = np.array([[0.0, 0.0, 0.0, 5.0], [2.0, 4.0, 0.02, 5.0]])  # spreads 1, 2, 0.01, 0
    found = probes.standardise(block, np.array([0, 1]), floor=0.5)
    np.testing.assert_allclose(found[1], [1, 1, 0.02, 0])  # the third by half of the median, 1


def test_neighbours_are_the_nearest_and_share_their_classes() -> None:
    similarity = np.array([[0.9, 0.1, 0.8, 0.7]])
    owned = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    shares = probes.nearest(similarity, owned, 3)
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3]], atol=1e-5)
    tied = probes.nearest(similarity, owned, 2)[0]
    assert tied[0] > tied[1]  # of equal shares that of the nearer neighbour
    assert probes.nearest(similarity, owned, 9).shape == (1, 2)


def test_cosines_of_a_kernel_and_of_a_row_of_zeros() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    expected = [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(probes.cosine(rows @ rows.T), expected)


@pytest.mark.parametrize("width", [4, 30])
def test_logme_is_the_highest_evidence_of_a_bayesian_linear_model(width: int) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, width))
    targets = (features[:, 0] + rng.normal(size=20) > 0)[:, None]

    def negative(logs: NDArray[Any]) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(20) / beta + features @ features.T / alpha
        return -float(multivariate_normal(np.zeros(20), covariance).logpdf(targets[:, 0]))

    best = minimize(negative, [0.0, 0.0], method="Nelder-Mead").fun
    of_kernel = probes.log_evidence(*probes.axes_of_kernel(features @ features.T), targets)
    assert of_kernel == pytest.approx(-best / 20, abs=1e-4)
    if width < 20:
        of_features = probes.log_evidence(*probes.axes_of_features(features), targets)
        assert of_features == pytest.approx(of_kernel, abs=1e-8)


def test_axes_are_orthonormal_in_single_precision_too() -> None:
    """Features of an early layer depend on each other: most of their directions are rounding."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(500, 6)) @ (10.0 ** -np.arange(6) * rng.normal(size=(30, 6))).T
    scores = probes.standardise(mixed.astype(np.float32), np.arange(400))
    found = probes.spectrum_of_features(scores[:400], scores[400:])
    norms = found.vectors.T @ found.vectors
    np.testing.assert_allclose(norms, np.eye(len(norms)), atol=1e-3)
    assert found.values.size >= 6

"""Thresholds from randomized labels against a literal reading of the paper's Eq. 4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fnx
from fnx.errors import ConfigError, DataError
from fnx.thresholds.counting import grid


def some(seed: int = 0, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Hundredths: many distances lie exactly on candidates.
    real = np.clip(np.round(rng.normal(0, 0.4, size=(40, 6)), 2), -1, 1)
    random = np.clip(np.round(rng.normal(0, 0.15, size=(4, 40, 6)), 2), -1, 1)
    return real.astype(dtype), random.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thresholds_are_those_of_equation_4(seed: int, dtype: Any) -> None:
    real, random = some(seed, dtype)
    found = fnx.find_thresholds(real, random)
    # In whole thousandths, where strict inequality has only one meaning.
    real_k, random_k = (np.rint(1000 * a.astype(float)).astype(int) for a in (real, random))
    k = np.arange(1001)
    curve = found.curve
    for sign, side, davg_found in (
        (1, found.plus, curve.davg_plus),
        (-1, found.minus, curve.davg_minus),
    ):
        kept = np.array([(sign * real_k > x).sum() for x in k]) / 6
        noise = np.array([[(sign * one > x).sum() for x in k] for one in random_k]) / 6
        davg = kept - noise.mean(axis=0)
        best = np.flatnonzero(davg >= davg.max() - 1e-9)[0]  # a tie goes to the smallest |x|
        assert side.threshold == sign * best / 1000
        assert side.davg == pytest.approx(davg[best])
        assert side.kept == pytest.approx(kept[best])
        assert side.kept_random == pytest.approx(noise.mean(axis=0)[best])
        assert side.spread == pytest.approx(noise[:, best].std(ddof=1))
        np.testing.assert_allclose(davg_found, davg, atol=1e-9)
    np.testing.assert_array_equal(found.curve.x, k / 1000)


def test_inequality_is_strict_and_a_tie_goes_to_the_smallest_threshold() -> None:
    found = fnx.find_thresholds(
        np.array([[0.3, -0.6]], np.float32), np.array([[[0.1, -0.2]]], np.float32)
    )
    assert (found.plus.threshold, found.minus.threshold) == (0.1, -0.2)
    assert (found.plus.davg, found.plus.kept, found.plus.kept_random) == (0.5, 0.5, 0.0)
    assert found.curve.davg_plus[[99, 100, 299, 300]].tolist() == [0, 0.5, 0.5, 0]


def test_pure_noise_keeps_nothing_more_than_noise() -> None:
    _, random = some()
    found = fnx.find_thresholds(random[0], random[:1])
    assert (found.plus.threshold, found.plus.davg) == (0, 0)
    assert (found.minus.threshold, found.minus.davg) == (0, 0)
    assert found.plus.kept == found.plus.kept_random > 0
    assert np.isnan(found.plus.spread)


def test_mirrored_distances_give_mirrored_thresholds() -> None:
    real, random = some(3)
    found, mirrored = fnx.find_thresholds(real, random), fnx.find_thresholds(-real, -random)
    assert found.minus.threshold == -mirrored.plus.threshold
    assert found.minus.davg == mirrored.plus.davg


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real, random = some(4)
    whole = fnx.find_thresholds(real, random)
    monkeypatch.setattr("fnx.thresholds.counting.BLOCK_VALUES", 20)
    parts = fnx.find_thresholds(real, list(random))
    assert parts.plus.threshold == whole.plus.threshold
    np.testing.assert_array_equal(parts.curve.davg_minus, whole.curve.davg_minus)


def test_an_unsigned_statistic_has_no_negative_side() -> None:
    real, random = (np.abs(a) for a in some(5))
    for options in ({}, {"range": (0.0, 1.0)}):
        found = fnx.find_thresholds(real, random, **options)
        assert found.minus is found.curve.davg_minus is None
    assert fnx.find_thresholds(real, random, range=(-1.0, 1.0)).minus.threshold == 0


def test_an_unbounded_statistic_is_searched_as_far_as_its_values_reach() -> None:
    real, random = np.array([[5.5, np.inf, 0.5]]), np.array([[[1.5, 0.25, 2.0]]])
    found = fnx.find_thresholds(real, random, range=(0.0, np.inf), step=0.5)
    typical = (5.5 * 0.5 * 1.5 * 0.25 * 2) ** (1 / 5)
    middle = (typical * 5.5) ** 0.5  # the second of four candidates, the first above 2
    assert (found.plus.threshold, found.plus.kept) == pytest.approx((middle, 2 / 3))
    assert found.curve.x[-1] >= 5.5


def test_fewer_permutations_and_other_steps() -> None:
    real, random = some(6)
    few = fnx.find_thresholds(real, random, permutations=1, step=0.01)
    assert few.plus.davg == fnx.find_thresholds(real, random[0], step=0.01).plus.davg
    assert few.curve.x.shape == (101,)
    np.testing.assert_array_equal(grid(0.001), np.arange(1001) / 1000)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": 0.0}, ConfigError, "threshold.step=0"),
        ({"permutations": 9}, ConfigError, r"must lie in 1 … 4"),
        ({"strategy": "randomised"}, ConfigError, "did you mean 'randomized_labels'"),
        ({"stride": 1}, ConfigError, "unknown parameter of threshold"),
    ],
)
def test_mistakes_are_said_in_one_line(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fnx.find_thresholds(*some(), **options)


def test_shapes_and_nan_are_refused() -> None:
    real, random = some()
    with pytest.raises(DataError, match="real distances have shape"):
        fnx.find_thresholds(real[:5], random)
    with pytest.raises(DataError, match="real distances have shape"):
        fnx.find_thresholds(real, random[:0])
    real[3, 2] = np.nan
    with pytest.raises(DataError, match="feature 3 and class 2 is NaN"):
        fnx.find_thresholds(real, random)

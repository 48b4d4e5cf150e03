"""Candidates, and how many distances lie beyond each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fnx.errors import ConfigError, DataError
from fnx.thresholds import counting, find_thresholds
from fnx.thresholds.counting import (
    MAX_CANDIDATES,
    blocks,
    check_step,
    count_beyond,
    grid,
    reach,
    relative_grid,
)
from fnx.thresholds.evaluation import candidates, evaluate

D = np.float32([[0.1, -0.5], [0.3, 0.3], [-0.2, np.inf], [0.0, -np.inf]])


@pytest.mark.parametrize(
    ("step", "limit", "expected"),
    [
        (0.25, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.3, 1.0, [0, 0.3, 0.6, 0.9]),  # 1 / step is no integer: up to the limit
        (0.5, 1.5, [0, 0.5, 1, 1.5]),
        (1.0, 1.0, [0, 1]),
        (2.0, 5.0, [0, 2, 4]),
        (0.1, 0.3, [0, 0.1, 0.2, 0.3]),  # 0.3 / 0.1 is below 3
    ],
)
def test_candidates_reach_from_zero_to_the_limit(
    step: float, limit: float, expected: list[float]
) -> None:
    np.testing.assert_allclose(grid(step, limit), expected, rtol=1e-15)


def test_candidates_are_the_floats_nearest_to_their_decimals() -> None:
    assert grid(0.001).tolist() == [float(f"{k / 1000:.3f}") for k in range(1001)]
    assert grid(0.1, 3).tolist() == [float(f"{k / 10:.1f}") for k in range(31)]


@pytest.mark.parametrize(("step", "limit"), [(0.0, 1), (-0.1, 1), (1.1, 1), (float("nan"), 1)])
def test_steps_without_candidates_are_refused(step: float, limit: float) -> None:
    message = rf"^threshold\.step={step:g}: must be above 0 and at most 1$"
    for refuse in (check_step, grid):
        with pytest.raises(ConfigError, match=message):
            refuse(step, limit)


def test_both_inequalities_are_strict_and_counted_per_class() -> None:
    x = np.array([0.0, 0.1, 0.3, 0.5, 9.0])
    assert count_beyond(D, x, "+").tolist() == [[2, 1, 0, 0, 0], [2, 2, 1, 1, 1]]
    assert count_beyond(D, x, "-").tolist() == [[1, 1, 0, 0, 0], [2, 2, 2, 1, 1]]


def test_presence_and_absence_are_counted_from_the_neutral_value() -> None:
    d = np.float32([[0.6, 0.5], [0.4, 0.1], [0.9, 0.5]])
    x = np.array([0.0, 0.1, 0.4])
    assert count_beyond(d, x, "+", 0.5).tolist() == [[2, 1, 0], [0, 0, 0]]
    assert count_beyond(d, x, "-", 0.5).tolist() == [[1, 0, 0], [1, 1, 0]]


def test_distances_are_compared_in_their_own_type() -> None:
    """float32(0.15) is above the double 0.15, and float16 and integers are exact in float64."""
    x = np.array([0.15])
    assert count_beyond(np.float32([[0.15]]), x, "+").tolist() == [[0]]
    assert count_beyond(np.float64([[np.float32(0.15)]]), x, "+").tolist() == [[1]]
    assert count_beyond(np.float16([[0.15]]), x, "+").tolist() == [[1]]  # 0.15002…
    assert count_beyond(np.array([[1, 2]]), np.array([1.0]), "+").tolist() == [[0], [1]]


def test_a_distance_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BLOCK_VALUES", 4)
    distances = np.zeros((5, 2), np.float32)
    distances[3, 1] = np.nan
    with pytest.raises(DataError, match=r"^distance of feature 3 and class 1 is NaN$"):
        count_beyond(distances, np.array([0.0]), "+")


@pytest.mark.parametrize(("values", "starts"), [(1, [0, 1, 2, 3]), (4, [0, 2]), (7, [0, 3])])
def test_blocks_hold_whole_features(
    values: int, starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "BLOCK_VALUES", values)
    found = list(blocks(D))
    assert [start for start, _ in found] == starts
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), D)
    x = np.array([0.0, 0.2])
    assert count_beyond(D, x, "+").tolist() == [[2, 1], [2, 2]]
    assert (reach([D]).below, reach([D, D]).above) == (0.5, pytest.approx(0.3))


@pytest.mark.parametrize(
    ("values", "neutral", "below", "above", "typical"),
    [
        ([0.5, 2.0, np.inf, 0.0], 0.0, 0, 2, 1),
        ([-0.5, -np.inf], 0.0, 0.5, 0, 0.5),
        ([0.0, 0.0], 0.0, 0, 0, 1),
        ([1e-300, -1e300, 1e-300, 1e308], 0.0, 1e300, 1e308, 100),
        ([0.25, 0.75, 0.5, 1.0], 0.5, 0.25, 0.5, 32 ** (-1 / 3)),
    ],
)
def test_distances_reach_as_far_as_the_finite_ones(
    values: list[float], neutral: float, below: float, above: float, typical: float
) -> None:
    found = reach([np.array([values])], neutral)
    assert (found.below, found.above) == (below, above)
    assert found.typical == pytest.approx(typical)


@pytest.mark.parametrize(
    ("distances", "limits", "neutral", "expected"),
    [
        ([0.5, -0.2], None, 0, (True, 1.0)),
        ([0.5, 0.2], None, 0, (False, 1.0)),
        ([1.0, -1.0], None, 0, (True, 1.0)),
        ([0.25, 0.011], None, 0, (False, 1.0)),
        ([1.25, 0.2], None, 0, (False, 1.25)),
        ([0.01, 0.002], None, 0, (False, 0.01)),  # of a range 0 … 1 that would be ten steps
        ([0.2, -2.5], None, 0, (True, 2.5)),
        ([0.5, 0.2], (-1, 1), 0, (True, 1)),
        ([0.5, 0.2], (0, 0.7), 0, (False, 0.5)),
        ([0.5, 0.2], (-2, 1), 0, (True, 2)),
        ([0.5, 3.0], (0, np.inf), 0, (False, 3.0)),
        ([0.5, 0.2], (0, np.inf), 0, (False, 0.5)),
        ([0.5, -3.0], (-np.inf, np.inf), 0, (True, 3.0)),
        ([0.5, -3.0], (0, np.inf), 0, (False, 0.5)),
        ([0.5, 1e30], (0, np.inf), 0, (False, 1e30)),
        ([0.0, np.inf], (0, np.inf), 0, (False, 1.0)),
        ([0.6, 0.2], (0, 1), 0.5, (True, 0.5)),
        ([0.6, 0.7], (0.5, 1), 0.5, (False, 0.5)),
        ([0.6, 0.2], (-0.5, 0.9), 0.7, (True, 1.0)),
        ([0.5, 7.0], (0, np.inf), 1, (True, 6.0)),
        ([-0.5, 1.5], (-np.inf, np.inf), 1, (True, 1.5)),
        ([0.6, 0.2], None, 0.5, (True, 1.0)),
        ([0.6, 0.7], None, 0.5, (False, 1.0)),
    ],
)
def test_candidates_end_with_the_range_or_with_the_distances(
    distances: Any, limits: Any, neutral: float, expected: tuple[bool, float]
) -> None:
    real, random = np.array([distances]), np.full((2, 1, 2), float(neutral))
    for one, others in ((real, random), (random[0], [random[0], real])):
        signed, x = candidates(one, others, 0.5, limits, neutral)
        assert (signed, x[0], x[-1]) == (expected[0], 0, pytest.approx(expected[1], rel=1e-15))


def test_relative_candidates_are_steps_up_to_the_unit_and_shares_beyond() -> None:
    np.testing.assert_array_equal(relative_grid(0.25, 8, 8), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(relative_grid(0.25, 8, 5), [0, 2, 4, 5])
    np.testing.assert_allclose(relative_grid(0.5, 2, 4.5), [0, 1, 2, 3, 4.5], rtol=1e-15)
    x = relative_grid(0.001, 0.25, 3e7)
    assert x.size == 1001 + np.ceil(np.log(3e7 / 0.25) / np.log(1.001))
    assert np.diff(x[:1001]) == pytest.approx(0.00025)
    assert (x[1001:] / x[1000:-1] <= 1.001 + 1e-12).all()
    assert x[-1] == 3e7
    far = relative_grid(0.001, 1e-300, 1e300)
    assert far.size == 1001 + MAX_CANDIDATES
    assert (far[-1], (np.diff(far) > 0).all()) == (1e300, True)


@pytest.mark.parametrize("strategy", ["randomized_labels", "quantile"])
@pytest.mark.parametrize("neutral", [0.0, 4.0])
def test_thresholds_of_an_unbounded_statistic_follow_its_unit(
    strategy: str, neutral: float
) -> None:
    rng = np.random.default_rng(3)
    real = np.float32(rng.laplace(0, 2, (60, 4)))
    random = np.float32(rng.normal(0, 0.5, (19, 60, 4)))
    real[5, 1], random[3, 7, 2] = np.inf, -np.inf

    def find(unit: float) -> Any:
        return find_thresholds(
            np.float32(unit * real) + np.float32(unit * neutral),
            np.float32(unit * random) + np.float32(unit * neutral),
            strategy=strategy, range=(-np.inf, np.inf), neutral=unit * neutral,
        )  # fmt: skip

    one = find(1)
    assert one.plus.kept > one.plus.kept_random
    for unit in (2.0**-80, 2.0**-20, 2.0**9, 2.0**100):
        scaled = find(unit)
        for side, first in ((scaled.plus, one.plus), (scaled.minus, one.minus)):
            assert side.threshold == unit * first.threshold
            assert (side.kept, side.kept_random) == (first.kept, first.kept_random)
        np.testing.assert_array_equal(scaled.curve.x, unit * one.curve.x)
        np.testing.assert_array_equal(scaled.curve.davg_plus, one.curve.davg_plus)
    for unit in (1e-8, 1e-3, 1000.0, 3e7):
        scaled = find(unit)
        assert scaled.plus.threshold == pytest.approx(unit * one.plus.threshold, rel=1e-5)
        assert scaled.plus.kept == pytest.approx(one.plus.kept, abs=0.5)


def test_numbers_of_kept_features_are_means_over_classes_and_permutations() -> None:
    real = np.array([[0.9, -0.9], [0.4, 0.4], [-0.6, 0.1]])
    random = np.array([[[0.6, 0], [0, 0], [0, -0.8]], [[0.7, 0.8], [0.9, 0], [0, 0]], real * 0])
    found = evaluate(real, random, 0.5, -0.55, range=(-1, 1), step=0.5)
    plus, minus = found.plus, found.minus
    assert minus is not None
    assert (plus.threshold, plus.kept, plus.kept_random) == (0.5, 0.5, pytest.approx(2 / 3))
    assert plus.davg == pytest.approx(0.5 - 2 / 3)
    assert plus.spread == pytest.approx(np.std([0.5, 1.5, 0], ddof=1))
    assert (minus.threshold, minus.kept, minus.kept_random) == (-0.55, 1, pytest.approx(1 / 6))
    np.testing.assert_allclose(found.curve.x, [0, 0.5, 1])
    np.testing.assert_allclose(found.curve.davg_plus, [2 - 2 / 3, 0.5 - 2 / 3, 0])
    assert found.curve.davg_minus is not None
    np.testing.assert_allclose(found.curve.davg_minus, [1 - 1 / 6, 1 - 1 / 6, 0])
    assert np.isnan(evaluate(real, random[:1], 0.5).plus.spread)
    assert evaluate(real, random, 0.5).minus.threshold == -0.5  # type: ignore[union-attr]


def test_a_class_that_keeps_nothing_counts_for_no_median() -> None:
    real = np.array([[0.9, 0.9, 0.9, -0.9], [0.8, 0.2, 0.1, 0.0]])
    t = np.array([0.1, 0.2, 0.95, 0.3])
    found = evaluate(real, real[None], t, -t, range=(-1, 1), step=0.5)
    assert found.plus.threshold == pytest.approx(0.15)
    assert found.minus is not None
    assert found.minus.threshold == -0.3
    nothing = evaluate(real, real[None], np.full(4, np.inf), range=(-1, 1), step=0.5)
    assert nothing.minus is not None
    assert (nothing.plus.threshold, nothing.minus.threshold) == (1, -1)

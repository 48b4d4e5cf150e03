"""Which features the distances of all classes together speak for."""

from __future__ import annotations

import numpy as np
import pytest

from fnx.thresholds import counting
from fnx.thresholds.selection import best, best_per_class, kept, scores_of

D = np.float32([[0.3, -0.4], [0.30000003, 0.0], [-0.9, 0.2], [0.0, 0.5]])


@pytest.fixture(params=["whole", "a row at a time"], autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "whole":
        monkeypatch.setattr(counting, "BLOCK_VALUES", 1)


def test_kept_is_strictly_beyond_in_the_type_of_the_distances() -> None:
    plus, minus = np.array([0.3, 0.5]), np.array([-0.9, -0.5])
    assert kept(D, plus).tolist() == [False, True, False, False]
    assert kept(D, plus, minus).tolist() == [False, True, False, False]
    assert kept(D, plus, minus + 0.11).tolist() == [True, True, True, False]
    assert kept(D, np.float64(0.25)).tolist() == [True, True, False, True]
    assert not kept(D, np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])).any()


def test_scores_are_how_far_the_farthest_lies_from_neutral() -> None:
    np.testing.assert_array_equal(scores_of(D), np.float32([0.4, 0.30000003, 0.9, 0.5]))
    np.testing.assert_allclose(scores_of(D, 0.5), [0.9, 0.5, 1.4, 0.5])


def test_the_best_and_of_equal_ones_the_first() -> None:
    assert best(np.array([1.0, 3.0, 3.0, 2.0]), 1).tolist() == [False, True, False, False]
    assert best(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist() == [False, True, True, True]


def test_the_best_of_each_class() -> None:
    assert best_per_class(D, 1).tolist() == [False, False, True, True]
    assert best_per_class(D, 2).tolist() == [True, True, True, True]
    assert best_per_class(D, 1, 0.5).tolist() == [True, False, True, False]

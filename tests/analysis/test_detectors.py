"""Detectors: the right feature and cut, judged on rows that had no part in choosing them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from fnx.analysis.detectors import Rule, assign_folds, best_rule, detectors
from fnx.errors import ConfigError, DataError
from fnx.statistics.labels import Labels


def embedded(features: Any, labels: Any, names: Any = None) -> SimpleNamespace:
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    units = range(features.shape[1])
    table = pl.DataFrame({"layer": ["layer"] * len(units), "unit": units})
    names = names or [f"class {c}" for c in range(labels.max() + 1)]
    return SimpleNamespace(features=features, labels=labels, class_names=names, feature_table=table)


def noise_with_a_planted_unit(n: int = 1000, shift: float = 2.0, seed: int = 0) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n)
    features = rng.normal(size=(2 * n, 6))
    features[labels == 1, 4] += shift
    return embedded(features, labels)


def test_a_planted_unit_is_found_with_its_true_j() -> None:
    found = detectors(noise_with_a_planted_unit())
    assert found["feature_id"].to_list() == [4, 4]
    assert found["sign"].to_list() == ["-", "+"]
    assert found["class_name"].to_list() == ["class 0", "class 1"]
    truth = 2 * norm.cdf(1) - 1
    np.testing.assert_allclose(found["j_heldout"], truth, atol=0.03)
    np.testing.assert_allclose(found["D"], [-truth, truth], atol=0.03)
    np.testing.assert_allclose(found["D_cal"], [-truth, truth], atol=0.03)
    np.testing.assert_allclose(found["recall"] - found["false_positive_rate"], found["j_heldout"])
    np.testing.assert_allclose(found["cut"], 1, atol=0.2)
    assert found["folds_agreeing"].to_list() == [1, 1]


def test_of_pure_noise_nothing_is_left_on_unseen_rows() -> None:
    tables = [detectors(noise_with_a_planted_unit(30, 0.0, seed)) for seed in range(12)]
    found = pl.concat(tables)
    assert found["D"].abs().mean() > 0.25  # chosen by luck
    assert abs(found["j_heldout"].mean()) < 0.1


def test_counts_are_those_of_rows_without_a_part_in_the_choice() -> None:
    data = noise_with_a_planted_unit(n=20, shift=1.0, seed=3)
    part = assign_folds(Labels(data.labels, 2), 4, seed=7)
    hits, counts = np.zeros(2), np.zeros(2)
    inner = data.labels == 1
    for fold in range(4):
        train = part != fold
        # Mann-Whitney's U of all features, by plain comparison.
        values = data.features
        ahead = values[train & inner][:, None] > values[train & ~inner][None]
        feature = int(np.abs(ahead.mean((0, 1)) - 0.5).argmax())
        rule = best_rule(feature, values[train, feature], inner[train])
        fired = rule.fires(values[~train, feature])
        for own in (0, 1):
            hits[own] += fired[inner[~train] == own].sum()
            counts[own] += (inner[~train] == own).sum()
    found = detectors(data, folds=4, seed=7).row(1, named=True)
    assert counts.tolist() == [20, 20]
    assert (found["false_positive_rate"], found["recall"]) == tuple(hits / 20)


def test_changing_held_out_rows_changes_no_choice() -> None:
    data = noise_with_a_planted_unit(n=20)
    part = assign_folds(Labels(data.labels, 2), 5)
    train = part != 2
    plain = best_rule(4, data.features[train, 4], data.labels[train] == 1)
    data.features[~train] = 1e6
    assert best_rule(4, data.features[train, 4], data.labels[train] == 1) == plain


@pytest.mark.parametrize(
    ("values", "inner", "expected"),
    [
        ([1, 2, 5, 6], "0011", Rule(0, 3.5, 1)),
        ([1, 2, 5, 6], "1100", Rule(0, 3.5, -1)),
        ([6, 1, 5, 2], "1010", Rule(0, 3.5, 1)),
        ([0, 0, 0, 1, 2, 2], "000111", Rule(0, 0.5, 1)),
        ([0, 0, 1, 1], "0101", Rule(0, 0.5, -1)),  # no gap anywhere
        ([3, 3, 3], "011", Rule(0, np.inf, 1)),
        ([1, 2, 3, 4], "0101", Rule(0, 1.5, 1)),  # of equal cuts the lowest
    ],
)
def test_the_cut_is_the_best_one(values: list[float], inner: str, expected: Rule) -> None:
    members = np.array([digit == "1" for digit in inner])
    assert best_rule(0, np.array(values, np.float64), members) == expected


def test_a_cut_lies_between_neighbouring_floats() -> None:
    low = np.float64(1)
    high = np.nextafter(low, 2)
    rule = best_rule(0, np.array([low, high]), np.array([False, True]))
    assert rule.fires(np.array([low, high])).tolist() == [False, True]


def test_rules_fire_above_or_not_above_their_cut() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert Rule(0, 2.0, 1).fires(values).tolist() == [False, False, True]
    assert Rule(0, 2.0, -1).fires(values).tolist() == [True, True, False]


def folds_of(labels: NDArray[Any], part: NDArray[Any]) -> list[list[int]]:
    return [np.bincount(part[labels == c], minlength=5).tolist() for c in np.unique(labels)]


def test_each_class_is_spread_over_the_folds_evenly_and_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [10, 15, 7])
    part = assign_folds(Labels(labels, 3), 5)
    assert folds_of(labels, part)[:2] == [[2] * 5, [3] * 5]
    assert sorted(folds_of(labels, part)[2]) == [1, 1, 1, 2, 2]
    assert (assign_folds(Labels(labels, 3), 5, seed=1) != part).any()


def test_groups_are_never_divided_and_a_class_of_one_is_never_held_out() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"])
    part = assign_folds(Labels(labels, 3), 2, groups=groups)
    assert part[8:].tolist() == [-1, -1]
    for group in "abcd":
        assert len(set(part[groups == group])) == 1
    assert part[0] != part[2]
    assert part[4] != part[6]
    with pytest.raises(DataError, match=r"groups have shape \(3,\)"):
        assign_folds(Labels(labels, 3), 2, groups=[1, 2, 3])


def test_every_row_twice_with_groups_is_every_row_once() -> None:
    data = noise_with_a_planted_unit(n=25, shift=1.0)
    twice = embedded(np.repeat(data.features, 2, 0), np.repeat(data.labels, 2))
    pairs = np.repeat(np.arange(50), 2)
    once = detectors(data, groups=np.arange(50))
    doubled = detectors(twice, groups=pairs)
    same = [name for name in once.columns if name != "D_cal"]  # of twice as many rows
    assert doubled.select(same).equals(once.select(same))


def test_a_class_that_cannot_be_held_out_has_no_held_out_numbers() -> None:
    data = embedded([[0.0], [1.0], [2.0], [3.0], [9.0]], [0, 0, 1, 1, 2])
    found = detectors(data, folds=2)
    alone = found.row(2, named=True)
    assert (alone["sign"], alone["cut"], alone["D"]) == ("+", 6.0, 1.0)
    assert alone["j_heldout"] is alone["recall"] is alone["false_positive_rate"] is None
    assert found["j_heldout"].null_count() == 1


def test_several_per_class_come_best_first_and_ties_by_number() -> None:
    values = np.array([[0, 0, 5], [1, 1, 1], [2, 2, 4], [3, 3, 0]], float)
    data = embedded(values.repeat(2, 0), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    found = detectors(data, folds=2, per_class=2)
    assert found["rank"].to_list() == [1, 2, 1, 2]
    assert found["feature_id"].to_list() == [0, 1, 0, 1]
    assert found["unit"].to_list() == [0, 1, 0, 1]
    every = detectors(data, folds=2, per_class=4)  # there are three
    assert every["rank"].to_list() == [1, 2, 3] * 2
    assert every.filter(rank=3)["feature_id"].to_list() == [2, 2]


def test_features_that_do_not_fit_in_memory_together_are_judged_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = noise_with_a_planted_unit(n=20, shift=0.5)
    whole = detectors(data, per_class=3)
    assert len(set(whole["feature_id"])) > 2
    monkeypatch.setattr("fnx.analysis.detectors._BYTES_AT_ONCE", 1)
    assert detectors(data, per_class=3).equals(whole)


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"per_class": 0}, {"folds": 2.0}])
def test_numbers_that_are_too_small_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be an integer of"):
        detectors(noise_with_a_planted_unit(n=5), **wrong)

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.stats import lognorm

from fnx.analysis.distributions import (
    Domain,
    Sign,
    Spread,
    beyond,
    domain,
    extent,
    farthest,
    layer_rows,
    lognormal_spread,
    percentages,
    ranked,
    spread,
)
from fnx.errors import DataError
from fnx.thresholds.counting import count_beyond

values = st.floats(-1, 1, width=32)
distances = arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=values)


def test_layers_are_the_runs_of_a_name() -> None:
    kinds = ["conv"] * 3 + ["fc"]
    layers = layer_rows(pl.DataFrame({"layer": ["a", "a", "b", "c"], "kind": kinds}))
    assert [(layer.name, layer.kind, layer.rows, layer.size) for layer in layers] == [
        ("a", "conv", slice(0, 2), 2),
        ("b", "conv", slice(2, 3), 1),
        ("c", "fc", slice(3, 4), 1),
    ]


def test_features_of_a_layer_lie_together() -> None:
    table = pl.DataFrame({"layer": ["a", "b", "a"], "kind": ["conv"] * 3})
    with pytest.raises(DataError, match="lie together"):
        layer_rows(table)


def test_a_distance_equal_to_the_threshold_is_not_kept() -> None:
    d = np.float32([[0.15, 0.2], [-0.15, -0.2]])  # float32(0.15) is greater than the double 0.15
    assert beyond(d, 0.15, "+").tolist() == [[False, True], [False, False]]
    assert beyond(d, -0.15, "-").tolist() == [[False, False], [False, True]]
    assert beyond(d, np.array([0.1, 0.2]), "+").tolist() == [[True, False], [False, False]]


@given(distances, st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_plain_comparison(d: np.ndarray, x: list[float]) -> None:
    x = sorted(x)
    for sign, factor in (("+", 1), ("-", -1)):
        expected = [
            [(factor * d[:, c] > np.float32(t)).sum() for t in x] for c in range(d.shape[1])
        ]
        np.testing.assert_array_equal(count_beyond(d, np.array(x), sign), expected)


def test_infinite_distances_count_everywhere() -> None:
    d = np.float32([[np.inf, -np.inf], [0.5, -0.5]])
    assert count_beyond(d, np.array([0.0, 0.5, 9.0]), "+").tolist() == [[2, 1, 1], [0, 0, 0]]
    assert count_beyond(d, np.array([0.0, 0.5, 9.0]), "-").tolist() == [[0, 0, 0], [2, 1, 1]]


@given(arrays(np.float32, st.integers(0, 30), elements=values), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_the_farthest_are_those_of_a_stable_sort(d: np.ndarray, count: int) -> None:
    for sign, key in (("+", -d), ("-", d)):
        order = [i for i in np.argsort(key, kind="stable") if key[i] < 0]
        assert farthest(d, sign, count).tolist() == order[:count]


def test_of_equal_distances_the_first_is_the_farthest() -> None:
    d = np.float32([0.5, 0.0, 0.5, -0.1, 0.5, np.inf, -0.0])
    assert farthest(d, "+", 3).tolist() == [5, 0, 2]
    assert farthest(d, "+", 9).tolist() == [5, 0, 2, 4]
    assert farthest(d, "-", 9).tolist() == [3]
    assert farthest(d, "+", 0).tolist() == []


def test_percentages_are_those_of_all_pairs_of_the_layers() -> None:
    d = np.random.default_rng(2).uniform(-1, 1, (2, 3000, 5)).astype(np.float32)
    edges = Domain(-1, 1).edges(40)
    assert (edges[0], edges[20], edges[-1], len(edges)) == (-1, 0, 1, 41)
    found = percentages(d, [slice(0, 1100), slice(1500, 2600)], edges)
    chosen = np.concatenate([d[:, :1100], d[:, 1500:2600]], axis=1)
    np.testing.assert_array_equal(found, 100 * np.histogram(chosen, edges)[0] / (2 * 2200 * 5))
    d[0, :50, 0] = np.inf
    assert percentages(d[0], [slice(0, 100)], edges).sum() == pytest.approx(90)


def test_domain_follows_the_statistic() -> None:
    assert domain(extent(np.float32([[0.5]]))) == Domain(0, 1)
    assert domain(extent(np.float32([[0.0]]))) == Domain(0, 1)
    assert domain(extent(np.float32([[1.0]]))) == Domain(0, 1)
    assert domain(extent(np.float32([[0.5]])), extent(np.float32([[[-0.1]]]))) == Domain(-1, 1)
    assert domain(extent(np.float32([[2.3, -np.inf]]))) == Domain(-3, 3)
    assert domain(extent(np.float32([[2.0, 0.1]]))) == Domain(0, 2)
    assert domain(extent(np.float32([[1.0]])), extent(np.float32([[23.0]]))) == Domain(0, 30)
    assert domain(extent(np.float32([[-0.5, 123.0]]))) == Domain(-200, 200)


def test_a_domain_leaves_a_thousandth_of_an_unbounded_statistic_out() -> None:
    most = np.full((999, 1), 3.5, np.float32)
    assert domain(extent(np.concatenate([most, [[70.0]]]).astype(np.float32))) == Domain(0, 4)
    two_more = np.concatenate([most, [[70.0], [71.0]]]).astype(np.float32)
    assert domain(extent(two_more)) == Domain(0, 80)
    small = np.full((5000, 1), 0.31, np.float32)  # nearly all within 0.4: so is the drawing
    found = domain(extent(np.concatenate([small, [[2.0]]]).astype(np.float32)))
    assert (found.low, found.high) == (0, pytest.approx(0.4))


def test_how_far_distances_reach_is_found_in_any_block_and_labelling() -> None:
    d = np.zeros((2, 1500, 2), np.float32)
    d[1, 1400, 1], d[0, 1100, 0] = -2.0, 1.5
    found = extent(d)
    assert (found.largest, found.negative, found.sizes.sum()) == (2.0, True, 2)
    assert (extent(-d).negative, extent(np.abs(d)).negative) == (True, False)
    assert np.flatnonzero(found.sizes).tolist() == [4800 + int(32 * np.log2(1.5)), 4832]


@given(arrays(np.float32, st.integers(1, 400), elements=st.floats(0.0009765625, 1, width=32)))
@settings(max_examples=60, deadline=None)
def test_bars_hold_68_percent_of_each_side(d: np.ndarray) -> None:
    found = spread(d, "+")
    assert found is not None
    low, mode, high = (np.float32(end) for end in (found.low, found.mode, found.high))
    assert low <= mode <= high  # in the precision of the distances
    for side, inside, end in (
        (d[d <= found.mode], d[(d <= found.mode) & (d >= np.float32(found.low))], found.low),
        (d[d >= found.mode], d[(d >= found.mode) & (d <= np.float32(found.high))], found.high),
    ):
        if side.size:
            assert len(inside) >= 0.68 * len(side) - 1e-6
            assert (inside != np.float32(end)).sum() < 0.68 * len(side) + 1


def test_the_mode_is_the_middle_of_the_fullest_bin() -> None:
    many = np.repeat(np.float32([0.104, 0.125, 0.137, 0.2]), [400, 300, 300, 1000])
    found = spread(many, "+")
    assert found is not None
    assert (found.mode, found.low, found.high) == pytest.approx((0.205, 0.125, 0.205))
    tied = np.repeat(np.float32([0.104, 0.205]), 5000)
    found = spread(tied, "+")
    assert found is not None
    assert found.mode == pytest.approx(0.105)  # of two, the one nearer 0
    assert found.high == pytest.approx(0.205)


def test_few_values_have_wider_bins() -> None:
    d = np.float32([0.1, 0.2, 0.3, 0.5])  # bins of 0.4 / 2: 0.2 and 0.3 share the second
    found = spread(d, "+")
    assert found is not None
    assert found.mode == pytest.approx(0.3)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.5))


def test_bins_are_a_hundredth_of_distances_beyond_1() -> None:
    d = np.repeat(np.float32([0.02, 2.5, 2.57, 9.9, 10.0]), [10, 50_000, 50_000, 70_000, 90_000])
    found = spread(np.concatenate([d, -d]), "+")
    assert found is not None
    assert found.mode == pytest.approx(2.55)  # bins of 0.1; those of 9.9 and 10.0 differ


@given(distances)
@settings(max_examples=40, deadline=None)
def test_absence_mirrors_presence(d: np.ndarray) -> None:
    plus, minus = spread(d, "+"), spread(-d, "-")
    if plus is None:
        assert minus is None
    else:
        assert minus == Spread(-plus.mode, -plus.high, -plus.low)


def test_the_mode_of_a_log_normal_is_found() -> None:
    rng = np.random.default_rng(1)
    d = rng.lognormal(np.log(0.2), 0.4, 200_000).astype(np.float32)
    found = spread(d, "+")
    assert found is not None
    assert found.mode == pytest.approx(0.2 * np.exp(-(0.4**2)), abs=0.02)


def test_the_fitted_law_is_that_of_scipy() -> None:
    rng = np.random.default_rng(4)
    d = np.tanh(rng.lognormal(np.log(0.2), 0.6, 3000)).astype(np.float32)
    law = lognorm(*lognorm.fit(d.astype(float), floc=0))
    with_others = np.concatenate([d, -d, np.float32([0, np.inf, np.inf])])
    found = lognormal_spread(with_others, "+")
    assert found is not None
    peak = minimize_scalar(lambda x: -law.pdf(x), bounds=(0.01, 0.9), method="bounded").x
    assert found.mode == pytest.approx(peak, rel=1e-3)
    below = law.cdf(found.mode)
    assert law.cdf(found.mode) - law.cdf(found.low) == pytest.approx(0.68 * below, rel=1e-4)
    assert law.cdf(found.high) - below == pytest.approx(0.68 * (1 - below), rel=1e-4)
    assert lognormal_spread(with_others, "-") == Spread(-found.mode, -found.high, -found.low)


def test_a_law_needs_a_finite_value_and_may_have_no_width() -> None:
    assert lognormal_spread(np.float32([np.inf, -0.5, 0.0]), "+") is None
    found = lognormal_spread(np.float32([-0.5, -0.5]), "-")
    assert found is not None
    assert (found.low, found.mode, found.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_zeros_have_no_sign_and_infinities_stay_at_the_end() -> None:
    assert spread(np.zeros((3, 2), np.float32), "+") is None
    assert spread(np.zeros((3, 2), np.float32), "-") is None
    found = spread(np.array([0.1, 0.1, np.inf, np.inf, np.inf], np.float32), "+")
    assert found is not None
    assert found.mode == pytest.approx(0.1, abs=0.01)
    assert found.high == np.inf
    only = float("inf")
    assert spread(np.float32([np.inf, 0.0]), "+") == Spread(only, only, only)
    assert spread(np.float32([-np.inf]), "-") == Spread(-only, -only, -only)


@pytest.mark.parametrize("sign", ["+", "-"])
def test_what_lies_about_a_neutral_value_is_what_lies_about_zero_moved(sign: Sign) -> None:
    values = np.float32(np.random.default_rng(0).integers(-32, 33, 200) / 64)
    moved = values + np.float32(0.5)
    for found in (spread, lognormal_spread):
        here, there = found(values, sign), found(moved, sign, 0.5)
        assert here is not None
        assert there is not None
        for one, other in zip(astuple(here), astuple(there), strict=True):
            assert other == pytest.approx(one + 0.5)
    np.testing.assert_array_equal(farthest(moved, sign, 9, 0.5), farthest(values, sign, 9))
    assert list(ranked(moved, 3, 0.5)) == [(s, i, at, d + 0.5) for s, i, at, d in ranked(values, 3)]
    one, other = extent(values), extent(moved, 0.5)
    assert (one.largest, one.negative, other.neutral) == (other.largest, other.negative, 0.5)
    np.testing.assert_array_equal(one.sizes, other.sizes)


@pytest.mark.parametrize(
    ("values", "neutral", "expected"),
    [
        ([0.9, 0.1], 0.5, (0, 1, 0.5)),
        ([1.0, 0.5], 0.5, (0.5, 1, 0.5)),
        ([0.5, 1.5], 1.0, (0, 2, 1)),
        ([0.5, 9.0], 1.0, (-7, 9, 1)),
        ([1.0, 3.0], 1.0, (1, 3, 1)),
        ([-1.0, -1.5], -1.0, (-2, 0, 1)),
    ],
)
def test_the_domain_lies_about_the_neutral_value(
    values: list[float], neutral: float, expected: tuple[float, float, float]
) -> None:
    found = domain(extent(np.float32([values]), neutral))
    assert (found.low, found.high) == expected[:2]
    assert (found.neutral, found.reach) == (neutral, found.high - neutral)
    if found.low < neutral:
        assert neutral in found.edges(100)

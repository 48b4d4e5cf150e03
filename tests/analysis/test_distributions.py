from __future__ import annotations

import tracemalloc
from pathlib import Path

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
    counts_beyond,
    domain,
    histogram,
    layer_rows,
    lognormal_spread,
    percent_beyond,
    spread,
)
from fnx.errors import DataError

values = st.floats(-1, 1, width=32)
distances = arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=values)


@given(distances, st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_plain_comparison(d: np.ndarray, x: list[float]) -> None:
    x = sorted(x)
    for sign, factor in (("+", 1), ("-", -1)):
        expected = [
            [(factor * d[:, c] > np.float32(t)).sum() for t in x] for c in range(d.shape[1])
        ]
        np.testing.assert_array_equal(counts_beyond(d, x, sign), expected)


def test_counts_of_labellings_are_those_of_each() -> None:
    d = np.random.default_rng(0).uniform(-1, 1, (3, 1500, 4)).astype(np.float32)
    x = np.linspace(0, 1, 11)
    together = counts_beyond(d, x, "-")
    assert together.shape == (3, 4, 11)
    for r in range(3):
        np.testing.assert_array_equal(together[r], counts_beyond(d[r], x, "-"))


def test_a_distance_equal_to_the_threshold_is_not_kept() -> None:
    d = np.full((4, 1), 0.15, np.float32)  # float32(0.15) is greater than the double 0.15
    assert counts_beyond(d, [0.15], "+").item() == 0
    assert percent_beyond(d, slice(0, 4), 0.15, "+") == 0
    assert percent_beyond(-d, slice(0, 4), -0.15, "-") == 0


@given(arrays(np.float32, st.integers(1, 400), elements=st.floats(0.0009765625, 1, width=32)))
@settings(max_examples=60, deadline=None)
def test_bars_hold_68_percent_of_each_side(d: np.ndarray) -> None:
    found = spread(d, "+")
    assert found is not None
    assert found.low <= found.mode <= found.high
    for side, inside in (
        (d[d <= found.mode], d[(d <= found.mode) & (d >= np.float32(found.low))]),
        (d[d >= found.mode], d[(d >= found.mode) & (d <= np.float32(found.high))]),
    ):
        if side.size:
            assert len(inside) >= 0.68 * len(side) - 1e-6


@given(distances)
@settings(max_examples=40, deadline=None)
def test_absence_mirrors_presence(d: np.ndarray) -> None:
    plus, minus = spread(d, "+"), spread(-d, "-")
    if plus is None:
        assert minus is None
    else:
        assert minus is not None
        assert (minus.mode, minus.low, minus.high) == (-plus.mode, -plus.high, -plus.low)


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
    mirrored = lognormal_spread(with_others, "-")
    assert mirrored is not None
    assert (mirrored.mode, mirrored.low) == (-found.mode, -found.high)


def test_a_law_needs_a_finite_value_and_may_have_no_width() -> None:
    assert lognormal_spread(np.float32([np.inf, -0.5]), "+") is None
    found = lognormal_spread(np.float32([-0.5, -0.5]), "-")
    assert found is not None
    assert (found.low, found.mode, found.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_zeros_have_no_sign_and_infinities_stay_at_the_end() -> None:
    assert spread(np.zeros((3, 2), np.float32), "+") is None
    found = spread(np.array([0.1, 0.1, np.inf, np.inf, np.inf], np.float32), "+")
    assert found is not None
    assert found.mode == pytest.approx(0.1, abs=0.01)
    assert found.high == np.inf


def test_histogram_counts_every_finite_pair_once() -> None:
    d = np.random.default_rng(2).uniform(-1, 1, (2, 100, 5)).astype(np.float32)
    edges = Domain(-1, 1).edges(40)
    percent = histogram(d, [slice(0, 60), slice(60, 100)], edges)
    assert percent.sum() == pytest.approx(100)
    np.testing.assert_allclose(percent, 100 * np.histogram(d, edges)[0] / d.size)
    d[0, :50, 0] = np.inf
    assert histogram(d, [slice(0, 100)], edges).sum() == pytest.approx(95)


def test_domain_follows_the_statistic() -> None:
    assert domain(np.float32([[0.5]])) == Domain(0, 1)
    assert domain(np.float32([[0.5]]), np.float32([[[-0.1]]])) == Domain(-1, 1)
    assert domain(np.float32([[2.3, -np.inf]])) == Domain(-3, 3)


def test_features_of_a_layer_lie_together() -> None:
    table = pl.DataFrame({"layer": ["a", "b", "a"], "kind": ["conv"] * 3})
    with pytest.raises(DataError, match="lie together"):
        layer_rows(table)


def test_counting_reads_mapped_distances_in_blocks(tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(
        tmp_path / "d.npy", mode="w+", dtype=np.float32, shape=(4, 20_000, 50)
    )
    array[:] = 0.25
    array.flush()
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    tracemalloc.start()
    counts = counts_beyond(mapped, [0.1, 0.3], "+")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts[:, :, 0].tolist() == [[20_000] * 50] * 4
    assert peak < mapped.nbytes / 4

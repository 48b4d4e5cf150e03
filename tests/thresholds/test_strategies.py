"""`fixed`, `quantile`, thresholds by class, and statistics without a sign or a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fnx
from fnx.analysis import tables
from fnx.errors import ConfigError, DataError, PluginError
from fnx.thresholds import Thresholds, evaluate

RNG = np.random.default_rng(0)
REAL = np.clip(RNG.normal(0, 0.4, size=(50, 6)), -1, 1).astype(np.float32)
RANDOM = np.clip(RNG.normal(0, 0.15, size=(4, 50, 6)), -1, 1).astype(np.float32)


def test_fixed_thresholds_are_kept_and_counted() -> None:
    found = fnx.find_thresholds(REAL, RANDOM, strategy="fixed", t_plus=0.25, t_minus=-0.4)
    assert (found.plus.threshold, found.minus.threshold) == (0.25, -0.4)
    assert found.plus.kept == pytest.approx((REAL > 0.25).sum(axis=0).mean())
    assert found.minus.kept == pytest.approx((REAL < -0.4).sum(axis=0).mean())
    by_chance = (RANDOM > 0.25).sum(axis=1).mean(axis=1)
    assert found.plus.kept_random == pytest.approx(by_chance.mean())
    assert found.plus.spread == pytest.approx(by_chance.std(ddof=1))
    assert found.plus.davg == pytest.approx(found.plus.kept - found.plus.kept_random)
    curve = fnx.find_thresholds(REAL, RANDOM).curve
    np.testing.assert_allclose(found.curve.davg_minus, curve.davg_minus)
    assert fnx.find_thresholds(REAL, RANDOM, strategy="fixed", t_plus=0.25).minus.threshold == -0.25


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 0.999])
def test_a_quantile_leaves_a_known_share_of_random_distances(q: float) -> None:
    found = fnx.find_thresholds(REAL, RANDOM, strategy="quantile", q=q)
    for t, sign in ((found.plus.threshold, 1), (found.minus.threshold, -1)):
        share = np.mean(sign * RANDOM > np.float32(abs(t)))
        assert share <= 1 - q + 1e-12
        if t != 0:
            assert np.mean(sign * RANDOM > np.float32(abs(t) - 0.001)) > 1 - q
    assert found.plus.kept_random <= (1 - q) * 50 + 1e-9
    assert found.minus.kept_random <= (1 - q) * 50 + 1e-9


@pytest.mark.parametrize("strategy", ["randomized_labels", "fixed", "quantile"])
def test_an_unsigned_statistic_has_no_negative_side(strategy: str) -> None:
    for limits in ((0.0, 1.0), (0.0, np.inf)):
        found = fnx.find_thresholds(np.abs(REAL), np.abs(RANDOM), strategy=strategy, range=limits)
        assert found.minus is None
        assert found.curve.davg_minus is None


@pytest.mark.parametrize("strategy", ["randomized_labels", "quantile"])
def test_an_unbounded_statistic_is_searched_as_far_as_its_values_reach(strategy: str) -> None:
    real, random = 30 * REAL, 30 * RANDOM
    real[3, 2] = np.inf
    found = fnx.find_thresholds(real, random, strategy=strategy, range=(-np.inf, np.inf), step=0.03)
    same = fnx.find_thresholds(REAL, RANDOM, strategy=strategy)
    assert found.plus.threshold == pytest.approx(30 * same.plus.threshold, abs=0.031)
    assert found.minus.threshold == pytest.approx(30 * same.minus.threshold, abs=0.031)
    assert found.curve.x[-1] >= np.abs(real[np.isfinite(real)]).max()


def test_the_range_is_that_of_the_statistic_if_it_is_named() -> None:
    found = fnx.find_thresholds(np.abs(REAL), np.abs(RANDOM), statistic="cohen_d")
    assert found.minus is not None
    found = fnx.find_thresholds(np.abs(REAL), np.abs(RANDOM), statistic="auroc")
    assert found.minus is None


def test_thresholds_by_class() -> None:
    t = np.array([0.1, 0.2, 0.3, 0.4, 0.5, np.inf])
    found = evaluate(REAL, RANDOM, t)
    assert found.plus.kept == pytest.approx((t.astype(np.float32) < REAL).sum(axis=0).mean())
    assert found.minus.kept == pytest.approx((-t.astype(np.float32) > REAL).sum(axis=0).mean())
    chance = (t.astype(np.float32) < RANDOM).sum(axis=1).mean()
    assert found.plus.kept_random == pytest.approx(chance)
    # The median of those that keep anything.
    assert (found.plus.threshold, found.minus.threshold) == (0.3, -0.3)
    assert found.plus.by_class is not None
    table = tables.class_thresholds_table(found, 6)
    assert table["t_plus"].to_list() == t.tolist()
    assert table["t_minus"].to_list() == (-t).tolist()
    one = evaluate(REAL, RANDOM, 0.2)
    assert one.plus.by_class is None
    assert tables.class_thresholds_table(one, 6)["t_minus"].to_list() == [-0.2] * 6


def test_the_table_of_thresholds_tells_the_spread() -> None:
    found = fnx.find_thresholds(REAL, RANDOM)
    table = tables.thresholds_table(found)
    assert table.columns == ["sign", "threshold", "davg", "kept", "kept_random", "spread_random"]
    assert table["spread_random"].to_list() == [found.plus.spread, found.minus.spread]
    alone = tables.thresholds_table(fnx.find_thresholds(REAL, RANDOM[:1]))
    assert alone["spread_random"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strategy": "fixed", "t_plus": -0.1}, ConfigError, "threshold.t_plus=-0.1"),
        ({"strategy": "fixed", "t_minus": 0.1}, ConfigError, "threshold.t_minus=0.1"),
        (
            {"strategy": "fixed", "t_plus": 2.0, "range": (-1, 1)},
            ConfigError,
            "threshold.t_plus=2: must lie in 0 … 1",
        ),
        ({"strategy": "quantile", "q": 0.0}, ConfigError, "threshold.q=0: must lie between"),
        ({"strategy": "quantile", "q": 1.0}, ConfigError, "threshold.q=1: must lie between"),
        ({"class_sizes": [1, 2]}, DataError, "class_sizes: must be 6 numbers"),
    ],
)
def test_mistakes_are_said_in_one_line(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fnx.find_thresholds(REAL, RANDOM, **options)


@pytest.mark.parametrize("sizes", [[1] * 5 + [0], [1.5] * 6, [1] * 5, [[1] * 6]])
def test_sizes_of_classes_that_make_no_sense_are_refused(sizes: Any) -> None:
    with pytest.raises(DataError, match="class_sizes: must be 6 numbers of images, each 1 or more"):
        fnx.find_thresholds(REAL, RANDOM, class_sizes=sizes)


@pytest.mark.parametrize("count", [1, 4])
def test_as_many_permutations_as_there_are_may_be_used(count: int) -> None:
    options = {"strategy": "fixed", "t_plus": 0.1}
    found = fnx.find_thresholds(REAL, RANDOM, permutations=count, **options)
    expected = evaluate(REAL, RANDOM[:count], 0.1)
    np.testing.assert_equal(vars(found.plus), vars(expected.plus))
    np.testing.assert_array_equal(found.curve.davg_plus, expected.curve.davg_plus)
    with pytest.raises(
        ConfigError, match=r"^threshold\.permutations=0: must lie in 1 … 4, the num"
    ):
        fnx.find_thresholds(REAL, RANDOM, permutations=0)
    with pytest.raises(
        ConfigError, match=r"^threshold\.permutations=5: must lie in 1 … 4, the num"
    ):
        fnx.find_thresholds(REAL, RANDOM, permutations=5)


def test_a_strategy_is_given_what_it_asks_for(restored_registry: None) -> None:
    seen: dict[str, Any] = {}

    @fnx.threshold("asks", statistics=("cohen_d", "ks"))
    def asks(
        real: Any, random: Any, range: Any = 0, class_sizes: Any = 0, statistic: Any = 0
    ) -> Thresholds:
        seen.update(range=range, sizes=class_sizes, statistic=statistic, random=random)
        return evaluate(real, random, 0.5)

    def given(**options: Any) -> tuple[Any, Any]:
        fnx.find_thresholds(REAL, RANDOM[0], strategy="asks", **options)
        assert seen["random"].shape == (1, 50, 6)
        return seen["range"], seen["statistic"]

    assert given() == (None, None)
    assert seen["sizes"] is None
    assert given(statistic="ks", class_sizes=[1, 2, 3, 4, 5, 6]) == ((-1, 1), "ks")
    assert seen["sizes"].tolist() == [1, 2, 3, 4, 5, 6]
    assert given(statistic="fnx/cohen_d") == ((-np.inf, np.inf), "cohen_d")
    assert given(statistic="ks", range=(0, 2)) == ((0, 2), "ks")
    with pytest.raises(ConfigError, match="threshold=asks is not defined for statistic=kl"):
        given(statistic="kl")


def test_a_strategy_that_fails_is_named(restored_registry: None) -> None:
    @fnx.threshold("fails")
    def fails(real: Any, random: Any, wrong: bool = False) -> Thresholds:
        if wrong:
            return 0.5  # type: ignore[return-value]
        raise ZeroDivisionError("by nothing")

    with pytest.raises(PluginError, match=r"'fails' .*failed: ZeroDivisionError: by nothing"):
        fnx.find_thresholds(REAL, RANDOM, strategy="fails")
    with pytest.raises(PluginError, match=r"'fails' .*returned float: must be Thresholds"):
        fnx.find_thresholds(REAL, RANDOM, strategy="fails", wrong=True)

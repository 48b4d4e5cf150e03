"""`fixed`, `quantile`, thresholds by class, and statistics without a sign or a bound."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import polars as pl
import pytest

import fnx
from fnx.analysis import tables
from fnx.errors import ConfigError, DataError, FnxError, PluginError
from fnx.registry import load_installed, thresholds
from fnx.thresholds import Thresholds, evaluate, evaluation
from fnx.thresholds.counting import count_beyond, reach

load_installed()

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
    found = fnx.find_thresholds(real, random, strategy=strategy, range=(-np.inf, np.inf))
    same = fnx.find_thresholds(REAL, RANDOM, strategy=strategy)
    assert found.plus.threshold == pytest.approx(30 * same.plus.threshold, abs=0.031)
    assert found.minus.threshold == pytest.approx(30 * same.minus.threshold, abs=0.031)
    assert found.curve.x[-1] == np.abs(real[np.isfinite(real)]).max()


def test_the_range_is_that_of_the_statistic_if_it_is_named() -> None:
    found = fnx.find_thresholds(np.abs(REAL), np.abs(RANDOM), statistic="cohen_d")
    assert found.minus is not None
    found = fnx.find_thresholds(np.abs(REAL), np.abs(RANDOM), statistic="hellinger")
    assert found.minus is None


def best(real: Any, random: Any, candidates: list[float], side: int) -> tuple[float, float]:
    """The first of the largest excesses of real over random features, and where it is (Eq. 4)."""

    def count(d: Any, t: float) -> float:
        return float((d > np.float32(t) if side > 0 else d < np.float32(t)).sum()) / d.shape[-1]

    excess = [count(real, t) - count(random, t) / len(random) for t in candidates]
    at = int(np.argmax(np.round(excess, 9)))
    return excess[at], candidates[at]


@pytest.mark.parametrize("told", [{"statistic": "auroc"}, {"range": (0, 1), "neutral": 0.5}])
def test_thresholds_lie_on_both_sides_of_the_neutral_value(told: dict[str, Any]) -> None:
    """As they do of the same distances about 0: auroc is half of one more than cliffs_delta."""
    real, random = (np.float32((np.round(d, 2) + 1) / 2) for d in (REAL, RANDOM))
    found = fnx.find_thresholds(real, random, **told)
    for side, one in ((1, found.plus), (-1, found.minus)):
        steps = [0.5 + side * k / 1000 for k in range(501)]
        assert (one.davg, one.threshold) == pytest.approx(best(real, random, steps, side))
    assert found.plus.threshold > 0.5 > found.minus.threshold
    assert found.minus.kept == (real < np.float32(found.minus.threshold)).sum() / 6
    np.testing.assert_allclose(found.curve.x, np.arange(501) / 1000)
    assert found.curve.davg_minus[100] == pytest.approx(
        ((real < np.float32(0.4)).sum() - (random < np.float32(0.4)).sum() / 4) / 6
    )


def test_fixed_thresholds_mirror_each_other_at_the_neutral_value() -> None:
    real, random = (REAL + 1) / 2, (RANDOM + 1) / 2
    options = {"strategy": "fixed", "statistic": "auroc"}
    found = fnx.find_thresholds(real, random, t_plus=0.75, **options)
    assert (found.plus.threshold, found.minus.threshold) == (0.75, 0.25)
    assert found.minus.kept == pytest.approx((real < 0.25).sum() / 6)
    given = fnx.find_thresholds(real, random, t_plus=0.5, t_minus=0.5, **options)
    assert (given.plus.threshold, given.minus.threshold) == (0.5, 0.5)
    for wrong, allowed in (({"t_plus": 0.3}, "0.5 … 1"), ({"t_minus": 0.6}, "0 … 0.5")):
        with pytest.raises(ConfigError, match=f"must lie in {allowed}$"):
            fnx.find_thresholds(real, random, **({"t_plus": 0.6} | wrong), **options)
    with pytest.raises(ConfigError, match=r"above 0 and at most 0\.5"):
        fnx.find_thresholds(real, random, statistic="auroc", step=0.6)


@pytest.mark.parametrize(
    "function",
    [
        *(thresholds.get(name).function for name in ("randomized_labels", "fixed", "quantile")),
        *(thresholds.get(name).check for name in ("randomized_labels", "fixed", "quantile")),
        *(evaluate, evaluation.on_grid, evaluation.candidates, count_beyond, reach),
    ],
)
def test_the_neutral_value_is_zero_unless_told(function: Any) -> None:
    assert inspect.signature(function).parameters["neutral"].default == 0


def test_an_unsigned_statistic_has_no_use_for_a_threshold_below(tmp_path: Any) -> None:
    options = {"strategy": "fixed", "t_plus": 0.25, "t_minus": -9.0}
    for limits, neutral in (((0, 1), 0.0), ((0.5, 1), 0.5)):
        found = fnx.find_thresholds(
            np.abs(REAL), np.abs(RANDOM), range=limits, neutral=neutral,
            **(options | {"t_plus": 0.75}),
        )  # fmt: skip
        assert (found.plus.threshold, found.minus) == (0.75, None)


@pytest.mark.usefixtures("restored_registry")
def test_what_a_strategy_refuses_is_said_in_its_own_words() -> None:
    @fnx.threshold("refuses")
    def refuses(real: Any, random: Any) -> Thresholds:
        raise DataError("not these distances")

    for options in ({}, {"neutral": 0.5}):
        with pytest.raises(DataError, match=r"^not these distances$"):
            fnx.find_thresholds(REAL, RANDOM, strategy="refuses", **options)


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("by_class", [False, True])
def test_a_strategy_that_knows_no_neutral_value_is_given_distances_about_zero(
    by_class: bool,
) -> None:
    seen: list[Any] = []

    @fnx.threshold("about_zero")
    def about_zero(real: Any, random: Any, range: Any = None) -> Thresholds:
        seen.extend([real, random, range])
        t = np.array([0.1, 0.2, 0.3, 0.1, 0.25, np.inf]) if by_class else 0.125
        return evaluate(real, random, t, -2 * t, range=range)

    real, random = np.float32((REAL + 1) / 2), np.float32((RANDOM + 1) / 2)
    found = fnx.find_thresholds(real, random, strategy="about_zero", statistic="auroc")
    np.testing.assert_array_equal(seen[0], real - np.float32(0.5))
    np.testing.assert_array_equal(seen[1], random - np.float32(0.5))
    assert seen[2] == (-0.5, 0.5)
    if by_class:
        np.testing.assert_allclose(found.plus.by_class, [0.6, 0.7, 0.8, 0.6, 0.75, np.inf])
        np.testing.assert_allclose(found.minus.by_class, [0.3, 0.1, -0.1, 0.3, 0, -np.inf])
    else:
        assert (found.plus.threshold, found.minus.threshold) == (0.625, 0.25)
        assert found.plus.kept == (real > 0.625).sum() / 6
        assert found.minus.kept_random == pytest.approx((random < 0.25).sum() / 24)


def test_distances_come_in_any_array(tmp_path: Any) -> None:
    expected = fnx.find_thresholds(REAL, RANDOM)
    np.save(tmp_path / "random.npy", RANDOM)
    mapped = np.load(tmp_path / "random.npy", mmap_mode="r")
    for real, random in (
        (REAL.tolist(), RANDOM.tolist()),
        (REAL, list(RANDOM)),
        (pl.DataFrame(REAL), [pl.DataFrame(one) for one in RANDOM]),
        (REAL.astype(object), RANDOM.astype(object)),
        (REAL, mapped),
    ):
        found = fnx.find_thresholds(real, random, step=0.01)
        assert found.plus.threshold == pytest.approx(expected.plus.threshold, abs=0.05)
        assert found.plus == fnx.find_thresholds(np.array(REAL), RANDOM, step=0.01).plus
    for one in (RANDOM[0], RANDOM[0].tolist()):  # a single permutation
        found = fnx.find_thresholds(REAL, one)
        assert found.plus.kept_random == fnx.find_thresholds(REAL, RANDOM[:1]).plus.kept_random


HOLE = REAL.copy()
HOLE[7, 3] = np.nan


@pytest.mark.parametrize(
    ("real", "random", "options", "message"),
    [
        (None, RANDOM, {}, "real: None is not an array"),
        (REAL, None, {}, "random: None is not an array"),
        (REAL, [RANDOM[0], None], {}, r"random\[1\]: None is not an array"),
        (HOLE, RANDOM, {}, "real: distance of feature 7 and class 3 is NaN"),
        (REAL, [RANDOM[0], HOLE], {}, r"random\[1\]: distance of feature 7 and class 3 is NaN"),
        (np.ma.masked_invalid(HOLE), RANDOM, {}, "real: 1 of 300 values are masked, the first in"),
        ([[0.1, None]], [[0.1, 0.2]], {}, "real: 1 of 2 values are missing, the first .None. in"),
        ([[0.1], [0.2, 0.3]], RANDOM, {}, "real: cannot be read as an array: its rows have diff"),
        ([["a", "b"]], RANDOM, {}, "real: distances are <U1: must be real numbers"),
        (REAL + 0j, RANDOM, {}, "real: distances are complex64: must be real numbers"),
        (REAL, [], {}, r"random ones \[\]: must be"),
        (REAL, 0.5, {}, r"random ones \[\(\)\]: must be"),
        (REAL[:0], RANDOM[:, :0], {}, r"shape \(0, 6\), .*: must be"),
        (REAL, RANDOM, {"range": (1, 0)}, r"range=\(1, 0\): must be the smallest and"),
        (REAL, RANDOM, {"range": 1}, "range=1: must be the smallest and"),
        (REAL, RANDOM, {"range": (0, 0)}, r"range=\(0, 0\): must be the smallest and"),
        (REAL, RANDOM, {"strategy": None}, "threshold=None: must be the name of one, as '"),
        (REAL, RANDOM, {"statistic": len}, "statistic=len: must be the name of one.*register the"),
        (REAL, RANDOM, {"class_sizes": [None] * 6}, "class_sizes: 6 of 6 values are missing"),
    ],
)
def test_what_is_no_distance_is_refused_by_the_name_of_its_argument(
    real: Any, random: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FnxError, match=message):
        fnx.find_thresholds(real, random, **options)


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

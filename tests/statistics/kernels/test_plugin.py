"""Statistics of others inside the all-pairs loop: on histograms and samples, compiled and not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fnx
from fnx.errors import ConfigError, PluginError
from fnx.registry import statistics
from fnx.statistics.definitions import ks, ks_exact

pytestmark = pytest.mark.usefixtures("restored_registry")

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 4
VALUES = (RNG.normal(size=(60, 70)) + 0.3 * LABELS[:, None]).astype(np.float32)
VALUES[:, 5] = 1


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_definition_as_a_plugin_gives_what_the_kernel_gives(compiled: bool, dtype: Any) -> None:
    fnx.statistic("ks_plug", range=(-1, 1), compiled=compiled)(ks)
    fnx.statistic("exact_plug", range=(-1, 1), on="samples", compiled=compiled)(ks_exact)
    for plug, own in (("ks_plug", "ks"), ("exact_plug", "ks_exact")):
        np.testing.assert_allclose(
            fnx.distances(VALUES.astype(dtype), LABELS, statistic=plug),
            fnx.distances(VALUES.astype(dtype), LABELS, statistic=own),
            atol=1e-6,
        )


def test_parameters_reach_the_function() -> None:
    @fnx.statistic("shifted", range=(0, 100))
    def shifted(inner, outer, shift: float = 1.0, times: int = 2, mode: str = "add"):  # type: ignore[no-untyped-def]
        return shift * times if mode == "add" else shift

    one = VALUES[:, :1]
    assert fnx.distances(one, LABELS, statistic="shifted")[0, 0] == 2
    assert fnx.distances(one, LABELS, statistic="shifted", shift=4, times=3)[0, 0] == 12
    assert fnx.distances(one, LABELS, statistic="shifted", mode="as it is")[0, 0] == 1


def test_a_parameter_may_be_given_by_name_only() -> None:
    @fnx.statistic("by_name", range=(0, 100))
    def by_name(inner, outer, n_inner, n_outer, *, k: float = 1.0):  # type: ignore[no-untyped-def]
        return k * n_inner / n_outer

    one = VALUES[:, :1]
    assert fnx.distances(one, LABELS, statistic="by_name", k=6)[0].tolist() == [2] * 4


def test_what_numba_cannot_compile_is_refused_with_a_way_out() -> None:
    @fnx.statistic("cannot", range=(0, 1))
    def cannot(inner, outer):  # type: ignore[no-untyped-def]
        return [print, inner][0]("x")

    with pytest.raises(PluginError, match=r"'cannot' .*compiled: .*compiled=False") as caught:
        fnx.distances(VALUES, LABELS, statistic="cannot")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5, np.inf])
def test_values_outside_the_declared_range_name_the_plugin(value: float) -> None:
    @fnx.statistic("liar", range=(0, 1))
    def liar(inner, outer):  # type: ignore[no-untyped-def]
        return value

    with pytest.raises(PluginError, match=r"'liar' .* for feature 0 and class 0"):
        fnx.distances(VALUES, LABELS, statistic="liar")


def test_only_ks_has_an_exact_form() -> None:
    @fnx.statistic("on_bins", range=(0, 1))
    def on_bins(inner, outer):  # type: ignore[no-untyped-def]
        return 0.0

    with pytest.raises(ConfigError, match="must be int"):
        fnx.distances(VALUES, LABELS, statistic="on_bins", bins=None)


def helper(values):  # type: ignore[no-untyped-def]
    return halved(values.sum())


def halved(value):  # type: ignore[no-untyped-def]
    return value / 2


def test_helpers_need_no_decorator() -> None:
    @fnx.statistic("helped", range=(0, 1))
    def helped(inner, outer):  # type: ignore[no-untyped-def]
        return helper(np.abs(inner - outer))

    found = fnx.distances(VALUES, LABELS, statistic="helped")
    assert 0 < found.max() <= 1


@pytest.mark.parametrize("on", ["histogram", "samples"])
@pytest.mark.parametrize("compiled", [True, False])
def test_the_numbers_of_images_are_given_to_who_asks(on: str, compiled: bool) -> None:
    @fnx.statistic("counted", range=(0, 1), on=on, compiled=compiled)
    def counted(inner, outer, n_inner, n_outer, part: float = 1.0):  # type: ignore[no-untyped-def]
        return part * n_inner / (n_inner + n_outer)

    assert list(statistics.get("counted").parameters)[-1] == "part"
    labels = np.repeat([0, 1], [15, 45])
    found = fnx.distances(VALUES[:, :2], labels, statistic="counted", part=0.5)
    np.testing.assert_allclose(found, [[0.125, 0.375]] * 2)


def test_whole_blocks_of_histograms_at_once() -> None:
    shapes = []

    @fnx.statistic("blocks", range=(0, 1), on="histograms")
    def blocks(inner, outer, n_inner, n_outer, power: int = 1):  # type: ignore[no-untyped-def]
        shapes.append((inner.shape, outer.shape, n_inner.tolist(), n_outer.tolist()))
        return 0.5 * (np.abs(inner - outer) ** power).sum(axis=1)

    @fnx.statistic("pairs", range=(0, 1), compiled=False)
    def pairs(inner, outer):  # type: ignore[no-untyped-def]
        return 0.5 * np.abs(inner - outer).sum()

    np.testing.assert_array_equal(
        fnx.distances(VALUES, LABELS, statistic="blocks", bins=20),
        fnx.distances(VALUES, LABELS, statistic="pairs", bins=20),
    )
    assert shapes[0] == ((4, 20), (4, 20), [15] * 4, [45] * 4)
    assert len(shapes) == 69  # features that are not constant

    @fnx.statistic("misshapen", range=(0, 1), on="histograms")
    def misshapen(inner, outer):  # type: ignore[no-untyped-def]
        return 0.5

    with pytest.raises(PluginError, match=r"'misshapen' .*returned shape \(\) for 4 pairs"):
        fnx.distances(VALUES, LABELS, statistic="misshapen")


@pytest.mark.parametrize("on", ["histogram", "samples"])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_constant_feature_has_the_declared_value(on: str, compiled: bool) -> None:
    @fnx.statistic("similar", range=(0, 1), on=on, compiled=compiled, constant=1)
    def similar(inner, outer):  # type: ignore[no-untyped-def]
        return 0.25

    found = fnx.distances(VALUES[:, 4:7], LABELS, statistic="similar")
    assert found[:, 0].tolist() == [0.25, 1, 0.25]


@pytest.mark.parametrize("compiled", [True, False])
def test_what_a_function_raises_is_told_under_its_name(compiled: bool) -> None:
    @fnx.statistic("raiser", range=(0, 1), compiled=compiled)
    def raiser(inner, outer):  # type: ignore[no-untyped-def]
        if inner.size > 1:
            raise ValueError("no such luck")
        return 0.5

    with pytest.raises(PluginError, match=r"'raiser' .* failed: ValueError: no such luck"):
        fnx.distances(VALUES, LABELS, statistic="raiser")
    assert fnx.distances(VALUES, LABELS, statistic="raiser", bins=1).max() == 0.5


def test_division_by_zero_is_numpys() -> None:
    @fnx.statistic("ratio", range=(0, float("inf")))
    def ratio(inner, outer):  # type: ignore[no-untyped-def]
        return 1 / (inner[0] - inner[0])

    assert np.isinf(fnx.distances(VALUES[:, :1], LABELS, statistic="ratio")).all()


def test_others_go_on_working_after_one_has_failed() -> None:
    @fnx.statistic("nan", range=(0, 1))
    def nan(inner, outer):  # type: ignore[no-untyped-def]
        return np.nan

    for _ in range(2):
        with pytest.raises(PluginError, match="'nan'"):
            fnx.distances(VALUES, LABELS, statistic="nan")
        assert np.isfinite(fnx.distances(VALUES, LABELS, statistic="hellinger")).all()


def test_samples_are_sorted_and_belong_to_the_class() -> None:
    @fnx.statistic("sorted", range=(0, 1e9), on="samples")
    def ordered(inner, outer):  # type: ignore[no-untyped-def]
        good = inner.size == 15 and outer.size == 45
        good = good and (np.diff(inner) >= 0).all() and (np.diff(outer) >= 0).all()
        return np.abs(inner).sum() if good else -1

    found = fnx.distances(VALUES[:, :5], LABELS, statistic="sorted")
    expected = [[np.abs(VALUES[c == LABELS, f]).sum() for c in range(4)] for f in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)

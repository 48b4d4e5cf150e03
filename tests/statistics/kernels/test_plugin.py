"""Statistics of others inside the all-pairs loop: on histograms and samples, compiled and not."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaNotImplementedError

import fnx
from fnx.errors import ConfigError, PluginError
from fnx.registry import statistics
from fnx.statistics.definitions import ks, ks_exact
from fnx.statistics.kernels import plugin

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


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("inner - outer", "it returns array.float64, 1d, C., not a number"),
        ("None", "it returns none, not a number"),
        ("(inner[0], 1.0)", "it returns .*, not a number"),
        ("nothing(inner)", "NameError: name 'nothing' is not defined"),
        ("np.abs(inner).sum(axis=1)[0]", r"No implementation .*getitem.* found for signature: \S"),
    ],
)
def test_why_numba_cannot_compile_is_said_with_what_to_do(returned: str, reason: str) -> None:
    scope: dict[str, Any] = {"__name__": "wrong", "np": np}
    exec(f"def wrong(inner, outer):\n    return {returned}", scope)
    fnx.statistic("wrong", range=(0, 1))(scope["wrong"])
    way_out = r" \(declare it with .*compiled=False.*, slower, or with on=\"histograms\" for .*\)$"
    with pytest.raises(PluginError, match=f"cannot be compiled: {reason}.*{way_out}"):
        fnx.distances(VALUES, LABELS, statistic="wrong")


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(),
        AssertionError("\n \n"),
        NotImplementedError("<numba.core.base.OverloadSelector object at 0x7f>, (none,)"),
        NumbaNotImplementedError("\n"),
    ],
)
def test_an_error_of_numbas_own_that_tells_nothing_is_said_in_words(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(plugin, "njit", fail)
    fnx.statistic("wordless", range=(0, 1))(lambda inner, outer: 0.0)
    message = f"Numba has no code for something in it .{type(error).__name__}. .declare it"
    with pytest.raises(PluginError, match=message):
        fnx.distances(VALUES, LABELS, statistic="wordless")


def beyond_end(values):  # type: ignore[no-untyped-def]
    return values[values.size + 3]


@numba.njit
def decorated_beyond(values):  # type: ignore[no-untyped-def]
    return beyond_end(values)


@pytest.mark.parametrize("on", ["histogram", "samples"])
@pytest.mark.parametrize("at", ["inner[inner.size]", "inner[-inner.size - 1]", "helper(outer)",
                                "write(inner)", "decorated(inner)"])  # fmt: skip
def test_an_index_out_of_bounds_is_named_with_feature_and_class(on: str, at: str) -> None:
    """Without bounds checks it reads foreign memory, and the distances look plausible."""
    scope: dict[str, Any] = {
        "__name__": "third_beyond", "helper": beyond_end, "decorated": decorated_beyond,
    }  # fmt: skip
    exec(
        "def write(values):\n    values[values.size] = 1.0\n    return 0.0\n"
        "def beyond(inner, outer, n_inner, n_outer):\n"
        f"    return {at} if n_inner == 17 else 0.5\n",
        scope,
    )
    fnx.statistic("beyond", range=(-9, 9), on=on)(scope["beyond"])
    labels = np.repeat([0, 1, 2], [20, 23, 17])
    message = r"'beyond' \(third_beyond.*\) failed for feature 65 and class 2: IndexError: "
    values = VALUES.copy()
    values[:, :65] = 1  # constant: the function is not called
    with pytest.raises(PluginError, match=message):
        fnx.distances(
            values, labels, statistic="beyond", **({"bins": 9} if on != "samples" else {})
        )
    with pytest.raises(PluginError, match=message):
        fnx.distances(values.astype(np.float64), labels, statistic="beyond")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("value", "fits"), [(1e39, False), (-1e39, False), (1e38, True),
                         (1e-39, False), (-1e-39, False), (2e-38, True), (0.0, True),
                         (np.inf, True)])  # fmt: skip
def test_results_that_float32_cannot_hold_are_refused(
    compiled: bool, value: float, fits: bool
) -> None:
    @fnx.statistic("far", range=(-np.inf, np.inf), on="samples", compiled=compiled)
    def far(inner, outer, k: float = 0.0):  # type: ignore[no-untyped-def]
        return k

    one = VALUES[:, :1]
    if fits:
        assert (fnx.distances(one, LABELS, statistic="far", k=value) == np.float32(value)).all()
        return
    message = r"'far' .* failed for feature 0 and class 0: OverflowError: its result does not fit"
    with pytest.raises(PluginError, match=message):
        fnx.distances(one, LABELS, statistic="far", k=value)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_bounded_statistic_may_be_as_good_as_zero(compiled: bool) -> None:
    @fnx.statistic("near", range=(0, 1), on="samples", compiled=compiled)
    def near(inner, outer):  # type: ignore[no-untyped-def]
        return 1e-60

    assert (fnx.distances(VALUES[:, :1], LABELS, statistic="near") == 0).all()


def test_what_is_raised_for_many_histograms_is_of_no_class() -> None:
    @fnx.statistic("many", range=(0, 1), on="histograms")
    def many(inner, outer):  # type: ignore[no-untyped-def]
        raise KeyError("x")

    with pytest.raises(PluginError, match=r"failed for feature 0: KeyError: 'x'$"):
        fnx.distances(VALUES, LABELS, statistic="many")


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

    message = r"'raiser' .* failed for feature 0 and class 0: ValueError: no such luck$"
    with pytest.raises(PluginError, match=message):
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

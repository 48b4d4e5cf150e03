"""Statistics and strategies by name: the decorators, and what happens when two use one name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

import fnx
from fnx.errors import ConfigError, PluginError
from fnx.registry import registry
from fnx.registry.registry import statistics, thresholds

pytestmark = pytest.mark.usefixtures("restored_registry")


def register(module: str, name: str = "f", called: str = "same", k: int = 1) -> Any:
    """Register a function as if it were defined in another module."""
    text = f"def {name}(inner, outer, k: int = {k}): ..."
    scope: dict[str, Any] = {"__name__": module}
    exec(compile(text, f"/somewhere/{module}.py", "exec"), scope)
    return fnx.statistic(called, range=(0, 1))(scope[name])


def test_built_ins_are_there() -> None:
    assert statistics.names() == sorted(statistics.names())
    assert {"ks", "ks_exact", "kl", "auroc", "cohen_d"} <= set(statistics.names())
    assert {"randomized_labels", "fixed", "quantile"} <= set(thresholds.names())
    assert [entry.name for entry in statistics] == statistics.names()
    assert [one.name for one in statistics if one.neutral] == ["auroc"]
    auroc = statistics.get("auroc")
    assert (auroc.neutral, auroc.constant, auroc.signed) == (0.5, 0.5, True)
    ks = statistics.get("ks")
    assert (ks.range, ks.on, ks.kernel, ks.constant) == ((-1, 1), "histogram", "ks", 0)
    assert (ks.compiled, ks.counts, ks.package) == (True, False, "fnx")
    assert ks.summary == "Signed Kolmogorov-Smirnov distance on equal-width bins (paper, Eq. 3)."
    assert ks.bind({"bins": None}) == {"bins": None}
    assert statistics.get("ks_exact").bind({}) == {}
    assert (statistics.group, thresholds.group) == ("statistic", "threshold")


def test_a_function_becomes_a_statistic_and_stays_as_it_is() -> None:
    def plain(inner: Any, outer: Any, power: float = 2.0) -> float:
        """Do nothing.

        At all.
        """
        return 0.5

    assert fnx.statistic("plain", range=(-2, 1))(plain) is plain
    entry = statistics.get("plain")
    assert entry.function is plain
    assert (entry.range, entry.on, entry.compiled, entry.signed) == (
        (-2, 1),
        "histogram",
        True,
        True,
    )
    assert (entry.constant, entry.check, entry.kernel, entry.counts) == (0, None, None, False)
    assert entry.bind({}) == {"bins": 100, "power": 2}
    assert entry.summary == "Do nothing."
    assert entry.config_class()().power == 2
    assert entry.origin.startswith(f"{__name__}.test_a_function_becomes")
    assert entry.origin.endswith(f"plain ({__file__})")
    with pytest.raises(ConfigError, match=r"statistic\.bins=None: must be int"):
        entry.bind({"bins": None})


@pytest.mark.parametrize(
    ("low", "neutral", "signed"),
    [(0, 0, False), (-1e-9, 0, True), (0.5, 0, False), (0, 0.5, True), (0.5, 0.5, False)],
)
def test_a_statistic_is_signed_if_its_range_begins_below_its_neutral_value(
    low: float, neutral: float, signed: bool
) -> None:
    fnx.statistic("f", range=(low, 1), neutral=neutral, constant=1)(lambda inner, outer: 1)
    assert (statistics.get("f").signed, statistics.get("f").neutral) == (signed, neutral)


def test_a_constant_feature_has_the_neutral_value_unless_told_otherwise() -> None:
    fnx.statistic("f", range=(0, 1), neutral=1)(lambda inner, outer: 1)
    assert (statistics.get("f").neutral, statistics.get("f").constant) == (1, 1)
    fnx.statistic("f", range=(0, 1), neutral=0.5, constant=0)(lambda inner, outer: 1)
    assert (statistics.get("f").neutral, statistics.get("f").constant) == (0.5, 0)
    for neutral in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(PluginError, match=f"neutral={neutral:g} is not within its range$"):
            fnx.statistic("g", range=(0, 1), neutral=neutral)
    with pytest.raises(PluginError, match=r"neutral=inf is not within its range$"):
        fnx.statistic("g", range=(0, math.inf), neutral=math.inf)


def test_statistics_on_samples_have_no_bins_and_those_of_many_pairs_are_not_compiled() -> None:
    for on, compiled, parameters in (
        ("histogram", True, {"bins": 7}),
        ("histograms", False, {"bins": 7}),
        ("samples", True, {}),
    ):
        fnx.statistic("f", range=(0, 1), on=on, bins=7)(lambda inner, outer: 1)
        assert statistics.get("f").compiled is compiled
        assert statistics.get("f").bind({}) == parameters
    fnx.statistic("f", range=(0, 1), compiled=False)(lambda inner, outer: 1)
    assert statistics.get("f").compiled is False


def test_third_and_fourth_arguments_may_be_the_numbers_of_images() -> None:
    def asks(inner: Any, outer: Any, n_inner: int, n_outer: int, k: int = 1) -> float:
        return 0.0

    def other_order(inner: Any, outer: Any, n_outer: int, n_inner: int) -> float:
        return 0.0

    fnx.statistic("asks", range=(0, 1))(asks)
    assert statistics.get("asks").counts
    assert list(statistics.get("asks").parameters) == ["bins", "k"]
    with pytest.raises(PluginError, match="'n_outer' needs a default"):
        fnx.statistic("other", range=(0, 1))(other_order)


def test_a_function_becomes_a_strategy() -> None:
    def strategy(real: Any, random: Any, times: float = 3, range: Any = None) -> Any:
        """Choose."""

    def check(times: float, permutations: int) -> None:
        if times < 1:
            raise ConfigError("too few")

    assert fnx.threshold("s", check=check, statistics=("ks", "kl"))(strategy) is strategy
    entry = thresholds.get("s")
    assert (entry.function, entry.summary) == (strategy, "Choose.")
    assert entry.bind({}) == {"permutations": 5, "times": 3}
    with pytest.raises(ConfigError, match="too few"):
        entry.bind({"times": 0})
    entry.check_defined_for("kl")
    message = "^threshold=s is not defined for statistic=auroc; allowed: ks, kl$"
    with pytest.raises(ConfigError, match=message):
        entry.check_defined_for("auroc")
    fnx.threshold("t", permutations=9)(lambda real, random, class_sizes, statistic: None)
    assert thresholds.get("t").bind({}) == {"permutations": 9}
    thresholds.get("t").check_defined_for("auroc")


@pytest.mark.parametrize("bins", [1, 65_536])
def test_numbers_of_bins_that_are_allowed(bins: int) -> None:
    assert statistics.get("ks").bind({"bins": bins}) == {"bins": bins}


@pytest.mark.parametrize("bins", [0, -1, 65_537])
def test_numbers_of_bins_that_are_not(bins: int) -> None:
    with pytest.raises(ConfigError, match=rf"^statistic\.bins={bins}: must lie in 1 … 65,536$"):
        statistics.get("ks").bind({"bins": bins})


@pytest.mark.parametrize("name", ["a", "_a.b-c2", "A"])
def test_names_that_are_allowed(name: str) -> None:
    fnx.statistic(name, range=(0, 1))(lambda inner, outer: 0)
    assert statistics.get(name).name == name


@pytest.mark.parametrize("name", ["a b", "", "2a", "-a", "a/b", "a=b"])
def test_names_that_are_not(name: str) -> None:
    message = f"'{name}': a name is made of letters, digits, '_', '-' and '.'"
    for decorator in (lambda: fnx.statistic(name, range=(0, 1)), lambda: fnx.threshold(name)):
        with pytest.raises(PluginError, match=message):
            decorator()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"range": (1, 1)}, r"statistic 'f': range=\(1, 1\) is empty"),
        ({"range": (1, 0)}, r"range=\(1, 0\) is empty"),
        ({"range": (math.nan, 1)}, r"range=\(nan, 1\) is empty"),
        ({"range": (0, 1), "constant": 1.5}, "constant=1.5 is outside of its range"),
        ({"range": (0, 1), "constant": -0.5}, "constant=-0.5 is outside of its range"),
        ({"range": (1, 2)}, "constant=0 is outside of its range"),
        ({"range": (0, 1), "on": "bins"}, "on='bins'; allowed: histogram, histograms, samples"),
        ({"range": (0, 1), "bins": None}, "bins=None: must lie in 1 … 65,536"),
        ({"range": (0, 1), "bins": 0}, "bins=0: must lie in 1 … 65,536"),
        ({"range": (0, 1), "bins": 65_537}, "bins=65537: must lie in 1 … 65,536"),
    ],
)
def test_declarations_that_cannot_work(options: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        fnx.statistic("f", **options)(lambda inner, outer: 0)


@pytest.mark.parametrize("constant", [0, 1])
def test_the_value_of_a_constant_feature_may_be_an_end_of_the_range(constant: float) -> None:
    fnx.statistic("f", range=(0, 1), constant=constant)(lambda inner, outer: 0)
    assert statistics.get("f").constant == constant


def test_an_unknown_name_lists_those_there_are_and_the_plugins_that_failed() -> None:
    registry.failures.clear()
    with pytest.raises(ConfigError) as caught:
        thresholds.get("fixxed")
    names = ", ".join(thresholds.names())
    assert str(caught.value) == (
        f"unknown threshold 'fixxed' (did you mean 'fixed'?); allowed: {names}"
    )
    registry.failures.update({"b": "…", "a": "…"})
    with pytest.raises(ConfigError, match=r"; plugins that failed to load: a, b$"):
        statistics.get("nothing")


def test_a_name_may_be_given_with_its_package() -> None:
    assert statistics.get("fnx/ks") is statistics.get("ks")
    register("their_package.inside", called="theirs")
    assert statistics.get("their_package/theirs") is statistics.get("theirs")
    for name in ("fnx/theirs", "their_package/ks", "inside/theirs", "/nothing"):
        with pytest.raises(ConfigError, match=f"unknown statistic '{name}'"):
            statistics.get(name)


def test_a_function_defined_again_in_its_place_replaces_itself() -> None:
    """As in a notebook, whose cells each have a file name of their own."""
    for k in (1, 2):
        text = f"def again(inner, outer, k: int = {k}): ..."
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, f"/tmp/ipykernel_1/{k}.py", "exec"), scope)
        fnx.statistic("again", range=(0, 1))(scope["again"])
    assert statistics.get("again").parameters["k"].default == 2


@pytest.mark.parametrize(
    ("module", "name"), [("second", "f"), ("first.inside", "f"), ("first", "g")]
)
def test_a_name_is_refused_to_another_function_and_nothing_else_is_lost(
    module: str, name: str
) -> None:
    register("first")
    with pytest.raises(PluginError) as caught:
        register(module, name, k=2)
    assert str(caught.value) == (
        "two plugins use the name statistic=same: first.f (/somewhere/first.py) and "
        f"{module}.{name} (/somewhere/{module}.py); rename or remove one"
    )
    assert statistics.get("same").package == "first"
    assert statistics.get("same").parameters["k"].default == 1
    register("second", called="other")
    assert fnx.distances([[0.0], [1.0]], [0, 1]).tolist() == [[-1, 1]]


def test_a_name_of_fnxs_own_is_refused_even_before_anything_was_loaded() -> None:
    with pytest.raises(PluginError, match=r"statistic=ks: fnx\.statistics\.definitions\.ks .* and"):
        register("theirs", called="ks")


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        statistics.get("ks").kernel = None  # type: ignore[misc]


def test_what_a_package_registered_can_be_removed() -> None:
    register("first.a", called="one")
    register("first", called="two")
    register("first_of_all", called="three")
    statistics.discard("first")
    assert {"one", "two", "three", "ks"} & set(statistics.names()) == {"three", "ks"}

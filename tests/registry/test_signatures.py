"""A plugin's keyword parameters: what they may be, and how values are checked by them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from fnx.errors import ConfigError, PluginError
from fnx.registry import Statistic, load_installed, statistics
from fnx.registry.signatures import Parameter, coerce, read_parameters

load_installed()


def defined(text: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {"Any": Any, "Optional": Optional}
    exec(text, scope)
    return next(value for name, value in scope.items() if name == "f")


def read(text: str, **options: Any) -> dict[str, Parameter]:
    return read_parameters("statistic 'f'", defined(text), positional=2, **options)


@pytest.mark.parametrize(
    ("text", "hint", "default"),
    [
        ("k: int = 3", int, 3),
        ("k: float = 3", float, 3.0),
        ("k: bool = True", bool, True),
        ("k: str = 'x'", str, "x"),
        ("k: int | None = None", int | None, None),
        ("k: Optional[float] = None", float | None, None),
        ("k: list[int] = [1]", list[int], [1]),
        ("k: list[int] | None = None", list[int] | None, None),
        ("k: Any = None", Any, None),
        ("k=2.5", float, 2.5),  # the type is the default's
        ("k=None", Any, None),
        ("*, k: int = 3", int, 3),
    ],
)
def test_a_parameter_has_the_type_and_the_default_of_its_argument(
    text: str, hint: Any, default: Any
) -> None:
    (found,) = read(f"def f(inner, outer, {text}): ...").items()
    assert found == ("k", Parameter(hint, default))
    assert type(found[1].default) is type(default)


def test_arguments_that_fnx_fills_in_are_no_parameters() -> None:
    text = "def f(real, random, a: int = 1, range=None, b: int = 2): ..."
    assert list(read(text, given=("range",))) == ["a", "b"]
    assert list(read(text)) == ["a", "range", "b"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(inner): ...", "the function must take 2 arrays, then parameters"),
        ("def f(inner, outer=None): ...", "the function must take 2 arrays"),
        ("def f(inner, outer, k): ...", "parameter 'k' needs a default"),
        ("def f(inner, outer, **k): ...", r"parameter '\*\*k' has no name, type or default"),
        ("def f(inner, outer, *k): ...", r"parameter '\*k' has no name, type or default"),
        (
            "def f(inner, outer, k: bytes = b''): ...",
            "parameter 'k' has type <class 'bytes'>; allowed: int",
        ),
        ("def f(inner, outer, k: list[bytes] = []): ...", r"parameter 'k' has type list\[bytes\]"),
        ("def f(inner, outer, k: list = []): ...", "parameter 'k' has type <class 'list'>"),
        ("def f(inner, outer, k: int | bytes = 1): ...", r"parameter 'k' has type int \| bytes"),
        ("def f(inner, outer, k: int = 1.5): ...", "default k=1.5: must be int"),
        ("def f(inner, outer, k: 'nothing' = 1): ...", "its signature cannot be read: .*nothing"),
    ],
)
def test_signatures_that_cannot_become_a_schema(body: str, message: str) -> None:
    with pytest.raises(PluginError, match=f"^statistic 'f': {message}"):
        read(body)


@pytest.mark.parametrize("name", ["name", "bins", "permutations", "n_inner", "n_outer"])
def test_names_of_fnxs_own_parameters_are_refused(name: str) -> None:
    with pytest.raises(PluginError, match=f"'{name}' is fnx's own parameter"):
        read(f"def f(inner, outer, {name}: int = 3): ...")


def test_what_has_no_signature_is_refused() -> None:
    for function in (functools.partial(max, 1), type):
        with pytest.raises(PluginError, match="statistic 'f': "):
            read_parameters("statistic 'f'", function, positional=2)


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, int, 3),
        (True, int | bool, True),
        (3, float, 3.0),
        (3.5, float | None, 3.5),
        (None, int | None, None),
        (True, bool, True),
        ("x", str | None, "x"),
        ([1], list[int], [1]),
        ((1, 2), list[float], [1.0, 2.0]),
        ([1], list[int] | None, [1]),
        ([[1]], list[list[int]], [[1]]),
        (3, int | float, 3),
        (2.5, int | float, 2.5),
        (np.int64(3), int, 3),
        (np.float32(0.5), float, 0.5),
        (object, Any, object),
    ],
)
def test_values_of_the_declared_type_are_taken(value: Any, hint: Any, result: Any) -> None:
    found = coerce("k", value, hint)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "allowed"),
    [
        (2.5, int, "int"),
        (True, int, "int"),
        (True, float, "float"),
        (True, int | None, "int or null"),
        (1, bool, "bool"),
        (1, str, "str"),
        (None, int, "int"),
        ("ten", int | None, "int or null"),
        ([1], int | None, "int or null"),
        (3, list[int], "list"),
        (None, list[int], "list"),
        ("1.5", float, "float"),
    ],
)
def test_values_of_other_types_are_refused(value: Any, hint: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        coerce("group.k", value, hint)
    assert str(caught.value) == f"group.k={value!r}: must be {allowed}"


def test_lists_are_checked_item_by_item() -> None:
    with pytest.raises(ConfigError, match=r"^k='a': must be int$"):
        coerce("k", [1, "a"], list[int])


def entry(**parameters: Parameter) -> Statistic:
    common = {"bins": Parameter(int, 100), "power": Parameter(float, 1.5)}
    ks = statistics.get("ks")
    return dataclasses.replace(ks, name="f", function=like_f, parameters=common | parameters)


def like_f() -> None:
    """What it does."""


def test_parameters_that_are_not_given_have_their_defaults() -> None:
    assert entry().bind({}) == {"bins": 100, "power": 1.5}
    found = entry().bind({"name": "f", "power": 2})
    assert found == {"bins": 100, "power": 2.0}
    assert type(found["power"]) is float


def test_unknown_parameters_and_values_of_other_types_are_refused() -> None:
    message = r"unknown parameter of statistic 'f' 'bin' \(did you mean 'bins'\?\); allowed: bins, "
    with pytest.raises(ConfigError, match=message):
        entry().bind({"bin": 3})
    with pytest.raises(ConfigError, match=r"^statistic\.bins=2\.5: must be int$"):
        entry().bind({"bins": 2.5})


def test_a_config_has_the_name_then_the_parameters_with_their_types() -> None:
    made = entry(many=Parameter(list[int], [1, 2])).config_class()
    assert (made.__name__, made.__doc__) == ("statistic_f", "What it does.")
    config = OmegaConf.structured(made)
    assert config == {"name": "f", "bins": 100, "power": 1.5, "many": [1, 2]}
    assert list(config) == ["name", "bins", "power", "many"]
    with pytest.raises(ValidationError):
        config.bins = "abc"
    one, other = made(), made()
    one.many.append(3)
    assert other.many == [1, 2]

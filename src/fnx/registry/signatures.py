"""A plugin's keyword parameters, read from its function's signature, and values checked by them."""

from __future__ import annotations

import inspect
import numbers
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fnx.errors import ConfigError, PluginError

SIMPLE_TYPES = (int, float, bool, str)
RESERVED = ("name", "bins", "permutations", "n_inner", "n_outer")  # fnx's own


@dataclass(frozen=True)
class Parameter:
    """A keyword parameter of a plugin: the type and default of its config key."""

    type: Any
    default: Any


def read_parameters(
    kind: str, function: Callable[..., Any], *, positional: int, given: tuple[str, ...] = ()
) -> dict[str, Parameter]:
    """Return the config parameters of a function: all after the positional ones but for `given`.

    `kind` is what the function is registered as, for messages: ``statistic 'ks'``; `given` are
    names of arguments that fnx fills in.

    Raises:
        PluginError: a signature that cannot become a schema.
    """
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, ValueError) as error:
        raise PluginError(f"{kind}: its signature cannot be read: {error}") from error
    items = list(signature.parameters.values())
    if len(items) < positional or any(p.default is not p.empty for p in items[:positional]):
        raise PluginError(f"{kind}: the function must take {positional} arrays, then parameters")
    result: dict[str, Parameter] = {}
    for item in items[positional:]:
        if item.name in given:
            continue
        if item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL):
            raise PluginError(f"{kind}: parameter '{item}' has no name, type or default")
        if item.default is item.empty:
            raise PluginError(f"{kind}: parameter '{item.name}' needs a default")
        if item.name in RESERVED:
            raise PluginError(f"{kind}: '{item.name}' is fnx's own parameter")
        hint = hints.get(item.name, type(item.default) if item.default is not None else Any)
        if not _is_config_type(hint):
            raise PluginError(
                f"{kind}: parameter '{item.name}' has type {hint}; allowed: int, float, bool, str, "
                "lists of them, each also with None"
            )
        try:
            default = coerce(item.name, item.default, hint)
        except ConfigError as error:
            raise PluginError(f"{kind}: default {error}") from error
        result[item.name] = Parameter(hint, default)
    return result


def _is_config_type(hint: Any) -> bool:
    if hint is Any or hint in SIMPLE_TYPES:
        return True
    if typing.get_origin(hint) is list:
        return all(_is_config_type(one) for one in typing.get_args(hint))
    union = _alternatives(hint)
    return len(union) > 1 and all(a is types.NoneType or _is_config_type(a) for a in union)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def coerce(key: str, value: Any, hint: Any) -> Any:
    """Return the value as its declared type; integers are taken for floats.

    Raises:
        ConfigError: a value of another type.

    >>> coerce("step", 1, float | None)
    1.0
    """
    allowed = _alternatives(hint)
    for one in allowed:
        if one is Any:
            return value
        if typing.get_origin(one) is list:
            if isinstance(value, list | tuple):
                return [coerce(key, item, *typing.get_args(one)) for item in value]
        elif one in (int, float):
            number = numbers.Integral if one is int else numbers.Real
            if not isinstance(value, bool) and isinstance(value, number):
                return one(value)
        elif isinstance(value, one):
            return value
    names = " or ".join("null" if a is types.NoneType else a.__name__ for a in allowed)
    raise ConfigError(f"{key}={value!r}: must be {names}")

"""A plugin's keyword parameters, read from its function's signature, and values checked by them."""

from __future__ import annotations

import inspect
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
    group: str,
    name: str,
    function: Callable[..., Any],
    *,
    positional: int,
    given: tuple[str, ...] = (),
) -> dict[str, Parameter]:
    """Config parameters of a function: all after the ``positional`` ones, but for ``given``.

    Raises:
        PluginError: a signature that cannot become a schema; names the plugin.
    """
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, ValueError) as error:
        raise PluginError(f"{group} '{name}': its signature cannot be read: {error}") from error
    items = list(signature.parameters.values())
    if len(items) < positional or any(p.default is not p.empty for p in items[:positional]):
        raise PluginError(
            f"{group} '{name}': the function must take {positional} arrays, then parameters"
        )
    result: dict[str, Parameter] = {}
    for item in items[positional:]:
        if item.name in given:
            continue
        if item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL):
            raise PluginError(f"{group} '{name}': parameter '{item}' has no name, type or default")
        if item.default is item.empty:
            raise PluginError(f"{group} '{name}': parameter '{item.name}' needs a default")
        if item.name in RESERVED:
            raise PluginError(f"{group} '{name}': '{item.name}' is fnx's own parameter")
        kind = hints.get(item.name, type(item.default) if item.default is not None else Any)
        if not _is_config_type(kind):
            raise PluginError(
                f"{group} '{name}': parameter '{item.name}' has type {kind}; allowed: int, float, "
                "bool, str, lists of them, each also with None"
            )
        try:
            default = coerce(item.name, item.default, kind)
        except ConfigError as error:
            raise PluginError(f"{group} '{name}': default {error}") from error
        result[item.name] = Parameter(kind, default)
    return result


def _is_config_type(kind: Any) -> bool:
    if kind is Any or kind in SIMPLE_TYPES:
        return True
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return all(a is types.NoneType or _is_config_type(a) for a in arguments)
    return typing.get_origin(kind) is list and all(_is_config_type(a) for a in arguments)


def coerce(key: str, value: Any, kind: Any) -> Any:
    """The value as its declared type; integers are taken for floats.

    Raises:
        ConfigError: a value of another type.
    """
    allowed = typing.get_args(kind) or (kind,)
    if kind is Any or typing.get_origin(kind) is list:
        return value
    if value is None and types.NoneType in allowed:
        return None
    if isinstance(value, list) and any(typing.get_origin(one) is list for one in allowed):
        return value
    if isinstance(value, bool) and bool not in allowed:
        pass
    elif float in allowed and isinstance(value, int | float):
        return float(value)
    elif int in allowed and hasattr(value, "__index__"):
        return int(value)
    elif any(isinstance(value, one) for one in allowed if isinstance(one, type)):
        return value
    names = " or ".join("null" if a is types.NoneType else a.__name__ for a in allowed)
    raise ConfigError(f"{key}={value!r}: must be {names}")

"""Statistics and threshold strategies by name: the decorators, and the schema of each.

A statistic or a strategy is a plain function; its keyword parameters, with types and defaults,
become a config dataclass and so options of the command line. Importing this module is cheap.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fnx.errors import ConfigError, PluginError, unknown

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

HISTOGRAM, SAMPLES = "histogram", "samples"
SIMPLE_TYPES = (int, float, bool, str)


@dataclass(frozen=True)
class Parameter:
    """A keyword parameter of a plugin: the type and default of its config key."""

    type: Any
    default: Any


@dataclass(frozen=True)
class Statistic:
    """A function of an inner and an outer distribution, and what the engine must know of it."""

    function: Callable[..., float]
    name: str
    range: tuple[float, float]
    on: str
    compiled: bool
    parameters: Mapping[str, Parameter]
    origin: str
    kernel: str | None = None  # fnx's own all-pairs kernel, where there is one

    @property
    def signed(self) -> bool:
        """Whether the statistic tells a class that is higher (+) from one that is lower (-)."""
        return self.range[0] < 0


@dataclass(frozen=True)
class ThresholdStrategy:
    """A function of the distances under real and under random labels that says what to keep."""

    function: Callable[..., Any]
    name: str
    parameters: Mapping[str, Parameter]
    origin: str


Entry = Statistic | ThresholdStrategy

_ENTRIES: dict[str, dict[str, Entry]] = {"statistic": {}, "threshold": {}}
_CONFLICTS: list[str] = []


def statistic(
    name: str,
    *,
    range: tuple[float, float],
    on: str = HISTOGRAM,
    compiled: bool = True,
    bins: int | None = 100,
    kernel: str | None = None,
) -> Callable[[F], F]:
    """Register a function of two distributions as a statistic; the function itself is unchanged.

    Args:
        name: what ``statistic=NAME`` and ``fnx.distances(..., statistic=NAME)`` call it.
        range: smallest and largest value it can take (``-inf`` and ``inf`` allowed); a negative
            smallest value makes it signed: positive where the class has the higher values.
        on: ``"histogram"``: the function gets two probability vectors over the same ``bins``
            (float64, each sums to 1); ``"samples"``: it gets the two sorted samples.
        compiled: whether Numba compiles the function; ``False`` runs it as Python, slower.
        bins: default of the ``bins`` parameter that every statistic on histograms has.
        kernel: fnx's own: name of an all-pairs kernel that computes the same, faster.

    Raises:
        PluginError: the declaration cannot work, said in one line.

    >>> @statistic("doctest_distance", range=(0, 1))
    ... def doctest_distance(inner, outer, power: float = 1.0):
    ...     return 0.5 * (abs(inner - outer) ** power).sum()
    >>> get_statistic("doctest_distance").parameters["power"].default
    1.0
    """
    low, high = float(range[0]), float(range[1])
    if not low < high:
        raise PluginError(f"statistic '{name}': range=({low:g}, {high:g}) is empty")
    if on not in (HISTOGRAM, SAMPLES):
        raise PluginError(f"statistic '{name}': on='{on}'; allowed: {HISTOGRAM}, {SAMPLES}")

    def register(function: F) -> F:
        parameters = _parameters("statistic", name, function, positional=2)
        if on == HISTOGRAM:
            kind: Any = int if kernel is None else int | None
            parameters = {"bins": Parameter(kind, bins), **parameters}
        _add(
            "statistic",
            Statistic(
                function, name, (low, high), on, compiled, parameters, _origin(function), kernel
            ),
        )
        return function

    return register


def threshold(name: str, *, permutations: int = 5) -> Callable[[F], F]:
    """Register a function ``(real, random, **parameters) -> Thresholds`` as a threshold strategy.

    Args:
        name: what ``threshold=NAME`` and ``fnx.find_thresholds(..., strategy=NAME)`` call it.
        permutations: default of the ``permutations`` parameter that every strategy has: the number
            of random labellings R of ``random`` (R, F, C). A strategy that has a parameter
            ``range`` is given the statistic's declared range there.

    >>> @threshold("doctest_strategy")
    ... def doctest_strategy(real, random, share: float = 0.5):
    ...     ...
    >>> sorted(get_threshold("doctest_strategy").parameters)
    ['permutations', 'share']
    """

    def register(function: F) -> F:
        parameters = _parameters("threshold", name, function, positional=2, given=("range",))
        parameters = {"permutations": Parameter(int, permutations), **parameters}
        _add("threshold", ThresholdStrategy(function, name, parameters, _origin(function)))
        return function

    return register


def get_statistic(name: str) -> Statistic:
    """The statistic of this name.

    Raises:
        ConfigError: no such statistic; says which there are, and which plugins are broken.
    """
    entry = _get("statistic", name)
    assert isinstance(entry, Statistic)
    return entry


def get_threshold(name: str) -> ThresholdStrategy:
    """The threshold strategy of this name.

    Raises:
        ConfigError: no such strategy; says which there are, and which plugins are broken.
    """
    entry = _get("threshold", name)
    assert isinstance(entry, ThresholdStrategy)
    return entry


def statistics() -> dict[str, Statistic]:
    """Every registered statistic by name."""
    return {k: v for k, v in sorted(_ENTRIES["statistic"].items()) if isinstance(v, Statistic)}


def thresholds() -> dict[str, ThresholdStrategy]:
    """Every registered threshold strategy by name."""
    entries = sorted(_ENTRIES["threshold"].items())
    return {k: v for k, v in entries if isinstance(v, ThresholdStrategy)}


def bind(entry: Entry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of an entry: those given, checked, and the defaults of the others.

    A key ``name`` (the config's) is passed over.

    Raises:
        ConfigError: an unknown parameter or a value of another type.
    """
    group = "statistic" if isinstance(entry, Statistic) else "threshold"
    bound = {key: parameter.default for key, parameter in entry.parameters.items()}
    for key, value in parameters.items():
        if key == "name" and "name" not in bound:
            continue
        if key not in bound:
            raise ConfigError(unknown(f"parameter of {group} '{entry.name}'", key, bound))
        bound[key] = _coerce(f"{group}.{key}", value, entry.parameters[key].type)
    return bound


def config_class(entry: Entry) -> type[Any]:
    """The config dataclass of an entry: its name, then one field a parameter."""
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=entry.name))]
    for key, parameter in entry.parameters.items():
        default = parameter.default
        if isinstance(default, list | dict):
            field = dataclasses.field(default_factory=default.copy)
        else:
            field = dataclasses.field(default=default)
        fields.append((key, parameter.type, field))
    made = dataclasses.make_dataclass(f"{type(entry).__name__}_{entry.name}", fields)
    made.__doc__ = summary(entry)
    return made


def register_configs(store: Any) -> None:
    """Put a schema and defaults for every statistic and strategy into Hydra's ``ConfigStore``."""
    for group, entries in _ENTRIES.items():
        for name, entry in entries.items():
            store.store(group=group, name=name, node=config_class(entry), provider="fnx")


def summary(entry: Entry) -> str:
    """First line of the function's docstring."""
    return (inspect.getdoc(entry.function) or "").partition("\n")[0]


def discover(folder: Path | None = None) -> dict[str, str]:
    """Load the built-ins and every plugin: entry points ``fnx.plugins`` and the plugins folder.

    Args:
        folder: the plugins folder; default ``FNX_PLUGINS``, else ``plugins/`` where one works.

    Returns:
        the plugins that could not be loaded, with the reason; each is also logged as a warning
        and the others go on working.

    Raises:
        PluginError: two plugins use one name; names both.
    """
    from fnx import plugin_loading

    plugin_loading.load_all(folder)
    if _CONFLICTS:
        raise PluginError(_CONFLICTS[0])
    return dict(plugin_loading.failures())


def search_paths() -> list[str]:
    """``file://`` paths of the ``conf`` folders of loaded plugins, for Hydra's search path."""
    from fnx import plugin_loading

    return [f"file://{path}" for path in plugin_loading.conf_folders()]


def _get(group: str, name: str) -> Entry:
    entries = _ENTRIES[group]
    if name not in entries:
        broken = discover()
        if name not in entries:
            message = unknown(group, name, entries)
            if broken:
                message += f"; plugins that failed to load: {', '.join(sorted(broken))}"
            raise ConfigError(message)
    return entries[name]


def _add(group: str, entry: Entry) -> None:
    before = _ENTRIES[group].get(entry.name)
    # A function defined again in the same place (a notebook's cell, a reload) replaces itself.
    if before is not None and before.origin != entry.origin:
        _CONFLICTS.append(
            f"two plugins use the name {group}={entry.name}: {before.origin} and {entry.origin}; "
            "rename or remove one"
        )
        return
    _ENTRIES[group][entry.name] = entry


def _origin(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    file = f" ({code.co_filename})" if code is not None else ""
    return f"{function.__module__}.{function.__qualname__}{file}"


def _parameters(
    group: str,
    name: str,
    function: Callable[..., Any],
    *,
    positional: int,
    given: tuple[str, ...] = (),
) -> dict[str, Parameter]:
    """Config parameters of a function: all after the ``positional`` ones, but for ``given``."""
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
        if item.name in ("name", "bins", "permutations"):
            raise PluginError(f"{group} '{name}': '{item.name}' is fnx's own parameter")
        kind = hints.get(item.name, type(item.default) if item.default is not None else Any)
        if not _is_config_type(kind):
            raise PluginError(
                f"{group} '{name}': parameter '{item.name}' has type {kind}; allowed: int, float, "
                "bool, str, lists of them, each also with None"
            )
        result[item.name] = Parameter(kind, item.default)
    return result


def _is_config_type(kind: Any) -> bool:
    if kind is Any or kind in SIMPLE_TYPES:
        return True
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return all(a is types.NoneType or _is_config_type(a) for a in arguments)
    return typing.get_origin(kind) is list and all(_is_config_type(a) for a in arguments)


def _coerce(key: str, value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind) or (kind,)
    if kind is Any or typing.get_origin(kind) is list:
        return value
    if value is None and types.NoneType in allowed:
        return None
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

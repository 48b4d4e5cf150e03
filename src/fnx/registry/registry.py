"""Statistics and threshold strategies by name: the decorators, and the schema of each.

A statistic or a strategy is a plain function; its keyword parameters, with types and defaults,
become a config dataclass and so options of the command line. Importing this module is cheap.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fnx.errors import ConfigError, PluginError, unknown
from fnx.registry.signatures import Parameter, coerce, read_parameters

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[..., None]

# What a statistic's function is given: two histograms, those of many pairs, or two samples.
HISTOGRAM, HISTOGRAMS, SAMPLES = "histogram", "histograms", "samples"
COUNTS = ("n_inner", "n_outer")
# What a strategy may ask for by name beside its own parameters.
CONTEXT = ("range", "class_sizes", "statistic")


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
    counts: bool = False  # whether the function also takes n_inner and n_outer
    constant: float = 0.0  # value for a constant feature
    check: Check | None = None

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
    check: Check | None = None
    statistics: tuple[str, ...] | None = None  # those it is defined for; None: all


Entry = Statistic | ThresholdStrategy

MAX_BINS = 65_536  # the kernels' bin numbers are uint16

_ENTRIES: dict[str, dict[str, Entry]] = {"statistic": {}, "threshold": {}}
_CONFLICTS: list[str] = []


def statistic(
    name: str,
    *,
    range: tuple[float, float],
    on: str = HISTOGRAM,
    compiled: bool = True,
    bins: int | None = 100,
    constant: float = 0.0,
    check: Check | None = None,
    kernel: str | None = None,
) -> Callable[[F], F]:
    """Register a function of two distributions as a statistic; the function itself is unchanged.

    Args:
        name: what ``statistic=NAME`` and ``fnx.distances(..., statistic=NAME)`` call it.
        range: smallest and largest value it can take (``-inf`` and ``inf`` allowed); a negative
            smallest value makes it signed: positive where the class has the higher values.
            A value outside, or NaN, stops the computation with the statistic's name.
        on: ``"histogram"``: the function gets two probability vectors over the same ``bins``
            (float64, each sums to 1); ``"samples"``: it gets the two sorted samples (float64);
            ``"histograms"``: it gets the histograms of many pairs at once, two arrays (P, bins),
            and returns (P,): for NumPy code, never compiled.
        compiled: whether Numba compiles the function; ``False`` runs it as Python, slower.
        bins: default of the ``bins`` parameter that every statistic on histograms has.
        constant: the value for a constant feature, for which the function is not called.
        check: called with the parameters by name before any work; raises ConfigError for values
            that are not allowed.
        kernel: fnx's own: name of an all-pairs kernel that computes the same, faster.

    A function whose third and fourth arguments are called ``n_inner`` and ``n_outer`` is given the
    number of images of the class and of all others there.

    Raises:
        PluginError: the declaration cannot work, said in one line.

    >>> @statistic("doctest_distance", range=(0, 1))
    ... def doctest_distance(inner, outer, power: float = 1.0):
    ...     return 0.5 * (abs(inner - outer) ** power).sum()
    >>> get_statistic("doctest_distance").parameters["power"].default
    1.0
    """
    _check_name("statistic", name)
    low, high = float(range[0]), float(range[1])
    if not low < high:
        raise PluginError(f"statistic '{name}': range=({low:g}, {high:g}) is empty")
    if on not in (HISTOGRAM, HISTOGRAMS, SAMPLES):
        allowed = ", ".join((HISTOGRAM, HISTOGRAMS, SAMPLES))
        raise PluginError(f"statistic '{name}': on='{on}'; allowed: {allowed}")
    if not low <= constant <= high:
        raise PluginError(f"statistic '{name}': constant={constant:g} is outside of its range")

    def register(function: F) -> F:
        counts = takes_counts(function)
        parameters = read_parameters("statistic", name, function, positional=4 if counts else 2)
        if on != SAMPLES:
            kind: Any = int if kernel is None else int | None
            parameters = {"bins": Parameter(kind, bins), **parameters}
        _add(
            "statistic",
            Statistic(
                function,
                name,
                (low, high),
                on,
                compiled and on != HISTOGRAMS,
                parameters,
                _origin(function),
                kernel,
                counts,
                constant,
                check,
            ),
        )
        return function

    return register


def threshold(
    name: str,
    *,
    permutations: int = 5,
    check: Check | None = None,
    statistics: tuple[str, ...] | None = None,
) -> Callable[[F], F]:
    """Register a function ``(real, random, **parameters) -> Thresholds`` as a threshold strategy.

    Args:
        name: what ``threshold=NAME`` and ``fnx.find_thresholds(..., strategy=NAME)`` call it.
        permutations: default of the ``permutations`` parameter that every strategy has: the number
            of random labellings R of ``random`` (R, F, C).
        check: as for `statistic`.
        statistics: names of the statistics it is defined for; default all.

    A strategy is given, where it has parameters of these names: ``range``, the statistic's declared
    range; ``class_sizes`` (C,), the images of each class; ``statistic``, its name (each of them
    None where it is not known). `fnx.thresholds.evaluate` makes the `Thresholds` to return.

    >>> @threshold("doctest_strategy")
    ... def doctest_strategy(real, random, share: float = 0.5):
    ...     ...
    >>> sorted(get_threshold("doctest_strategy").parameters)
    ['permutations', 'share']
    """
    _check_name("threshold", name)

    def register(function: F) -> F:
        parameters = read_parameters("threshold", name, function, positional=2, given=CONTEXT)
        parameters = {"permutations": Parameter(int, permutations), **parameters}
        origin = _origin(function)
        entry = ThresholdStrategy(function, name, parameters, origin, check, statistics)
        _add("threshold", entry)
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


def check_pair(strategy: str, statistic: str) -> None:
    """Refuse a threshold strategy that is not defined for a statistic.

    Raises:
        ConfigError: naming both and what the strategy is defined for.
    """
    allowed = get_threshold(strategy).statistics
    if allowed is not None and statistic not in allowed:
        raise ConfigError(
            f"threshold={strategy} is not defined for statistic={statistic}; allowed: "
            + ", ".join(allowed)
        )


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
        ConfigError: an unknown parameter, a value of another type, or one that is not allowed.
    """
    group = "statistic" if isinstance(entry, Statistic) else "threshold"
    bound = {key: parameter.default for key, parameter in entry.parameters.items()}
    for key, value in parameters.items():
        if key == "name" and "name" not in bound:
            continue
        if key not in bound:
            raise ConfigError(unknown(f"parameter of {group} '{entry.name}'", key, bound))
        bound[key] = coerce(f"{group}.{key}", value, entry.parameters[key].type)
    bins = bound.get("bins") if isinstance(entry, Statistic) else None
    if bins is not None and not 1 <= bins <= MAX_BINS:
        raise ConfigError(f"statistic.bins={bins}: must lie in 1 … {MAX_BINS:,}")
    if entry.check is not None:
        entry.check(**bound)
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
    from fnx.registry import discovery as plugin_loading

    plugin_loading.load_all(folder)
    if _CONFLICTS:
        raise PluginError(_CONFLICTS[0])
    return dict(plugin_loading.failures())


def search_paths() -> list[str]:
    """``file://`` paths of the ``conf`` folders of loaded plugins, for Hydra's search path."""
    from fnx.registry import discovery as plugin_loading

    return [f"file://{path}" for path in plugin_loading.conf_folders()]


@contextmanager
def undone_if_it_fails() -> Iterator[None]:
    """Take back what was registered inside if it raises: a plugin is loaded whole or not at all."""
    before = {group: dict(entries) for group, entries in _ENTRIES.items()}
    conflicts = list(_CONFLICTS)
    try:
        yield
    except BaseException:
        for group, entries in before.items():
            _ENTRIES[group].clear()
            _ENTRIES[group].update(entries)
        _CONFLICTS[:] = conflicts
        raise


def takes_counts(function: Callable[..., Any]) -> bool:
    """Whether the function's third and fourth arguments are the numbers of images."""
    try:
        return tuple(inspect.signature(function).parameters)[2:4] == COUNTS
    except (TypeError, ValueError):  # `read_parameters` says so in the plugin's name
        return False


def _check_name(group: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise PluginError(f"{group} '{name}': a name is made of letters, digits, '_', '-' and '.'")


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
    if before is not None and _place(before.function) != _place(entry.function):
        _CONFLICTS.append(
            f"two plugins use the name {group}={entry.name}: {before.origin} and {entry.origin}; "
            "rename or remove one"
        )
        return
    _ENTRIES[group][entry.name] = entry


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    """File and name of a function: the same for a module imported under two names."""
    code = getattr(function, "__code__", None)
    return code.co_filename if code is not None else function.__module__, function.__qualname__


def _origin(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    file = f" ({code.co_filename})" if code is not None else ""
    return f"{function.__module__}.{function.__qualname__}{file}"

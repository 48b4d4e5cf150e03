"""Statistics and threshold strategies by name, and the decorators that register them.

Each is a plain function whose keyword parameters, with types and defaults, become a config
dataclass and so options of the command line. Importing this module is cheap.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, ClassVar, Generic, TypeVar

from fnx.errors import ConfigError, PluginError, unknown
from fnx.registry.signatures import Parameter, coerce, read_parameters

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[..., None]

BUILT_IN = "fnx.statistics.definitions", "fnx.thresholds.strategies"
# What a statistic's function is given: two histograms, those of many pairs, or two samples.
HISTOGRAM, HISTOGRAMS, SAMPLES = "histogram", "histograms", "samples"
COUNTS = ("n_inner", "n_outer")
# What a strategy may ask for by name beside its own parameters.
CONTEXT = ("range", "class_sizes", "n_images", "statistic", "neutral", "find_null")
MAX_BINS = 65_536  # the kernels' bin numbers are uint16

failures: dict[str, str] = {}
"""Plugins that could not be loaded, with the reason in one line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered function with its parameters."""

    group: ClassVar[str]
    name: str
    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    check: Check | None = None

    @property
    def package(self) -> str:
        """Name of the package, or of the module, that the function belongs to."""
        return self.function.__module__.partition(".")[0]

    @property
    def place(self) -> tuple[str, str]:
        """Module and qualified name: what stays the same when a function is defined again."""
        return self.function.__module__, self.function.__qualname__

    @property
    def origin(self) -> str:
        """Where the function is defined, for messages."""
        code = getattr(self.function, "__code__", None)
        return ".".join(self.place) + (f" ({code.co_filename})" if code is not None else "")

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def bind(self, values: Mapping[str, Any], **context: Any) -> dict[str, Any]:
        """Return all parameters: the given ones, checked, and the others' defaults.

        The key ``name``, which a config has beside the parameters, is left out. `context` is what
        `check` may ask for by name: ``range`` and ``neutral``, of the statistic a strategy is for.

        Raises:
            ConfigError: an unknown parameter, or a value that is not allowed.
        """
        bound = {key: parameter.default for key, parameter in self.parameters.items()}
        for key, value in values.items():
            if key == "name":
                continue
            if key not in bound:
                raise ConfigError(unknown(f"parameter of {self.group} '{self.name}'", key, bound))
            bound[key] = coerce(f"{self.group}.{key}", value, self.parameters[key].type)
        bins = bound.get("bins")
        if bins is not None and not 1 <= bins <= MAX_BINS:
            raise ConfigError(f"statistic.bins={bins}: must lie in 1 … {MAX_BINS:,}")
        if self.check is not None:
            asked = inspect.signature(self.check).parameters
            self.check(**bound, **{key: context[key] for key in context if key in asked})
        return bound

    def config_class(self) -> type[Any]:
        """Return the config dataclass: the name, then one field per parameter."""
        fields: list[tuple[str, Any, Any]] = [("name", str, field(default=self.name))]
        for key, parameter in self.parameters.items():
            default = parameter.default
            kept: Any = {"default": default}
            if isinstance(default, list):
                kept = {"default_factory": default.copy}
            fields.append((key, parameter.type, field(**kept)))
        made = make_dataclass(f"{self.group}_{self.name}", fields)
        made.__doc__ = self.summary
        return made


@dataclass(frozen=True, kw_only=True)
class Statistic(Entry):
    """A function of an inner and an outer distribution, and what the engine must know of it."""

    group = "statistic"
    range: tuple[float, float]
    neutral: float  # value of two equal distributions: presence lies above it, absence below
    on: str
    compiled: bool
    constant: float  # value for a constant feature
    kernel: str | None  # fnx's own all-pairs kernel, where there is one
    counts: bool  # whether the function also takes n_inner and n_outer
    calibratable: bool  # whether n_e E[(D - neutral)^2] under random labels is the same for all n

    @property
    def signed(self) -> bool:
        """Whether the statistic tells a class that is higher (+) from one that is lower (-)."""
        return self.range[0] < self.neutral


@dataclass(frozen=True, kw_only=True)
class ThresholdStrategy(Entry):
    """A function of the distances under real and under random labels that says what to keep."""

    group = "threshold"
    statistics: tuple[str, ...] | None  # those it is defined for; None: all

    def check_defined_for(self, statistic: str) -> None:
        """Refuse a statistic that the strategy is not defined for.

        Raises:
            ConfigError: naming both and what the strategy is defined for.
        """
        if self.statistics is not None and statistic not in self.statistics:
            raise ConfigError(
                f"threshold={self.name} is not defined for statistic={statistic}; allowed: "
                + ", ".join(self.statistics)
            )


E = TypeVar("E", bound=Entry)


class Registry(Generic[E]):
    """The entries of one config group by name, in alphabetical order.

    >>> load_built_in()
    >>> ks = statistics.get("ks")
    >>> ks is statistics.get("fnx/ks"), ks.range
    (True, (-1.0, 1.0))
    """

    def __init__(self, kind: type[E]) -> None:
        self.group = kind.group
        self._entries: dict[str, E] = {}

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries[name] for name in self.names())

    def names(self) -> list[str]:
        """Return the names, in alphabetical order."""
        return sorted(self._entries)

    def get(self, name: str | Callable[..., Any]) -> E:
        """Return the entry called ``NAME`` or ``PACKAGE/NAME``, or that of a registered function.

        Raises:
            ConfigError: no such entry; lists the names there are and the plugins that failed.
        """
        if not isinstance(name, str):
            known = next((one for one in self if one.function is name), None)
            if known is not None:
                return known
            told = getattr(name, "__name__", None) or repr(name)
            hint = f"; register the function with @fnx.{self.group}(…)" if callable(name) else ""
            raise ConfigError(
                f"{self.group}={told[:60]}: must be the name of one, as '{self.names()[0]}'{hint}"
            )
        package, _, own = name.rpartition("/")
        entry = self._entries.get(own)
        if entry is not None and package in ("", entry.package):
            return entry
        message = unknown(self.group, name, self._entries)
        if failures:
            message += f"; plugins that failed to load: {', '.join(sorted(failures))}"
        raise ConfigError(message)

    def register(self, entry: E) -> None:
        """Add an entry. A function defined again (a notebook's cell, a reload) replaces itself.

        Raises:
            PluginError: another function has the name; the first stays, and the message names both.
        """
        if entry.package != "fnx":
            load_built_in()
        first = self._entries.setdefault(entry.name, entry)
        if first.place != entry.place:
            raise PluginError(
                f"two plugins use the name {self.group}={entry.name}: {first.origin} and "
                f"{entry.origin}; rename or remove one"
            )
        self._entries[entry.name] = entry

    def discard(self, package: str) -> None:
        """Remove everything that a package registered."""
        self._entries = {k: v for k, v in self._entries.items() if v.package != package}


statistics = Registry(Statistic)
thresholds = Registry(ThresholdStrategy)


def load_built_in() -> None:
    """Register fnx's own statistics and strategies."""
    for module in BUILT_IN:
        importlib.import_module(module)


def statistic(
    name: str,
    *,
    range: tuple[float, float],
    neutral: float = 0.0,
    on: str = HISTOGRAM,
    compiled: bool = True,
    bins: int = 100,
    constant: float | None = None,
    check: Check | None = None,
    kernel: str | None = None,
    calibratable: bool = False,
) -> Callable[[F], F]:
    """Register a function of two distributions as a statistic; the function itself is unchanged.

    Args:
        name: what ``statistic=NAME`` and ``fnx.distances(..., statistic=NAME)`` call it.
        range: smallest and largest value it can take (``-inf`` and ``inf`` allowed). A value
            outside, or NaN, stops the computation with the statistic's name.
        neutral: its value where the class is like all others. A smallest value below it makes the
            statistic signed: above `neutral` where the class has the higher values (presence),
            below where it has the lower ones (absence).
        on: ``"histogram"``: the function gets two probability vectors over the same ``bins``
            (float64, each sums to 1); ``"samples"``: it gets the two sorted samples (float64);
            ``"histograms"``: it gets the histograms of many pairs at once, two arrays (P, bins),
            and returns (P,): for NumPy code, never compiled.
        compiled: whether Numba compiles the function; ``False`` runs it as Python, slower.
        bins: default of the ``bins`` parameter that every statistic on histograms has.
        constant: the value for a constant feature, for which the function is not called; default
            `neutral`.
        check: called with the parameters by name before any work; raises ConfigError for values
            that are not allowed.
        kernel: fnx's own: name of an all-pairs kernel that computes the same, faster.
        calibratable: whether, under random labels, the mean of n_e (D - neutral)**2 is the same
            for classes of any size, n_e = n_inner n_outer / (n_inner + n_outer): so it is where D
            is a difference of means, of ranks or of distribution functions. `fnx.null` and
            `fnx.calibrate` refuse all others.

    A function whose third and fourth arguments are called ``n_inner`` and ``n_outer`` is given the
    number of images of the class and of all others there.

    Raises:
        PluginError: the declaration cannot work, or another plugin has the name.

    >>> @statistic("doctest_distance", range=(0, 1))
    ... def doctest_distance(inner, outer, power: float = 1.0):
    ...     return 0.5 * (abs(inner - outer) ** power).sum()
    >>> statistics.get("doctest_distance").parameters["power"].default
    1.0
    """
    kind = described("statistic", name)
    low, high = float(range[0]), float(range[1])
    if not low < high:
        raise PluginError(f"{kind}: range=({low:g}, {high:g}) is empty")
    if on not in (HISTOGRAM, HISTOGRAMS, SAMPLES):
        allowed = ", ".join((HISTOGRAM, HISTOGRAMS, SAMPLES))
        raise PluginError(f"{kind}: on='{on}'; allowed: {allowed}")
    if neutral != 0 and not (math.isfinite(neutral) and low <= neutral <= high):
        raise PluginError(f"{kind}: neutral={neutral:g} is not within its range")
    constant = neutral if constant is None else constant
    if not low <= constant <= high:
        raise PluginError(f"{kind}: constant={constant:g} is outside of its range")
    if not 1 <= (bins or 0) <= MAX_BINS:
        raise PluginError(f"{kind}: bins={bins}: must lie in 1 … {MAX_BINS:,}")

    def register(function: F) -> F:
        counts = _takes_counts(function)
        parameters = read_parameters(kind, function, positional=4 if counts else 2)
        if on != SAMPLES:
            hint: Any = int if kernel is None else int | None
            parameters = {"bins": Parameter(hint, bins), **parameters}
        statistics.register(
            Statistic(
                name=name,
                function=function,
                parameters=parameters,
                check=check,
                range=(low, high),
                neutral=float(neutral),
                on=on,
                compiled=compiled and on != HISTOGRAMS,
                constant=constant,
                kernel=kernel,
                counts=counts,
                calibratable=calibratable,
            )
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
    range; ``neutral``, its neutral value; ``class_sizes`` (C,), the images of each class;
    ``n_images``, of all, or None for their sum; ``statistic``, its name; ``find_null``, a function
    that returns the `fnx.Null` of a method, made when it is first asked for (each but ``neutral``
    None where it is not known). A strategy that does not ask for ``neutral`` is given all distances
    less that value, and the range too, and the thresholds that it returns are moved back.
    `fnx.thresholds.evaluate` makes the `Thresholds` to return.

    Raises:
        PluginError: the declaration cannot work, or another plugin has the name.

    >>> @threshold("doctest_strategy")
    ... def doctest_strategy(real, random, share: float = 0.5):
    ...     ...
    >>> sorted(thresholds.get("doctest_strategy").parameters)
    ['permutations', 'share']
    """
    kind = described("threshold", name)

    def register(function: F) -> F:
        parameters = read_parameters(kind, function, positional=2, given=CONTEXT)
        thresholds.register(
            ThresholdStrategy(
                name=name,
                function=function,
                parameters={"permutations": Parameter(int, permutations), **parameters},
                check=check,
                statistics=statistics,
            )
        )
        return function

    return register


def described(group: str, name: str) -> str:
    """Return what messages call a plugin's function; refuse a name that no config key can hold."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise PluginError(f"{group} '{name}': a name is made of letters, digits, '_', '-' and '.'")
    return f"{group} '{name}'"


def _takes_counts(function: Callable[..., Any]) -> bool:
    """Tell whether the function's third and fourth arguments are the numbers of images."""
    try:
        return tuple(inspect.signature(function).parameters)[2:4] == COUNTS
    except (TypeError, ValueError):  # `read_parameters` says so in the plugin's name
        return False

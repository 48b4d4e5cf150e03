"""Kernels for any function: compiled and called in a loop over all pairs, or called as Python.

See `fnx.statistics.kernels.histogram` for the arguments of a kernel.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from fnx.errors import FnxError, PluginError
from fnx.registry.registry import COUNTS, HISTOGRAMS, Statistic
from fnx.statistics.kernels.compilation import cached_njit
from fnx.statistics.kernels.histogram import bin_column, count_bins, count_classes
from fnx.statistics.kernels.plugin_calls import (
    OUT_OF_FLOAT32,
    SIGNATURE,
    beyond_float32,
    call_histograms,
)
from fnx.statistics.kernels.sorting import sort_column, sort_scratch
from fnx.statistics.kernels.tile import CallError, Features

_compiled: dict[Any, Any] = {}


def plugin_kernels(
    statistic: Statistic,
    parameters: dict[str, Any],
    bins: int | None,
    grouping: Any,
    with_sets: tuple[Any, ...],
) -> tuple[Any, Any]:
    """Return kernels that call the statistic's function for every pair.

    See `fnx.statistics.tiles.Task` for the two, and `fnx.statistics.kernels.stored` for what
    `with_sets` are. `parameters` are without `bins`, which is None for a statistic on samples.

    Raises:
        PluginError: the function cannot be compiled.
    """
    # An unbounded statistic may have a unit, in which its distances could all vanish.
    least = 0.0 if np.isfinite(statistic.range).all() else float(np.finfo(np.float32).tiny)
    labellings, sizes, sets = grouping.labellings, grouping.sizes, grouping.sets
    if not statistic.compiled:
        kernel = partial(_call_python, grouping, statistic, parameters, bins, least)
        return partial(_placed, kernel), None
    function = compile_once(statistic, parameters)
    if bins is None:
        if sets is None:
            of_samples = partial(samples_tile, labellings, sizes, function, least)
        else:
            holders = sets.holders.starts, sets.holders.members
            codes = labellings.astype(np.uint32)
            of_samples = partial(_samples_of_sets, codes, sizes, *holders, function, least)
        return partial(_placed, of_samples), None
    stored = partial(_placed, partial(_histograms_stored, *with_sets, function, bins))
    if sets is not None:
        return None, stored
    return partial(_placed, partial(histogram_tile, labellings, sizes, function, bins)), stored


def _samples_of_sets(*arguments: Any) -> None:
    from fnx.statistics.kernels.plugin_sets import samples_of_sets  # compiled where it is needed

    samples_of_sets(*arguments)


def _histograms_stored(*arguments: Any) -> None:
    from fnx.statistics.kernels.plugin_sets import histograms_stored

    histograms_stored(*arguments)


def _placed(kernel: Any, features: Any) -> None:
    """Run a kernel, and tell for which feature and class the plugin's function raises."""
    place = np.zeros(2, np.int64)
    try:
        kernel(place, features)
    except FnxError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CallError(int(place[0]), int(place[1]), reason) from error


def compile_once(statistic: Statistic, parameters: dict[str, Any]) -> Any:
    """`compile_function`, which takes a third of a second, once per function and parameters."""
    key = statistic.function, repr(sorted(parameters.items()))
    if key not in _compiled:
        _compiled[key] = compile_function(statistic, parameters)
    return _compiled[key]


def compile_function(statistic: Statistic, parameters: dict[str, Any]) -> Any:
    """Compile the statistic's function, its parameters bound, with the one `SIGNATURE`.

    Division by zero gives inf or NaN, as in NumPy.

    Raises:
        PluginError: Numba cannot compile it; says how to go on without.
    """
    names = [n for n in inspect.signature(statistic.function).parameters if n not in COUNTS][2:]
    values = tuple(parameters[name] for name in names)
    try:
        function = _jit(statistic.function, {})
        compiled = njit(SIGNATURE, error_model="numpy")
        # Numba unpacks no empty tuple.
        if statistic.counts and values:
            return compiled(lambda inner, outer, n, m: function(inner, outer, n, m, *values))
        if statistic.counts:
            return compiled(lambda inner, outer, n, m: function(inner, outer, n, m))
        if values:
            return compiled(lambda inner, outer, n, m: function(inner, outer, *values))
        return compiled(lambda inner, outer, n, m: function(inner, outer))
    # Numba lets errors of many kinds through from the code it reads.
    except Exception as error:
        raise PluginError(
            f"statistic '{statistic.name}' ({statistic.origin}) cannot be compiled: "
            f"{_compile_reason(error)} (declare it with @statistic(..., compiled=False) to run it "
            'as Python, slower, or with on="histograms" for NumPy code on all classes at once)'
        ) from error


def _compile_reason(error: Exception) -> str:
    """Return what Numba cannot compile, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.removeprefix(">>> ") for line in lines if not line.startswith("Failed in")]
    # Numba says "… found for signature:" and the call on a line of its own.
    reason = " ".join(told[: 2 if told and told[0].endswith(":") else 1])
    returned = re.match(r"No conversion from (.*) to float64 for '\$\S*return_value", reason)
    if returned:
        return f"it returns {returned[1]}, not a number"
    if not reason or "<numba." in reason:  # an assertion, or an object of Numba's own
        return f"Numba has no code for something in it ({type(error).__name__})"
    return reason if isinstance(error, NumbaError) else f"{type(error).__name__}: {reason}"


def _jit(function: Any, seen: dict[Any, Any]) -> Any:
    """Prepare a function for Numba, and with it the functions of its module that it calls.

    So a helper needs no decorator, and a plugin no import of Numba. All of them check their
    indices: without, one out of bounds reads and writes foreign memory.
    """
    options: Any = {"error_model": "numpy"}
    if isinstance(function, Dispatcher):  # decorated by the plugin itself
        kept = ("error_model", "fastmath")
        options = {key: value for key, value in function.targetoptions.items() if key in kept}
        function = function.py_func
    if not isinstance(function, FunctionType):
        return function
    if function not in seen:
        seen[function] = function  # a function that calls itself stays as it is
        scope = dict(function.__globals__)
        for name in _names(function.__code__):
            if isinstance(scope.get(name), FunctionType | Dispatcher):
                scope[name] = _jit(scope[name], seen)
        copy = FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        seen[function] = njit(boundscheck=True, **options)(copy)
    return seen[function]


def _names(code: Any) -> set[str]:
    """Return the names that a function's code, and that of functions inside it, looks up."""
    inner = [_names(constant) for constant in code.co_consts if hasattr(constant, "co_names")]
    return set(code.co_names).union(*inner)


def _signatures(*bound: Any) -> list[Any]:
    """Return a tile's signature for float32 and for float64, from the types that come between.

    Last before the features is where a tile notes which feature and class it is at.
    """
    grouping = types.uint16[:, ::1], types.int64[:, ::1], types.FunctionType(SIGNATURE)
    rest = types.int64[::1], types.float64[::1], types.float64[::1], types.float32[:, :, ::1]
    named: Any = types.NamedTuple
    tiles = (named((real[:, ::1], *rest), Features) for real in (types.float32, types.float64))
    return [types.void(*grouping, *bound, types.int64[::1], features) for features in tiles]


@cached_njit(_signatures(types.float64), nogil=True)
def samples_tile(
    labellings: Any, sizes: Any, function: Any, least: float, place: Any, features: Any
) -> None:
    """Call a function of two sorted samples for every pair.

    `function` is a Numba first-class function, so this is compiled once, whatever the plugin. A
    feature is sorted once; taking a class out of the sorted values keeps both parts sorted.
    """
    columns, varying, low, high, values = features
    n = labellings.shape[1]
    rows, starts, ends = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    scratch = sort_scratch(n)
    ordered, labels = np.empty(n), np.empty(n, np.uint16)
    # One place more than is ever used: each value is written to both, and one of them stays.
    inner, outer = np.empty(n + 1), np.empty(n + 1)
    for f in varying:
        column = columns[f, :n]
        sort_column(column, low[f], high[f], scratch, rows, starts, ends)
        for i in range(n):
            ordered[i] = column[np.uint64(rows[i])]
        for k in range(labellings.shape[0]):
            for i in range(n):
                labels[i] = labellings[k, np.uint64(rows[i])]
            for c in range(sizes.shape[1]):
                size, n_inner, n_outer = sizes[k, c], 0, 0
                for i in range(n):
                    inner[n_inner] = outer[n_outer] = ordered[i]
                    inside = int(labels[i] == c)
                    n_inner += inside
                    n_outer += 1 - inside
                place[0], place[1] = f, c
                value = function(inner[:size], outer[: n - size], size, n - size)
                values[k, f, c] = value
                if beyond_float32(value, least):
                    raise OverflowError(OUT_OF_FLOAT32)


@cached_njit(_signatures(types.int64), nogil=True)
def histogram_tile(
    labellings: Any, sizes: Any, function: Any, bins: int, place: Any, features: Any
) -> None:
    """Call a function of two histograms for every pair; `function` as in `samples_tile`."""
    columns, varying, low, high, values = features
    n, classes = labellings.shape[1], sizes.shape[1]
    index, places = np.empty(n, np.uint16), np.empty(n, np.uint32)
    counts = np.empty((bins, classes), np.uint32)
    totals = np.empty(bins, np.int64)
    for f in varying:
        bin_column(columns[f, :n], low[f], high[f], bins, index)
        for k in range(labellings.shape[0]):
            count_classes(index, labellings[k], places, counts)
            if k == 0:
                count_bins(counts, totals)
            place[0] = f
            call_histograms(function, counts, totals, sizes[k], n, place, values[k, f])


def _call_python(
    grouping: Any,
    statistic: Statistic,
    parameters: dict[str, Any],
    bins: int | None,
    least: float,
    place: NDArray[np.int64],
    features: Features,
) -> None:
    """Call the function as Python: pair by pair, or with the histograms of all classes at once.

    The latter are of no class: -1 in `place`.
    """
    columns, varying, low, high, values = features
    sizes = grouping.sizes
    (n_labellings, classes), n = sizes.shape, grouping.labellings.shape[1]

    def call(inner: Any, outer: Any, n_inner: Any) -> Any:
        counts = (n_inner, n - n_inner) if statistic.counts else ()
        return statistic.function(inner, outer, *counts, **parameters)

    for f in varying:
        column = columns[f, :n]
        if bins is None:
            order = np.argsort(column, kind="stable")
            ordered = column[order].astype(np.float64)
        else:
            index = np.empty(n, np.uint16)
            bin_column(column, low[f], high[f], bins, index)
        for k in range(n_labellings):
            if bins is None:
                inside = (grouping.has(k, c)[order] for c in range(classes))
                pairs: Any = ((ordered[own], ordered[~own]) for own in inside)
            else:
                inner, outer = _histograms(index, bins, grouping, k)
                pairs = zip(inner, outer, strict=True)
            if statistic.on != HISTOGRAMS:
                for c, (inside, outside) in enumerate(pairs):
                    place[:] = f, c
                    value = float(call(inside, outside, int(sizes[k, c])))
                    if beyond_float32(value, least):
                        raise OverflowError(OUT_OF_FLOAT32)
                    values[k, f, c] = value
                continue
            place[:] = f, -1
            found = np.asarray(call(inner, outer, sizes[k]))
            if found.shape != (classes,):
                raise PluginError(
                    f"statistic '{statistic.name}' ({statistic.origin}) returned shape "
                    f"{found.shape} for {classes} pairs: must be ({classes},)"
                )
            values[k, f] = found


def _histograms(
    index: NDArray[np.uint16], bins: int, grouping: Any, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of each class, and of all others, in each bin: two arrays (C, bins)."""
    sizes, codes = grouping.sizes[k], grouping.labellings[k].astype(np.int64)
    if grouping.sets is None:
        flat = index + bins * codes
        counts = np.bincount(flat, minlength=bins * sizes.size).reshape(sizes.size, bins)
    else:
        own = (grouping.has(k, c) for c in range(sizes.size))
        counts = np.stack([np.bincount(index[inside], minlength=bins) for inside in own])
    size, totals = sizes[:, None], np.bincount(index, minlength=bins)
    return counts / size, (totals - counts) / (codes.size - size)

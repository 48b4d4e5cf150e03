"""Runs statistics without a kernel of their own: compiles a function, calls it for all pairs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from fnx.errors import ConfigError, FnxError, PluginError
from fnx.registry.registry import COUNTS, HISTOGRAMS, SAMPLES, Statistic
from fnx.statistics.columns import Columns
from fnx.statistics.kernels.histogram import (
    OK,
    OVERFLOW,
    bin_column,
    count_bins,
    count_classes,
    extremes,
    first_not_finite,
)
from fnx.statistics.kernels.samples import SIGNATURE, auroc_tile, cohen_d_tile, samples_tile

# (columns, values, constant, faults): fills in the last three for a tile of features.
Kernel = Callable[[Any, Any, Any, Any], None]


_COMPILED: dict[Any, Any] = {}


def compile_once(statistic: Statistic, parameters: dict[str, Any]) -> Any:
    """`compile_function`, which takes a third of a second, once for a function and parameters."""
    key = statistic.function, repr(sorted(parameters.items()))
    if key not in _COMPILED:
        _COMPILED[key] = compile_function(statistic, parameters)
    return _COMPILED[key]


def compile_function(statistic: Statistic, parameters: dict[str, Any]) -> Any:
    """The statistic's function with its parameters bound, compiled with the one `SIGNATURE`.

    Division by zero gives inf or NaN, as in NumPy.

    Raises:
        PluginError: Numba cannot compile it; says how to go on without.
    """
    names = [n for n in inspect.signature(statistic.function).parameters if n not in COUNTS][2:]
    values = tuple(parameters[name] for name in names)
    try:
        function = _jit(statistic.function, {})
        compiled = njit(SIGNATURE, error_model="numpy")
        if statistic.counts and values:
            return compiled(lambda inner, outer, n, m: function(inner, outer, n, m, *values))
        if statistic.counts:
            return compiled(lambda inner, outer, n, m: function(inner, outer, n, m))
        if values:
            return compiled(lambda inner, outer, n, m: function(inner, outer, *values))
        return compiled(lambda inner, outer, n, m: function(inner, outer))
    # Numba lets errors of many kinds through from the code it reads.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = [line.removeprefix(">>> ") for line in lines if not line.startswith("Failed in")]
        # Numba says "… found for signature:" and the call on a line of its own.
        reason = " ".join(told[: 2 if told and told[0].endswith(":") else 1])
        if not isinstance(error, NumbaError):
            reason = f"{type(error).__name__}: {reason}"
        raise PluginError(
            f"statistic '{statistic.name}' ({statistic.origin}) cannot be compiled: {reason} "
            "(declare it with @statistic(..., compiled=False) to run it as Python, slower)"
        ) from error


def _jit(function: Any, seen: dict[Any, Any]) -> Any:
    """The function for Numba, and with it the plain functions of its module that it calls.

    So a helper needs no decorator, and a plugin no import of Numba.
    """
    if not isinstance(function, FunctionType):
        return function
    if function not in seen:
        seen[function] = function  # a function that calls itself stays as it is
        scope = dict(function.__globals__)
        for name in _names(function.__code__):
            if isinstance(scope.get(name), FunctionType):
                scope[name] = _jit(scope[name], seen)
        copy = FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        seen[function] = njit(error_model="numpy")(copy)
    return seen[function]


def _names(code: Any) -> set[str]:
    """Names that a function's code, and that of functions inside it, look up."""
    inner = [_names(constant) for constant in code.co_consts if hasattr(constant, "co_names")]
    return set(code.co_names).union(*inner)


def kernel_maker(
    statistic: Statistic,
    parameters: dict[str, Any],
    bins: int | None,
    columns: Columns,
    labels: NDArray[Any],
    sizes: NDArray[np.int64],
) -> Callable[[], Kernel]:
    """A function that makes a kernel ``(columns, values, constant, faults)`` for one block.

    Args:
        statistic: what to compute.
        parameters: its parameters without `bins`.
        bins: number of bins, or None for a statistic on samples.
        columns: the embedding, for its number of rows and its type.
        labels: (L, N) unsigned integers.
        sizes: (L, C) images of each class.
    """
    if statistic.on != SAMPLES and bins is None:
        raise ConfigError(f"statistic.bins=null: '{statistic.name}' is defined on bins only")
    n = columns.n_rows
    key = np.uint32 if columns.dtype == np.float32 else np.uint64
    if statistic.kernel == "auroc":
        return lambda: _bound(auroc_tile, labels, sizes, np.empty((2, n), key))
    if statistic.kernel == "cohen_d":
        return lambda: _bound(cohen_d_tile, labels, sizes)
    if not statistic.compiled:
        return lambda: _named(statistic, _python_kernel(statistic, parameters, bins, labels, sizes))
    function = compile_once(statistic, parameters)

    def make() -> Kernel:
        if bins is None:
            keys = np.empty((2, n), key)
            run = _bound(samples_tile, labels, sizes, keys, function, statistic.constant)
        else:
            index = np.empty(n, np.uint16)
            counts = np.empty((bins, sizes.shape[1]), np.uint32)
            totals = np.empty(bins, np.int64)
            scratch = index, counts, totals
            run = _bound(histogram_tile, labels, sizes, *scratch, function, statistic.constant)
        return _named(statistic, run)

    return make


def _bound(tile: Any, *between: Any) -> Kernel:
    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        tile(columns, *between, values, constant, faults)

    return kernel


def _named(statistic: Statistic, kernel: Kernel) -> Kernel:
    """The kernel, with whatever the plugin's function raises told under the plugin's name."""

    def named(*arguments: Any) -> None:
        try:
            kernel(*arguments)
        except FnxError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            raise PluginError(
                f"statistic '{statistic.name}' ({statistic.origin}) failed: "
                f"{type(error).__name__}: {reason}"
            ) from error

    return named


def _tile_signature(real: Any) -> Any:
    return types.void(
        real[:, ::1],
        types.uint16[:, ::1],
        types.int64[:, ::1],
        types.uint16[::1],
        types.uint32[:, ::1],
        types.int64[::1],
        types.FunctionType(SIGNATURE),
        types.float64,
        types.float32[:, :, ::1],
        types.boolean[::1],
        types.int64[::1],
    )


@njit([_tile_signature(types.float32), _tile_signature(types.float64)], nogil=True, cache=True)
def histogram_tile(
    columns: Any,
    labellings: Any,
    sizes: Any,
    index: Any,
    counts: Any,
    totals: Any,
    function: Any,
    at_constant: Any,
    values: Any,
    constant: Any,
    faults: Any,
) -> None:
    """A function of two probability vectors for all features of a tile, classes and labellings.

    `function` is a Numba first-class function, so this is compiled once, whatever the plugin;
    `at_constant` is the value for a constant feature. The other arguments are those of
    `fnx.statistics.kernels.histogram.ks_tile`.
    """
    width, n = columns.shape
    bins, classes = counts.shape
    inner, outer = np.empty(bins), np.empty(bins)
    for f in range(width):
        column = columns[f]
        faults[f] = first_not_finite(column)
        if faults[f] != OK:
            continue
        low, high = extremes(column)
        constant[f] = low == high
        if constant[f]:
            values[:, f] = at_constant
            continue
        if not np.isfinite(high - low):
            faults[f] = OVERFLOW
            continue
        bin_column(column, low, high, bins, index)
        for k in range(labellings.shape[0]):
            count_classes(index, labellings[k], counts)
            if k == 0:
                count_bins(counts, totals)
            for c in range(classes):
                size = sizes[k, c]
                for b in range(bins):
                    inner[b] = counts[b, c] / size
                    outer[b] = (totals[b] - np.int64(counts[b, c])) / (n - size)
                values[k, f, c] = function(inner, outer, size, n - size)


def _python_kernel(
    statistic: Statistic,
    parameters: dict[str, Any],
    bins: int | None,
    labels: NDArray[Any],
    sizes: NDArray[np.int64],
) -> Kernel:
    """Calls the function as Python: pair by pair, or with all classes of a feature at once."""
    n, classes = labels.shape[1], sizes.shape[1]

    def call(inner: Any, outer: Any, n_inner: Any, n_outer: Any) -> Any:
        counts = (n_inner, n_outer) if statistic.counts else ()
        return statistic.function(inner, outer, *counts, **parameters)

    def histograms(index: Any, totals: Any, k: int) -> tuple[Any, Any]:
        assert bins is not None
        flat = index.astype(np.int64) + bins * labels[k].astype(np.int64)
        counts = np.bincount(flat, minlength=bins * classes).reshape(classes, bins)
        size = sizes[k][:, None]
        return counts / size, (totals - counts) / (n - size)

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        for f, column in enumerate(columns):
            faults[f] = first_not_finite(column)
            if faults[f] != OK:
                continue
            low, high = extremes(column)
            constant[f] = low == high
            if constant[f]:
                values[:, f] = statistic.constant
                continue
            if bins is None:
                order = np.argsort(column, kind="stable")
                ordered = column[order].astype(np.float64)
                for k in range(len(labels)):
                    own = labels[k][order]
                    for c in range(classes):
                        inside, size = own == c, int(sizes[k, c])
                        pair = ordered[inside], ordered[~inside]
                        values[k, f, c] = call(*pair, size, n - size)
                continue
            if not np.isfinite(high - low):
                faults[f] = OVERFLOW
                continue
            index = np.empty(n, np.uint16)
            bin_column(column, low, high, bins, index)
            totals = np.bincount(index, minlength=bins)
            for k in range(len(labels)):
                inner, outer = histograms(index, totals, k)
                if statistic.on == HISTOGRAMS:
                    found = np.asarray(call(inner, outer, sizes[k], n - sizes[k]))
                    if found.shape != (classes,):
                        raise PluginError(
                            f"statistic '{statistic.name}' ({statistic.origin}) returned shape "
                            f"{found.shape} for {classes} pairs: must be ({classes},)"
                        )
                    values[k, f] = found
                    continue
                for c in range(classes):
                    size = int(sizes[k, c])
                    values[k, f, c] = call(inner[c], outer[c], size, n - size)

    return kernel

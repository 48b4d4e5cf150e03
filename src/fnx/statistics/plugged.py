"""Runs statistics without a kernel of their own: compiles a function, calls it for all pairs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from fnx.errors import ConfigError, PluginError
from fnx.registry import HISTOGRAM, Statistic
from fnx.statistics.columns import Columns
from fnx.statistics.kernels import (
    OK,
    OVERFLOW,
    bin_column,
    count_bins,
    count_classes,
    extremes,
    first_not_finite,
)

VECTOR = types.float64[::1]
SIGNATURE = types.float64(VECTOR, VECTOR)


def compile_function(statistic: Statistic, parameters: dict[str, Any]) -> Any:
    """The statistic's function with its parameters bound, compiled for two float64 vectors.

    Raises:
        PluginError: Numba cannot compile it; says how to go on without.
    """
    names = list(inspect.signature(statistic.function).parameters)[2:]
    values = tuple(parameters[name] for name in names)
    function = njit(statistic.function)
    try:
        if values:
            return njit(SIGNATURE)(lambda inner, outer: function(inner, outer, *values))
        return njit(SIGNATURE)(lambda inner, outer: function(inner, outer))
    # Numba lets errors of many kinds through from the code it reads.
    except (NumbaError, TypeError, ValueError, NotImplementedError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if not line.startswith("Failed in")), "")
        raise PluginError(
            f"statistic '{statistic.name}' ({statistic.origin}) cannot be compiled: {reason} "
            "(declare it with @statistic(..., compiled=False) to run it as Python, slower)"
        ) from error


def kernel_maker(
    statistic: Statistic,
    parameters: dict[str, Any],
    bins: int | None,
    columns: Columns,
    labels: NDArray[Any],
    sizes: NDArray[np.int64],
) -> Callable[[], Callable[[Any, Any, Any, Any], None]]:
    """A function that makes a kernel ``(columns, values, constant, faults)`` for one block.

    Args:
        statistic: what to compute.
        parameters: its parameters without `bins`.
        bins: number of bins, or None for a statistic on samples.
        columns: the embedding, for its number of rows.
        labels: (L, N) unsigned integers.
        sizes: (L, C) images of each class.
    """
    n, classes = columns.n_rows, sizes.shape[1]
    if statistic.on == HISTOGRAM and bins is None:
        raise ConfigError(f"statistic.bins=null: '{statistic.name}' is defined on bins only")
    function: Any
    if statistic.compiled:
        function = compile_function(statistic, parameters)
    else:

        def function(inner: Any, outer: Any) -> float:
            return statistic.function(inner, outer, **parameters)

    if not statistic.compiled or bins is None:
        return lambda: _python_kernel(function, bins, labels, sizes)

    def make() -> Callable[[Any, Any, Any, Any], None]:
        index = np.empty(n, np.uint16)
        counts = np.empty((bins, classes), np.uint32)
        totals = np.empty(bins, np.int64)

        def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
            histogram_tile(
                columns, labels, sizes, index, counts, totals, function, values, constant, faults
            )

        return kernel

    return make


def _tile_signature(real: Any) -> Any:
    return types.void(
        real[:, ::1],
        types.uint16[:, ::1],
        types.int64[:, ::1],
        types.uint16[::1],
        types.uint32[:, ::1],
        types.int64[::1],
        types.FunctionType(SIGNATURE),
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
    values: Any,
    constant: Any,
    faults: Any,
) -> None:
    """A function of two probability vectors for all features of a tile, classes and labellings.

    `function` is a Numba first-class function, so this is compiled once, whatever the plugin. The
    other arguments are those of `fnx.statistics.kernels.ks_tile`.
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
            values[:, f] = 0
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
                values[k, f, c] = function(inner, outer)


def _python_kernel(
    function: Callable[[Any, Any], float],
    bins: int | None,
    labels: NDArray[Any],
    sizes: NDArray[np.int64],
) -> Callable[[Any, Any, Any, Any], None]:
    """Calls the function from Python, pair by pair."""
    n, classes = labels.shape[1], sizes.shape[1]

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        for f, column in enumerate(columns):
            faults[f] = first_not_finite(column)
            if faults[f] != OK:
                continue
            low, high = extremes(column)
            constant[f] = low == high
            if constant[f]:
                values[:, f] = 0
                continue
            if not np.isfinite(high - low):
                faults[f] = OVERFLOW
                continue
            if bins is not None:
                index = np.empty(n, np.uint16)
                bin_column(column, low, high, bins, index)
                totals = np.bincount(index, minlength=bins)
            else:
                order = np.argsort(column, kind="stable")
                ordered = column[order].astype(np.float64)
            for k in range(len(labels)):
                for c in range(classes):
                    size = sizes[k, c]
                    if bins is not None:
                        counts = np.bincount(index[labels[k] == c], minlength=bins)
                        pair = counts / size, (totals - counts) / (n - size)
                    else:
                        inside = labels[k][order] == c
                        pair = ordered[inside], ordered[~inside]
                    values[k, f, c] = function(*pair)

    return kernel

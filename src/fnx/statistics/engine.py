"""Runs a statistic over all features, classes and labellings in one pass over the embedding."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError, DataError, PluginError
from fnx.registry import HISTOGRAM, Statistic, bind, get_statistic
from fnx.statistics.columns import Columns, open_columns

MAX_BINS = MAX_CLASSES = 65_536  # both are held as uint16
# Up to here counts fit uint16, and N**2 / 4 fits int32.
SMALL_N = 65_535


class Distances(NamedTuple):
    """Distances of all labellings, and which features are constant."""

    values: Any  # float32 (L, F, C), or what was given as `out`
    constant: NDArray[np.bool_]  # (F,)


@dataclass(frozen=True)
class Grouping:
    """Labellings as the kernels want them."""

    labels: NDArray[np.uint16]  # (L, N)
    sizes: NDArray[np.int64]  # (L, C)

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return int(self.sizes.shape[1])


# (columns, values, constant, faults): fills in the last three for a tile of features.
Kernel = Callable[[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]], None]


def all_distances(
    features: Any,
    labellings: NDArray[Any],
    n_classes: int,
    statistic: Statistic,
    parameters: Mapping[str, Any] | None = None,
    *,
    out: Sequence[NDArray[np.float32]] | NDArray[np.float32] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Distances:
    """Distance of every feature and class, under every labelling, in one pass over the features.

    Memory beside `out`: a few columns' worth of N values a thread, whatever F. The result does not
    depend on the number of threads.

    Args:
        features: (N, F) real numbers: NumPy array, memory map or zarr array, any memory order.
        labellings: (L, N) integers in 0 … n_classes - 1; each class has images in each labelling.
        n_classes: number of classes C, 2 or more.
        statistic: what to compute (`fnx.registry.get_statistic`).
        parameters: its parameters; those left out have their defaults.
        out: where to write: L arrays (F, C), for example memory maps; default a new array.
        threads: number of threads; default one a core.
        progress: called with the number of features finished since the last call.

    Raises:
        DataError: a value that is not finite (names feature and image), shapes that do not fit.
        ConfigError: a parameter that is unknown or not allowed.
        PluginError: the statistic cannot be compiled, or returned NaN or a value out of its range.
    """
    from fnx.statistics.kernels import OK, TILE, transpose

    columns = open_columns(features)
    grouping = _group(labellings, columns.n_rows, n_classes)
    make_kernel = _kernel_maker(statistic, bind(statistic, parameters or {}), columns, grouping)
    count = len(grouping.labels)
    if out is None:
        out = np.empty((count, columns.n_columns, n_classes), dtype=np.float32)
    constant = np.zeros(columns.n_columns, dtype=np.bool_)

    def run(block: tuple[int, int]) -> int:
        start, stop = block
        width = stop - start
        kernel, data = make_kernel(), columns.read(start, stop)
        tile = np.empty((TILE, columns.n_rows), dtype=columns.dtype)
        for first in range(0, width, TILE):
            used = transpose(data, first, tile)
            begin, end = start + first, start + first + used
            values = np.empty((count, used, n_classes), dtype=np.float32)
            faults = np.full(used, OK, dtype=np.int64)
            kernel(tile[:used], values, constant[begin:end], faults)
            _refuse_faults(columns, begin, faults)
            _refuse_values(statistic, begin, values)
            for k in range(count):
                out[k][begin:end] = values[k]
        return width

    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, block) for block in columns.blocks()]
        try:
            for future in futures:  # in order: the first fault named is always the same one
                width = future.result()
                if progress is not None:
                    progress(width)
        finally:
            for future in futures:
                future.cancel()
    return Distances(out, constant)


def _group(labellings: NDArray[Any], n_rows: int, n_classes: int) -> Grouping:
    labellings = np.asarray(labellings)
    if labellings.ndim != 2 or labellings.shape[1] != n_rows:
        raise DataError(
            f"labels for {labellings.shape[-1] if labellings.ndim else 0} images, features of "
            f"{n_rows}: must be the same number"
        )
    if not 2 <= n_classes <= MAX_CLASSES:
        raise DataError(f"{n_classes} classes: must be 2 to {MAX_CLASSES:,}")
    if labellings.size and (labellings.min() < 0 or labellings.max() >= n_classes):
        raise DataError(f"labels must lie in 0 … {n_classes - 1}")
    sizes = np.array([np.bincount(row, minlength=n_classes) for row in labellings], dtype=np.int64)
    sizes = sizes.reshape(len(labellings), n_classes)
    if not sizes.all():
        raise DataError(f"class {int(np.argwhere(sizes == 0)[0, 1])} has no images")
    return Grouping(np.ascontiguousarray(labellings, dtype=np.uint16), sizes)


def _kernel_maker(
    statistic: Statistic, parameters: dict[str, Any], columns: Columns, grouping: Grouping
) -> Callable[[], Kernel]:
    """A function that makes a kernel with scratch memory of its own, one for each block."""
    bins = parameters.pop("bins", None) if statistic.on == HISTOGRAM else None
    if statistic.on == HISTOGRAM and bins is not None and not 1 <= bins <= MAX_BINS:
        raise ConfigError(f"statistic.bins={bins}: must lie in 1 … {MAX_BINS:,}")
    if statistic.kernel == "ks" and bins is None:
        statistic = get_statistic("ks_exact")
    if statistic.kernel == "ks" and bins is not None:
        return lambda: _ks(bins, columns.n_rows, grouping)
    if statistic.kernel == "ks_exact":
        return lambda: _ks_exact(columns, grouping)
    from fnx.statistics import plugged

    return plugged.kernel_maker(
        statistic, parameters, bins, columns, grouping.labels, grouping.sizes
    )


def _ks(bins: int, n: int, grouping: Grouping) -> Kernel:
    from fnx.statistics.kernels import ks_tile

    small = n <= SMALL_N
    kind = np.int32 if small else np.int64
    sizes = grouping.sizes.astype(kind)
    totals = np.empty(bins, kind)
    index = np.empty(n, np.uint16)
    counts = np.empty((bins, grouping.n_classes), np.uint16 if small else np.uint32)
    state = np.empty((3, grouping.n_classes), kind)

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        ks_tile(
            columns, grouping.labels, sizes, totals, index, counts, state, values, constant, faults
        )

    return kernel


def _ks_exact(embedding: Columns, grouping: Grouping) -> Kernel:
    from fnx.statistics.kernels import ks_exact_tile

    kind = np.uint32 if embedding.dtype == np.float32 else np.uint64
    keys = np.empty((2, embedding.n_rows), kind)

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        ks_exact_tile(columns, grouping.labels, grouping.sizes, keys, values, constant, faults)

    return kernel


def _refuse_faults(columns: Columns, start: int, faults: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(faults != -1)  # kernels.OK
    if not bad.size:
        return
    feature, row = start + int(bad[0]), int(faults[bad[0]])
    if row < 0:
        raise DataError(f"feature {feature}: the range of its values overflows float64")
    value = columns.read(feature, feature + 1)[row, 0]
    raise DataError(f"feature {feature} of image {row} is {value}: every value must be finite")


def _refuse_values(statistic: Statistic, start: int, values: NDArray[np.float32]) -> None:
    low, high = statistic.range
    slack = 1e-5 * max(1.0, *(abs(x) for x in (low, high) if np.isfinite(x)), 0.0)
    # NaN fails both comparisons.
    wrong = ~((values >= low - slack) & (values <= high + slack))
    if wrong.any():
        k, f, c = (int(x) for x in np.argwhere(wrong)[0])
        raise PluginError(
            f"statistic '{statistic.name}' ({statistic.origin}) gave {values[k, f, c]:g} for "
            f"feature {start + f} and class {c}: its declared range is {low:g} … {high:g}"
        )

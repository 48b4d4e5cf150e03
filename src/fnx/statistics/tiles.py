"""Computes one block of columns: the same wherever and beside whatever it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError, PluginError
from fnx.registry.registry import SAMPLES, Statistic
from fnx.statistics.columns import Columns

MAX_CLASSES = 65_536  # held as uint16
# Up to here counts fit uint16, and N**2 / 4 fits int32.
SMALL_N = 65_535
# Columns taken together: two cache lines of each row; fewer where they would fill the memory.
TILE, TILE_OF_MANY, MANY = 32, 16, 1 << 18
CACHE_LINE = 64  # bytes


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
# (first feature, values (L, features, C), constant): takes the results of a tile.
Sink = Callable[[int, NDArray[np.float32], NDArray[np.bool_]], None]


@dataclass(frozen=True)
class Task:
    """A statistic of given labellings, ready to be computed for any block of columns."""

    statistic: Statistic
    grouping: Grouping
    make_kernel: Callable[[], Kernel]

    def run(self, block: NDArray[Any], start: int, sink: Sink) -> None:
        """Compute `block` (N, width), whose first column is feature `start`, tile by tile."""
        from fnx.statistics.kernels.histogram import OK

        n, width = block.shape
        kernel = self.make_kernel()
        labellings, classes = self.grouping.sizes.shape
        tile = _empty_tile(TILE if n <= MANY else TILE_OF_MANY, n, block.dtype)
        for first in range(0, width, len(tile)):
            part = block[:, first : first + len(tile)]
            used = part.shape[1]
            _fill(tile, part)
            values = np.empty((labellings, used, classes), dtype=np.float32)
            constant = np.zeros(used, dtype=np.bool_)
            faults = np.full(used, OK, dtype=np.int64)
            kernel(tile[:used], values, constant, faults)
            _refuse_faults(part, start + first, faults)
            _refuse_values(self.statistic, start + first, values)
            sink(start + first, values, constant)


def prepare(
    statistic: Statistic,
    parameters: Mapping[str, Any] | None,
    columns: Columns,
    grouping: Grouping,
) -> Task:
    """Check the parameters and compile what has to be.

    Raises:
        ConfigError: a parameter that is unknown or not allowed.
        PluginError: the statistic cannot be compiled.
    """
    bound = statistic.bind(parameters or {})
    return Task(statistic, grouping, kernel_maker(statistic, bound, columns, grouping))


def group(labellings: NDArray[Any], n_rows: int, n_classes: int) -> Grouping:
    """Check labellings (L, N) and count their classes.

    Raises:
        DataError: another number of images, classes that are empty or too many, other labels.
    """
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


def kernel_maker(
    statistic: Statistic, parameters: dict[str, Any], columns: Columns, grouping: Grouping
) -> Callable[[], Kernel]:
    """A function that makes a kernel with scratch memory of its own, one for each block."""
    bins = parameters.pop("bins", None) if statistic.on != SAMPLES else None
    if statistic.kernel == "ks" and bins is not None:
        return lambda: _ks(bins, columns.n_rows, grouping)
    if statistic.kernel in ("ks", "ks_exact"):
        return lambda: _ks_exact(grouping)
    from fnx.statistics.kernels import plugin as plugged

    make = plugged.kernel_maker(
        statistic, parameters, bins, columns, grouping.labels, grouping.sizes
    )
    return lambda: _on_whole_rows(make(), columns.n_rows)


def _ks(bins: int, n: int, grouping: Grouping) -> Kernel:
    from fnx.statistics.kernels.histogram import LANES, UNROLL, ks_tile

    small = n <= SMALL_N
    kind = np.int32 if small else np.int64
    classes, rows = _multiple(grouping.n_classes, LANES), _multiple(bins, UNROLL)
    sizes = np.zeros((len(grouping.sizes), classes), kind)
    sizes[:, : grouping.n_classes] = grouping.sizes
    totals = np.zeros(rows, kind)
    index = np.empty(n, np.uint16)
    counts = np.empty((rows, classes), np.uint16 if small else np.uint32)
    state = np.empty((3, classes), kind)
    scratch = sizes, totals, index, counts, state

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        ks_tile(columns, bins, grouping.labels, *scratch, values, constant, faults)

    return kernel


def _ks_exact(grouping: Grouping) -> Kernel:
    from fnx.statistics.kernels.exact import ks_exact_tile

    def kernel(columns: Any, values: Any, constant: Any, faults: Any) -> None:
        ks_exact_tile(columns, grouping.labels, grouping.sizes, values, constant, faults)

    return kernel


def _on_whole_rows(kernel: Kernel, n: int) -> Kernel:
    """For a kernel that takes its columns as they are, (width, N), without what fills them up."""
    return lambda columns, *rest: kernel(np.ascontiguousarray(columns[:, :n]), *rest)


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def _empty_tile(width: int, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """(width, N or more): rows begin on cache lines, and not all in the same place of the cache."""
    line = CACHE_LINE // dtype.itemsize
    stride = (-(-n // line) | 1) * line
    raw = np.empty((width * stride + line) * dtype.itemsize, dtype=np.uint8)
    skip = -raw.ctypes.data % CACHE_LINE
    used = raw[skip : skip + width * stride * dtype.itemsize]
    return used.view(dtype).reshape(width, stride)


def _fill(tile: NDArray[Any], part: NDArray[Any]) -> None:
    """The columns of `part` (N, used) into the rows of the tile."""
    from fnx.statistics.kernels.transposing import transpose

    if part.strides[1] == part.itemsize and part.flags.aligned and part.shape[1] > 1:
        transpose(part, tile)
    else:
        tile[: part.shape[1], : len(part)] = part.T


def _refuse_faults(part: NDArray[Any], start: int, faults: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(faults != -1)  # kernels.OK
    if not bad.size:
        return
    column, row = int(bad[0]), int(faults[bad[0]])
    if row < 0:
        raise DataError(f"feature {start + column}: the range of its values overflows float64")
    value = part[row, column]
    raise DataError(
        f"feature {start + column} of image {row} is {value}: every value must be finite"
    )


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

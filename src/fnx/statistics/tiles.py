"""Computes one block of columns: the same result whatever runs beside it, and on which machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError, PluginError
from fnx.registry import Statistic

MAX_CLASSES = 65_536  # held as uint16
SMALL_N = 65_535  # up to here N**2 / 4 fits int32
# Columns taken together: four cache lines of each row, which often lies on a page of its own; fewer
# where they would fill the memory, but at least one line of float32.
TILE, LEAST_TILE, TILE_VALUES = 64, 16, 1 << 23
CACHE_LINE = 64  # bytes


@dataclass(frozen=True)
class Grouping:
    """Labellings as the kernels want them."""

    labellings: NDArray[np.uint16]  # (L, N)
    sizes: NDArray[np.int64]  # (L, C)


NO_IMAGES = Grouping(np.empty((0, 0), np.uint16), np.empty((0, 0), np.int64))


Kernel = Callable[[Any], None]  # of the `Features` of `fnx.statistics.kernels.tile`
# (first feature, values (L, features, C), constant): takes the results of a tile.
Sink = Callable[[int, NDArray[np.float32], NDArray[np.bool_]], None]
Tile = tuple[int, NDArray[Any], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Task:
    """A statistic of given labellings, ready to be computed for any block of columns."""

    statistic: Statistic
    grouping: Grouping
    kernel: Kernel
    scales: bool  # whether the kernel divides by the range of a feature's values

    def run(self, block: NDArray[Any], start: int, sink: Sink) -> None:
        """Compute `block` (N, width), whose first column is feature `start`, tile by tile.

        Raises:
            DataError: a value that is not finite, or a range of values that overflows.
            PluginError: the statistic's function raised, or returned NaN or a value outside of the
                statistic's range.
        """
        from fnx.statistics.kernels.tile import CallError, Features

        labellings, classes = self.grouping.sizes.shape
        for first, columns, low, high in tiles(block, start, scales=self.scales):
            constant = low == high
            values = np.empty((labellings, len(columns), classes), dtype=np.float32)
            values[:, constant] = self.statistic.constant
            try:
                self.kernel(Features(columns, np.flatnonzero(~constant), low, high, values))
            except CallError as failed:
                of_class = f" and class {failed.of_class}" if failed.of_class >= 0 else ""
                raise PluginError(
                    f"statistic '{self.statistic.name}' ({self.statistic.origin}) failed for "
                    f"feature {first + failed.feature}{of_class}: {failed.reason}"
                ) from failed
            self._refuse_values(first, values)
            sink(first, values, constant)

    def _refuse_values(self, start: int, values: NDArray[np.float32]) -> None:
        low, high = self.statistic.range
        slack = 1e-5 * max(1.0, *(abs(x) for x in (low, high) if np.isfinite(x)), 0.0)
        # NaN fails both comparisons.
        wrong = ~((values >= low - slack) & (values <= high + slack))
        if wrong.any():
            k, f, c = (int(x) for x in np.argwhere(wrong)[0])
            raise PluginError(
                f"statistic '{self.statistic.name}' ({self.statistic.origin}) gave "
                f"{values[k, f, c]:g} for feature {start + f} and class {c}: its declared range is "
                f"{low:g} … {high:g}"
            )


def prepare(statistic: Statistic, parameters: Mapping[str, Any] | None, grouping: Grouping) -> Task:
    """Check the parameters and compile what has to be.

    Raises:
        ConfigError: a parameter that is unknown or not allowed.
        PluginError: the statistic cannot be compiled.
    """
    bound = statistic.bind(parameters or {})
    bins = bound.pop("bins", None)
    scales = bins is not None or statistic.kernel == "cohen_d"
    return Task(statistic, grouping, _kernel(statistic, bound, bins, grouping), scales)


def group(labellings: NDArray[Any], n_rows: int, n_classes: int) -> Grouping:
    """Check labellings (L, N) and count the images of their classes.

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
    counts = [np.bincount(row, minlength=n_classes) for row in labellings]
    sizes = np.array(counts, dtype=np.int64).reshape(-1, n_classes)
    if not sizes.all():
        raise DataError(f"class {int(np.argwhere(sizes == 0)[0, 1])} has no images")
    return Grouping(np.ascontiguousarray(labellings, dtype=np.uint16), sizes)


def _kernel(
    statistic: Statistic, parameters: dict[str, Any], bins: int | None, grouping: Grouping
) -> Kernel:
    bound = grouping.labellings, grouping.sizes
    if statistic.kernel is None:
        from fnx.statistics.kernels.plugin import plugin_kernel

        kernel: Kernel = plugin_kernel(statistic, parameters, bins, *bound)
        return kernel
    if bins is not None:
        return partial(_ks, grouping, bins)
    from fnx.statistics.kernels import samples

    tiles = {"auroc": samples.auroc_tile, "cohen_d": samples.cohen_d_tile}
    return partial(tiles.get(statistic.kernel, samples.ks_exact_tile), *bound)


def _ks(grouping: Grouping, bins: int, features: Any) -> None:
    from fnx.statistics.kernels.histogram import LANES, UNROLL, ks_tile

    (labellings, classes), n = grouping.sizes.shape, grouping.labellings.shape[1]
    small = n <= SMALL_N
    shape = _multiple(bins, UNROLL), _multiple(classes, LANES)
    sizes = np.zeros((labellings, shape[1]), np.int32 if small else np.int64)
    sizes[:, :classes] = grouping.sizes
    counts = np.empty(shape, np.uint32)
    places = np.empty(n, np.uint16 if counts.size <= 1 << 16 else np.uint32)
    ks_tile(grouping.labellings, sizes, bins, (counts, places), features)


def tile_width(n: int) -> int:
    """Return how many columns of `n` rows are taken together."""
    return min(TILE, max(LEAST_TILE, TILE_VALUES // n // LEAST_TILE * LEAST_TILE))


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def tiles(block: NDArray[Any], start: int, *, scales: bool) -> Iterator[Tile]:
    """Yield the columns of `block` (N, width) as rows, some at a time, in the same memory.

    Args:
        block: its first column is feature `start`.
        start: see there.
        scales: whether the range of a feature's values is to be finite, too.

    Yields:
        The first feature; its and some more features' values (some, N or more); the smallest and
        the largest of each, (some,).

    Raises:
        DataError: a value that is not finite, or a range of values that overflows.
    """
    from fnx.statistics.kernels.tile import extremes

    n, width = block.shape
    tile = _empty_tile(min(tile_width(n), width), n, block.dtype)
    for first in range(0, width, len(tile)):
        part = block[:, first : first + len(tile)]
        columns = tile[: part.shape[1]]
        _fill(columns, part)
        low, high = np.empty((2, len(columns)))
        extremes(columns, n, low, high)
        _refuse_columns(part, start + first, low, high, scales)
        yield start + first, columns, low, high


def _refuse_columns(
    part: NDArray[Any],
    start: int,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    scales: bool,
) -> None:
    bad = ~(np.isfinite(low) & np.isfinite(high))
    if scales:
        with np.errstate(over="ignore", invalid="ignore"):
            bad |= ~np.isfinite(high - low)
    if not bad.any():
        return
    column = int(np.argmax(bad))
    finite = np.isfinite(part[:, column])
    if finite.all():
        raise DataError(f"feature {start + column}: the range of its values overflows float64")
    row = int(np.argmin(finite))
    raise DataError(
        f"feature {start + column} of image {row} is {part[row, column]}: every value must be "
        "finite"
    )


def _empty_tile(width: int, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return (width, N or more): rows begin on cache lines, not all in one place of the cache."""
    line = CACHE_LINE // dtype.itemsize
    stride = (-(-n // line) | 1) * line
    raw = np.empty((width * stride + line) * dtype.itemsize, dtype=np.uint8)
    skip = -raw.ctypes.data % CACHE_LINE
    used = raw[skip : skip + width * stride * dtype.itemsize]
    return used.view(dtype).reshape(width, stride)


def _fill(columns: NDArray[Any], part: NDArray[Any]) -> None:
    """Copy the columns of `part` (N, width) into the rows of `columns` (width, N or more)."""
    from fnx.statistics.kernels.tile import transpose

    if part.strides[1] == part.itemsize and part.flags.aligned and len(columns) > 1:
        transpose(part, columns)
    else:
        columns[:, : len(part)] = part.T

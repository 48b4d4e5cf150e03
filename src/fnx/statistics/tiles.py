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
from fnx.statistics.labels import Sets

MAX_CLASSES = 65_536  # held as uint16, as sets of concepts are, up to so many
SMALL_N = 65_535  # up to here N**2 / 4 fits int32
# Columns taken together: four cache lines of each row, which often lies on a page of its own; fewer
# where they would fill the memory, but at least one line of float32.
TILE, LEAST_TILE, TILE_VALUES = 64, 16, 1 << 23


@dataclass(frozen=True)
class Grouping:
    """Labellings as the kernels want them."""

    labellings: NDArray[np.uint16] | NDArray[np.uint32]  # (L, N): classes, or which of `sets`
    sizes: NDArray[np.int64]  # (L, C)
    sets: Sets | None = None  # of concepts; None where each image has one class

    def has(self, labelling: int, class_id: int) -> NDArray[np.bool_]:
        """Return which images have a class in a labelling, (N,)."""
        codes = self.labellings[labelling]
        return codes == class_id if self.sets is None else self.sets.has(codes, class_id)


NO_IMAGES = Grouping(np.empty((0, 0), np.uint16), np.empty((0, 0), np.int64))


Kernel = Callable[[Any], None]  # of the `Features` of `kernels.tile`, or of `Stored`
# (first feature, values (L, features, C), constant): takes the results of a tile.
Sink = Callable[[int, NDArray[np.float32], NDArray[np.bool_]], None]
Tile = tuple[int, NDArray[Any], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Task:
    """A statistic of given labellings, ready to be computed for any block of columns."""

    statistic: Statistic
    grouping: Grouping
    kernel: Kernel | None  # of all values; None where the other is used for them too
    stored: Kernel | None  # of the values that are not 0; None where all are needed
    scales: bool  # whether the kernel divides by the range of a feature's values

    def run(self, block: Any, start: int, sink: Sink) -> None:
        """Compute `block` (N, width), whose first column is feature `start`, tile by tile.

        It is an array or, where few values are not 0, a sparse one of columns (CSC).

        Raises:
            DataError: a value that is not finite, or a range of values that overflows.
            PluginError: the statistic's function raised, or returned NaN or a value outside of the
                statistic's range.
        """
        if hasattr(block, "toarray") and self.stored is not None:
            low, high, *given = _read_stored(block, start, scales=self.scales)
            return self._compute(self.stored, partial(_stored, *given), start, low, high, sink)
        from fnx.statistics.kernels.tile import Features

        dense = block.toarray() if hasattr(block, "toarray") else block
        for first, columns, low, high in tiles(dense, start, scales=self.scales):
            if self.kernel is not None:
                self._compute(self.kernel, partial(Features, columns), first, low, high, sink)
            elif self.stored is not None:
                features = partial(_stored, *_without_zeros(columns, len(dense)))
                self._compute(self.stored, features, first, low, high, sink)
        return None

    def _compute(
        self,
        kernel: Kernel,
        features: Callable[..., Any],
        first: int,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        sink: Sink,
    ) -> None:
        """Compute features, `first` and those after it, of which `features` holds the values."""
        from fnx.statistics.kernels.tile import CallError

        labellings, classes = self.grouping.sizes.shape
        constant = low == high
        values = np.empty((labellings, len(low), classes), dtype=np.float32)
        values[:, constant] = self.statistic.constant
        try:
            kernel(features(np.flatnonzero(~constant), low, high, values))
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
    return Task(statistic, grouping, *_kernels(statistic, bound, bins, grouping), scales)


def group(
    labellings: NDArray[Any], n_rows: int, n_classes: int, sets: Sets | None = None
) -> Grouping:
    """Check labellings (L, N) and count the images of their classes.

    Raises:
        DataError: another number of images, classes that are empty, hold all images or are too
            many, other labels.
    """
    labellings = np.asarray(labellings)
    if labellings.ndim != 2 or labellings.shape[1] != n_rows:
        raise DataError(
            f"labels for {labellings.shape[-1] if labellings.ndim else 0} images, features of "
            f"{n_rows}: must be the same number"
        )
    if not (2 if sets is None else 1) <= n_classes <= MAX_CLASSES:
        raise DataError(f"{n_classes} classes: must be 2 to {MAX_CLASSES:,}")
    end = n_classes if sets is None else sets.count
    if labellings.size and (labellings.min() < 0 or labellings.max() >= end):
        raise DataError(f"labels must lie in 0 … {end - 1}")
    if sets is None:
        counts = [np.bincount(row, minlength=n_classes) for row in labellings]
    else:
        counts = [sets.sizes(row) for row in labellings]
    sizes = np.array(counts, dtype=np.int64).reshape(-1, n_classes)
    if not sizes.all():
        raise DataError(f"class {int(np.argwhere(sizes == 0)[0, 1])} has no images")
    if sets is not None and (sizes == n_rows).any():
        raise DataError(
            f"class {int(np.argwhere(sizes == n_rows)[0, 1])} has all {n_rows} images: there are "
            "no others to compare them with"
        )
    kind: Any = np.uint16 if end <= MAX_CLASSES else np.uint32
    return Grouping(np.ascontiguousarray(labellings, dtype=kind), sizes, sets)


def _kernels(
    statistic: Statistic, parameters: dict[str, Any], bins: int | None, grouping: Grouping
) -> tuple[Kernel | None, Kernel | None]:
    """Return the kernels of `Task`."""
    from fnx.statistics.kernels import samples, stored

    bound = grouping.labellings, grouping.sizes
    own = grouping.sets or Sets.of_classes(grouping.sizes.shape[1])
    with_sets = bound[0].astype(np.uint32), bound[1], own.starts, own.members
    if statistic.kernel is None:
        from fnx.statistics.kernels.plugin import plugin_kernels

        return plugin_kernels(statistic, parameters, bins, grouping, with_sets)
    if statistic.kernel == "cohen_d":
        if grouping.sets is None:
            return partial(samples.cohen_d_tile, *bound), None
        holders = own.holders
        return partial(
            samples.cohen_d_of_sets, *with_sets[:2], holders.starts, holders.members
        ), None
    if bins is not None:
        kernels = partial(_ks, grouping, bins), partial(_ks_stored, grouping, bins, with_sets)
    elif statistic.kernel == "auroc":
        kernels = partial(samples.auroc_tile, *bound), partial(stored.auroc_stored, *with_sets)
    else:
        kernels = partial(samples.ks_exact_tile, *bound), partial(stored.exact_stored, *with_sets)
    return (kernels[0] if grouping.sets is None else None), kernels[1]


def _ks(grouping: Grouping, bins: int, features: Any) -> None:
    from fnx.statistics.kernels.histogram import ks_tile

    sizes, counts = _padded(grouping, bins)
    n = grouping.labellings.shape[1]
    places = np.empty(n, np.uint16 if counts.size <= 1 << 16 else np.uint32)
    ks_tile(grouping.labellings, sizes, bins, (counts, places), features)


def _ks_stored(grouping: Grouping, bins: int, with_sets: Any, features: Any) -> None:
    from fnx.statistics.kernels.stored import ks_stored

    codes, _, starts, members = with_sets
    sizes, counts = _padded(grouping, bins)
    ks_stored(codes, sizes, starts, members, bins, counts, features)


def _padded(grouping: Grouping, bins: int) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Return the sizes of the classes and room for counts, in numbers of classes and bins that fit.

    See `fnx.statistics.kernels.histogram.binned_extremes`.
    """
    from fnx.statistics.kernels.histogram import LANES, UNROLL

    (labellings, classes), n = grouping.sizes.shape, grouping.labellings.shape[1]
    small = n <= SMALL_N
    shape = _multiple(bins, UNROLL), _multiple(classes, LANES)
    sizes = np.zeros((labellings, shape[1]), np.int32 if small else np.int64)
    sizes[:, :classes] = grouping.sizes
    return sizes, np.empty(shape, np.uint32)


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
        _refuse_columns(partial(_dense_column, part), start + first, low, high, scales)
        yield start + first, columns, low, high


def _refuse_columns(
    values_of: Callable[[int], NDArray[Any]],
    start: int,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    scales: bool,
) -> None:
    """Refuse features that are not finite; `values_of` gives the values (N,) of one."""
    bad = ~(np.isfinite(low) & np.isfinite(high))
    if scales:
        with np.errstate(over="ignore", invalid="ignore"):
            bad |= ~np.isfinite(high - low)
    if not bad.any():
        return
    column = int(np.argmax(bad))
    values = values_of(column)
    finite = np.isfinite(values)
    if finite.all():
        raise DataError(f"feature {start + column}: the range of its values overflows float64")
    row = int(np.argmin(finite))
    raise DataError(
        f"feature {start + column} of image {row} is {values[row]}: every value must be finite"
    )


def _empty_tile(width: int, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return (width, N or more): rows begin on cache lines, not all in one place of the cache."""
    from fnx.statistics.kernels.tile import CACHE_LINE

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


def _read_stored(block: Any, start: int, *, scales: bool) -> tuple[NDArray[Any], ...]:
    """Return the extremes of the columns of a sparse block, and what `kernels.stored.Stored` has.

    Raises:
        DataError: see `tiles`.
    """
    from fnx.statistics.kernels.stored import stored_extremes

    n, width = block.shape
    starts, rows, data = block.indptr.astype(np.int64), block.indices, block.data
    low, high = np.empty((2, width))
    stored_extremes(starts, data, n, low, high)
    _refuse_columns(partial(_sparse_column, block), start, low, high, scales)
    if not data.all():  # zeros that are stored all the same
        kept = data != 0
        starts = np.concatenate([[0], np.cumsum(kept)])[starts]
        rows, data = rows[kept], data[kept]
    return low, high, starts, rows.astype(np.uint32), data


def _without_zeros(columns: NDArray[Any], n: int) -> tuple[NDArray[Any], ...]:
    """Return what `kernels.stored.Stored` has of the columns that are rows of `columns`."""
    from fnx.statistics.kernels.stored import drop_zeros

    room = len(columns) * n + 1  # a place more than is ever used
    starts = np.empty(len(columns) + 1, np.int64)
    rows, data = np.empty(room, np.uint32), np.empty(room, columns.dtype)
    drop_zeros(columns, n, starts, rows, data)
    return starts, rows, data


def _stored(*parts: Any) -> Any:
    from fnx.statistics.kernels.stored import Stored

    return Stored(*parts)


def _dense_column(part: NDArray[Any], column: int) -> NDArray[Any]:
    values: NDArray[Any] = part[:, column]
    return values


def _sparse_column(block: Any, column: int) -> NDArray[Any]:
    values: NDArray[Any] = block[:, [column]].toarray()[:, 0]
    return values

"""Exact p-values of Kolmogorov-Smirnov distances under random labels, ties and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError
from fnx.statistics.columns import open_columns

Vector = NDArray[np.float64]


def exact_p_values(
    features: Any,
    distances: Any,
    class_sizes: NDArray[np.int64],
    bins: int | None,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Vector:
    """Return P(|D| or more under random labels), two-sided, of `ks` and `ks_exact`.

    Memory beside the result: a few columns' worth of N values per thread, whatever F. Pairs of a
    feature whose classes have the same size and the same |D| are computed once.

    Args:
        features: (N, F), of which the distances are: NumPy array, memory map or zarr array.
        distances: (F, C) signed distances.
        class_sizes: (C,) number of images, of all N, of each class.
        bins: those of `ks`; None: the values themselves, as `ks_exact` and ``bins=null``.
        threads: number of threads; default one a core.
        progress: called with the number of features finished since the last call.

    Raises:
        DataError: a value that is not finite, or shapes that do not fit.
    """
    from fnx.statistics.kernels.exact_null import log_factorials, tails

    columns = open_columns(features)
    class_sizes = np.ascontiguousarray(class_sizes, np.int64)
    shape = (columns.n_columns, len(class_sizes))
    if tuple(distances.shape) != shape:
        raise DataError(f"distances have shape {tuple(distances.shape)}: must be {shape}")
    log_factorials(columns.n_rows)  # for all threads
    found = np.empty(shape)

    def run(block: tuple[int, int]) -> int:
        rows = slice(*block)
        z = integers(distances[rows], class_sizes, columns.n_rows)
        order = np.lexsort((z, np.broadcast_to(class_sizes, z.shape)), axis=1)
        logs = log_factorials(columns.n_rows)
        state = np.empty((3, int(class_sizes.max()) + 1))
        groups = tie_groups(columns.read(*block), block[0], bins)
        for one in zip(groups, z, order, found[rows], strict=True):
            of_values, wanted, sequence, values = one
            tails(of_values, class_sizes, wanted, sequence, logs, state, values)
        return block[1] - block[0]

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for width in pool.map(run, columns.blocks()):
            if progress is not None:
                progress(width)
    return found


def tie_groups(block: NDArray[Any], start: int, bins: int | None) -> Iterator[NDArray[np.int64]]:
    """Yield for each column of `block` (N, width) how many images share a bin or a value.

    By increasing value; bins are those of the kernel. `start` is the number of the first feature,
    for messages.

    Raises:
        DataError: a value that is not finite.
    """
    from fnx.statistics.kernels.histogram import bin_column

    index = np.empty(len(block), np.uint16)
    for f, column in enumerate(np.ascontiguousarray(block.T)):
        low, high = np.float64(column.min()), np.float64(column.max())
        if not np.isfinite(high - low):
            raise DataError(f"feature {start + f}: every value must be finite")
        if bins is None:
            column.sort()
            ends = np.flatnonzero(column[1:] != column[:-1]) + 1
            yield np.diff(ends, prepend=0, append=len(column))
        elif low == high:
            yield np.array([len(column)])
        else:
            bin_column(column, low, high, bins, index)
            counts = np.bincount(index)
            yield counts[counts > 0]


def integers(distances: Any, class_sizes: NDArray[np.int64], n_images: int) -> NDArray[np.int64]:
    """Return the smallest z whose z / (n (N - n)) is |D| (F, C) or more, in float32 as D is.

    D itself is such an integer, rounded. Where n (N - n) passes 2**23, several round to the same D:
    all of them count as no less than it.
    """
    scale = class_sizes.astype(np.float64) * (n_images - class_sizes)
    d = np.abs(np.asarray(distances, np.float32))
    below = np.nextafter(d, np.float32(0)).astype(np.float64)
    z = np.ceil((below + d) / 2 * scale)
    z -= np.float32((z - 1) / scale) >= d
    z += np.float32(z / scale) < d
    return np.where(d > 0, z, 0).astype(np.int64)

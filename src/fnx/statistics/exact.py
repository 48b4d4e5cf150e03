"""Exact p-values of Kolmogorov-Smirnov distances under random labels, ties and all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError
from fnx.statistics.bridge import read_ties
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block

Vector = NDArray[np.float64]


def exact_p_values(
    features: Any,
    distances: Any,
    class_sizes: NDArray[np.int64],
    bins: int | None,
    *,
    wanted: NDArray[np.bool_] | None = None,
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
        wanted: (F, C) the pairs to compute, the others are NaN; default all.
        threads: number of threads; default one a core.
        progress: called with the number of features finished since the last call.

    Raises:
        DataError: a value that is not finite, or shapes that do not fit.
    """
    from fnx.statistics.kernels.exact_null import log_factorials, tails

    columns = open_columns(features)
    class_sizes = np.ascontiguousarray(class_sizes, np.int64)
    shape = (columns.n_columns, class_sizes.size)
    if tuple(distances.shape) != shape:
        raise DataError(f"distances have shape {tuple(distances.shape)}: must be {shape}")
    logs = log_factorials(columns.n_rows)
    found = np.full(shape, np.nan)

    def work(start: int, stop: int) -> None:
        if wanted is not None:
            some = start + np.flatnonzero(wanted[start:stop].any(axis=1))
            if not some.size:
                return
            start, stop = int(some[0]), int(some[-1]) + 1
        ties = read_ties(columns, start, stop, bins=bins)
        z = integers(distances[start:stop], class_sizes, columns.n_rows)
        # So that pairs of the same size and distance follow each other.
        order = np.lexsort((z, np.broadcast_to(class_sizes, z.shape)), axis=1)
        state = np.empty((3, int(class_sizes.max()) + 1))
        for f in range(stop - start):
            ends = ties.ends[ties.offsets[f] : ties.offsets[f + 1]]
            groups = np.diff(ends, prepend=0).astype(np.int64)
            asked = order[f] if wanted is None else order[f][wanted[start + f, order[f]]]
            tails(groups, class_sizes, z[f], asked, logs, state, found[start + f])

    each_block(columns, work, threads=threads, progress=progress)
    return found


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

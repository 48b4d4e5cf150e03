"""Runs a statistic over all features, classes and labellings in one pass over the embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fnx.registry.registry import Statistic
from fnx.statistics.columns import Columns, open_columns, warn_of_zeros
from fnx.statistics.labels import Sets
from fnx.statistics.tiles import Task, group, prepare
from fnx.utils.cores import cores


class Distances(NamedTuple):
    """Distances of all labellings, and which features are constant."""

    values: Any  # float32 (L, F, C), or what was given as `out`
    constant: NDArray[np.bool_]  # (F,)

    def put(self, start: int, values: NDArray[np.float32], constant: NDArray[np.bool_]) -> None:
        """Write the distances (L, width, C) of the features from `start` on."""
        stop = start + constant.size
        for whole, part in zip(self.values, values, strict=True):
            whole[start:stop] = part
        self.constant[start:stop] = constant


def empty_distances(task: Task, features: int, out: Any = None) -> Distances:
    """Return what a task's results go to: `out`, or a new array."""
    if out is None:
        labellings, classes = task.grouping.sizes.shape
        out = np.empty((labellings, features, classes), dtype=np.float32)
    return Distances(out, np.zeros(features, dtype=np.bool_))


def all_distances(
    features: Any,
    labellings: NDArray[Any],
    n_classes: int,
    statistic: Statistic,
    parameters: Mapping[str, Any] | None = None,
    *,
    sets: Sets | None = None,
    out: Sequence[NDArray[np.float32]] | NDArray[np.float32] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Distances:
    """Compute the distance of every feature and class under every labelling, in one pass.

    Memory beside `out`: a few columns' worth of N values per thread, whatever F. The result does
    not depend on the number of threads.

    Args:
        features: (N, F) real numbers: NumPy array, memory map or zarr array, any memory order; or
            a sparse matrix, of which some statistics need the values that are not 0 only.
        labellings: (L, N) integers in 0 … n_classes - 1; each class has images in each labelling.
            With `sets`, the set of concepts that each image has.
        n_classes: number of classes C, 2 or more.
        statistic: what to compute (one of `fnx.registry.statistics`).
        parameters: its parameters; those left out have their defaults.
        sets: of concepts, which are then the classes; each against all images that lack it.
        out: where to write: L arrays (F, C), for example memory maps; default a new array.
        threads: number of threads; default one a core.
        progress: called with the number of features finished since the last call.

    Raises:
        DataError: a value that is not finite (names feature and image), shapes that do not fit.
        ConfigError: a parameter that is unknown or not allowed.
        PluginError: the statistic cannot be compiled, or returned NaN or a value out of its range.
    """
    columns = open_columns(features)
    task = prepare(statistic, parameters, group(labellings, columns.n_rows, n_classes, sets))
    warn_of_zeros(columns, statistic, parameters)
    found = empty_distances(task, columns.n_columns, out)

    def work(start: int, stop: int) -> None:
        task.run(columns.block(start, stop), start, found.put)

    each_block(columns, work, threads=threads, progress=progress)
    return found


def each_block(
    columns: Columns,
    work: Callable[[int, int], None],
    *,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Call `work` for the first and last-but-one column of every block, several at once.

    Of several that raise, the first one in the order of the columns is raised.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        futures = [(pool.submit(work, *block), block) for block in columns.blocks()]
        try:
            for future, (start, stop) in futures:
                future.result()
                if progress is not None:
                    progress(stop - start)
        finally:
            for future, _ in futures:
                future.cancel()

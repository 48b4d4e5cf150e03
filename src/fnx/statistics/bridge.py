"""The null of the Kolmogorov-Smirnov distance of each feature, from Brownian bridges.

√n_e |D| of a class tends to the largest |B(t)| of a Brownian bridge B over the values t that the
feature's pooled distribution function takes: at the upper edges of its bins, or at its distinct
values. So many zeros, which are one value, count once. One table serves every class.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fnx.statistics.columns import Columns
from fnx.statistics.tiles import tiles
from fnx.utils.cores import cores

FEATURES = 4_096  # that are drawn together: the memory of a table of draws is theirs
RUNS = 1 << 22  # of positions, likewise


class Ties(NamedTuple):
    """Groups of tied values of features that follow each other."""

    offsets: NDArray[np.int64]  # (width + 1,) where the groups of each feature begin
    ends: NDArray[np.int32]  # the number of values up to each group's; the last of a feature is N


def read_ties(columns: Columns, start: int, stop: int, *, bins: int | None) -> Ties:
    """Find the groups of the features start … stop - 1: their bins, or their distinct values.

    Raises:
        DataError: a value that is not finite.
    """
    from fnx.statistics.kernels.ties import binned_ends, exact_ends

    n, parts, counts = columns.n_rows, [], []
    block = columns.read(start, stop)
    for _, tile, low, high in tiles(block, start, scales=bins is not None):
        ends = np.empty((len(tile), bins or n), np.int32)
        found = np.empty(len(tile), np.int64)
        (binned_ends if bins else exact_ends)(tile, n, low, high, ends, found)
        parts.append(ends[np.arange(ends.shape[1]) < found[:, None]])
        counts.append(found)
    return Ties(np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(parts))


def draw_suprema(
    columns: Columns,
    bins: int | None,
    draws: int,
    seed: int,
    take: Callable[[int, NDArray[np.float32]], None],
    progress: Callable[[int], object],
) -> None:
    """Draw sup |B(t)| for every feature; all features share the same bridges.

    Args:
        columns: the features.
        bins: of ``ks``; None: at the distinct values.
        draws: how many bridges; draw m depends on the seed and on m alone.
        seed: of NumPy's PCG64.
        take: is given the first feature and the draws (features, draws) of some of them.
        progress: is called with the number of features finished since the last call.
    """
    with ThreadPoolExecutor(cores()) as pool:
        waiting: list[Ties] = []
        blocks = columns.blocks()
        start = stop = 0
        wave = 2 * cores()
        for first in range(0, len(blocks), wave):
            some = blocks[first : first + wave]
            waiting += pool.map(partial(read_ties, columns, bins=bins), *zip(*some, strict=True))
            stop = some[-1][1]
            full = sum(ties.ends.size for ties in waiting) > RUNS or stop - start >= FEATURES
            if full or stop == columns.n_columns:
                take(start, _suprema(waiting, columns.n_rows, draws, seed, pool))
                progress(stop - start)
                waiting, start = [], stop


def _suprema(
    parts: list[Ties], n: int, draws: int, seed: int, pool: ThreadPoolExecutor
) -> NDArray[np.float32]:
    from fnx.statistics.kernels.bridge import LANES, STRIDE, make_bridges, suprema

    runs = _runs(parts, n)
    batches = -(-draws // LANES)
    result = np.empty((runs[0].size - 1, batches, LANES), np.float32)

    def draw(batch: int) -> None:
        walks = np.empty((n + 1, LANES), np.float32)
        np.random.default_rng([seed, batch]).standard_normal(out=walks, dtype=np.float32)
        tops = np.empty((n // STRIDE + 1, LANES), np.float32)
        make_bridges(walks, tops)
        found = np.empty((len(result), LANES), np.float32)
        suprema(walks, tops, *runs, found)
        result[:, batch] = found

    for _ in pool.map(draw, range(batches)):
        pass
    return result.reshape(len(result), -1)[:, :draws]


def _runs(parts: list[Ties], n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return offsets (F + 1,), first and last of the runs of positions that follow each other."""
    ends = np.concatenate([ties.ends for ties in parts])
    sizes = np.concatenate([np.diff(ties.offsets) for ties in parts])
    # A group that ends at N ends its feature: a bridge is 0 there, and the next one's is lower.
    begins = np.append(True, np.diff(ends) != 1)
    firsts, lasts = ends[begins], ends[np.append(begins[1:], True)]
    feature = np.repeat(np.arange(sizes.size), sizes)[begins]
    return np.searchsorted(feature, np.arange(sizes.size + 1)), firsts, lasts

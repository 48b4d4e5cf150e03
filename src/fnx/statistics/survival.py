"""How often draws reach a value: the largest ones exactly, the others within a few percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.03  # of the ranks kept: a count between two of them is taken as 3 % too many at most
SHIFT = 17  # bits dropped of a float32 where draws are counted: 64 values for each doubling


@dataclass(frozen=True)
class Survival:
    """Some of the sorted draws of each row, the largest first.

    Attributes:
        ranks: (K,) int64 from 1, ascending: which of the sorted draws are kept.
        values: (rows, K) float32: the draws of these ranks.
        draws: how many there are in each row.
    """

    ranks: NDArray[np.int64]
    values: NDArray[np.float32]
    draws: int

    @classmethod
    def of(cls, draws: NDArray[np.floating]) -> Survival:
        """Keep what is needed of `draws` (M, rows)."""
        ranks = kept_ranks(len(draws))
        ordered = np.sort(draws.astype(np.float32), axis=0)[::-1]
        return cls(ranks, np.ascontiguousarray(ordered[ranks - 1].T), len(draws))

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Survival:
        """Make one row of the draws of which `count` made `counts`."""
        bins = np.flatnonzero(counts)[::-1]
        reached = np.cumsum(counts[bins])
        # Each draw as the largest value of its bin: none is taken for smaller than it is.
        ends = ((bins + 1 << SHIFT) - 1).astype(np.uint32).view(np.float32)
        values = np.where(np.isnan(ends), np.float32(np.inf), ends)
        return cls(np.append(1, 1 + reached[:-1]), values[None], int(reached[-1]))

    @classmethod
    def joined(cls, parts: Sequence[Survival]) -> Survival:
        """Put the rows of several, with as many draws each, below each other."""
        return cls(parts[0].ranks, np.vstack([part.values for part in parts]), parts[0].draws)

    def p_values(self, values: NDArray[np.floating], first: int = 0) -> NDArray[np.float64]:
        """Return the share of draws that reach each value: (1 + their number) / (1 + all draws).

        Args:
            values: (rows, C).
            first: the row of draws that belongs to the first row; where there is one row of draws,
                it belongs to all.
        """
        # By the number of values kept that reach it: what lies between two ranks reaches it too.
        counts = np.append(self.ranks - 1, self.draws)
        reached = np.empty(values.shape, np.int64)
        for row, sought in enumerate(values.astype(np.float32)):
            kept = self.values[(first + row) % len(self.values)][::-1]
            reached[row] = counts[kept.size - np.searchsorted(kept, sought)]
        return np.asarray((1.0 + reached) / (1.0 + self.draws), np.float64)

    def sample(
        self, rng: np.random.Generator, shape: tuple[int, ...], row: int
    ) -> NDArray[np.float64]:
        """Draw from a row; between two ranks that are kept, values are taken as even."""
        rank = rng.integers(1, self.draws, shape, endpoint=True)
        return np.asarray(np.interp(rank, self.ranks, self.values[row % len(self.values)]))


def kept_ranks(draws: int) -> NDArray[np.int64]:
    """Return the ranks that are kept of so many sorted draws: the first ones, then fewer and fewer.

    >>> kept_ranks(40)[-4:]
    array([34, 36, 38, 40])
    """
    ranks, rank = [], 1
    while rank < draws:
        ranks.append(rank)
        rank = max(rank + 1, int(np.ceil(rank * GROWTH)))
    return np.array([*ranks, draws], np.int64)


def count(draws: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count draws of 0 or more by the leading bits of their float32; such counts may be added."""
    bits = np.ascontiguousarray(draws, np.float32).view(np.uint32).ravel() >> np.uint32(SHIFT)
    return np.bincount(bits, minlength=1 << (32 - SHIFT)).astype(np.int64)

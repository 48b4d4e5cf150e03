"""fnx's own statistics: each one function with its formula, range, sign and source.

The functions are the definitions; where a statistic names a `kernel`, the engine computes the same
values for all pairs at once, and the tests hold the two against each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnx.registry.registry import statistic

Vector = NDArray[np.float64]

ROUNDING = 1e-12  # two sides closer than this are tied: they differ by rounding alone


@statistic("ks", range=(-1, 1), kernel="ks")
def ks(inner: Vector, outer: Vector) -> float:
    """Signed Kolmogorov-Smirnov distance on equal-width bins (paper, Eq. 3).

    D = F_outer - F_inner at the bin's upper edge where the difference is largest, so D > 0 where
    the class has the higher values; a tie between the two sides goes to +. Range [-1, 1].

    Bins are those of ``numpy.histogram(values, bins)`` in float64 on all values of the feature:
    equal width between their minimum and maximum, each closed below, the last closed on both
    sides. ``bins=null`` is the exact distance, `ks_exact`. `scipy.stats.ks_2samp(inner, outer)`
    reports the opposite sign.

    >>> float(ks(np.array([0.0, 1.0]), np.array([0.75, 0.25])))
    0.75
    """
    high = low = cumulated = 0.0
    for b in range(inner.size):
        cumulated += outer[b] - inner[b]
        high, low = max(high, cumulated), min(low, cumulated)
    return low if -low > high + ROUNDING else high


@statistic("ks_exact", range=(-1, 1), on="samples", kernel="ks_exact")
def ks_exact(inner: Vector, outer: Vector) -> float:
    """Exact signed Kolmogorov-Smirnov distance, ties handled (paper, Eq. 3).

    D = F_outer(x) - F_inner(x) at the x where the difference is largest; D > 0 where the class has
    the higher values; a tie between the two sides goes to +. Range [-1, 1]. Invariant under
    strictly increasing maps of the feature.

    Args:
        inner: sorted values of the class.
        outer: sorted values of all other images.

    >>> ks_exact(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.5
    """
    values = np.concatenate((inner, outer))
    below_inner = np.searchsorted(inner, values, side="right") / inner.size
    below_outer = np.searchsorted(outer, values, side="right") / outer.size
    difference = below_outer - below_inner
    high, low = max(difference.max(), 0.0), min(difference.min(), 0.0)
    return float(low if -low > high + ROUNDING else high)

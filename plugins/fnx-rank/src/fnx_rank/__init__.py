"""Statistics of ranks for fnx: `cliffs_delta`, with a sign, and `cramer_von_mises`, without.

`inner` are the sorted values of the class, `outer` those of all other images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnx import statistic

Vector = NDArray[np.float64]


@statistic("cliffs_delta", range=(-1, 1), on="samples", calibratable=True)
def cliffs_delta(inner: Vector, outer: Vector) -> float:
    """Cliff's delta: how much more often the class is higher than lower (Cliff 1993).

    delta = P(inner > outer) - P(inner < outer) over all pairs of images, = 2 `auroc` - 1. Range
    [-1, 1]; positive where the class has the higher values; ties count for neither side.

    >>> cliffs_delta(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.75
    """
    below = np.searchsorted(outer, inner, side="left").sum()
    not_above = np.searchsorted(outer, inner, side="right").sum()
    pairs = inner.size * outer.size
    return float((below + not_above - pairs) / pairs)


@statistic("cramer_von_mises", range=(0, float("inf")), on="samples")
def cramer_von_mises(inner: Vector, outer: Vector) -> float:
    """Two-sample Cramér-von Mises statistic (Anderson 1962).

    T = n m / (n + m)**2 * sum of (F_inner(z) - F_outer(z))**2 over all n + m values z, ties handled
    by the distribution functions themselves. Unsigned, from 0 up; of the order of 1/6 for equal
    distributions, whatever n and m. Without ties it is
    `scipy.stats.cramervonmises_2samp(inner, outer).statistic`.

    >>> cramer_von_mises(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
    0.125
    """
    n, m = inner.size, outer.size
    total = 0.0
    i = j = 0
    while i < n or j < m:
        before = i + j
        value = inner[i] if j == m or (i < n and inner[i] <= outer[j]) else outer[j]
        while i < n and inner[i] == value:
            i += 1
        while j < m and outer[j] == value:
            j += 1
        difference = i / n - j / m
        total += (i + j - before) * difference * difference
    return float(n * m / (n + m) ** 2 * total)

"""The exact null distribution of the two-sample Kolmogorov-Smirnov distance, and step-up on it."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.statistics.kernels.compilation import cached_njit


@lru_cache(maxsize=100_000)
def p_value(n: int, m: int, z: int) -> float:
    """P(D >= z / (n m)) for samples of n and m from one continuous distribution, two-sided, exact.

    The merged sample is a random path from (0, 0) to (n, m); D >= z / (n m) if it touches a point
    (i, j) with |i m - j n| >= z. The probability of touching is summed up over the path's steps
    (Hodges 1957), without subtractions, so that small p-values keep their digits.

    >>> round(p_value(3, 4, 12), 6)  # the two samples do not overlap: 2 / C(7, 3)
    0.057143
    """
    small, large = min(n, m), max(n, m)
    return float(_touching(small, large, z)) if z > 0 else 1.0


@cached_njit(nogil=True)
def _touching(n: int, m: int, z: int) -> float:
    """Probability of touching |i n - j m| >= z on the way; i counts the larger sample m."""
    total = n + m
    inside = np.zeros(n + 1)  # probability of being at (i, j), never having touched
    inside[0] = 1.0
    touched = 0.0
    for i in range(m + 1):
        # Points from just below the band (they are left over from the row before) to just above.
        low = max((i * n - z) // m - 1, 0)
        high = min((i * n + z) // m + 1, n)
        for j in range(low, high + 1):
            here = 0.0
            if i > 0:
                here += inside[j] * ((m - i + 1) / (total - i - j + 1))
            if j > low:
                here += inside[j - 1] * ((n - j + 1) / (total - i - j + 1))
            if i == 0 and j == 0:
                here = 1.0
            if abs(i * n - j * m) >= z:
                touched += here
                here = 0.0
            inside[j] = here
    return min(touched, 1.0)


def critical(n: int, m: int, level: float) -> int:
    """Smallest z with ``p_value(n, m, z) <= level``; n m + 1 if there is none.

    >>> critical(3, 4, 0.06), critical(3, 4, 0.05)
    (10, 13)
    """
    # From Smirnov's asymptotic value outwards; what lies between is settled by bisection.
    guess = int(n * m * np.sqrt(np.log(2 / min(level, 1.0)) * (n + m) / (2 * n * m)))
    low = high = min(max(guess, 1), n * m)
    step = max(guess // 20, 1)
    while high <= n * m and p_value(n, m, high) > level:
        high, step = high + step, 2 * step
    while low > 0 and p_value(n, m, low) <= level:
        low, step = low - step, 2 * step
    low, high = max(low, 0), min(high, n * m + 1)
    return bisect_left(range(high), True, low, high, key=lambda z: p_value(n, m, z) <= level)


def step_up_threshold(distances: NDArray[np.float64], n: int, m: int, alpha: float) -> float:
    """Find the |D| above which Benjamini and Hochberg's procedure rejects; inf if none.

    The k largest distances are rejected for the largest k whose k-th distance has a p-value of at
    most alpha k / F. Starting from k = F, k becomes the number of distances that are critical at
    that level until it stays the same. `distances` (F,) are |D| of the features of one class, of n
    images beside m others.
    """
    # Distances are integers over n m; stored as float32, they round back to them.
    z = np.sort(np.rint(distances * (float(n) * m)).astype(np.int64))
    k = z.size
    while k:
        found = z.size - int(np.searchsorted(z, critical(n, m, alpha * k / z.size)))
        if found == k:
            break
        k = found
    if not k:
        return float("inf")
    below: Any = z[z < z[-k]]
    return float((z[-k] + (below[-1] if below.size else 0)) / 2 / (float(n) * m))

"""Distances that ask how far values must move, for fnx: `wasserstein` and `energy`, with a sign.

`inner` are the sorted values of the class, `outer` those of all other images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx import statistic

Vector = NDArray[np.float64]

INF = float("inf")
LARGEST = float(np.finfo(np.float64).max)
ROUNDING = 1e-12  # means closer than this, in units of the distance, are equal


@statistic("wasserstein", range=(-INF, INF), on="samples", calibratable=True)
def wasserstein(inner: Vector, outer: Vector, standardized: bool = False) -> float:
    """Signed Wasserstein-1 (earth mover's) distance: how far the values must move on average.

    W = integral of |F_outer - F_inner|, with the sign of mean(inner) - mean(outer), so W > 0 where
    the class has the higher values; equal means give +. Unbounded, in the units of the feature. Its
    magnitude is `scipy.stats.wasserstein_distance(inner, outer)`.

    `standardized` divides by the standard deviation of all values, which makes features with
    different units comparable; one threshold for all of them needs it.

    >>> wasserstein(np.array([2.0, 4.0]), np.array([0.0, 1.0]))
    2.5
    """
    absolute, _, signed = areas(inner, outer)
    scale, width = unit(inner, outer)
    distance = absolute / deviation(inner, outer) if standardized else absolute / scale * width
    return float(-distance if signed < -ROUNDING * absolute else distance)


@statistic("energy", range=(-INF, INF), on="samples", calibratable=True)
def energy(inner: Vector, outer: Vector, standardized: bool = False) -> float:
    """Signed energy distance (Székely and Rizzo 2013).

    E = sqrt(2 integral of (F_outer - F_inner)**2), with the sign of mean(inner) - mean(outer), so
    E > 0 where the class has the higher values; equal means give +. Unbounded, in the square root
    of the feature's units. Its magnitude is `scipy.stats.energy_distance(inner, outer)`.

    `standardized` divides by the square root of the standard deviation of all values.

    >>> round(energy(np.array([2.0, 4.0]), np.array([0.0, 1.0])), 4)
    1.8708
    """
    absolute, squared, signed = areas(inner, outer)
    scale, width = unit(inner, outer)
    if standardized:
        distance = np.sqrt(2 * squared / deviation(inner, outer))
    else:
        distance = np.sqrt(2 * squared / scale) * np.sqrt(width)
    return float(-distance if signed < -ROUNDING * absolute else distance)


# Helpers are plain functions: fnx compiles what a statistic of this module calls along with it.
# They measure in units of the range of the values, so that nothing overflows, vanishes or cancels.


def unit(inner: Vector, outer: Vector) -> Any:
    """Return what the values are multiplied by, 1/2 where their range overflows, and the range."""
    low, high = min(inner[0], outer[0]), max(inner[-1], outer[-1])
    scale = 1.0 if high / 2 - low / 2 <= LARGEST / 2 else 0.5
    return scale, high * scale - low * scale


def areas(inner: Vector, outer: Vector) -> Any:
    """Integrals of |d|, d**2 and d, the difference F_outer - F_inner of two sorted samples."""
    scale, width = unit(inner, outer)
    absolute = squared = signed = 0.0
    if width == 0:
        return absolute, squared, signed
    i = j = 0
    x = min(inner[0], outer[0])
    while i < inner.size or j < outer.size:
        from_inner = j == outer.size or (i < inner.size and inner[i] <= outer[j])
        after = inner[i] if from_inner else outer[j]
        difference = j / outer.size - i / inner.size
        step = (after * scale - x * scale) / width
        absolute += abs(difference) * step
        squared += difference * difference * step
        signed += difference * step
        x = after
        if from_inner:
            i += 1
        else:
            j += 1
    return absolute, squared, signed


def deviation(inner: Vector, outer: Vector) -> float:
    """Compute the standard deviation of all values together (that of the population)."""
    scale, width = unit(inner, outer)
    if width == 0:
        return 1.0  # as good as any: equal values are not apart
    n, low = inner.size + outer.size, min(inner[0], outer[0])
    a, b = (inner * scale - low * scale) / width, (outer * scale - low * scale) / width
    mean = (a.sum() + b.sum()) / n
    squares = ((a - mean) ** 2).sum() + ((b - mean) ** 2).sum()
    return float(np.sqrt(squares / n))

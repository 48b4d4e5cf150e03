"""What compiled loops over plugins' functions share: how to call them, what they may give."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fnx.statistics.kernels.compilation import cached_njit

VECTOR = types.float64[::1]
OUT_OF_FLOAT32 = "its result does not fit float32, in which distances are held: change the unit"
# Of every plugin: inner, outer, n_inner, n_outer. One type, so that the loops compile once.
SIGNATURE = types.float64(VECTOR, VECTOR, types.int64, types.int64)


@cached_njit(nogil=True)
def beyond_float32(value: float, least: float) -> bool:
    """Return whether a number becomes infinite as float32, or is 0 … `least` away from 0."""
    return 0 < abs(value) < least or (np.isinf(np.float32(value)) and not np.isinf(value))


@cached_njit(nogil=True)
def call_histograms(
    function: Any, counts: Any, totals: Any, sizes: Any, n: int, place: Any, found: Any
) -> None:
    """Call a function of two histograms for every class; `place` notes which one it is at.

    Args:
        function: of `SIGNATURE`.
        counts: (bins, C) images per bin and class.
        totals: (bins,) images per bin.
        sizes: (C,) images of each class.
        n: number of images.
        place: the class is written to its second number.
        found: (C,) float32: the result.
    """
    bins = totals.size
    inner, outer = np.empty(bins), np.empty(bins)
    for c in range(found.size):
        size = sizes[c]
        for b in range(bins):
            inner[b] = counts[b, c] / size
            outer[b] = (totals[b] - np.int64(counts[b, c])) / (n - size)
        place[1] = c
        found[c] = function(inner, outer, size, n - size)

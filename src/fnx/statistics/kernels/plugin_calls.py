"""What compiled loops over plugins' functions share: how to call them, what they may give."""

from __future__ import annotations

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

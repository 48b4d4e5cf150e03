"""Compiled counting of distances on a grid of candidate thresholds."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(nogil=True, cache=True)
def tally(values: Any, edges: Any, above: Any, below: Any) -> None:
    """Add each value to `above[k]`, and its negative to `below[k]`; k = number of edges below it.

    Args:
        values: (M,) floats without NaN; infinities allowed.
        edges: (K,) increasing, of the same type, from 0 in nearly equal steps.
        above: (K + 1,) int64, added to.
        below: (K + 1,) int64, added to.
    """
    last = edges.size - 1
    per_edge = last / edges[last] if edges[last] > 0 else 0.0
    for i in range(values.size):
        value = values[i]
        positive = value > 0
        magnitude = value if positive else -value
        k = 0
        if magnitude > edges[last]:
            k = edges.size
        elif magnitude > 0:
            # The quotient is right but for rounding; the edges themselves decide.
            k = min(int(magnitude * per_edge), last)
            while k > 0 and edges[k - 1] >= magnitude:
                k -= 1
            while edges[k] < magnitude:
                k += 1
        if positive:
            above[k] += 1
        else:
            below[k] += 1

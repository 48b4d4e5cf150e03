"""What threshold strategies return: a threshold on each side, and the curve behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Side:
    """One sign's threshold and what it keeps.

    `kept` is the mean number of features per class with a distance beyond the threshold, under real
    labels; `kept_random` the same under random labels, averaged over the permutations, so the
    expected number of false features among those kept, were none of them true; `spread` its
    standard deviation over the permutations (NaN for one); `davg` = kept - kept_random (paper,
    Eq. 4).

    A strategy may have a threshold for each class: `by_class` (C,), else None; inf (-inf) for a
    class that keeps nothing. It then determines what is kept, and `threshold` only summarises it:
    the median over the classes that keep anything, and the end of the curve if there are none.
    """

    threshold: float
    davg: float
    kept: float
    kept_random: float
    spread: float
    by_class: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Curve:
    """The excess of real over random features at each candidate threshold (paper, Eq. 4).

    `x` (K,) are how far the candidates lie from the statistic's neutral value, from 0 up;
    `davg_minus` at `x` belongs to the threshold neutral - x, and is None for an unsigned statistic.
    """

    x: NDArray[np.float64]
    davg_plus: NDArray[np.float64]
    davg_minus: NDArray[np.float64] | None


@dataclass(frozen=True)
class Thresholds:
    """What to keep: features with D above the threshold of `plus`, or below that of `minus`.

    `minus` is None for an unsigned statistic.
    """

    plus: Side
    minus: Side | None
    curve: Curve

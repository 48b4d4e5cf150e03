"""fnx's own threshold strategies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.registry import threshold
from fnx.thresholds.api import Curve, Thresholds
from fnx.thresholds.counting import count_beyond, grid, largest

MAX_CANDIDATES = 100_000  # of a statistic without an upper bound


@threshold("randomized_labels", permutations=5)
def randomized_labels(
    real: NDArray[Any],
    random: NDArray[Any],
    step: float = 0.001,
    range: tuple[float, float] | None = None,
) -> Thresholds:
    """The threshold with the largest excess of real over random features (paper, Section 7, Eq. 4).

    d_avg(x) = mean over classes of the number of features with D > x, under real labels minus under
    random ones (averaged over the permutations), on a grid of x from 0; t+ is the x where it is
    largest, a tie going to the smallest x. t- is the mirror image, with D < x for x from 0 down.

    Args:
        real: (F, C) distances.
        random: (R, F, C) distances under random labels.
        step: distance of neighbouring candidates.
        range: of the statistic; candidates reach to its end, or to the largest finite distance.
    """
    signed, limit = _extent(real, random, step, range)
    x = grid(step, limit)
    classes, permutations = real.shape[1], len(random)
    real_plus, real_minus = count_beyond(real, x, negative=signed)
    counted = [count_beyond(one, x, negative=signed) for one in random]

    def side(kept: NDArray[np.int64], noise: NDArray[np.int64]) -> tuple[Any, ...]:
        # Whole numbers up to here, so that equal excesses are equal.
        excess = permutations * kept - noise.sum(axis=0)
        k = int(np.argmax(excess))
        by_chance = noise[:, k] / classes
        spread = float(by_chance.std(ddof=1)) if permutations > 1 else float("nan")
        davg = excess / (permutations * classes)
        return k, davg, float(kept[k] / classes), float(by_chance.mean()), spread

    k, davg_plus, kept, by_chance, spread = side(real_plus, np.array([c[0] for c in counted]))
    plus = (float(x[k]), float(davg_plus[k]), kept, by_chance, spread)
    if real_minus is None:
        return Thresholds(*plus, None, None, None, None, None, Curve(x, davg_plus, None))
    k, davg_minus, kept, by_chance, spread = side(real_minus, np.array([c[1] for c in counted]))
    minus = (0.0 - float(x[k]), float(davg_minus[k]), kept, by_chance, spread)
    return Thresholds(*plus, *minus, Curve(x, davg_plus, davg_minus))


def _extent(
    real: Any, random: Any, step: float, range: tuple[float, float] | None
) -> tuple[bool, float]:
    """Whether there is a negative side, and where the candidates end."""
    if range is not None and np.isfinite(range).all():
        return range[0] < 0, max(abs(range[0]), abs(range[1]))
    found = np.array([largest(one) for one in (real, *random)])
    low, high = float(found[:, 0].min()), float(found[:, 1].max())
    signed = low < 0 if range is None else range[0] < 0
    limit = max(-low if signed else 0.0, high)
    if range is None and limit <= 1:
        return signed, 1.0
    # The last candidate must not lie below the largest distance by more than a step.
    return signed, min(limit + step, MAX_CANDIDATES * step)

"""fnx's own threshold strategies.

They get the distances under real labels, (F, C), and under random ones, (R, F, C).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError
from fnx.registry.registry import threshold
from fnx.thresholds.counting import check_step
from fnx.thresholds.evaluation import evaluate, on_grid
from fnx.thresholds.result import Thresholds

Range = tuple[float, float]


def _check_step(
    step: float, permutations: int, range: Range | None = None, neutral: float = 0.0
) -> None:
    low, high = range or (-math.inf, math.inf)
    bounded = math.isfinite(low) and math.isfinite(high)
    check_step(step, max(neutral - low, high - neutral) if bounded else 1.0)


@threshold("randomized_labels", permutations=5, check=_check_step)
def randomized_labels(
    real: NDArray[Any],
    random: NDArray[Any],
    step: float = 0.001,
    range: Range | None = None,
    neutral: float = 0.0,
) -> Thresholds:
    """Maximise the excess of real over random features (paper, Section 7, Eq. 4).

    d_avg(x) = mean over classes of the number of features with D > x, under real labels minus under
    random ones (averaged over the permutations), on a grid of x from 0; t+ is the x where it is
    largest, a tie going to the smallest x. t- is the mirror image, with D < x for x from 0 down; of
    a statistic whose `neutral` value is not 0, x goes up and down from there.

    Candidates are `step` apart and reach to the end of the statistic's `range`. Of an unbounded
    statistic they reach to the largest finite distance, and `step` is a share: up to the typical
    distance (the geometric mean of how far they lie from neutral) candidates are that share apart,
    beyond it each is larger than the last by that share. So t does not depend on the unit of D.
    """

    def largest_excess(x: Any, kept: NDArray[np.int64], noise: NDArray[np.int64]) -> int:
        # Whole numbers, so that equal excesses are equal.
        return int(np.argmax(len(noise) * kept - noise.sum(axis=0)))

    return on_grid(real, random, largest_excess, range=range, step=step, neutral=neutral)


def _check_fixed(
    t_plus: float,
    t_minus: float | None,
    permutations: int,
    range: Range | None = None,
    neutral: float = 0.0,
) -> None:
    low, high = range or (-math.inf, math.inf)
    if not neutral <= t_plus <= high:
        raise ConfigError(f"threshold.t_plus={t_plus:g}: must lie in {neutral:g} … {high:g}")
    low = low if low < neutral else -math.inf  # an unsigned statistic has no use for t_minus
    if t_minus is not None and not low <= t_minus <= neutral:
        raise ConfigError(f"threshold.t_minus={t_minus:g}: must lie in {low:g} … {neutral:g}")


@threshold("fixed", permutations=5, check=_check_fixed)
def fixed(
    real: NDArray[Any],
    random: NDArray[Any],
    t_plus: float = 0.3,
    t_minus: float | None = None,
    range: Range | None = None,
    neutral: float = 0.0,
) -> Thresholds:
    """Take the thresholds that are given, for example those of another run.

    D > `t_plus` and D < `t_minus` (null: as far below the statistic's `neutral` value, so -t_plus
    where that is 0) are kept; thresholds outside of the statistic's `range` are refused.
    """
    return evaluate(real, random, t_plus, t_minus, range=range, neutral=neutral)


def _check_quantile(
    q: float, step: float, permutations: int, range: Range | None = None, neutral: float = 0.0
) -> None:
    if not 0 < q < 1:
        raise ConfigError(f"threshold.q={q:g}: must lie between 0 and 1")
    _check_step(step, permutations, range, neutral)


@threshold("quantile", permutations=5, check=_check_quantile)
def quantile(
    real: NDArray[Any],
    random: NDArray[Any],
    q: float = 0.99,
    step: float = 0.001,
    range: Range | None = None,
    neutral: float = 0.0,
) -> Thresholds:
    """Take a quantile of the distances under random labels: a known share of false features.

    t+ is the smallest candidate x from 0 with at most a share 1 - q of the random distances (of all
    features, classes and permutations) above it, and t- its mirror image; so random labels keep at
    most (1 - q) F features a class on each side. Candidates are those of `randomized_labels`.
    """
    allowed = (1 - q) * len(random) * real.size * (1 + 1e-12)

    def first_allowed(x: Any, kept: NDArray[np.int64], noise: NDArray[np.int64]) -> int:
        below = np.flatnonzero(noise.sum(axis=0) <= allowed)
        return int(below[0]) if below.size else x.size - 1

    return on_grid(real, random, first_allowed, range=range, step=step, neutral=neutral)

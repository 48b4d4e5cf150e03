"""What given thresholds keep under real and under random labels: the end of every strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.thresholds.counting import (
    Sign,
    blocks,
    comparison_type,
    count_beyond,
    grid,
    reach,
    relative_grid,
)
from fnx.thresholds.result import Curve, Side, Thresholds

LEAST_OF_BOUNDED = 0.01  # the largest distance below which ten steps would be all there is

ByClass = NDArray[np.float64]
# From the candidates (K,), and the number of distances beyond each under real (K,) and random
# labels (R, K), the index of the one to take.
Choice = Callable[[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]], int]


def evaluate(
    real: Any,
    random: Any,
    t_plus: float | ByClass,
    t_minus: float | ByClass | None = None,
    *,
    range: tuple[float, float] | None = None,
    step: float = 0.001,
    neutral: float = 0.0,
) -> Thresholds:
    """Make the `Thresholds` that a strategy returns from the thresholds it found.

    Args:
        real: (F, C) distances.
        random: (R, F, C) distances under random labels.
        t_plus: keep D > t_plus: one number, or (C,) one for each class, inf to keep nothing.
        t_minus: keep D < t_minus; default as far from `neutral` as t_plus. Ignored for an unsigned
            statistic.
        range: of the statistic; default: found from the data.
        step: distance of neighbouring points of the curve, see `candidates`.
        neutral: of the statistic.

    >>> found = evaluate(np.array([[0.9, 0.2]]), np.array([[[0.1, 0.3]]]), 0.25)
    >>> found.plus.kept, found.plus.kept_random, found.minus
    (0.5, 0.5, None)
    """
    signed, x = candidates(real, random, step, range, neutral)

    def side(t: float | ByClass, sign: Sign) -> tuple[Side, NDArray[np.float64]]:
        kept, *noise = (count_beyond(one, x, sign, neutral).sum(axis=0) for one in (real, *random))
        davg = (kept - np.mean(noise, axis=0)) / real.shape[1]
        return _side(real, random, t, sign, _threshold(x[-1], sign, neutral)), davg

    plus, davg_plus = side(t_plus, "+")
    minus, davg_minus = None, None
    if signed:
        minus, davg_minus = side(2 * neutral - t_plus if t_minus is None else t_minus, "-")
    return Thresholds(plus, minus, Curve(x, davg_plus, davg_minus))


def on_grid(
    real: Any,
    random: Any,
    choose: Choice,
    *,
    range: tuple[float, float] | None,
    step: float,
    neutral: float = 0.0,
) -> Thresholds:
    """Choose a threshold on each side from the numbers of distances beyond each candidate.

    `choose` is called for each side; all else is as in `evaluate`.
    """
    signed, x = candidates(real, random, step, range, neutral)
    classes, permutations = real.shape[1], len(random)

    def side(sign: Sign) -> tuple[Side, NDArray[np.float64]]:
        kept, *counted = (
            count_beyond(one, x, sign, neutral).sum(axis=0) for one in (real, *random)
        )
        noise = np.array(counted)
        k = choose(x, kept, noise)
        davg = (permutations * kept - noise.sum(axis=0)) / (permutations * classes)
        t = _threshold(x[k], sign, neutral)
        chance = _chance(noise[:, k] / classes)
        return Side(t, float(davg[k]), float(kept[k] / classes), *chance), davg

    plus, davg_plus = side("+")
    minus, davg_minus = side("-") if signed else (None, None)
    return Thresholds(plus, minus, Curve(x, davg_plus, davg_minus))


def candidates(
    real: Any,
    random: Any,
    step: float,
    range: tuple[float, float] | None = None,
    neutral: float = 0.0,
) -> tuple[bool, NDArray[np.float64]]:
    """Return whether the statistic is signed, and candidates as distances from its neutral value.

    Of a bounded statistic they are `step` apart and reach to the end of its range. Of an unbounded
    one they follow the finite distances, so that these may be in any unit: `step` is then a share
    of the typical distance (see `fnx.thresholds.counting.relative_grid`), and the last candidate is
    the largest. Without a range, distances of which some exceed 0.01 and none 1 are of a bounded
    statistic.
    """
    if range is not None and np.isfinite(range).all():
        return range[0] < neutral, grid(step, max(neutral - range[0], range[1] - neutral))
    found = reach((real, *random), neutral)
    signed = found.below > 0 if range is None else range[0] < neutral
    limit = max(found.below if signed else 0.0, found.above)
    if not limit or (range is None and LEAST_OF_BOUNDED < limit <= 1):
        return signed, grid(step)
    return signed, relative_grid(step, found.typical, limit)


def _threshold(x: Any, sign: Sign, neutral: float) -> float:
    """Return the threshold of a sign at a distance from the neutral value; 0 is not -0."""
    return neutral + float(x) if sign == "+" else neutral - float(x)


def _side(real: Any, random: Any, t: float | ByClass, sign: Sign, end: float) -> Side:
    kept, *noise = (_count(one, t, sign) for one in (real, *random))
    kept_random, spread = _chance(np.array([one.mean() for one in noise]))
    by_class = None if np.ndim(t) == 0 else np.array(t, np.float64)
    if by_class is None:
        t = float(t)
    elif kept.any():
        t = float(np.median(by_class[kept > 0]))
    else:
        t = end
    mean = float(kept.mean())
    return Side(t, mean - kept_random, mean, kept_random, spread, by_class)


def _count(distances: Any, t: float | ByClass, sign: Sign) -> NDArray[np.int64]:
    """Count the features beyond the threshold per class, compared in the distances' type."""
    edge = np.asarray(t, comparison_type(distances))
    counts = np.zeros(distances.shape[1], np.int64)
    for _, block in blocks(distances):
        counts += np.count_nonzero(block > edge if sign == "+" else block < edge, axis=0)
    return counts


def _chance(by_chance: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean over the permutations, and their standard deviation."""
    spread = float(by_chance.std(ddof=1)) if by_chance.size > 1 else float("nan")
    return float(by_chance.mean()), spread

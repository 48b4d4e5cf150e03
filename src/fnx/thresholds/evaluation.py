"""What given thresholds keep under real and under random labels: the end of every strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.thresholds.api import Curve, Side, Thresholds
from fnx.thresholds.counting import Sign, blocks, comparison_type, count_beyond, grid, largest

MAX_CANDIDATES = 100_000  # of a statistic without an upper bound

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
) -> Thresholds:
    """Make the `Thresholds` that a strategy returns from the thresholds it found.

    Args:
        real: (F, C) distances.
        random: (R, F, C) distances under random labels.
        t_plus: keep D > t_plus: one number, or (C,) one for each class, inf to keep nothing.
        t_minus: keep D < t_minus; default -t_plus. Ignored for an unsigned statistic.
        range: of the statistic; default: found from the data.
        step: distance of neighbouring points of the curve.

    >>> found = evaluate(np.array([[0.9, 0.2]]), np.array([[[0.1, 0.3]]]), 0.25)
    >>> found.plus.kept, found.plus.kept_random, found.minus
    (0.5, 0.5, None)
    """
    signed, limit = extent(real, random, step, range)
    x = grid(step, limit)

    def side(t: float | ByClass, sign: Sign) -> tuple[Side, NDArray[np.float64]]:
        kept, *noise = (count_beyond(one, x, sign).sum(axis=0) for one in (real, *random))
        davg = (kept - np.mean(noise, axis=0)) / real.shape[1]
        return _side(real, random, t, sign, limit), davg

    plus, davg_plus = side(t_plus, "+")
    minus, davg_minus = None, None
    if signed:
        minus, davg_minus = side(-t_plus if t_minus is None else t_minus, "-")
    return Thresholds(plus, minus, Curve(x, davg_plus, davg_minus))


def on_grid(
    real: Any, random: Any, choose: Choice, *, range: tuple[float, float] | None, step: float
) -> Thresholds:
    """Choose a threshold on each side from the numbers of distances beyond each candidate.

    `choose` is called for each side; all else is as in `evaluate`.
    """
    signed, limit = extent(real, random, step, range)
    x = grid(step, limit)
    classes, permutations = real.shape[1], len(random)

    def side(sign: Sign) -> tuple[Side, NDArray[np.float64]]:
        kept, *counted = (count_beyond(one, x, sign).sum(axis=0) for one in (real, *random))
        noise = np.array(counted)
        k = choose(x, kept, noise)
        davg = (permutations * kept - noise.sum(axis=0)) / (permutations * classes)
        t = float(x[k]) if sign == "+" else 0.0 - float(x[k])  # not -0.0
        chance = _chance(noise[:, k] / classes)
        return Side(t, float(davg[k]), float(kept[k] / classes), *chance), davg

    plus, davg_plus = side("+")
    minus, davg_minus = side("-") if signed else (None, None)
    return Thresholds(plus, minus, Curve(x, davg_plus, davg_minus))


def extent(
    real: Any, random: Any, step: float, range: tuple[float, float] | None
) -> tuple[bool, float]:
    """Return whether there is a negative side, and where the candidates end.

    They reach to the end of a bounded range, else to the largest finite distance.
    """
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


def _side(real: Any, random: Any, t: float | ByClass, sign: Sign, limit: float) -> Side:
    kept, *noise = (_count(one, t, sign) for one in (real, *random))
    kept_random, spread = _chance(np.array([one.mean() for one in noise]))
    by_class = None if np.ndim(t) == 0 else np.array(t, np.float64)
    if by_class is None:
        t = float(t)
    elif kept.any():
        t = float(np.median(by_class[kept > 0]))
    else:
        t = limit if sign == "+" else -limit
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

"""Counts how many distances lie beyond each candidate threshold, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError, DataError

Sign = Literal["+", "-"]

BLOCK_VALUES = 1 << 22  # distances read at a time: 16 MiB of float32
MAX_CANDIDATES = 20_000  # beyond the typical distance of a statistic without bounds
MAX_RATIO = 1e300


def grid(step: float, limit: float = 1.0) -> NDArray[np.float64]:
    """Return candidates 0, step, 2 step, … up to `limit`, each the float nearest to its decimal.

    Where 1 / step is an integer m, candidate k is k / m, which rounds once; k * step would drift.

    >>> grid(0.001)[300]
    np.float64(0.3)
    """
    check_step(step, limit)
    per_unit = round(1 / step)
    exact = per_unit > 0 and abs(per_unit * step - 1) < 1e-9
    count = int(np.floor(limit / step * (1 + 1e-12) + 1e-9))
    k = np.arange(count + 1, dtype=np.float64)
    return k / per_unit if exact else k * step


def check_step(step: float, limit: float) -> None:
    """Refuse a step of a grid up to `limit` that gives no candidate but 0.

    Raises:
        ConfigError: saying what is allowed.
    """
    if not 0 < step <= limit:
        raise ConfigError(f"threshold.step={step:g}: must be above 0 and at most {limit:g}")


def relative_grid(step: float, unit: float, limit: float) -> NDArray[np.float64]:
    """Return candidates from 0 to `limit` that are multiples of `unit`, whatever that is.

    Up to the unit they are `step` units apart; beyond it, each is larger than the one before by a
    share of at most `step`, or more where they would be more than `MAX_CANDIDATES`.

    >>> relative_grid(0.5, 2.0, 6.0)
    array([0.        , 1.        , 2.        , 2.88449914, 4.16016765,
           6.        ])
    """
    near = unit * grid(step)
    if limit <= unit:
        return np.append(near[near < limit], limit)
    ratio = min(limit / unit, MAX_RATIO)
    count = min(int(np.ceil(np.log(ratio) / np.log1p(step))), MAX_CANDIDATES)
    far = unit * ratio ** (np.arange(1, count + 1) / count)
    return np.concatenate([near, far[:-1], [limit]])


def count_beyond(
    distances: Any, x: NDArray[Any], sign: Sign, neutral: float = 0.0
) -> NDArray[np.int64]:
    """Count the features with D > neutral + x ("-": D < neutral - x) per class, for every x.

    Both inequalities are strict. The grid is rounded to the distances' own type before comparing:
    a distance of three tenths is then not above 0.3, although float32(0.3) > float64(0.3).

    `distances` are (F, C) floats, `x` (K,) thresholds, not negative, in any order; returns (C, K).

    Raises:
        DataError: a distance is NaN.

    >>> count_beyond(np.float32([[0.1], [0.2], [-0.3]]), np.array([0.0, 0.1, 0.2]), "+")
    array([[2, 1, 0]])
    >>> count_beyond(np.float32([[0.1], [0.2], [-0.3]]), np.array([0.0, 0.1, 0.2]), "-")
    array([[1, 1, 1]])
    """
    edges = np.asarray(neutral + x if sign == "+" else x - neutral, comparison_type(distances))
    counts = np.zeros((distances.shape[1], edges.size), np.int64)
    for start, block in blocks(distances):
        values = np.asarray(block, edges.dtype)
        if np.isnan(values).any():
            feature, c = np.argwhere(np.isnan(values))[0]
            raise DataError(f"distance of feature {start + feature} and class {c} is NaN")
        for c, ordered in enumerate(np.sort((values if sign == "+" else -values).T, axis=1)):
            counts[c] += ordered.size - np.searchsorted(ordered, edges, side="right")
    return counts


def comparison_type(distances: Any) -> np.dtype[Any]:
    """Return the type in which distances are compared with a threshold: their own, if of floats."""
    dtype = np.dtype(distances.dtype)
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)


@dataclass(frozen=True)
class Reach:
    """How far finite distances lie from their neutral value.

    Attributes:
        below: the farthest below it, 0 where there is none.
        above: the farthest above it.
        typical: the geometric mean of how far they lie on either side, those that are neutral left
            out; 1 where there are no others.
    """

    below: float
    above: float
    typical: float


def reach(arrays: Iterable[Any], neutral: float = 0.0) -> Reach:
    """Return how far the distances of some arrays (F, C) reach together."""
    below = above = mantissas = 0.0
    exponents = count = 0
    for _, block in (part for one in arrays for part in blocks(one)):
        values = np.asarray(block, np.float64) - neutral
        values = values[np.isfinite(values) & (values != 0)]
        below = -float(values.min(initial=-below))
        above = float(values.max(initial=above))
        # Apart, so that distances that are scaled by a power of two scale it exactly.
        mantissa, exponent = np.frexp(np.abs(values))
        mantissas += float(np.log2(mantissa).sum())
        exponents += int(exponent.sum())
        count += values.size
    whole, rest = divmod(exponents, max(count, 1))
    typical = math.ldexp(2.0 ** ((rest + mantissas) / max(count, 1)), whole)
    return Reach(below, above, typical)


def blocks(distances: Any) -> Iterator[tuple[int, Any]]:
    """Yield the first feature and the values of each block of an (F, C) array."""
    rows = max(1, BLOCK_VALUES // max(1, distances.shape[1]))
    for start in range(0, distances.shape[0], rows):
        yield start, distances[start : start + rows]

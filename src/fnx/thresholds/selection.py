"""Which features the distances of all classes together speak for: kept, or the best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.thresholds.counting import blocks, comparison_type

Limits = NDArray[np.float64]


def kept(real: Any, t_plus: Limits, t_minus: Limits | None = None) -> NDArray[np.bool_]:
    """Return which features lie beyond the threshold of one class or more, (F,).

    Distances (F, C) and thresholds (C,), or one for all classes, are compared in the distances' own
    type, as what is kept is counted.

    >>> kept(np.float32([[0.3, 0.2], [0.1, -0.5], [0.2, -0.4]]), np.array(0.2), np.array(-0.4))
    array([ True,  True, False])
    """
    found = np.zeros(real.shape[0], np.bool_)
    kind = comparison_type(real)
    for start, block in blocks(real):
        far = block > np.asarray(t_plus, kind)
        if t_minus is not None:
            far |= block < np.asarray(t_minus, kind)
        found[start : start + len(block)] = far.any(axis=1)
    return found


def scores_of(real: Any, neutral: float = 0.0) -> NDArray[np.float32]:
    """Return how far the farthest distance of each feature lies from neutral, (F,).

    >>> scores_of(np.float32([[0.25, -0.5], [0.0, 0.125]]))
    array([0.5  , 0.125], dtype=float32)
    """
    scores = np.empty(real.shape[0], np.float32)
    for start, block in blocks(real):
        scores[start : start + len(block)] = np.abs(block - np.float32(neutral)).max(axis=1)
    return scores


def best(scores: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Return which are the `k` highest scores, (F,); of equal ones the first.

    >>> best(np.array([0.5, 0.9, 0.5]), 2)
    array([ True,  True, False])
    """
    mask = np.zeros(scores.size, np.bool_)
    mask[np.argsort(-scores, kind="stable")[:k]] = True
    return mask


def best_per_class(real: Any, k: int, neutral: float = 0.0) -> NDArray[np.bool_]:
    """Return which features are among the `k` farthest from neutral for some class, (F,).

    >>> best_per_class(np.float32([[0.9, -0.1], [0.8, 0.1], [0.1, -0.7]]), 1)
    array([ True, False,  True])
    """
    far = np.abs(np.asarray(real) - np.float32(neutral))
    mask = np.zeros(far.shape[0], np.bool_)
    for column in far.T:
        mask |= best(column, k)
    return mask

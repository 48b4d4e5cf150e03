"""Benjamini and Hochberg's step-up where each feature has a null distribution of its own.

All features of a class share one threshold of |D|. E(t), the number of features that chance alone
brings to |D| >= t, is the sum of their p-values at t; the k largest |D| are kept for the largest k
whose smallest one, d, has E(d) <= alpha k. Where the nulls are the same, F p = E, this is Benjamini
and Hochberg's procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.thresholds.counting import blocks

Vector = NDArray[np.float64]
# From |D| (K,) and the class sizes they are of (K,), E (K,).
Expected = Callable[[NDArray[np.float32], NDArray[np.int64]], Vector]

FEW = 200_000  # p-values: up to here E is computed at every |D| that occurs
MAX_DRAWS = 1 << 24  # permuted distances that are pooled for classes of one size
# In units of sqrt(n_e) |D|, in the square of which ln E is all but linear. E is taken as known that
# close to a |D| where it was computed, and between two of them that are no farther apart.
NEAR, BETWEEN = 0.005, 0.12
ROUNDS = 8


def by_permutation(
    real: NDArray[Any], random: Any, class_sizes: NDArray[np.int64] | None, alpha: float
) -> Vector:
    """Return the thresholds (C,) of |D|, E from the distances under random labels (R, F, C).

    Those of all classes of a size are taken together; `class_sizes` may be missing.
    """
    features, classes = real.shape
    sizes = np.arange(classes) if class_sizes is None else class_sizes
    drawn: dict[int, NDArray[np.float32]] = {}
    limits = np.empty(classes)
    for c, d in enumerate(_descending(real)):
        size = int(sizes[c])
        if size not in drawn:
            alike = np.flatnonzero(sizes == size)[: max(1, MAX_DRAWS // (features * len(random)))]
            drawn[size] = np.sort(
                np.concatenate([np.abs(one[:, alike], dtype=np.float32).ravel() for one in random])
            )
        draws = drawn[size].size
        reached = draws - np.searchsorted(drawn[size], d)
        limits[c] = _limit(d, features * (1.0 + reached) / (1.0 + draws), alpha)
    return limits


def by_null(
    real: NDArray[Any],
    class_sizes: NDArray[np.int64],
    n_images: int,
    alpha: float,
    expected: Expected,
    start: Vector,
) -> Vector:
    """Return the thresholds (C,) of |D|, with E from p-values.

    Each E costs F p-values: it is computed at every |D| only where these are few, and else around
    the thresholds, from a guess `start` (C,) on.
    """
    scale = np.sqrt(class_sizes * (1 - class_sizes / n_images))  # of |D|, to sqrt(n_e) |D|
    descending = np.array(list(_descending(real)))  # (C, F)
    sizes = np.unique(class_sizes)
    distinct = {int(n): np.unique(descending[class_sizes == n]) for n in sizes}
    if real.shape[0] * sum(map(len, distinct.values())) <= FEW:
        wanted = distinct
    else:
        guess = np.minimum(start.astype(np.float32), descending[:, 0])
        wanted = {int(n): _thinned(guess[class_sizes == n], scale[class_sizes == n]) for n in sizes}
    known: dict[int, tuple[Vector, Vector]] = {n: (np.empty(0), np.empty(0)) for n in wanted}
    limits = np.empty(len(class_sizes))
    for _ in range(ROUNDS):
        asked = np.concatenate(list(wanted.values()))
        of_sizes = np.repeat(list(wanted), [len(d) for d in wanted.values()])
        found = expected(asked, of_sizes)
        for n in wanted:
            d, e = known[n]
            d = np.append(d, asked[of_sizes == n])
            d, first = np.unique(d, return_index=True)
            known[n] = d, np.append(e, found[of_sizes == n])[first]
        wanted = {}
        for c, d in enumerate(descending):
            at, e = known[n := int(class_sizes[c])]
            curve = _interpolated(scale[c] * d, scale[c] * at, e)
            limits[c] = _limit(d, curve, alpha)
            edge = d[max(int((d > np.float32(limits[c])).sum()) - 1, 0)]
            if not _is_known(scale[c] * edge, scale[c] * at):
                wanted[n] = np.append(wanted.get(n, np.empty(0, np.float32)), edge)
        if not wanted:
            break
        wanted = {n: _thinned(d, scale[class_sizes == n][:1]) for n, d in wanted.items()}
    return limits


def _descending(real: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """Yield |D| of each class, the largest first."""
    for _, block in blocks(real.T):
        yield from np.sort(np.abs(np.asarray(block, np.float32)), axis=1)[:, ::-1]


def _limit(d: NDArray[np.float32], expected: Vector, alpha: float) -> float:
    """Return the |D| above which features are kept, halfway to the next; inf to keep none.

    `d` (F,) are the |D| of a class, the largest first, `expected` (F,) is E at each.
    """
    allowed = np.flatnonzero(expected <= alpha * np.arange(1, d.size + 1) * (1 + 1e-12))
    if not allowed.size:
        return float("inf")
    last = d[allowed[-1]]
    below = float(d[d < last].max(initial=0))
    middle = (below + float(last)) / 2
    return middle if np.float32(middle) < last else below


def _thinned(d: NDArray[np.float32], scale: Vector) -> NDArray[np.float32]:
    """Return some of the distances of classes of one size, so that the others are known by them."""
    kept: list[np.float32] = []
    for one in np.unique(d):
        if not kept or scale[0] * (one - kept[-1]) >= BETWEEN / 2:
            kept.append(one)
    return np.array(kept, np.float32)


def _interpolated(x: Vector, at: Vector, expected: Vector) -> Vector:
    """Return E at x from that at some x in ascending order: ln E is linear in x**2 between two."""
    logs, squares, x = np.log(np.maximum(expected, 1e-300)), at**2, x**2
    if at.size == 1:
        return np.asarray(np.exp(logs[0] - 2 * (x - squares[0])))  # as the Kolmogorov law falls
    slopes = np.clip(np.diff(logs) / np.diff(squares), -20, -1)  # of two that are close: not wild
    values = np.interp(x, squares, logs)
    values += slopes[-1] * np.maximum(x - squares[-1], 0)
    values += slopes[0] * np.minimum(x - squares[0], 0)
    return np.asarray(np.exp(values))


def _is_known(x: float, at: Vector) -> bool:
    """Tell whether E is known at x from that at some x in ascending order."""
    after = int(np.searchsorted(at, x))
    inside = 0 < after < at.size and at[after] - at[after - 1] <= BETWEEN
    return bool(inside or np.abs(at - x).min() <= NEAR)

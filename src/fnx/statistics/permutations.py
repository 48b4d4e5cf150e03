"""Random labellings: permutations of the real labels (paper, Section 7), whole groups together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import DataError


def permutations(
    labels: ArrayLike, count: int, seed: int, groups: ArrayLike | None = None
) -> NDArray[np.int32]:
    """Permute the labels (N,) at random (paper, Section 7): the same classes, of the same sizes.

    Returns int32 (`count`, N). Labelling r depends on the seed, that of NumPy's PCG64, and on r
    alone, so more permutations extend the same list.

    With `groups` (N,), the labels of a whole group go to another of as many rows, in their order:
    rows that depend on each other (of one document, video or patient) stay together. A data set of
    which each row stands twice, as a group, has the permutations of the rows that it was made of.

    Raises:
        DataError: a group that has no other of its size, or groups of which all have the same
            labels: nothing could be shuffled.

    >>> permutations([0, 0, 1, 1], 2, seed=0).shape
    (2, 4)
    >>> permutations([0, 0, 1, 1, 2, 2], 1, seed=0, groups=["a", "a", "b", "b", "c", "c"])
    array([[2, 2, 0, 0, 1, 1]], dtype=int32)
    """
    values = np.asarray(labels, dtype=np.int32)
    blocks = [np.arange(values.size)[:, None]] if groups is None else _blocks(values, groups)
    result = np.empty((count, values.size), dtype=np.int32)
    for r in range(count):
        generator = np.random.default_rng([seed, r])
        for rows in blocks:
            result[r, rows] = values[rows[generator.permutation(len(rows))]]
    return result


def _blocks(values: NDArray[np.int32], groups: ArrayLike) -> list[NDArray[np.intp]]:
    """Return the rows of the groups of each size, (groups, size), groups as they first occur."""
    names, first, codes = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if codes.shape != values.shape:
        raise DataError(f"groups for {codes.size} rows, labels of {values.size}: must be as many")
    sizes = np.bincount(codes)
    found = []
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        if alike.size == 1:
            raise DataError(
                f"groups are shuffled whole, among those of the same size: {names[alike[0]]} alone "
                f"has {size} rows; cut the groups to equal sizes, or give none"
            )
        alike = alike[np.argsort(first[alike])]
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(sizes)[alike]
        found.append(np.stack([order[end - size : end] for end in ends]))
    if all((values[rows] == values[rows[:1]]).all() for rows in found):
        raise DataError("groups: all of one size have the same labels, so shuffling changes none")
    return found

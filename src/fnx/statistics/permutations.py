"""Random labellings: permutations of the real labels (paper, Section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def permutations(labels: ArrayLike, count: int, seed: int) -> NDArray[np.int32]:
    """Permute the labels (N,) at random: the same classes, each of the same size.

    Returns int32 (`count`, N). Labelling r depends on the seed, that of NumPy's PCG64, and on r
    alone, so more permutations extend the same list.

    >>> permutations([0, 0, 1, 1], 2, seed=0).shape
    (2, 4)
    """
    values = np.asarray(labels, dtype=np.int32)
    result = np.empty((count, values.size), dtype=np.int32)
    for r in range(count):
        result[r] = np.random.default_rng([seed, r]).permutation(values)
    return result

"""Linear CKA: how alike two layers, of any networks, arrange the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import DataError
from fnx.statistics.columns import Columns, open_columns

FEWEST = 4
"""Images below which the unbiased estimate is not defined."""

_ROUNDING = 1e-12
"""Share of a Gram matrix below which what centring leaves of it is rounding error."""

_BYTES = 1 << 29
"""Memory for the layers of one network; of more, the other network is read again."""


def cka(a: Any, b: Any) -> float:
    """Return the linear CKA of two representations of the same examples, estimated without bias.

    The centred kernel alignment of Kornblith et al. (2019), HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))
    with K = A Aᵀ and L = B Bᵀ, by the estimator HSIC₁ of Song et al. (2012) as in Nguyen et al.
    (2021). It does not change if either side is rotated, scaled or shifted, and has no need of as
    many columns in both.

    Args:
        a: (n, p) real numbers, as `fnx.distances` takes them; at least 4 examples.
        b: (n, q), its rows those of the same examples in the same order.

    Returns:
        1 for representations that differ by a rotation and a scale; about 0, also a little below,
        for unrelated ones; NaN where one is the same for all examples, or all but one.

    Raises:
        DataError: fewer than 4 rows, or as many in one as not in the other.

    >>> import fnx, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 8))
    >>> round(fnx.cka(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    first, second = open_columns(a), open_columns(b)
    if first.n_rows != second.n_rows:
        raise DataError(
            f"{first.n_rows:,} rows and {second.n_rows:,}: CKA compares the same examples"
        )
    rows = np.arange(first.n_rows)
    whole = [slice(0, columns.n_columns) for columns in (first, second)]
    one, other = (
        alignment_vector(columns, layer, rows, np.float64)
        for columns, layer in zip((first, second), whole, strict=True)
    )
    return float(one @ other)


def layer_similarity(
    a: Any,
    layers_a: Sequence[slice],
    rows_a: NDArray[np.int64],
    b: Any,
    layers_b: Sequence[slice],
    rows_b: NDArray[np.int64],
    progress: Callable[[int], object] = lambda layers: None,
) -> NDArray[np.float64]:
    """Return the linear CKA of each layer of one network and each of another, (layers, layers).

    A layer is read 64 columns at a time and becomes n (n - 1) / 2 float32. Those of the first
    network are held, up to half a gigabyte at once; those of the second are made one by one.

    Args:
        a: (N, F) the features of the first network.
        layers_a: the columns of each of its layers.
        rows_a: (n,) the rows of the compared images.
        b: (M, G) the features of the second network.
        layers_b: the columns of each of its layers.
        rows_b: (n,) the rows of the same images, in the same order.
        progress: called with 1 after each layer that was read.
    """
    first, second = open_columns(a), open_columns(b)
    found = np.full((len(layers_a), len(layers_b)), np.nan)
    held = held_at_once(len(rows_a))
    for start in range(0, len(layers_a), held):
        part = layers_a[start : start + held]
        ours = np.stack(list(_vectors(first, part, rows_a, progress)))
        for j, theirs in enumerate(_vectors(second, layers_b, rows_b, progress)):
            found[start : start + len(part), j] = ours @ theirs
    return found


def held_at_once(n_images: int) -> int:
    """Return how many layers of the first network are held in memory at once."""
    return max(1, _BYTES // (2 * n_images * n_images))  # n²/2 float32 each


def _vectors(
    columns: Columns,
    layers: Sequence[slice],
    rows: NDArray[np.int64],
    progress: Callable[[int], object],
) -> Iterator[NDArray[Any]]:
    for layer in layers:
        yield alignment_vector(columns, layer, rows, np.float32)
        progress(1)


def alignment_vector(
    columns: Columns, layer: slice, rows: NDArray[np.int64], dtype: Any
) -> NDArray[Any]:
    """Return a layer as a vector of length 1 whose dot products with others are their CKA.

    It holds the U-centred Gram matrix below its diagonal: the dot product of two such matrices is
    n (n - 3) HSIC₁ (Székely and Rizzo 2014). NaN for a layer that is the same for all images, or
    for all but one.

    Raises:
        DataError: fewer than 4 images.
    """
    if len(rows) < FEWEST:
        raise DataError(f"{len(rows)} rows: CKA needs at least {FEWEST}")
    gram = np.zeros((len(rows), len(rows)))
    for start in range(layer.start, layer.stop, columns.width):
        block = columns.read(start, min(start + columns.width, layer.stop))
        block = block[rows].astype(np.float64)
        block = block[:, np.ptp(block, axis=0) > 0]  # a constant would leave rounding errors
        block -= block.mean(axis=0)
        gram += block @ block.T
    size = float(np.linalg.norm(gram))
    below: NDArray[Any] = _u_centred(gram)[np.tri(len(rows), k=-1, dtype=bool)]
    norm = float(np.linalg.norm(below))
    return (below / (norm if norm > _ROUNDING * size else np.nan)).astype(dtype)


def _u_centred(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre a Gram matrix without its diagonal: each row and column has then the sum 0."""
    n = len(gram)
    np.fill_diagonal(gram, 0.0)
    means = gram.sum(axis=0) / (n - 2)
    gram -= means
    gram -= means[:, None]
    gram += means.sum() / (n - 1)
    np.fill_diagonal(gram, 0.0)
    return gram

"""What the page says about each layer, class and feature, counted in one pass over the distances.

The distances are read in blocks of features; what is kept of them are a few numbers a feature and,
for each class, a few a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.analysis.distributions import (
    Distances,
    Domain,
    LayerRows,
    Sign,
    beyond,
    domain,
    layer_rows,
)

BINS = 100
"""Bins of a layer's distribution over the whole range of D, as in Figure 6."""

TOP_PAIRS = 50
"""Strongest (feature, class) pairs of a layer and sign."""

BLOCK_VALUES = 1 << 24
"""Distances (under all random labellings) held at once: 64 MB."""

QUANTILES = (0.025, 0.975)
"""95 % of a feature's distances under random labels lie between these."""


@dataclass(frozen=True)
class OfSign:
    """What lies beyond the thresholds of one sign, and what lies farthest out.

    Attributes:
        limits: (C,) float32 thresholds of the classes.
        kept: (L, C) features of a layer kept for a class.
        kept_random: (L, C) the same under random labels, mean over the permutations.
        classes_kept: (F,) classes for which a feature is kept.
        best: (F,) the farthest distance of a feature (the largest; for "-", the smallest).
        best_class: (F,) its class.
        pairs: for each layer, ids of features and of classes of its strongest pairs and their
            distances, the strongest first.
    """

    sign: Sign
    limits: NDArray[np.float32]
    kept: NDArray[np.int32]
    kept_random: NDArray[np.float64]
    classes_kept: NDArray[np.int32]
    best: NDArray[np.float32]
    best_class: NDArray[np.int32]
    pairs: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]] = field(
        default_factory=list
    )

    def beyond(self, values: Distances) -> NDArray[np.bool_]:
        """Which distances [..., C] the thresholds of the classes keep."""
        return beyond(values, self.limits, self.sign)


@dataclass(frozen=True)
class Measures:
    """Counts of a whole run.

    Attributes:
        layers: the layers in order.
        signs: one for presence and, of a signed statistic, one for absence.
        range: of all distances.
        histogram, histogram_random: (L, BINS) numbers of (feature, class) pairs; of all
            permutations together for the latter.
        random: (F, 4) of each feature's distances under random labels, over classes and
            permutations: the smallest, the quantiles, the largest. All are observed values.
    """

    layers: list[LayerRows]
    signs: list[OfSign]
    range: Domain
    histogram: NDArray[np.int64]
    histogram_random: NDArray[np.int64]
    random: NDArray[np.float32]


def measure(run: Run) -> Measures:
    """Count everything; the arrays on disk are read once, and never as a whole."""
    layers = layer_rows(run.features)
    n_features, n_classes = run.distances.shape
    span = domain(run.distances, run.distances_random)
    edges = span.edges(BINS)
    wanted: list[tuple[Sign, str]] = [("+", "t_plus"), ("-", "t_minus")]
    signs = [
        OfSign(
            sign,
            run.classes[column].to_numpy().astype(np.float32),
            np.zeros((len(layers), n_classes), np.int32),
            np.zeros((len(layers), n_classes)),
            np.zeros(n_features, np.int32),
            np.zeros(n_features, np.float32),
            np.zeros(n_features, np.int32),
        )
        for sign, column in wanted[: 2 if run.signed else 1]
    ]
    found = Measures(
        layers,
        signs,
        span,
        np.zeros((len(layers), BINS), np.int64),
        np.zeros((len(layers), BINS), np.int64),
        np.zeros((n_features, 4), np.float32),
    )
    n_random = len(run.distances_random)
    rows_at_once = max(1, BLOCK_VALUES // max(1, n_classes * max(1, n_random)))
    for i, layer in enumerate(layers):
        strongest: dict[Sign, list[_Pairs]] = {part.sign: [] for part in signs}
        for start in range(layer.rows.start, layer.rows.stop, rows_at_once):
            rows = slice(start, min(start + rows_at_once, layer.rows.stop))
            real = np.asarray(run.distances[rows])
            random = np.asarray(run.distances_random[:, rows])
            found.histogram[i] += _histogram(real, edges)
            found.histogram_random[i] += _histogram(random, edges)
            found.random[rows] = _range(random)
            for part in signs:
                _count(part, i, rows, real, random)
                strongest[part.sign].append(_strongest(real, part.sign, start))
        for part in signs:
            part.pairs.append(_merge(strongest[part.sign], part.sign))
    return found


_Pairs = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


def _histogram(values: Distances, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.histogram(values[np.isfinite(values)], edges)[0]
    return counts


def _range(random: Distances) -> NDArray[np.float32]:
    if not len(random):
        return np.full((random.shape[1], 4), np.nan, np.float32)
    ordered = np.sort(random.transpose(1, 0, 2).reshape(random.shape[1], -1), axis=1)
    last = ordered.shape[1] - 1
    # As NumPy's method "inverted_cdf": the smallest value with at least this share up to it.
    places = [max(0, int(np.ceil(share * (last + 1))) - 1) for share in QUANTILES]
    return ordered[:, [0, *places, last]]


def _count(part: OfSign, i: int, rows: slice, real: Distances, random: Distances) -> None:
    kept = part.beyond(real)
    part.kept[i] += kept.sum(axis=0, dtype=np.int32)
    part.classes_kept[rows] = kept.sum(axis=1, dtype=np.int32)
    if len(random):
        part.kept_random[i] += part.beyond(random).sum(axis=(0, 1)) / len(random)
    farthest = real.argmax(axis=1) if part.sign == "+" else real.argmin(axis=1)
    part.best_class[rows] = farthest
    part.best[rows] = np.take_along_axis(real, farthest[:, None], axis=1)[:, 0]


def _strongest(real: Distances, sign: Sign, first: int) -> _Pairs:
    at = farthest(real.ravel(), sign, TOP_PAIRS)
    feature, of_class = np.unravel_index(at, real.shape)
    return (
        (feature + first).astype(np.int32),
        of_class.astype(np.int32),
        real[feature, of_class],
    )


def _merge(blocks: list[_Pairs], sign: Sign) -> _Pairs:
    features, classes, values = (np.concatenate(column) for column in zip(*blocks, strict=True))
    order = np.argsort(-values if sign == "+" else values, kind="stable")[:TOP_PAIRS]
    return features[order], classes[order], values[order]


def farthest(values: Distances, sign: Sign, count: int) -> NDArray[np.intp]:
    """Where the distances of one sign lie that are farthest from 0, ranked as top features are.

    Args:
        values: (V,) distances.
        sign: "+" takes D > 0, "-" takes D < 0.
        count: at most so many.

    >>> farthest(np.float32([0.1, -0.3, 0.5, 0.5]), "+", 2).tolist()
    [2, 3]
    """
    size = values if sign == "+" else -values
    count = min(count, size.size)
    if not count:
        return np.empty(0, np.intp)
    least = np.partition(size, size.size - count)[size.size - count]
    at = np.flatnonzero(size >= max(least, np.nextafter(np.float32(0), np.float32(1))))
    ranked: NDArray[np.intp] = at[np.argsort(-size[at], kind="stable")[:count]]
    return ranked

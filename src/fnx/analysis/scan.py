"""Everything that is counted from a run's distances, in one scan over them.

The distances are read in blocks of features; what is kept of them are a few numbers per feature
and, for each class, a few per layer. Only for the mode of a layer (Fig 5) are that layer's
distances of one sign in memory together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fnx.analysis.distributions import (
    Distances,
    Domain,
    LayerRows,
    Sign,
    Spread,
    Threshold,
    beyond,
    farthest,
    histogram,
    lognormal_spread,
    row_blocks,
    spread,
)
from fnx.thresholds.counting import count_beyond

BINS = 100
"""Bins of a layer's distribution over the whole domain, as in Figure 6."""

CURVE_POINTS = 201
"""Points of a class's curve of Figure 9: every 0.005 for a statistic within −1…1."""

TOP_PAIRS = 50
"""Top (feature, class) pairs per layer and sign."""

BLOCK_VALUES = 1 << 24
"""Distances, of all random labellings together, that are read at once: 64 MB."""

QUANTILES = (0.025, 0.975)
"""95 % of a feature's distances under random labels lie between these."""

TopPairs = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
"""Ids of features, ids of classes and distances, the farthest from 0 first."""


@dataclass(frozen=True)
class Spreads:
    """Mode and bars of a layer's D of one sign (Fig 5); None where it has no such value."""

    real: Spread | None
    random: Spread | None
    lognormal: Spread | None
    lognormal_random: Spread | None


@dataclass(frozen=True)
class SideScan:
    """What lies beyond the thresholds of one sign, and what lies farthest out.

    L layers, F features, C classes, R random labellings, X points of a curve.

    Attributes:
        sign: "+" or "-".
        limits: (C,) the threshold of each class.
        kept: (L, C) features of a layer kept for a class.
        kept_random: (L, C) the same under random labels, all R together.
        classes_kept: (F,) classes for which a feature is kept.
        best: (F,) the largest distance of a feature; for "-", the smallest.
        best_class: (F,) its class, the first of several.
        counts: (C, X) features with D > x, for "-" with D < −x (Fig 9).
        counts_random: (R, C, X) the same under each of the random labellings.
        pairs: for each layer its top pairs.
        spreads: for each layer.
    """

    sign: Sign
    limits: NDArray[np.float32]
    kept: NDArray[np.int64]
    kept_random: NDArray[np.int64]
    classes_kept: NDArray[np.int64]
    best: NDArray[np.float32]
    best_class: NDArray[np.int32]
    counts: NDArray[np.int64]
    counts_random: NDArray[np.int64]
    pairs: list[TopPairs] = field(default_factory=list)
    spreads: list[Spreads] = field(default_factory=list)


@dataclass(frozen=True)
class Scan:
    """What one scan over the distances of a run counts.

    Attributes:
        layers: the layers in order.
        domain: the range of all distances.
        sides: that of "+" and, of a signed statistic, that of "-".
        n_random: R, the number of random labellings.
        histogram: (L, BINS) numbers of (feature, class) pairs in each bin of the domain.
        histogram_random: (L, BINS) the same under random labels, all R together.
        random: (F, 4) of each feature's distances under random labels, over classes and
            labellings: the smallest, the quantiles, the largest. All are observed values.
    """

    layers: list[LayerRows]
    domain: Domain
    sides: list[SideScan]
    n_random: int
    histogram: NDArray[np.int64]
    histogram_random: NDArray[np.int64]
    random: NDArray[np.float32]

    @property
    def edges(self) -> NDArray[np.float64]:
        """(BINS + 1,) edges of the histograms."""
        return self.domain.edges(BINS)

    @property
    def x(self) -> NDArray[np.float64]:
        """(X,) where the curves are counted, from 0."""
        return np.linspace(0, self.domain.high, CURVE_POINTS)


def scan(
    layers: list[LayerRows],
    real: Distances,
    random: Distances,
    limits: Mapping[Sign, Threshold],
    domain: Domain,
) -> Scan:
    """Count everything, reading the distances block by block.

    Args:
        layers: as of `fnx.analysis.distributions.layer_rows`; together they hold all features.
        real: [F, C] distances under the real labels.
        random: [R, F, C] distances under random labels, R of 1 or more.
        limits: the thresholds of each sign that the statistic has.
        domain: the range of all distances.
    """
    n_random, n_features, n_classes = random.shape
    found = Scan(
        layers,
        domain,
        [
            SideScan(
                sign,
                limits=np.broadcast_to(np.asarray(limit, np.float32), n_classes),
                kept=np.zeros((len(layers), n_classes), np.int64),
                kept_random=np.zeros((len(layers), n_classes), np.int64),
                classes_kept=np.zeros(n_features, np.int64),
                best=np.zeros(n_features, np.float32),
                best_class=np.zeros(n_features, np.int32),
                counts=np.zeros((n_classes, CURVE_POINTS), np.int64),
                counts_random=np.zeros((n_random, n_classes, CURVE_POINTS), np.int64),
            )
            for sign, limit in limits.items()
        ],
        n_random,
        histogram=np.zeros((len(layers), BINS), np.int64),
        histogram_random=np.zeros((len(layers), BINS), np.int64),
        random=np.zeros((n_features, 4), np.float32),
    )
    rows_at_once = max(1, BLOCK_VALUES // (n_classes * n_random))
    for i, layer in enumerate(layers):
        of_layer, of_layer_random = np.asarray(real[layer.rows]), np.asarray(random[:, layer.rows])
        candidates: dict[Sign, list[TopPairs]] = {sign: [] for sign in limits}
        for part in row_blocks(layer.size, rows_at_once):
            block, noise = of_layer[part], of_layer_random[:, part]
            first = layer.rows.start + part.start
            rows = slice(first, first + len(block))
            found.histogram[i] += histogram(block, found.edges)
            found.histogram_random[i] += histogram(noise, found.edges)
            found.random[rows] = _range(noise)
            for side in found.sides:
                _count(side, i, rows, block, noise, found.x)
                candidates[side.sign].append(_top_pairs(block, side.sign, first))
        for side in found.sides:
            side.pairs.append(_merge(candidates[side.sign], side.sign))
            side.spreads.append(
                Spreads(
                    spread(of_layer, side.sign),
                    spread(of_layer_random, side.sign),
                    lognormal_spread(of_layer, side.sign),
                    lognormal_spread(of_layer_random, side.sign),
                )
            )
    return found


def _range(random: Distances) -> NDArray[np.float32]:
    ordered = np.sort(random.transpose(1, 0, 2).reshape(random.shape[1], -1), axis=1)
    count = ordered.shape[1]
    # As NumPy's method "inverted_cdf": the smallest value with at least this share up to it.
    places = [int(np.ceil(share * count)) - 1 for share in QUANTILES]
    return ordered[:, [0, *places, count - 1]]


def _count(
    side: SideScan, i: int, rows: slice, real: Distances, random: Distances, x: NDArray[np.float64]
) -> None:
    """Add a block of features of layer i to the counts of a sign."""
    kept = beyond(real, side.limits, side.sign)
    side.kept[i] += kept.sum(axis=0)
    side.classes_kept[rows] = kept.sum(axis=1)
    side.kept_random[i] += beyond(random, side.limits, side.sign).sum(axis=(0, 1))
    side.counts[:] += count_beyond(real, x, side.sign)
    for counts, labelling in zip(side.counts_random, random, strict=True):
        counts += count_beyond(labelling, x, side.sign)
    best = real.argmax(axis=1) if side.sign == "+" else real.argmin(axis=1)
    side.best_class[rows] = best
    side.best[rows] = np.take_along_axis(real, best[:, None], axis=1)[:, 0]


def _top_pairs(real: Distances, sign: Sign, first: int) -> TopPairs:
    feature, of_class = np.unravel_index(farthest(real.ravel(), sign, TOP_PAIRS), real.shape)
    ids = (feature + first).astype(np.int32), of_class.astype(np.int32)
    return *ids, real[feature, of_class]


def _merge(blocks: list[TopPairs], sign: Sign) -> TopPairs:
    features, classes, values = (np.concatenate(column) for column in zip(*blocks, strict=True))
    order = farthest(values, sign, TOP_PAIRS)
    return features[order], classes[order], values[order]

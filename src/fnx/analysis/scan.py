"""Everything that is counted from a run's distances: a few numbers per feature, class and layer.

Distances under random labels are read a layer at a time: they need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnx.analysis.calibrated import Calibrated
from fnx.analysis.distributions import (
    Distances,
    Domain,
    LayerRows,
    Sign,
    Spread,
    Threshold,
    beyond,
    farthest,
    lognormal_spread,
    mean_of_sign,
    spread,
)
from fnx.thresholds.counting import count_beyond
from fnx.utils.cores import cores

BINS = 100
"""Bins of a layer's distribution over the whole domain, as in Figure 6."""

CURVE_POINTS = 201
"""Points of a class's curve of Figure 9: every 0.005 for a statistic within −1…1."""

TOP_PAIRS = 50
"""Top (feature, class) pairs per layer and sign."""

QUANTILES = (0.025, 0.975)
"""95 % of a feature's distances under random labels lie between these."""

TopPairs = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
"""Ids of features, ids of classes and distances, the farthest from the neutral value first."""


@dataclass(frozen=True)
class Spreads:
    """Mode, bars and mean of a layer's D of one sign (Fig 5); None where it has no such value."""

    real: Spread | None
    random: Spread | None
    lognormal: Spread | None
    lognormal_random: Spread | None
    mean: float | None
    mean_random: float | None


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
        counts: (C, X) features with D > neutral + x, for "-" with D < neutral − x (Fig 9).
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
    pairs: list[TopPairs]
    spreads: list[Spreads]


@dataclass(frozen=True)
class CalibratedSide:
    """The calibrated distances of one sign; those that are neutral have none.

    Attributes:
        sign: "+" or "-".
        count: (L,) pairs of a layer whose calibrated distance has this sign.
        count_random: (L,) the same under random labels, all R together.
        pairs: for each layer its top pairs, with their calibrated distances.
        spreads: for each layer.
    """

    sign: Sign
    count: NDArray[np.int64]
    count_random: NDArray[np.int64]
    pairs: list[TopPairs]
    spreads: list[Spreads]


@dataclass(frozen=True)
class CalibratedScan:
    """What is counted from the calibrated distances.

    Attributes:
        histogram: (L, BINS) numbers of pairs in each bin of the domain, without those that are
            neutral: most pairs are, for chance alone gives them as much.
        histogram_random: (L, BINS) the same under random labels, all R together.
        sides: as those of the scan.
    """

    histogram: NDArray[np.int64]
    histogram_random: NDArray[np.int64]
    sides: list[CalibratedSide]


@dataclass(frozen=True)
class Scan:
    """What one scan over the distances of a run counts.

    Attributes:
        layers: the layers in order.
        domain: the range of all distances.
        sides: that of "+" and, of a signed statistic, that of "-".
        n_random: R, the number of random labellings.
        edges: (BINS + 1,) edges of the histograms.
        histogram: (L, BINS) numbers of (feature, class) pairs in each bin of the domain.
        histogram_random: (L, BINS) the same under random labels, all R together.
        random: (F, 4) of each feature's distances under random labels, over classes and
            labellings: the smallest, the quantiles, the largest. All are observed values.
        x: (X,) where the curves are counted, from 0: how far from the neutral value.
        calibrated: of the calibrated distances; None for a run without them.
    """

    layers: list[LayerRows]
    domain: Domain
    sides: list[SideScan]
    n_random: int
    edges: NDArray[np.float64]
    histogram: NDArray[np.int64]
    histogram_random: NDArray[np.int64]
    random: NDArray[np.float32]
    x: NDArray[np.float64]
    calibrated: CalibratedScan | None = None


def scan(
    layers: list[LayerRows],
    real: Distances,
    random: Distances,
    limits: Mapping[Sign, Threshold],
    domain: Domain,
    calibrated: tuple[Calibrated, Calibrated] | None = None,
) -> Scan:
    """Count everything.

    Args:
        layers: as of `fnx.analysis.distributions.layer_rows`; together they hold all features.
        real: [F, C] distances under the real labels.
        random: [R, F, C] distances under random labels, R of 1 or more.
        limits: the thresholds of each sign that the statistic has.
        domain: the range of all distances.
        calibrated: both calibrated, if they can be.
    """
    real, random = np.asarray(real), np.asarray(random)
    edges, x = domain.edges(BINS), np.linspace(0, domain.reach, CURVE_POINTS)

    def side(sign: Sign) -> SideScan:
        return _scan_side(layers, real, random, sign, limits[sign], x, domain.neutral)

    with ThreadPoolExecutor(cores()) as threads:
        # Begun first, for it takes longest.
        others = (
            threads.submit(_scan_calibrated, layers, *calibrated, limits, edges)
            if calibrated
            else None
        )
        return Scan(
            layers,
            domain,
            sides=list(threads.map(side, limits)),
            n_random=len(random),
            edges=edges,
            histogram=np.stack([np.histogram(real[layer.rows], edges)[0] for layer in layers]),
            histogram_random=np.stack(
                [np.histogram(random[:, layer.rows], edges)[0] for layer in layers]
            ),
            random=np.concatenate([_range(random[:, layer.rows]) for layer in layers]),
            x=x,
            calibrated=others.result() if others else None,
        )


def _scan_calibrated(
    layers: list[LayerRows],
    real: Calibrated,
    random: Calibrated,
    signs: Iterable[Sign],
    edges: NDArray[np.float64],
) -> CalibratedScan:
    """Count the calibrated distances, which are computed once, a layer at a time."""
    neutral = real.neutral
    histograms: list[tuple[NDArray[np.int64], ...]] = []
    found: dict[Sign, list[tuple[int, int, TopPairs, Spreads]]] = {sign: [] for sign in signs}
    for layer in layers:
        here, by_chance = real[layer.rows], random[:, layer.rows]
        noise = random.raw[:, layer.rows]
        histograms.append(
            tuple(np.histogram(part[part != neutral], edges)[0] for part in (here, by_chance))
        )
        for sign, rows in found.items():
            rows.append(
                (
                    int(beyond(here, neutral, sign).sum()),
                    int(beyond(by_chance, neutral, sign).sum()),
                    _top_pairs(here, sign, neutral, layer.rows.start),
                    _spreads(here, by_chance, sign, neutral, real.raw[layer.rows], noise),
                )
            )
    histogram, histogram_random = (np.stack(part) for part in zip(*histograms, strict=True))
    sides = [
        CalibratedSide(
            sign,
            np.array([count for count, _, _, _ in rows]),
            np.array([count for _, count, _, _ in rows]),
            [pairs for _, _, pairs, _ in rows],
            [spreads for _, _, _, spreads in rows],
        )
        for sign, rows in found.items()
    ]
    return CalibratedScan(histogram, histogram_random, sides)


def _range(random: Distances) -> NDArray[np.float32]:
    ordered = np.sort(random.transpose(1, 0, 2).reshape(random.shape[1], -1), axis=1)
    count = ordered.shape[1]
    # As NumPy's method "inverted_cdf": the smallest value with at least this share up to it.
    places = [int(np.ceil(share * count)) - 1 for share in QUANTILES]
    return ordered[:, [0, *places, count - 1]]


def _scan_side(
    layers: list[LayerRows],
    real: Distances,
    random: Distances,
    sign: Sign,
    threshold: Threshold,
    x: NDArray[np.float64],
    neutral: float,
) -> SideScan:
    """Count what lies beyond the thresholds of a sign."""
    limits = np.broadcast_to(np.asarray(threshold, np.float32), real.shape[1])
    kept = beyond(real, limits, sign)
    return SideScan(
        sign,
        limits,
        kept=np.stack([kept[layer.rows].sum(axis=0) for layer in layers]),
        kept_random=np.stack(
            [beyond(random[:, layer.rows], limits, sign).sum(axis=(0, 1)) for layer in layers]
        ),
        classes_kept=kept.sum(axis=1),
        best=real.max(axis=1) if sign == "+" else real.min(axis=1),
        best_class=(real.argmax(axis=1) if sign == "+" else real.argmin(axis=1)).astype(np.int32),
        counts=count_beyond(real, x, sign, neutral),
        counts_random=np.stack([count_beyond(one, x, sign, neutral) for one in random]),
        pairs=[_top_pairs(real[layer.rows], sign, neutral, layer.rows.start) for layer in layers],
        spreads=[
            _spreads(real[layer.rows], random[:, layer.rows], sign, neutral) for layer in layers
        ],
    )


def _top_pairs(real: Distances, sign: Sign, neutral: float, first: int) -> TopPairs:
    at = farthest(real.ravel(), sign, TOP_PAIRS, neutral)
    feature, of_class = np.unravel_index(at, real.shape)
    ids = (feature + first).astype(np.int32), of_class.astype(np.int32)
    return *ids, real[feature, of_class]


def _spreads(
    real: Distances,
    random: Distances,
    sign: Sign,
    neutral: float,
    raw: Distances | None = None,
    raw_random: Distances | None = None,
) -> Spreads:
    """Return where distances lie, the raw ones if those given are calibrated."""
    return Spreads(
        spread(real, sign, neutral),
        spread(random, sign, neutral),
        lognormal_spread(real, sign, neutral),
        lognormal_spread(random, sign, neutral),
        mean_of_sign(real, sign, neutral, raw),
        mean_of_sign(random, sign, neutral, raw_random),
    )

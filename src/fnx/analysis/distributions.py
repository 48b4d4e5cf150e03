"""How distances are distributed: by layer (Figs 5 and 10), by value (Fig 6), by class (Fig 9).

Arrays mapped from disk (12,416 features × 1,000 classes × 6 labellings) never come into memory as
a whole. A comparison with a threshold is made in float32, the precision of the distances: D = 0.15,
stored, is then not greater than 0.15.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.calibrated import Calibrated
from fnx.errors import DataError

Sign = Literal["+", "-"]
Distances = NDArray[np.float32]
Threshold = float | NDArray[np.float64] | NDArray[np.float32]
"""One for all classes, or (C,) one for each."""

BIN_WIDTH = 0.01
"""Width of the bins in which the mode of a layer is looked for, in units of D (for |D| ≤ 1)."""

BAR_MASS = 0.68
"""Share of the values on each side of the mode that a bar of Fig 5 holds."""

BEYOND = 0.001
"""Share of the distances of an unbounded statistic that a figure may leave out."""

_OCTAVES, _PER_OCTAVE = 300, 32  # float32 spans 2**-149 … 2**128

BLOCK = 1024
"""Rows of distances read at once."""


@dataclass(frozen=True)
class LayerRows:
    """One layer: its name, kind and the rows (feature ids) it has in the distances."""

    name: str
    kind: str
    rows: slice

    @property
    def size(self) -> int:
        """Number of features."""
        return int(self.rows.stop - self.rows.start)


def layer_rows(features: pl.DataFrame) -> list[LayerRows]:
    """Return the layers of a feature table, in order.

    Args:
        features: columns ``feature_id``, ``layer``, ``kind``; the features of a layer lie together.

    Raises:
        DataError: if a layer's features lie in several places.

    >>> table = pl.DataFrame({"layer": ["a", "a", "b"], "kind": ["conv", "conv", "fc"]})
    >>> [(layer.name, layer.rows.start, layer.rows.stop) for layer in layer_rows(table)]
    [('a', 0, 2), ('b', 2, 3)]
    """
    names, kinds = features["layer"].to_list(), features["kind"].to_list()
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    layers = [
        LayerRows(names[start], kinds[start], slice(start, stop))
        for start, stop in zip(starts, [*starts[1:], len(names)], strict=True)
    ]
    if len({layer.name for layer in layers}) != len(layers):
        raise DataError("features table: the features of a layer must lie together")
    return layers


@dataclass(frozen=True)
class Domain:
    """The range in which distances are drawn, and their neutral value."""

    low: float
    high: float
    neutral: float = 0.0

    @property
    def reach(self) -> float:
        """How far it goes to each side of the neutral value."""
        return self.high - self.neutral

    def edges(self, n_bins: int) -> NDArray[np.float64]:
        """Return the edges of bins of equal width; if symmetric, the neutral value is one."""
        return np.linspace(self.low, self.high, n_bins + 1)


@dataclass(frozen=True)
class Extent:
    """How far distances reach: all that their domain depends on.

    Attributes:
        largest: the largest finite |D|, or |D - neutral|.
        negative: whether any D is below the neutral value.
        sizes: number of finite distances in each of 32 bins per octave of |D - neutral|; not those
            that are neutral.
        neutral: of the statistic.
    """

    largest: float
    negative: bool
    sizes: NDArray[np.int64]
    neutral: float = 0.0


def from_neutral(distances: Distances, neutral: float) -> NDArray[np.floating[Any]]:
    """Return D - neutral: as they are where that is 0, else in float64, which loses nothing."""
    return distances if neutral == 0 else np.asarray(distances, np.float64) - neutral


def extent(distances: Distances, neutral: float = 0.0) -> Extent:
    """Return how far distances [F, C] or [R, F, C] reach, reading them in blocks."""
    largest, negative = 0.0, False
    sizes = np.zeros(_OCTAVES * _PER_OCTAVE, np.int64)
    rows = distances.reshape(-1, distances.shape[-1])
    for start in range(0, len(rows), BLOCK):
        block = from_neutral(rows[start : start + BLOCK], neutral)
        finite = np.abs(block[np.isfinite(block) & (block != 0)])
        largest = max(largest, float(finite.max(initial=0)))
        steps = np.log2(finite.astype(np.float64)) * _PER_OCTAVE
        sizes += np.bincount((steps + sizes.size // 2).astype(np.int64), minlength=sizes.size)
        negative = negative or bool((block < 0).any())
    return Extent(largest, negative, sizes, neutral)


def domain(*extents: Extent) -> Domain:
    """Return the range of drawing: −1…1 or 0…1 if it holds all distances, else one for most.

    About a neutral value that is not 0 it is 0 … 2 neutral instead of −1…1, or the upper half.

    Of an unbounded statistic that is all but the `BEYOND` largest of the finite distances: a single
    one, far out, would leave no room for the others.

    >>> domain(extent(np.array([[0.2, -0.4]], np.float32)))
    Domain(low=-1.0, high=1.0, neutral=0.0)
    >>> domain(extent(np.array([[0.2, np.inf, 7.3]], np.float32)))
    Domain(low=0.0, high=8.0, neutral=0.0)
    >>> domain(extent(np.array([[0.7, 0.4]], np.float32), neutral=0.5))
    Domain(low=0.0, high=1.0, neutral=0.5)
    """
    neutral = extents[0].neutral
    largest = max(found.largest for found in extents)
    high = abs(neutral) or 1.0
    if largest > high:
        counts = sum(found.sizes for found in extents)
        last = int(np.searchsorted(np.cumsum(counts), (1 - BEYOND) * np.sum(counts)))
        upper_edge = 2.0 ** ((last + 1 - _OCTAVES * _PER_OCTAVE // 2) / _PER_OCTAVE)
        high = min(largest, upper_edge)
        step = float(10.0 ** np.floor(np.log10(high)))
        high = float(np.ceil(high / step) * step)
    low = high if any(found.negative for found in extents) else 0.0
    return Domain(neutral - low, neutral + high, neutral)


@dataclass(frozen=True)
class Spread:
    """Mode of a distribution of D⁺ or D⁻ and the ends of its bars (Fig 5)."""

    mode: float
    low: float
    high: float


def spread(values: Distances, sign: Sign, neutral: float = 0.0) -> Spread | None:
    """Return the mode of D⁺ or D⁻ with bars that hold 68 % of the mass on each side of it (Fig 5).

    The mode is the centre of the fullest bin (the one nearest the neutral value, if several) of a
    histogram with bins of 0.01 from that value outwards. The bins are wider where there are too few
    values for that (the range of the values over the square root of their number), and where
    distances exceed 1 (a hundredth of the largest finite one). The ends of the bars are observed
    values; an end may be infinite.

    Args:
        values: distances of any shape; only those of this sign count.
        sign: "+" takes D > neutral, "-" takes D < neutral.
        neutral: of the statistic.

    Returns:
        None if there is no value of this sign.

    >>> found = spread(np.repeat(np.float32([0.1, 0.205, 0.3]), [10, 100, 10]), "+")
    >>> round(found.mode, 2), round(found.low, 3), round(found.high, 3)
    (0.21, 0.205, 0.3)
    """
    values = from_neutral(values, neutral)
    magnitudes = np.abs(values[values > 0 if sign == "+" else values < 0])
    if not magnitudes.size:
        return None
    finite = magnitudes[np.isfinite(magnitudes)]
    if not finite.size:
        mode = low = high = float("inf")
    else:
        smallest, largest = float(finite.min()), float(finite.max())
        width = max(BIN_WIDTH * max(1.0, largest), (largest - smallest) / finite.size**0.5)
        counts = np.bincount((finite.astype(np.float64) / width).astype(np.int64))
        mode = (float(np.argmax(counts)) + 0.5) * width
        low = _quantile(magnitudes[magnitudes <= mode], 1 - BAR_MASS, mode)
        high = _quantile(magnitudes[magnitudes >= mode], BAR_MASS, mode)
    return _placed(mode, low, high, sign, neutral)


def mean_of_sign(
    values: Distances, sign: Sign, neutral: float = 0.0, raw: Distances | None = None
) -> float | None:
    """Return the mean of D⁺ or D⁻, None if there is none.

    Args:
        values: distances of any shape.
        sign: "+" takes D > neutral, "-" takes D < neutral.
        neutral: of the statistic.
        raw: the raw distances, of calibrated ones: they have the sign also of those that are 0.

    >>> mean_of_sign(np.float32([0.5, 0.25, -1]), "+")
    0.375
    """
    chosen = values[beyond(values if raw is None else raw, neutral, sign)]
    return float(chosen.mean(dtype=np.float64)) if chosen.size else None


def lognormal_spread(values: Distances, sign: Sign, neutral: float = 0.0) -> Spread | None:
    """Return the mode and bars of D⁺ or D⁻ as `spread` does, of a log-normal law fitted to them.

    The law has the mean m and the standard deviation s of ln |D - neutral| (its maximum-likelihood
    fit); its mode is exp(m − s²), below which lies a share Φ(−s) of it. Infinite distances are left
    out. Bars of a bounded statistic can pass its bound, for the law has none. None if there is no
    finite value of this sign.

    >>> found = lognormal_spread(np.float32([0.1, 0.2, 0.4]), "+")
    >>> round(found.mode, 3), round(found.low, 3), round(found.high, 3)
    (0.145, 0.094, 0.305)
    """
    from scipy.special import ndtr, ndtri  # here, for a terminal wants no more than a histogram

    values = from_neutral(values, neutral)
    magnitudes = np.abs(values[values > 0 if sign == "+" else values < 0])
    logarithms = np.log(magnitudes[np.isfinite(magnitudes)].astype(np.float64))
    if not logarithms.size:
        return None
    mean, deviation = float(logarithms.mean()), float(logarithms.std())
    below = float(ndtr(-deviation))
    ends = ndtri([(1 - BAR_MASS) * below, below + BAR_MASS * (1 - below)])
    low, high = (float(end) for end in np.exp(mean + deviation * ends))
    mode = float(np.exp(mean - deviation**2))
    return _placed(mode, low, high, sign, neutral)


def _placed(mode: float, low: float, high: float, sign: Sign, neutral: float) -> Spread:
    """Return a spread of D from one of |D - neutral|."""
    if sign == "+":
        return Spread(neutral + mode, neutral + low, neutral + high)
    return Spread(neutral - mode, neutral - high, neutral - low)


def _quantile(values: NDArray[np.floating[Any]], share: float, default: float) -> float:
    # "inverted_cdf" gives an observed value: nothing is interpolated towards infinity.
    return float(np.quantile(values, share, method="inverted_cdf")) if values.size else default


def beyond(values: Distances, threshold: Threshold, sign: Sign) -> NDArray[np.bool_]:
    """Return which distances (…, C) lie beyond a threshold: D > t, for "-" D < t; in float32."""
    limit = np.asarray(threshold, np.float32)
    return values > limit if sign == "+" else values < limit


def farthest(values: Distances, sign: Sign, count: int, neutral: float = 0.0) -> NDArray[np.intp]:
    """Return where the distances of one sign lie that are farthest out, the farthest first.

    Args:
        values: (V,) distances; of equal ones, the first goes first.
        sign: "+" takes D > neutral, "-" takes D < neutral.
        count: how many at most.
        neutral: of the statistic.

    >>> farthest(np.float32([0.1, -0.3, 0.5, 0.5]), "+", 2).tolist()
    [2, 3]
    """
    size = from_neutral(values, neutral)
    size = size if sign == "+" else -size
    count = min(count, size.size)
    if not count:
        return np.empty(0, np.intp)
    least = np.partition(size, size.size - count)[size.size - count]
    at = np.flatnonzero((size >= least) & (size > 0))
    ranked: NDArray[np.intp] = at[np.argsort(-size[at], kind="stable")[:count]]
    return ranked


def ranked(
    values: Distances, count: int, neutral: float = 0.0
) -> Iterator[tuple[Sign, int, int, np.float32]]:
    """Yield sign, rank from 1, place and value of the values that are `farthest`, "+" first."""
    signs: tuple[Sign, Sign] = ("+", "-")
    for sign in signs:
        for rank, place in enumerate(farthest(values, sign, count, neutral), 1):
            yield sign, rank, int(place), values[place]


def percentages(
    distances: Distances | Calibrated,
    rows: Sequence[slice],
    edges: NDArray[np.float64],
    without: float | None = None,
) -> NDArray[np.float64]:
    """Return the percentage of the (feature, class) pairs of some layers in each bin.

    Pairs outside the edges (infinite distances, say) count in the total: the sum is then below 100.

    Args:
        distances: [F, C], or [R, F, C] of which all labellings count together.
        rows: the features of each layer.
        edges: (B + 1,) increasing.
        without: a value that is in no bin.

    Returns:
        (B,) percentages.

    >>> percentages(np.float32([[0.1, 0.6, np.inf, 0.7]]), [slice(0, 1)], np.array([0, 0.5, 1.0]))
    array([25., 50.])
    """
    layers = [distances[..., layer, :] for layer in rows]
    drawn = layers if without is None else [values[values != without] for values in layers]
    counts = np.sum([np.histogram(values, edges)[0] for values in drawn], axis=0)
    shares: NDArray[np.float64] = 100 * counts / sum(values.size for values in layers)
    return shares

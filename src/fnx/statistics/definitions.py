"""fnx's own statistics: each one function with its formula, range, sign and source.

The functions are the definitions; where a statistic names a `kernel`, the engine computes the same
values for all pairs at once, and the tests hold the two against each other.

On histograms, P = `inner` and Q = `outer` are the shares of the images of the class and of all
others in each of `bins` bins of equal width between the feature's smallest and largest value. On
samples they are the sorted values of the class and of all others. All are float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError
from fnx.registry.registry import statistic

Vector = NDArray[np.float64]

LN_2 = 0.6931471805599453
ROUNDING = 1e-12  # two sides closer than this are tied: they differ by rounding alone


@statistic("ks", range=(-1, 1), kernel="ks", calibratable=True)
def ks(inner: Vector, outer: Vector) -> float:
    """Signed Kolmogorov-Smirnov distance on equal-width bins (paper, Eq. 3).

    D = F_outer - F_inner at the bin's upper edge where the difference is largest, so D > 0 where
    the class has the higher values; a tie between the two sides goes to +. Range [-1, 1].

    Bins are those of ``numpy.histogram(values, bins)`` in float64 on all values of the feature:
    equal width between their minimum and maximum, each closed below, the last closed on both
    sides. ``bins=null`` is the exact distance, `ks_exact`. `scipy.stats.ks_2samp(inner, outer)`
    reports the opposite sign.

    >>> float(ks(np.array([0.0, 1.0]), np.array([0.75, 0.25])))
    0.75
    """
    high = low = cumulated = 0.0
    for b in range(inner.size):
        cumulated += outer[b] - inner[b]
        high, low = max(high, cumulated), min(low, cumulated)
    return low if -low > high + ROUNDING else high


@statistic("ks_exact", range=(-1, 1), on="samples", kernel="ks_exact", calibratable=True)
def ks_exact(inner: Vector, outer: Vector) -> float:
    """Exact signed Kolmogorov-Smirnov distance, ties handled (paper, Eq. 3).

    D = F_outer(x) - F_inner(x) at the x where the difference is largest; D > 0 where the class has
    the higher values; a tie between the two sides goes to +. Range [-1, 1]. Invariant under
    strictly increasing maps of the feature.

    >>> ks_exact(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.5
    """
    values = np.concatenate((inner, outer))
    below_inner = np.searchsorted(inner, values, side="right") / inner.size
    below_outer = np.searchsorted(outer, values, side="right") / outer.size
    difference = below_outer - below_inner
    high, low = max(difference.max(), 0.0), min(difference.min(), 0.0)
    return float(low if -low > high + ROUNDING else high)


@statistic("auroc", range=(0, 1), neutral=0.5, on="samples", kernel="auroc", calibratable=True)
def auroc(inner: Vector, outer: Vector) -> float:
    """Probability that an image of the class has the higher value, ties half (Mann, Whitney 1947).

    A = U / (n_inner n_outer), with Mann and Whitney's U = number of (inner, outer) pairs in which
    the class is higher, plus half of those that tie: the area under the ROC curve. Range [0, 1]: 1
    where the class is always higher, 0 where it is always lower, 1/2 where neither (and for a
    constant feature). Presence lies above 1/2, absence below; `cliffs_delta` of the plugin
    fnx-features-rank is 2 A - 1. The same as
    `scipy.stats.mannwhitneyu(inner, outer).statistic / (n_inner n_outer)` and
    `sklearn.metrics.roc_auc_score(in_class, values)`.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    below = np.searchsorted(outer, inner, side="left").sum()
    not_above = np.searchsorted(outer, inner, side="right").sum()
    return float(0.5 * (below + not_above) / (inner.size * outer.size))


@statistic(
    "cohen_d",
    range=(-float("inf"), float("inf")),
    on="samples",
    kernel="cohen_d",
    calibratable=True,
)
def cohen_d(inner: Vector, outer: Vector) -> float:
    """Cohen's d: difference of the means in units of the pooled standard deviation (Cohen 1988).

    d = (mean(inner) - mean(outer)) / s with s**2 = (SS_inner + SS_outer) / (n_inner + n_outer - 2),
    SS = sum of squared deviations from the sample's own mean. Unbounded; positive where the class
    has the higher mean. 0 where the means are equal; inf or -inf where they differ and neither
    sample varies.

    >>> round(cohen_d(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0])), 4)
    1.2649
    """
    # In units of the range, so that squares neither overflow nor vanish; from a value of the sample
    # itself, so that equal values have deviations of exactly 0.
    low = min(inner[0], outer[0])
    width = max(inner[-1], outer[-1]) - low
    if width == 0:
        return 0.0
    a, b = (inner - low) / width, (outer - low) / width
    mean_a, mean_b = a[0] + (a - a[0]).mean(), b[0] + (b - b[0]).mean()
    difference = mean_a - mean_b
    squares = ((a - mean_a) ** 2).sum() + ((b - mean_b) ** 2).sum()
    if squares == 0:
        return float(np.sign(difference) * np.inf) if difference != 0 else 0.0
    return float(difference / np.sqrt(squares / (a.size + b.size - 2)))


def _check_kl(epsilon: float, bins: int) -> None:
    if not 0 <= epsilon <= 1:
        raise ConfigError(f"statistic.epsilon={epsilon:g}: must lie in 0 … 1")


@statistic("kl", range=(0, float("inf")), check=_check_kl)
def kl(inner: Vector, outer: Vector, epsilon: float = 1e-10) -> float:
    """Kullback-Leibler divergence of the class from all others, in nats (paper, Eq. 1).

    D = sum of P ln(P / Q), natural logarithm; bins with P = 0 add nothing. Unsigned, 0 to inf.

    Smoothing: a bin with Q = 0 < P counts with Q = `epsilon`, after which Q is divided by its new
    sum. So a Q that is nowhere empty under P is not touched (`scipy.stats.entropy(P, Q)`), and a
    class that shares no bin with the others has about -ln(epsilon) = 23. ``epsilon=0`` gives inf
    wherever a bin of Q is empty under P.

    >>> round(kl(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
    0.1438
    """
    divergence = added = 0.0
    for b in range(inner.size):
        if inner[b] > 0:
            q = outer[b]
            if q == 0:
                q = epsilon
                added += epsilon
                if epsilon == 0:
                    return np.inf
            divergence += inner[b] * np.log(inner[b] / q)
    return float(max(divergence + np.log1p(added), 0.0))


@statistic("bhattacharyya", range=(0, float("inf")))
def bhattacharyya(inner: Vector, outer: Vector) -> float:
    """Bhattacharyya distance (paper, Eq. 2): inf for a class that shares no bin with the others.

    D = -ln(sum of sqrt(P Q)), natural logarithm. Range [0, inf], unsigned.

    >>> round(bhattacharyya(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
    0.0347
    >>> bhattacharyya(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    inf
    """
    overlap = 0.0
    for b in range(inner.size):
        overlap += np.sqrt(inner[b] * outer[b])
    if overlap == 0:
        return np.inf
    return float(max(-np.log(overlap), 0.0))


@statistic("jensen_shannon", range=(0, 1))
def jensen_shannon(inner: Vector, outer: Vector) -> float:
    """Jensen-Shannon distance: the square root of the divergence, base 2 (Lin 1991).

    D = sqrt(KL(P, M) / 2 + KL(Q, M) / 2) with M = (P + Q) / 2 and the logarithm to base 2. A metric
    (Endres and Schindelin 2003). Range [0, 1], unsigned; 1 where no bin is shared. The same as
    `scipy.spatial.distance.jensenshannon(P, Q, base=2)`; its square is the divergence in bits.

    >>> round(jensen_shannon(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
    0.2209
    """
    divergence = 0.0
    for b in range(inner.size):
        middle = 0.5 * (inner[b] + outer[b])
        if inner[b] > 0:
            divergence += inner[b] * np.log2(inner[b] / middle)
        if outer[b] > 0:
            divergence += outer[b] * np.log2(outer[b] / middle)
    return float(np.sqrt(min(max(0.5 * divergence, 0.0), 1.0)))


@statistic("hellinger", range=(0, 1))
def hellinger(inner: Vector, outer: Vector) -> float:
    """Hellinger distance (Hellinger 1909).

    D = sqrt(sum of (sqrt(P) - sqrt(Q))**2 / 2) = sqrt(1 - exp(-`bhattacharyya`)). A metric. Range
    [0, 1], unsigned; 1 where no bin is shared.

    >>> round(hellinger(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
    0.1846
    """
    total = 0.0
    for b in range(inner.size):
        difference = np.sqrt(inner[b]) - np.sqrt(outer[b])
        total += difference * difference
    return float(min(np.sqrt(0.5 * total), 1.0))


@statistic("mutual_information", range=(0, LN_2))
def mutual_information(inner: Vector, outer: Vector, n_inner: int, n_outer: int) -> float:
    """Mutual information of a feature's bin and of belonging to the class, in nats (Shannon 1948).

    I = p KL(P, M) + (1 - p) KL(Q, M) with p = n_inner / (n_inner + n_outer), the class's share of
    the images, and M = p P + (1 - p) Q, the distribution over all images; natural logarithm. Range
    [0, ln 2], never above the entropy of p; unsigned. The same as
    `sklearn.metrics.mutual_info_score(bin, in_class)`.

    The paper (Section 4.1) approximates the information that belonging to the class gives, I / p,
    by `kl`: both agree in the limit of a small p, up to the smoothing of empty bins.

    >>> round(mutual_information(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 50, 50), 4)
    0.6931
    """
    share = n_inner / (n_inner + n_outer)
    information = 0.0
    for b in range(inner.size):
        middle = share * inner[b] + (1 - share) * outer[b]
        if inner[b] > 0:
            information += share * inner[b] * np.log(inner[b] / middle)
        if outer[b] > 0:
            information += (1 - share) * outer[b] * np.log(outer[b] / middle)
    return float(min(max(information, 0.0), LN_2))

"""fnx's own unsigned statistics on histograms: divergences and information.

P = `inner` and Q = `outer` are the shares of the images of the class and of all others in each of
`bins` bins of equal width between the feature's smallest and largest value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError
from fnx.registry.registry import statistic

Vector = NDArray[np.float64]

LN_2 = 0.6931471805599453


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

"""fnx's own statistics on the samples themselves, beside Kolmogorov and Smirnov's.

`inner` are the sorted values of the class, `outer` those of all other images, both float64. These
are the definitions; `fnx.statistics.kernels.samples` computes the same for all classes at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnx.registry.registry import statistic

Vector = NDArray[np.float64]


@statistic("auroc", range=(0, 1), on="samples", constant=0.5, kernel="auroc")
def auroc(inner: Vector, outer: Vector) -> float:
    """Probability that an image of the class has the higher value, ties half (Mann, Whitney 1947).

    A = U / (n_inner n_outer), with Mann and Whitney's U = number of (inner, outer) pairs in which
    the class is higher, plus half of those that tie: the area under the ROC curve. Range [0, 1]: 1
    where the class is always higher, 0 where it is always lower, 1/2 where neither (and for a
    constant feature). The range has no negative part, so thresholds look for high values only;
    `cliffs_delta` of the plugin fnx-features-rank is 2 A - 1, the same with a sign. The same as
    `scipy.stats.mannwhitneyu(inner, outer).statistic / (n_inner n_outer)` and
    `sklearn.metrics.roc_auc_score(in_class, values)`.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    below = np.searchsorted(outer, inner, side="left").sum()
    not_above = np.searchsorted(outer, inner, side="right").sum()
    return float(0.5 * (below + not_above) / (inner.size * outer.size))


@statistic("cohen_d", range=(-float("inf"), float("inf")), on="samples", kernel="cohen_d")
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

"""Probes: how well a layer's features tell classes apart, by ridge, by neighbours, by evidence.

Pure functions of kernels and targets. Rows that are not trained on touch neither mean nor scale
nor the ridge's strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]

STRENGTHS = 10.0 ** np.arange(-3.0, 3.5, 0.5)
"""Of the ridge, in units of the mean squared length of a centred training row."""

FLOOR = 1.0  # of the spread of a column, for the ridge: see `standardise`
LOW, HIGH = -0.25, 0.15
"""A z-score below is -1, above 1, else 0 (Garcia-Gasulla et al., An Out-of-the-box Full-network
Embedding for Convolutional Neural Networks, 2018)."""

NEIGHBOURS = 5
MARGIN = 1e-12  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Spectrum:
    """Training rows in the axes of their own kernel, and other rows in the same axes.

    With K = U S Uᵀ the kernel of the n centred training rows and k that of m others with them:

    Attributes:
        values: (r,) the eigenvalues S above 0, in units of their sum over n.
        vectors: (n, r) U.
        others: (m, r) k U.
    """

    values: Floats
    vectors: Floats
    others: Floats


def standardise(block: Floats, train: NDArray[Any], floor: float = 0.0) -> Floats:
    """Return the z-scores of columns by the mean and spread of their training rows alone.

    A column that is constant there is 0 everywhere.

    Args:
        block: (N, F).
        train: the training rows.
        floor: in units of the median spread of the columns: a spread is taken for at least that
            much, so that a unit which hardly ever fires does not outweigh all others where it does.
    """
    known = block[train]
    mean, spread = known.mean(axis=0), known.std(axis=0)
    constant = (known.min(axis=0) == known.max(axis=0)) | (spread == 0)
    if floor and not constant.all():
        spread = np.maximum(spread, floor * np.median(spread[~constant]))
    return np.asarray((block - mean) / np.where(constant, np.inf, spread))


def discretise(scores: Floats, low: float = LOW, high: float = HIGH) -> Floats:
    """Return -1, 0 or 1 for each z-score, as the full-network embedding does.

    >>> discretise(np.array([-0.3, -0.25, 0.0, 0.15, 0.2])).tolist()
    [-1.0, 0.0, 0.0, 0.0, 1.0]
    """
    return np.asarray((scores > high).astype(scores.dtype) - (scores < low).astype(scores.dtype))


def axes_of_features(features: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues above 0 of the kernel of (n, F) features, F ≤ n, and its axes.

    Always in float64: an eigenvalue that is rounding would make an axis of noise as long as others.
    """
    features = features.astype(np.float64)
    values, axes = np.linalg.eigh(features.T @ features)
    known = _above_rounding(values)
    return values[known], features @ (axes[:, known] / np.sqrt(values[known]))


def axes_of_kernel(kernel: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues above 0 of a kernel (n, n), and its axes (n, r)."""
    values, axes = np.linalg.eigh(kernel)
    known = _above_rounding(values)
    return values[known], axes[:, known]


def _above_rounding(values: Floats) -> NDArray[np.bool_]:
    return np.asarray(values > MARGIN * max(values[-1], np.finfo(float).tiny))


def spectrum_of_features(train: Floats, others: Floats) -> Spectrum:
    """Return the spectrum of rows with few features: train (n, F), others (m, F), F ≤ n.

    Both must be centred by the mean of `train`.
    """
    values, vectors = axes_of_features(train)
    return _in_units(values, vectors, others @ (train.T @ vectors))


def spectrum_of_kernel(kernel: Floats, train: NDArray[Any], others: NDArray[Any]) -> Spectrum:
    """Return the spectrum of some rows of a kernel (N, N), whose features need not be centred.

    Args:
        kernel: inner products of all rows.
        train: indices of the n training rows.
        others: indices of the m others.
    """
    own, across = kernel[np.ix_(train, train)], kernel[np.ix_(others, train)]
    means = own.mean(axis=0)
    across = across - across.mean(axis=1, keepdims=True) - means + means.mean()
    values, vectors = axes_of_kernel(own - means - means[:, None] + means.mean())
    return _in_units(values, vectors, across @ vectors)


def _in_units(values: Floats, vectors: Floats, others: Floats) -> Spectrum:
    unit = max(values.sum() / len(vectors), np.finfo(float).tiny)
    return Spectrum(values / unit, vectors, others / unit)


def leave_one_out(spectrum: Spectrum, targets: Floats, strengths: ArrayLike) -> Floats:
    """Predict each training row by ridges fitted to all others, in closed form.

    The ridge of centred features with a free intercept has the hat matrix
    H = 1/n + U S/(S + λ) Uᵀ; without row i it would predict yᵢ − rᵢ / (1 − hᵢᵢ), with r the
    residuals of all (Allen's PRESS; Hastie, Tibshirani, Friedman, equation 7.64).

    Args:
        spectrum: of the n training rows.
        targets: (n, C).
        strengths: (L,) λ.

    Returns:
        (L, n, C).
    """
    values, vectors = spectrum.values, spectrum.vectors
    shrunk = values / (values + np.asarray(strengths)[:, None])  # (L, r)
    centred = targets - targets.mean(axis=0)
    along = vectors.T @ centred
    leverage = 1 / len(targets) + shrunk @ np.square(vectors).T  # (L, n)
    residuals = centred - vectors @ (shrunk[:, :, None] * along)
    return np.asarray(targets - residuals / np.maximum(1 - leverage, 1e-9)[:, :, None])


def best_strength(spectrum: Spectrum, targets: Floats) -> tuple[float, Floats]:
    """Return the strength with the smallest squared leave-one-out error, and its predictions."""
    found = leave_one_out(spectrum, targets, STRENGTHS)
    best = int(np.square(targets - found).sum(axis=(1, 2)).argmin())
    return float(STRENGTHS[best]), found[best]


def ridge(spectrum: Spectrum, targets: Floats, strength: float) -> Floats:
    """Predict the other rows by a ridge fitted to the training rows: (m, C)."""
    mean = targets.mean(axis=0)
    weights = (spectrum.vectors.T @ (targets - mean)) / (spectrum.values + strength)[:, None]
    return np.asarray(spectrum.others @ weights + mean)


def nearest(similarity: Floats, owned: NDArray[Any], count: int = NEIGHBOURS) -> Floats:
    """Return the share of each row's nearest neighbours that own each class: (m, C).

    Args:
        similarity: (m, n) of m rows to n known ones.
        owned: (n, C) 1 where a known row has a class, else 0.
        count: neighbours. Shares that are equal differ by a trace of similarity.
    """
    count = min(count, similarity.shape[1])
    found = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    close = np.take_along_axis(similarity, found, axis=1)
    weights = (1 + 1e-6 * close) / count
    return np.asarray(np.einsum("mk,mkc->mc", weights, owned[found].astype(np.float64)))


def cosine(kernel: Floats) -> Floats:
    """Return the cosines (N, N) of rows with these inner products; 0 for a row of zeros."""
    lengths = np.sqrt(np.maximum(np.diag(kernel), 0))
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(kernel * inverse * inverse[:, None])


def log_evidence(values: Floats, vectors: Floats, owned: NDArray[Any]) -> float:
    """Return LogME: the log evidence per row of a Bayesian linear model, a mean over classes.

    The weights' prior has the precision α, the noise β, both where the evidence is highest, by
    MacKay's fixed point (You et al., LogME, ICML 2021, equation 2 and algorithm 1).

    Args:
        values: (r,) eigenvalues of the kernel of the n rows' features, which are not centred.
        vectors: (n, r) their axes.
        owned: (n, C) 1 where a row has a class, else 0.
    """
    targets, rows, tiny = owned.astype(np.float64), len(owned), np.finfo(float).tiny
    along = np.square(vectors.T @ targets).T  # (C, r)
    rest = np.maximum(np.square(targets).sum(axis=0) - along.sum(axis=1), 0)
    ratio = np.full(targets.shape[1], max(values.mean(), tiny) if values.size else 1.0)
    for _ in range(100):
        gamma = (values / (values + ratio[:, None])).sum(axis=1)
        length = (along * values / np.square(values + ratio[:, None])).sum(axis=1)
        error = (along / np.square(1 + values / ratio[:, None])).sum(axis=1) + rest
        alpha = gamma / np.maximum(length, 1e-12)
        beta = (rows - gamma) / np.maximum(error, 1e-12)
        before, ratio = ratio, np.maximum(alpha / beta, tiny)
        if (np.abs(ratio - before) <= 1e-4 * before).all():
            break
    evidence = (
        values.size * np.log(np.maximum(alpha, tiny))
        + rows * np.log(np.maximum(beta, tiny) / (2 * np.pi))
        - np.log(alpha[:, None] + beta[:, None] * values + tiny).sum(axis=1)
        - beta * error
        - alpha * length
    )
    return float(evidence.mean() / (2 * rows))

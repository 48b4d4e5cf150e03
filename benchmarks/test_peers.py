"""What a user would use instead, each as far as it is feasible; values agree where they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fnx

BINS = 100


def some(embedding: Any, features: int) -> tuple[Any, Any]:
    """Features from all over the embedding (a third of them without zeros)."""
    values, labels = embedding
    chosen = np.linspace(0, values.shape[1] - 1, features).astype(int)
    return np.ascontiguousarray(values[:, chosen]), labels


def scale(features: int, classes: int) -> str:
    return f"{features} features × {classes} classes"


def test_scipy_loop(embedding: Any, measure: Any, scipy_loop: Any) -> None:
    features, classes = 6, 20
    values, labels = some(embedding, features)

    def loop() -> Any:
        return scipy_loop(values, labels, classes, "auto")

    title = "loop over `scipy.stats.ks_2samp`"
    found = measure(title, features * classes, loop, scale=scale(features, classes), rounds=3)
    exact = fnx.distances(values, labels, statistic="ks_exact")[:, :classes]
    np.testing.assert_allclose(np.abs(found), np.abs(exact), atol=1e-6)


def test_numpy_bincount(embedding: Any, measure: Any) -> None:
    features = 128
    values, labels = some(embedding, features)
    classes = int(labels.max()) + 1

    def binned() -> Any:
        low, high = values.min(axis=0), values.max(axis=0)
        index = np.minimum(((values - low) * (BINS / (high - low))).astype(np.int64), BINS - 1)
        cells = (np.arange(features) * BINS + index) * classes + labels[:, None]
        counts = np.bincount(cells.ravel(), minlength=features * BINS * classes)
        inner = counts.reshape(features, BINS, classes).cumsum(axis=1)
        total = inner.sum(axis=2, keepdims=True)
        sizes = np.bincount(labels)
        difference = (total - inner) / (len(labels) - sizes) - inner / sizes
        top, bottom = difference.max(axis=1), difference.min(axis=1)
        return np.where(top >= -bottom, top, bottom)

    title = f"NumPy: `bincount` and `cumsum`, {BINS} bins"
    found = measure(title, features * classes, binned, scale=scale(features, classes))
    expected = fnx.distances(values, labels, bins=BINS)
    # float32 edges put a value or two into the next bin.
    assert np.mean(np.abs(np.abs(found) - np.abs(expected)) > 1e-3) < 0.01


def test_torch_sorted(embedding: Any, measure: Any) -> None:
    import torch

    features = 16
    values, labels = some(embedding, features)
    classes = int(labels.max()) + 1
    data, target = torch.from_numpy(values), torch.from_numpy(labels).long()
    sizes = torch.bincount(target)

    def ordered() -> Any:
        order = data.argsort(dim=0)
        inner = torch.nn.functional.one_hot(target[order], classes).cumsum(0)
        rank = torch.arange(1, len(target) + 1)[:, None, None]
        difference = (rank - inner) / (len(target) - sizes) - inner / sizes
        top, bottom = difference.amax(0), difference.amin(0)
        return torch.where(top >= -bottom, top, bottom)

    title = "torch: `argsort`, one-hot and `cumsum` (ties not handled)"
    found = measure(title, features * classes, ordered, scale=scale(features, classes), rounds=3)
    exact = fnx.distances(values, labels, statistic="ks_exact")
    np.testing.assert_allclose(found[0].abs(), np.abs(exact[0]), atol=1e-5)


def test_torch_binned(embedding: Any, measure: Any) -> None:
    import torch

    features = 128
    values, labels = some(embedding, features)
    classes = int(labels.max()) + 1
    data, target = torch.from_numpy(values), torch.from_numpy(labels).long()
    sizes = torch.bincount(target)

    def binned() -> Any:
        low, high = data.amin(0), data.amax(0)
        index = ((data - low) * (BINS / (high - low))).long().clamp_(max=BINS - 1)
        cells = (torch.arange(features) * BINS + index) * classes + target[:, None]
        counts = torch.bincount(cells.ravel(), minlength=features * BINS * classes)
        inner = counts.reshape(features, BINS, classes).cumsum(1)
        total = inner.sum(2, keepdim=True)
        difference = (total - inner) / (len(target) - sizes) - inner / sizes
        top, bottom = difference.amax(1), difference.amin(1)
        return torch.where(top >= -bottom, top, bottom)

    title = f"torch: `bincount` and `cumsum`, {BINS} bins"
    found = measure(title, features * classes, binned, scale=scale(features, classes))
    assert found.shape == (features, classes)


def test_f_classif(embedding: Any, measure: Any) -> None:
    from sklearn.feature_selection import f_classif

    features, classes = 128, 10
    values, labels = some(embedding, features)
    found = measure(
        "scikit-learn `f_classif`, one class against the rest",
        features * classes,
        lambda: np.stack([f_classif(values, labels == c)[0] for c in range(classes)]),
        scale=scale(features, classes),
    )
    assert found.shape == (classes, features)


def test_mutual_info_classif(embedding: Any, measure: Any) -> None:
    from sklearn.feature_selection import mutual_info_classif

    features, classes = 8, 4
    values, labels = some(embedding, features)
    found = measure(
        "scikit-learn `mutual_info_classif`, one class against the rest",
        features * classes,
        lambda: np.stack([mutual_info_classif(values, labels == c) for c in range(classes)]),
        scale=scale(features, classes),
        rounds=2,
    )
    assert found.shape == (classes, features)


def test_tsfresh(embedding: Any, measure: Any) -> None:
    relevance = pytest.importorskip("tsfresh.feature_selection.relevance")
    pandas = pytest.importorskip("pandas")
    features, classes = 16, 4
    values, labels = some(embedding, features)
    frame = pandas.DataFrame(values, columns=[f"f{i}" for i in range(features)])

    def tables() -> Any:
        return [
            relevance.calculate_relevance_table(
                frame,
                pandas.Series(labels == c),
                ml_task="classification",
                test_for_binary_target_real_feature="smir",  # Kolmogorov-Smirnov
                n_jobs=0,
            )
            for c in range(classes)
        ]

    title = "tsfresh: relevance table (Kolmogorov-Smirnov)"
    found = measure(title, features * classes, tables, scale=scale(features, classes), rounds=2)
    assert len(found[0]) == features

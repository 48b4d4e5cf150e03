from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fnx
from fnx.analysis.comparison import cka as module
from fnx.analysis.comparison.cka import layer_similarity
from fnx.errors import DataError

Array = NDArray[Any]


def hsic_1(k: Array, other: Array) -> float:
    """Song et al. (2012), equation 5, term by term."""
    n = len(k)
    k, other = (m - np.diag(np.diag(m)) for m in (k, other))
    one = np.ones(n)
    product = k @ other
    return float(
        np.trace(product)
        + (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ product @ one)
    ) / (n * (n - 3))


def by_definition(a: Array, b: Array) -> float:
    k, other = (np.asarray(m, np.float64) @ np.asarray(m, np.float64).T for m in (a, b))
    return hsic_1(k, other) / np.sqrt(hsic_1(k, k) * hsic_1(other, other))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def rotation(rng: np.random.Generator, size: int) -> Array:
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def test_it_is_hsic_1_of_the_linear_kernels(rng: np.random.Generator) -> None:
    for n, p, q in ((4, 3, 2), (5, 1, 7), (30, 90, 70)):  # blocks of columns have 64
        a = rng.normal(2, 1, size=(n, p))
        b = rng.gamma(2, 1, size=(n, q)) + a[:, :1]
        assert fnx.cka(a, b) == pytest.approx(by_definition(a, b), abs=1e-12)
        assert fnx.cka(b, a) == pytest.approx(fnx.cka(a, b), abs=1e-12)


def test_four_examples_by_hand() -> None:
    x = np.array([[0.0], [1], [2], [4]])
    y = np.array([[1.0], [1], [0], [0]])
    # K: pairs (2,3) 2, (2,4) 4, (3,4) 8; L: pair (1,2) 1. Sums of rows 0, 6, 10, 12; 1, 1, 0, 0.
    # HSIC₁(K, L) · 4 = 0 + 28 · 2 / 6 - 2/2 · 6 = 10/3
    # HSIC₁(K, K) · 4 = 2 · 84 + 28²/6 - 280 = 56/3;  HSIC₁(L, L) · 4 = 2 + 4/6 - 2 = 2/3
    assert fnx.cka(x, y) == pytest.approx((10 / 3) / np.sqrt(56 / 3 * 2 / 3))


def test_rotated_scaled_and_shifted_is_the_same(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 20))
    assert fnx.cka(x, x) == pytest.approx(1, abs=1e-12)
    assert fnx.cka(x, 5 * x @ rotation(rng, 20) - 300) == pytest.approx(1, abs=1e-9)
    assert fnx.cka(x, np.hstack([x, x])) == pytest.approx(1, abs=1e-12)
    assert fnx.cka(x, x * np.linspace(0.1, 5, 20)) < 0.95  # not a rotation


def test_noise_of_many_columns_is_about_zero_without_bias(rng: np.random.Generator) -> None:
    """The biased estimate is far above 0 for few examples of many features."""
    found = [fnx.cka(rng.normal(size=(40, 300)), rng.normal(size=(40, 300))) for _ in range(30)]
    assert abs(np.mean(found)) < 0.02
    assert min(found) < 0 < max(found)


def test_a_constant_layer_is_like_no_other(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9, 3))
    assert np.isnan(fnx.cka(x, np.full((9, 2), 0.1)))
    assert np.isnan(fnx.cka(x, np.r_[0.3, np.full(8, 0.1)][:, None]))  # L has no pair
    assert not np.isnan(fnx.cka(x, np.r_[0.3, 0.3, np.full(7, 0.1)][:, None]))
    kept = np.hstack([x, np.full((9, 2), 0.1)])
    assert fnx.cka(x, kept) == pytest.approx(1, abs=1e-12)


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="5 rows and 6: CKA compares the same examples"):
        fnx.cka(rng.normal(size=(5, 2)), rng.normal(size=(6, 2)))
    with pytest.raises(DataError, match="3 rows: CKA needs at least 4"):
        fnx.cka(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))


def test_layers_are_compared_each_with_each_on_the_given_rows(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = rng.normal(size=(25, 6)).astype(np.float32)
    a, b = (rng.normal(size=(40, 200)).astype(np.float32) for _ in range(2))
    rows_a, rows_b = (rng.permutation(40)[:25] for _ in range(2))
    a[rows_a, 70:76] += 3 * shared
    b[rows_b, 10:16] += 3 * shared @ rotation(rng, 6)
    of_a = [slice(0, 70), slice(70, 76), slice(76, 200)]
    of_b = [slice(0, 10), slice(10, 16), slice(16, 190), slice(190, 200)]
    expected = [[by_definition(a[rows_a, s], b[rows_b, t]) for t in of_b] for s in of_a]
    read: list[int] = []
    found = layer_similarity(a, of_a, rows_a, b, of_b, rows_b, read.append)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.unravel_index(found.argmax(), found.shape) == (1, 1)
    assert sum(read) == 7
    # Two layers at once: the second network is read again, to the same numbers.
    monkeypatch.setattr(module, "_BYTES", 2 * 2 * 25 * 25)
    assert module.held_at_once(25) == 2
    read.clear()
    again = layer_similarity(a, of_a, rows_a, b, of_b, rows_b, read.append)
    np.testing.assert_allclose(again, expected, atol=2e-6)
    assert sum(read) == 3 + 2 * 4


def test_memory_is_bounded_at_two_thousand_images() -> None:
    assert module.held_at_once(2000) * 2000 * 2000 * 2 <= 1 << 29
    assert module.held_at_once(2000) == 67
    assert module.held_at_once(100_000) == 1

"""Everything that is counted from the distances, against plain NumPy."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fnx.analysis import scan as module
from fnx.analysis.distributions import (
    Domain,
    LayerRows,
    Sign,
    lognormal_spread,
    spread,
)
from fnx.analysis.scan import Scan, SideScan, scan

LAYERS = [LayerRows("conv1", "conv", slice(0, 7)), LayerRows("fc", "fc", slice(7, 20))]
LIMITS: dict[Sign, np.ndarray] = {"+": np.array([0.25, 0.5, 0.1]), "-": np.array([-0.5, -0.1, -1])}
F, C, R = 20, 3, 2


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Distances in quarters, so that many are equal, and equal to thresholds."""
    rng = np.random.default_rng(7)
    real = (rng.integers(-4, 5, (F, C)) / 4).astype(np.float32)
    random = (rng.integers(-3, 4, (R, F, C)) / 8).astype(np.float32)
    real[3], random[:, 3] = 0, 0
    return real, random


@pytest.fixture(scope="module")
def found(arrays: tuple[np.ndarray, np.ndarray]) -> Scan:
    return scan(LAYERS, *arrays, LIMITS, Domain(-1, 1))


def beyond(values: np.ndarray, side: SideScan) -> np.ndarray:
    limits = LIMITS[side.sign].astype(np.float32)
    return values > limits if side.sign == "+" else values < limits


def test_features_kept_are_counted_by_layer_class_and_feature(found: Scan, arrays) -> None:
    real, random = arrays
    assert [side.sign for side in found.sides] == ["+", "-"]
    for side in found.sides:
        assert side.limits.tolist() == LIMITS[side.sign].astype(np.float32).tolist()
        assert side.classes_kept.tolist() == beyond(real, side).sum(axis=1).tolist()
        for i, layer in enumerate(LAYERS):
            rows = layer.rows
            assert side.kept[i].tolist() == beyond(real[rows], side).sum(axis=0).tolist()
            expected = beyond(random[:, rows], side).sum(axis=(0, 1))
            assert side.kept_random[i].tolist() == expected.tolist()
    assert found.n_random == R


def test_an_unsigned_statistic_has_one_side(arrays) -> None:
    real, random = (np.abs(array) for array in arrays)
    found = scan(LAYERS, real, random, {"+": 0.25}, Domain(0, 1))
    assert [side.sign for side in found.sides] == ["+"]
    assert found.sides[0].kept.sum() == (real > 0.25).sum()
    assert found.edges[0] == 0
    assert found.histogram.sum() == real.size


def test_histograms_are_those_of_each_layer(found: Scan, arrays) -> None:
    real, random = arrays
    edges = np.linspace(-1, 1, 101)
    assert found.edges.tolist() == edges.tolist()
    for i, layer in enumerate(LAYERS):
        assert found.histogram[i].tolist() == np.histogram(real[layer.rows], edges)[0].tolist()
        expected = np.histogram(random[:, layer.rows], edges)[0]
        assert found.histogram_random[i].tolist() == expected.tolist()


def test_curves_count_features_per_class_under_each_labelling(found: Scan, arrays) -> None:
    real, random = arrays
    assert (found.x[0], found.x[-1], len(found.x)) == (0, 1, 201)
    assert found.x[50] == pytest.approx(0.25)
    for side in found.sides:
        factor = 1 if side.sign == "+" else -1
        for counts, values in ((side.counts, real), *zip(side.counts_random, random, strict=True)):
            expected = (factor * values[:, :, None] > found.x.astype(np.float32)).sum(axis=0)
            assert counts.tolist() == expected.tolist()


def test_the_best_class_of_a_feature_is_the_first_of_the_farthest(found: Scan, arrays) -> None:
    real, _ = arrays
    plus, minus = found.sides
    assert plus.best.tolist() == real.max(axis=1).tolist()
    assert plus.best_class.tolist() == real.argmax(axis=1).tolist()
    assert minus.best.tolist() == real.min(axis=1).tolist()
    assert minus.best_class.tolist() == real.argmin(axis=1).tolist()


def test_random_labels_bring_a_feature_so_far(found: Scan, arrays) -> None:
    _, random = arrays
    each = random.transpose(1, 0, 2).reshape(F, -1)
    expected = np.quantile(each, [0, 0.025, 0.975, 1], axis=1, method="inverted_cdf").T
    assert found.random.tolist() == expected.tolist()


@pytest.mark.parametrize("n_classes", [20, 40, 41])
def test_95_percent_lie_between_the_quantiles(n_classes: int) -> None:
    random = np.random.default_rng(0).permutation(n_classes).astype(np.float32)[None, None]
    found = scan([LayerRows("a", "fc", slice(0, 1))], random[0], random, {"+": 1}, Domain(0, 50))
    expected = np.quantile(random, [0, 0.025, 0.975, 1], method="inverted_cdf")
    assert found.random[0].tolist() == expected.tolist()


def test_top_pairs_are_the_first_of_the_farthest(found: Scan, arrays, monkeypatch) -> None:
    real, random = arrays
    monkeypatch.setattr(module, "TOP_PAIRS", 3)
    fewer = scan(LAYERS, real, random, LIMITS, Domain(-1, 1))
    for all_pairs, three in zip(found.sides, fewer.sides, strict=True):
        for i, layer in enumerate(LAYERS):
            key = real[layer.rows].ravel() * (-1 if three.sign == "+" else 1)
            order = [at for at in np.argsort(key, kind="stable") if key[at] < 0]
            expected = [(at // C + layer.rows.start, at % C) for at in order]
            features, classes, distances = all_pairs.pairs[i]
            assert list(zip(features, classes, strict=True)) == expected[:50]
            assert distances.tolist() == [real[pair] for pair in expected[:50]]
            assert [part.tolist() for part in three.pairs[i]] == [
                part[:3].tolist() for part in all_pairs.pairs[i]
            ]


def test_fifty_pairs_are_kept() -> None:
    real = np.arange(1, 61, dtype=np.float32).reshape(20, 3) / 64
    layers = [LayerRows("a", "fc", slice(0, 20))]
    found = scan(layers, real, real[None], {"+": 1}, Domain(0, 1))
    features, classes, distances = found.sides[0].pairs[0]
    assert distances.tolist() == [i / 64 for i in range(60, 10, -1)]
    assert (features[0], classes[0], features[-1], classes[-1]) == (19, 2, 3, 1)


def test_spreads_are_those_of_a_layer_and_sign(found: Scan, arrays) -> None:
    real, random = arrays
    for side in found.sides:
        for layer, spreads in zip(LAYERS, side.spreads, strict=True):
            of_layer, noise = real[layer.rows], random[:, layer.rows]
            assert spreads.real == spread(of_layer, side.sign)
            assert spreads.random == spread(noise, side.sign)
            assert spreads.lognormal == lognormal_spread(of_layer, side.sign)
            assert spreads.lognormal_random == lognormal_spread(noise, side.sign)


def test_a_scan_reads_mapped_distances_in_blocks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("fnx.thresholds.counting.BLOCK_VALUES", 1 << 16)
    layers = [LayerRows(f"layer {i}", "conv", slice(400 * i, 400 * (i + 1))) for i in range(50)]
    mapped = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, (5, 20_000, 50))
    mapped[:] = 0.25
    tracemalloc.start()
    found = scan(layers, mapped[0], mapped[1:], {"+": 0.1, "-": -0.1}, Domain(-1, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.sides[0].kept.tolist() == [[400] * 50] * 50
    assert found.sides[0].kept_random.tolist() == [[1600] * 50] * 50
    assert peak < mapped.nbytes / 3

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.analysis.comparison.two_networks import SIZES, D, give_embedding, network
from tests.report.synthetic import Synthetic, write_run

import fnx
from fnx.analysis import Run
from fnx.report.page import against
from fnx.report.page import data as pagedata

LABELS = np.repeat(np.arange(5), SIZES)


def chunk(file: Path) -> Any:
    """What a script hands to the page, its arrays unpacked."""
    told = re.fullmatch(r'fnxData\("[\w-]+", ?(.*)\);?\s*', file.read_text(), re.S)
    assert told is not None

    def unpack(value: dict[str, Any]) -> Any:
        if "$" not in value:
            return value
        return np.frombuffer(base64.b64decode(value["b64"]), "<" + value["$"])

    return json.loads(told[1], object_hook=unpack)


@pytest.fixture
def values() -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(LABELS[:, None] * D.sum(axis=1), 1).astype(np.float32)


def test_d_of_two_classes_is_on_their_images_alone(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    run = give_embedding(network(tmp_path / "a"), values)
    against.write(run, tmp_path)
    assert against.written(tmp_path) == [0, 1, 2, 3]
    for a in range(4):
        found = chunk(tmp_path / f"against-{a}.js")
        assert sorted(found) == [str(b) for b in range(a + 1, 5)]
        for name, pair in found.items():
            b = int(name)
            rows = np.isin(LABELS, (a, b))
            expected = fnx.distances(values[rows], LABELS[rows])
            at = pair["features"]
            assert sorted(at) == np.flatnonzero(D[:, a] != D[:, b]).tolist()
            np.testing.assert_array_equal(pair["forth"], expected[at, 0])
            np.testing.assert_array_equal(pair["back"], expected[at, 1])
            np.testing.assert_array_equal(pair["first"], D[at, a])
            np.testing.assert_array_equal(pair["second"], D[at, b])


def test_those_farthest_apart_are_taken(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(against, "TOP", 1)
    run = give_embedding(network(tmp_path / "a"), values)
    against.write(run, tmp_path)
    found = chunk(tmp_path / "against-0.js")["2"]
    assert found["features"].tolist() == [0, 1]  # +0.9 and −0.9; the last one is at −0.6


def test_memory_is_bounded(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(against, "_VALUES", (4 + 5) * 4)  # the first pair, of 4 features
    run = give_embedding(network(tmp_path / "a"), values)
    against.write(run, tmp_path)
    assert against.written(tmp_path) == [0]
    assert list(chunk(tmp_path / "against-0.js")) == ["1"]


def test_without_the_embedding_nothing_is_written(tmp_path: Path) -> None:
    against.write(network(tmp_path / "a"), tmp_path)
    assert against.written(tmp_path) == []


def test_classes_are_alike_whose_distances_correlate(tmp_path: Path) -> None:
    run = network(tmp_path / "a")
    correlation = np.corrcoef(D.T.astype(np.float64))
    np.fill_diagonal(correlation, -2)
    assert against.alike(run, 2).tolist() == np.argsort(-correlation)[:, :2].tolist()
    assert against.alike(run).shape == (5, 4)
    index = pagedata.index(run)
    assert index["against"] == []


def test_of_many_classes_the_most_alike_pairs_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic()))
    everyone = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    assert against.pairs(run) == everyone
    monkeypatch.setattr(against, "MAX_PAIRS", 10)
    assert against.pairs(run) == everyone
    monkeypatch.setattr(against, "MAX_PAIRS", 9)  # one for each class
    nearest = against.alike(run, 1)[:, 0].tolist()
    expected = sorted({(min(a, b), max(a, b)) for a, b in enumerate(nearest)})
    assert against.pairs(run) == expected
    monkeypatch.setattr(against, "MAX_PAIRS", 1)
    assert against.pairs(run) == [(min(0, nearest[0]), max(0, nearest[0]))]

"""The store: whole shards, markers after them, a manifest that tells the truth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fnx.embedding import store
from fnx.embedding.store import Embedding, Manifest
from fnx.errors import DataError

ROWS, FEATURES, PER_SHARD = 23, 70, 8  # neither divides by the shard nor by the chunk


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest("0123456789ab", {"tap": "post"}, ROWS, FEATURES, PER_SHARD)


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    """A store without any shard; image 3 could not be read, so rows and image_id part there."""
    failed = 3
    ids = list(range(ROWS + 1))
    images = pl.DataFrame(
        {
            "image_id": ids,
            "path": [f"{i}.jpg" for i in ids],
            "class_id": pl.Series([i % 2 for i in ids], dtype=pl.Int32),
            "class_name": ["even" if i % 2 == 0 else "odd" for i in ids],
            "status": ["failed" if i == failed else "ok" for i in ids],
        }
    )
    features = pl.DataFrame(
        {
            "feature_id": range(FEATURES),
            "layer": ["conv1"] * 30 + ["conv2"] * 40,
            "unit": [*range(30), *range(40)],
            "kind": ["conv"] * FEATURES,
        }
    )
    store.create(tmp_path / "e", manifest, images, features)
    return tmp_path / "e"


def fill(path: Path, manifest: Manifest, data: np.ndarray, shards: list[int]) -> None:
    for shard in shards:
        rows = manifest.shard_rows(shard)
        store.write_shard(path, manifest, shard, data[rows.start : rows.stop])


def test_what_is_written_is_read(path: Path, manifest: Manifest, data: np.ndarray) -> None:
    fill(path, manifest, data, [2, 0, 1])
    store.finish(path, manifest)
    embedding = Embedding.open(path)
    np.testing.assert_array_equal(embedding.features[:], data)
    np.testing.assert_array_equal(embedding.layer("conv2"), data[:, 30:])
    assert embedding.layers == ("conv1", "conv2")
    assert embedding.class_names == ("even", "odd")
    assert embedding.labels.tolist() == [i % 2 for i in range(ROWS + 1) if i != 3]


def test_a_shard_is_missing_until_its_marker_is_there(
    path: Path, manifest: Manifest, data: np.ndarray
) -> None:
    assert store.missing_shards(path, manifest) == [0, 1, 2]
    fill(path, manifest, data, [1])
    assert store.missing_shards(path, manifest) == [0, 2]
    assert not Embedding.is_complete(path)
    with pytest.raises(DataError, match="not finished"):
        Embedding.open(path)


def test_one_file_a_shard(path: Path, manifest: Manifest, data: np.ndarray) -> None:
    fill(path, manifest, data, [0, 1, 2])
    files = [file for file in (path / "features.zarr").rglob("*") if file.is_file()]
    assert len([file for file in files if file.name != "zarr.json"]) == 3


def test_the_manifest_keeps_the_inputs_and_the_digests(
    path: Path, manifest: Manifest, data: np.ndarray
) -> None:
    fill(path, manifest, data, [0, 1, 2])
    store.finish(path, manifest)
    read = Manifest.read(path)
    assert dataclasses.replace(read, complete=False, shards=()) == manifest
    assert len(set(read.shards)) == 3
    assert not (path / "shards").exists()


def test_another_format_is_refused_by_name(path: Path) -> None:
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        Embedding.is_complete(path)


def test_an_unknown_layer_names_the_known_ones(
    path: Path, manifest: Manifest, data: np.ndarray
) -> None:
    fill(path, manifest, data, [0, 1, 2])
    store.finish(path, manifest)
    with pytest.raises(DataError, match="did you mean 'conv2'"):
        Embedding.open(path).layer("conv3")


def test_a_folder_without_a_manifest_is_no_embedding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an embedding"):
        Embedding.open(tmp_path)

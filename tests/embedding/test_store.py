"""The store: whole shards of both arrays, markers after them, a manifest that tells the truth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.embedding.stores import FEATURES, PER_SHARD, ROWS, blake2b, fill, tables

from fnx.embedding import store
from fnx.embedding.embedding import Embedding
from fnx.embedding.manifest import Manifest
from fnx.embedding.reading import open_arrays
from fnx.errors import DataError


def shard_file(path: Path, name: str, shard: int) -> Path:
    """Find a shard's file by what zarr calls it, whatever folders are in between."""
    (file,) = (f for f in (path / f"{name}.zarr/c/{shard}").rglob("*") if f.is_file())
    return file


@pytest.mark.parametrize(
    ("rows", "per_shard", "expected"),
    [
        (16, 8, [range(8), range(8, 16)]),
        (17, 8, [range(8), range(8, 16), range(16, 17)]),
        (3, 8, [range(3)]),
    ],
)
def test_the_last_shard_may_be_short(rows: int, per_shard: int, expected: list[range]) -> None:
    manifest = Manifest("", {}, rows, FEATURES, per_shard)
    assert manifest.n_shards == len(expected)
    assert [manifest.shard_rows(shard) for shard in range(manifest.n_shards)] == expected


def test_what_is_written_is_read(full: Path, data: np.ndarray, positions: np.ndarray) -> None:
    embedding = Embedding.open(full)
    np.testing.assert_array_equal(embedding.features[:], data)
    assert embedding.features.dtype == np.float32
    assert embedding.positions is not None
    np.testing.assert_array_equal(embedding.positions[:], positions)
    assert embedding.positions.dtype == np.uint8
    np.testing.assert_array_equal(embedding.layer("conv1"), data[:, :30])
    np.testing.assert_array_equal(embedding.layer("conv2"), data[:, 30:])
    assert embedding.layers == ("conv1", "conv2")
    assert embedding.class_names == ("even", "odd")
    assert embedding.labels.tolist() == [i % 2 for i in range(ROWS + 1) if i != 3]
    assert embedding.labels.dtype == np.int32
    assert embedding.images.height == ROWS + 1
    assert embedding.network is None
    assert embedding.extraction is None


def test_a_shard_is_missing_until_its_marker_is_there(
    path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray
) -> None:
    assert store.missing_shards(path, manifest) == [0, 1, 2]
    fill(path, manifest, data, positions, [1])
    assert store.missing_shards(path, manifest) == [0, 2]
    assert not store.is_whole(path)
    with pytest.raises(DataError, match="not finished: run the same command again"):
        Embedding.open(path)
    with pytest.raises(AssertionError):
        store.finish(path, manifest)


def test_a_shard_is_one_file_per_array_with_chunks_of_64_columns(full: Path) -> None:
    for name, bytes_per_value in (("features", 4), ("positions", 2)):
        files = [file for file in (full / f"{name}.zarr").rglob("*") if file.is_file()]
        assert len([file for file in files if file.name != "zarr.json"]) == 3
        array = zarr.open_array(full / f"{name}.zarr", mode="r")
        assert array.chunks[:2] == (PER_SHARD, 64)
        assert array.shards is not None
        assert array.shards[:2] == (PER_SHARD, 128)
        # Not compressed: the values, padded to whole chunks, and zarr's index of 2 chunks.
        size = shard_file(full, name, 0).stat().st_size
        assert size == PER_SHARD * 128 * bytes_per_value + 2 * 16 + 4


def test_compiled_code_reads_what_zarr_s_own_reads(
    full: Path, manifest: Manifest, data: np.ndarray
) -> None:
    for name, array in zip(manifest.arrays, open_arrays(full, manifest), strict=True):
        known = np.asarray(zarr.open_array(full / f"{name}.zarr", mode="r"))
        assert name != "features" or np.array_equal(known, data)
        rows = [0, PER_SHARD, len(known) - 1]
        np.testing.assert_array_equal(np.asarray(array), known)
        np.testing.assert_array_equal(
            array[1 : PER_SHARD + 1, 63:66], known[1 : PER_SHARD + 1, 63:66]
        )
        np.testing.assert_array_equal(array[rows], known[rows])


def test_the_manifest_keeps_the_inputs_and_the_digests(full: Path, manifest: Manifest) -> None:
    read = Manifest.read(full)
    assert dataclasses.replace(read, complete=False, shards=(), positions=(), files={}) == manifest
    assert read.complete
    assert read.shards == tuple(blake2b(shard_file(full, "features", i)) for i in range(3))
    assert read.positions == tuple(blake2b(shard_file(full, "positions", i)) for i in range(3))
    assert len({*read.shards, *read.positions}) == 6
    assert not (full / "shards").exists()
    assert store.is_whole(full)


@pytest.mark.parametrize("name", ["features", "positions"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_file_of_either_array_is_found(
    path: Path,
    manifest: Manifest,
    data: np.ndarray,
    positions: np.ndarray,
    name: str,
    finished: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(path, manifest, data, positions, [0, 1, 2])
    if finished:
        store.finish(path, manifest)
    assert store.damaged_shards(path, Manifest.read(path)) == []
    with shard_file(path, name, 1).open("r+b") as file:
        file.seek(10)
        file.write(b"by hand")
    damaged = store.damaged_shards(path, Manifest.read(path))
    assert damaged == [1]
    assert not store.is_whole(path)
    assert ("1 of 3 shards of" in caplog.text) == finished
    manifest = store.reopen(path, Manifest.read(path), damaged)
    assert (manifest.complete, manifest.shards, manifest.positions) == (False, (), ())
    assert Manifest.read(path) == manifest
    assert store.missing_shards(path, manifest) == [1]
    assert store.damaged_shards(path, manifest) == []
    for array in ("features", "positions"):
        assert not [f for f in (path / f"{array}.zarr/c/1").rglob("*") if f.is_file()]
    fill(path, manifest, data, positions, [1])
    store.finish(path, manifest)
    np.testing.assert_array_equal(Embedding.open(path).features[:], data)
    np.testing.assert_array_equal(Embedding.open(path).positions[:], positions)


def test_a_shard_of_zeros_has_no_file_and_is_whole(path: Path, manifest: Manifest) -> None:
    zeros = np.zeros((ROWS, FEATURES), np.float32)
    fill(path, manifest, zeros, np.ones((ROWS, FEATURES, 2), np.uint8), [0, 1, 2])
    store.finish(path, manifest)
    assert Manifest.read(path).shards == ("none", "none", "none")
    assert store.is_whole(path)
    np.testing.assert_array_equal(Embedding.open(path).features[:], zeros)


def test_a_shard_of_another_shape_is_never_written(
    path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray
) -> None:
    for values, places in ((data[:7], positions[:8]), (data[:8], positions[:8, :60])):
        with pytest.raises(AssertionError):
            store.write_shard(path, manifest, 0, values, places)
    with pytest.raises(AssertionError):
        store.write_shard(path, manifest, 0, data[:8])
    assert store.missing_shards(path, manifest) == [0, 1, 2]


@pytest.fixture
def old(tmp_path: Path, data: np.ndarray) -> Path:
    """A finished store as versions without positions wrote it, byte for byte."""
    manifest = Manifest("0123456789ab", {"tap": "post"}, ROWS, FEATURES, PER_SHARD)
    path = tmp_path / "old-0123456789ab"
    store.create(path, manifest, *tables())
    for shard in range(3):
        rows = manifest.shard_rows(shard)
        store.write_shard(path, manifest, shard, data[rows.start : rows.stop])
    marker = json.loads((path / "shards/000001.json").read_text())
    assert marker == {"rows": [8, 16], "digest": blake2b(shard_file(path, "features", 1))}
    store.finish(path, manifest)
    content = json.loads((path / "manifest.json").read_text())
    assert content.pop("positions") is None
    for key in ("files", "digest"):
        del content[key]
    (path / "manifest.json").write_text(json.dumps(content))
    return path


def test_an_embedding_without_positions_stays_readable(old: Path, data: np.ndarray) -> None:
    assert store.is_whole(old)
    embedding = Embedding.open(old)
    assert embedding.positions is None
    assert not (old / "positions.zarr").exists()
    np.testing.assert_array_equal(embedding.features[:], data)
    manifest = store.reopen(old, embedding.manifest, [2])
    assert manifest.positions is None
    assert store.damaged_shards(old, manifest) == []
    store.write_shard(old, manifest, 2, data[16:], np.zeros((7, FEATURES, 2), np.uint8))
    store.finish(old, manifest)
    finished = Manifest.read(old)
    assert dataclasses.replace(finished, files={}) == embedding.manifest
    assert set(finished.files) == {"images.parquet", "features.parquet", "features.zarr/zarr.json"}


def test_an_embedding_is_found_by_its_fingerprint_alone(tmp_path: Path) -> None:
    assert store.find(tmp_path, "birds-vgg16", "0123") == tmp_path / "birds-vgg16-0123"
    for name in ("b-0123", "a-0123", "a-4567"):
        (tmp_path / name).mkdir()
    assert store.find(tmp_path, "birds-vgg16", "0123") == tmp_path / "a-0123"


def test_an_unknown_layer_names_the_known_ones(full: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'conv2'"):
        Embedding.open(full).layer("conv3")


def test_a_folder_without_a_manifest_is_no_embedding(tmp_path: Path) -> None:
    assert not store.is_whole(tmp_path)
    with pytest.raises(DataError, match="is not an embedding"):
        Embedding.open(tmp_path)

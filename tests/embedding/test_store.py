"""The store: whole shards of both arrays, markers after them, a manifest that tells the truth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zarr

from fnx.embedding import store
from fnx.embedding.embedding import Embedding
from fnx.embedding.store import Manifest
from fnx.errors import DataError

ROWS, FEATURES, PER_SHARD = 23, 70, 8  # neither divides by the shard nor by the chunk


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)


@pytest.fixture
def positions() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (ROWS, FEATURES, 2), np.uint8)


@pytest.fixture
def manifest() -> Manifest:
    inputs = {"tap": "post"}
    return Manifest("0123456789ab", inputs, ROWS, FEATURES, PER_SHARD, positions=())


def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Images, of which number 3 could not be read, so that rows and numbers differ; features."""
    ids = list(range(ROWS + 1))
    images = pl.DataFrame(
        {
            "image_id": ids,
            "path": [f"{i}.jpg" for i in ids],
            "class_id": pl.Series([i % 2 for i in ids], dtype=pl.Int32),
            "class_name": ["even" if i % 2 == 0 else "odd" for i in ids],
            "status": ["failed" if i == 3 else "ok" for i in ids],
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
    return images, features


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    """A store without any shard."""
    store.create(tmp_path / "e", manifest, *tables())
    return tmp_path / "e"


def fill(
    path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray, shards: list[int]
) -> None:
    for shard in shards:
        rows = manifest.shard_rows(shard)
        part = slice(rows.start, rows.stop)
        store.write_shard(path, manifest, shard, data[part], positions[part])


@pytest.fixture
def full(path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray) -> Path:
    """A finished store."""
    fill(path, manifest, data, positions, [2, 0, 1])
    store.finish(path, manifest)
    return path


def blake2b(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


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


def test_another_format_is_refused_by_name(path: Path) -> None:
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="of format 99, this fnx reads format 2"):
        store.is_whole(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b'{"format": 2}',
        b'{"format": 2, "shards": []}',
        b"\xff",
        b"[" * 99_999,
        b"1" * 5000,
    ],
)
def test_a_manifest_that_is_none_is_refused(path: Path, content: bytes) -> None:
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"delete the folder to have it extracted again$") as caught:
        Embedding.open(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": "23"},
        {"rows": 0},
        {"features": 70.0},
        {"rows_per_shard": True},
        {"rows_per_shard": 7},
        {"shards": ["0f", "1f"]},
        {"shards": [1, 2, 3]},
        {"shards": "0f1"},
        {"shards": None},
        {"positions": ["0f"]},
        {"positions": {}},
        {"inputs": []},
        {"complete": 1},
        {"complete": False},
        {"files": ["images.parquet"]},
        {"fingerprint": 12},
        {"fingerprints": "a key of another version"},
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_manifest_with_other_values_is_refused(
    full: Path, changes: dict[str, object], signed: bool
) -> None:
    """Whether it has no digest of itself, as an older one, or one that was made for it."""
    content = json.loads((full / "manifest.json").read_text()) | changes
    del content["digest"]
    if signed:
        text = json.dumps(content, sort_keys=True).encode()
        content["digest"] = hashlib.blake2b(text, digest_size=16).hexdigest()
    (full / "manifest.json").write_text(json.dumps(content))
    for use in (Embedding.open, store.is_whole):
        with pytest.raises(DataError, match=r"not an embedding, or damaged: .*; delete the folder"):
            use(full)


def test_a_bit_of_the_manifest_that_was_turned_is_found(full: Path) -> None:
    content = (full / "manifest.json").read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 7
        (full / "manifest.json").write_bytes(changed)
        try:
            same = json.loads(changed) == json.loads(content)  # a blank became another
        except ValueError:
            same = False
        if not same:
            with pytest.raises(DataError):
                Manifest.read(full)


def test_an_embedding_of_another_fingerprint_is_not_taken(full: Path) -> None:
    assert store.is_whole(full, "0123456789ab")
    with pytest.raises(DataError, match="of another embedding, '0123456789ab'; delete the folder"):
        store.is_whole(full, "0123456789ac")


SMALL = [
    "images.parquet",
    "features.parquet",
    "features.zarr/zarr.json",
    "positions.zarr/zarr.json",
]


def test_the_manifest_holds_the_digest_of_every_file(full: Path) -> None:
    recorded = Manifest.read(full).files
    assert recorded == {name: blake2b(full / name) for name in SMALL}
    store.add_table(full, "network.parquet", pl.DataFrame({"layer": ["conv1"]}))
    recorded = Manifest.read(full).files
    assert recorded == {name: blake2b(full / name) for name in [*SMALL, "network.parquet"]}
    assert store.is_whole(full)
    assert Embedding.open(full).network is not None


def bit_flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "missing": lambda file: file.unlink(),
    "foreign": lambda file: file.write_bytes(b"{}"),
}


def make_older(path: Path) -> None:
    """Take the digests away that older versions did not write."""
    content = json.loads((path / "manifest.json").read_text())
    for key in ("files", "digest"):
        del content[key]
    (path / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "older"),
    [(bit_flipped, False), *((d, older) for d in DAMAGES.values() for older in (False, True))],
    ids=["flipped", *(f"{n}{'-older' * o}" for n in DAMAGES for o in (False, True))],
)
@pytest.mark.parametrize("name", [*SMALL, "network.parquet"])
def test_a_damaged_file_is_refused_by_name_and_made_again(
    full: Path, name: str, damage: Callable[[Path], object], older: bool, caplog: Any
) -> None:
    store.add_table(full, "network.parquet", pl.DataFrame({"layer": ["conv1"]}))
    before = {file: (full / file).read_bytes() for file in SMALL}
    if older:
        make_older(full)
    assert store.is_whole(full)
    damage(full / name)
    if name == "network.parquet" and not (full / name).exists():
        assert store.is_whole(full)  # it is written where it is missing
        assert Embedding.open(full).network is None
        return
    assert not store.is_whole(full)
    assert f"damaged in {full}: {name}" in caplog.text
    read = {
        "images.parquet": "images",
        "features.parquet": "feature_table",
        "network.parquet": "network",
        "features.zarr/zarr.json": "features",
        "positions.zarr/zarr.json": "positions",
    }
    with pytest.raises(DataError, match=rf"{name} is damaged or missing: the command .* again$"):
        getattr(Embedding.open(full), read[name])

    manifest = store.reopen(full, Manifest.read(full), [])
    assert store.missing_shards(full, manifest) == []
    store.write_small_files(full, manifest, *tables())
    store.finish(full, manifest)
    assert store.is_whole(full)
    assert {file: (full / file).read_bytes() for file in SMALL} == before
    assert (full / "network.parquet").exists() == (name != "network.parquet")
    assert not list(full.glob(".zarr-*"))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("images.parquet", tables()[0].head(ROWS)),
        ("images.parquet", tables()[0].drop("class_id")),
        ("features.parquet", tables()[1].head(FEATURES - 1)),
        ("features.parquet", tables()[1].drop("unit")),
        ("network.parquet", pl.DataFrame({"unit": [1]})),
    ],
)
def test_an_older_table_must_fit_the_manifest(full: Path, name: str, table: pl.DataFrame) -> None:
    make_older(full)
    table.write_parquet(full / name)
    assert not store.is_sound(full, Manifest.read(full), name)


def test_an_older_array_must_fit_the_manifest(full: Path) -> None:
    make_older(full)
    manifest = Manifest.read(full)
    name = "positions.zarr/zarr.json"
    assert store.is_sound(full, manifest, name)
    for changes in ({"rows": ROWS + 1}, {"features": FEATURES - 1}):
        assert not store.is_sound(full, dataclasses.replace(manifest, **changes), name)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"digest": 1}', '"', "[" * 99_999])
def test_a_shard_whose_marker_is_damaged_is_done_again(
    path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray, content: str
) -> None:
    fill(path, manifest, data, positions, [0, 1, 2])
    (path / "shards/000001.json").write_text(content)
    assert store.damaged_shards(path, manifest) == [1]
    store.reopen(path, manifest, [1])
    assert store.missing_shards(path, manifest) == [1]


def test_an_unknown_layer_names_the_known_ones(full: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'conv2'"):
        Embedding.open(full).layer("conv3")


def test_a_folder_without_a_manifest_is_no_embedding(tmp_path: Path) -> None:
    assert not store.is_whole(tmp_path)
    with pytest.raises(DataError, match="is not an embedding"):
        Embedding.open(tmp_path)

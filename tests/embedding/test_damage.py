"""Damaged, cut, missing or foreign files of an embedding: refused by name, or made again."""

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
from tests.embedding.stores import FEATURES, ROWS, blake2b, fill, tables

from fnx.embedding import store
from fnx.embedding.embedding import Embedding
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError


def test_another_format_is_refused_by_name(path: Path) -> None:
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="of format 99, this fnx reads format 2"):
        store.is_whole(path)


@pytest.mark.parametrize(("limit", "refused"), [(None, False), (4096, False), (4095, True)])
def test_shards_that_files_may_not_hold_are_refused_before_any_is_computed(
    tmp_path: Path, manifest: Manifest, limit: int | None, refused: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(store, "largest_file", lambda: limit)
    if not refused:  # 8 rows of two chunks of 64 features, of 4 bytes each
        store.create(tmp_path / "e", manifest, *tables())
        return
    with pytest.raises(DataError, match=r"4,095 bytes here, .* has 4,096: raise .*ulimit -f"):
        store.create(tmp_path / "e", manifest, *tables())
    assert not (tmp_path / "e").exists()


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
    ("changes", "words"),
    [
        ({"rows": "23"}, "rows is '23'"),
        ({"rows": 0}, "rows is 0"),
        ({"features": 70.0}, "features is 70.0"),
        ({"rows_per_shard": True}, "rows_per_shard is True"),
        ({"rows_per_shard": 7}, "shards are not 4 digests"),
        ({"shards": ["0f", "1f"]}, "shards are not 3 digests"),
        ({"shards": [1, 2, 3]}, "shards are not 3 digests"),
        ({"shards": "0f1"}, "shards are not 3 digests"),
        ({"shards": None}, "TypeError"),
        ({"positions": ["0f"]}, "positions are not 3 digests"),
        ({"positions": {}}, "positions are not 3 digests"),
        ({"inputs": []}, "fingerprint, inputs, complete or files"),
        ({"complete": 1}, "fingerprint, inputs, complete or files"),
        ({"complete": False}, "shards are not 0 digests"),
        ({"files": ["images.parquet"]}, "fingerprint, inputs, complete or files"),
        ({"fingerprint": 12}, "fingerprint, inputs, complete or files"),
        (
            {"fingerprints": "of another version"},
            "unexpected keyword argument 'fingerprints'",
        ),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_manifest_with_other_values_is_refused(
    full: Path, changes: dict[str, object], words: str, signed: bool
) -> None:
    """Whether it has no digest of itself, as an older one, or one that was made for it."""
    content = json.loads((full / "manifest.json").read_text()) | changes
    del content["digest"]
    if signed:
        text = json.dumps(content, sort_keys=True).encode()
        content["digest"] = hashlib.blake2b(text, digest_size=16).hexdigest()
    (full / "manifest.json").write_text(json.dumps(content))
    for use in (Embedding.open, store.is_whole):
        found = rf"not an embedding, or damaged: manifest.json: .*{words}.*; delete the folder"
        with pytest.raises(DataError, match=found):
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
    store.add_table(full, "network.parquet", pl.DataFrame({"name": ["conv1"]}))
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
@pytest.mark.parametrize("name", [*SMALL, *store.NETWORK_TABLES])
def test_a_damaged_file_is_refused_by_name_and_made_again(
    full: Path, name: str, damage: Callable[[Path], object], older: bool, caplog: Any
) -> None:
    for table in store.NETWORK_TABLES:
        store.add_table(full, table, pl.DataFrame({"name": ["conv1"], "layer": "conv1"}))
    before = {file: (full / file).read_bytes() for file in SMALL}
    if older:
        make_older(full)
    assert store.is_whole(full)
    damage(full / name)
    if name in store.NETWORK_TABLES and not (full / name).exists():
        assert store.is_whole(full)  # it is written where it is missing
        assert getattr(Embedding.open(full), name.removesuffix(".parquet")) is None
        return
    assert not store.is_whole(full)
    assert f"damaged or missing in {full}: {name}" in caplog.text
    read = {
        "images.parquet": "images",
        "features.parquet": "feature_table",
        "network.parquet": "network",
        "receptive_fields.parquet": "receptive_fields",
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
    assert [(full / table).exists() for table in store.NETWORK_TABLES] == [
        name != table for table in store.NETWORK_TABLES
    ]
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


def test_an_older_table_at_which_polars_panics_is_damaged(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(_: Path) -> pl.DataFrame:
        raise pl.exceptions.PanicException("a panic is no Exception")

    make_older(full)
    monkeypatch.setattr(pl, "read_parquet", panic)
    assert not store.is_whole(full)


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

"""A small store for the tests of this room, and what it holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from fnx.embedding import store
from fnx.embedding.manifest import Manifest

ROWS, FEATURES, PER_SHARD = 23, 70, 8  # neither divides by the shard nor by the chunk


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


def fill(
    path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray, shards: list[int]
) -> None:
    for shard in shards:
        rows = manifest.shard_rows(shard)
        part = slice(rows.start, rows.stop)
        store.write_shard(path, manifest, shard, data[part], positions[part])


def blake2b(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()

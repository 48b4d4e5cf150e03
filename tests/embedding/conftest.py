"""A small store, empty and finished, and what is written into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.embedding.stores import FEATURES, PER_SHARD, ROWS, fill, tables

from fnx.embedding import store
from fnx.embedding.manifest import Manifest


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


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    """A store without any shard."""
    store.create(tmp_path / "e", manifest, *tables())
    return tmp_path / "e"


@pytest.fixture
def full(path: Path, manifest: Manifest, data: np.ndarray, positions: np.ndarray) -> Path:
    """A finished store."""
    fill(path, manifest, data, positions, [2, 0, 1])
    store.finish(path, manifest)
    return path

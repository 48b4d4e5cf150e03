"""Runs of different networks on the same images, with embeddings, out of thin air."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.embedding import store
from fnx.embedding.manifest import Manifest

NAMES = ("ant", "bee", "cat", "dog", "elk")
SIZES = (4, 5, 6, 7, 8)
D = np.float32(
    [
        [0.9, -0.1, 0.0, -0.3, -0.2],
        [-0.8, 0.2, 0.1, 0.3, 0.1],
        [0.1, 0.6, -0.4, 0.0, 0.2],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.1, -0.2, 0.7, -0.6, 0.3],
    ]
)
OF_A = (("early", 2, "conv"), ("late", 3, "conv"))


def network(
    folder: Path,
    real: NDArray[np.float32] = D,
    *,
    layers: Sequence[tuple[str, int, str]] = OF_A,
    names: Sequence[str] = NAMES,
    sizes: Sequence[int] = SIZES,
    first: int = 0,
    digests: Sequence[str | None] | None = None,
    **record: Any,
) -> Run:
    """A run of these distances; its images have the digests "d000" …, in order from `first` on."""
    random = np.zeros((2, *real.shape), np.float32) + np.float32(0.25)
    spec = Synthetic(layers=layers, class_names=names, class_sizes=sizes, arrays=(real, random))
    write_run(folder, spec.but(statistic=record.pop("statistic", "ks"), failed=()))
    file = folder / "run.json"
    told = {"fingerprint": folder.name, "weights_digest": folder.name, "model": folder.name}
    file.write_text(json.dumps(json.loads(file.read_text()) | told | record))
    images = pl.read_parquet(folder / "images.parquet")
    own = digests or [f"d{first + i:03}" for i in range(images.height)]
    images.with_columns(pl.Series("digest", own)).write_parquet(folder / "images.parquet")
    return Run.open(folder)


def give_embedding(run: Run, values: NDArray[np.float32]) -> Run:
    """Put an embedding of these values (N, F) beside a run's folder."""
    folder = run.path.parent / f"embedding-{run.path.name}"
    manifest = Manifest(run.record.fingerprint, {"weights": ""}, *values.shape, len(values))
    store.create(folder, manifest, run.images, run.features)
    store.write_shard(folder, manifest, 0, values.astype(np.float32))
    store.finish(folder, manifest)
    file = run.path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"embedding": str(folder)}))
    return Run.open(run.path)

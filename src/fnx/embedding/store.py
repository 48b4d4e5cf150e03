"""The embedding's folder: two sharded zarr arrays, their tables and a manifest.

``features.zarr`` holds the values, ``positions.zarr`` where in the image each unit is highest. A
shard is `rows_per_shard` rows × all features of both, written once, whole, by one writer; its
marker in ``shards/`` appears only after it, so the markers are the state from which an interrupted
extraction resumes. The last act is the manifest's ``complete``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from fnx.embedding.fingerprint import FORMAT
from fnx.errors import DataError
from fnx.utils.files import file_digest, write_atomically
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

# Measured (DESIGN.md): reads of 64 columns take 0.4 × the time of plain npy blocks.
COLUMNS_PER_CHUNK = 64


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``: the fingerprint's whole input, and the store's layout.

    Attributes:
        fingerprint: of `inputs`.
        inputs: see `fnx.embedding.fingerprint.shaping_inputs`.
        rows: N.
        features: F.
        rows_per_shard: rows of every shard but the last, which may be short.
        complete: whether every shard is written.
        shards: digest of each shard of the values, once complete.
        positions: likewise of the positions; None for a store without positions, which older
            versions made.
        format: see `fnx.embedding.fingerprint.FORMAT`.
    """

    fingerprint: str
    inputs: dict[str, Any]
    rows: int
    features: int
    rows_per_shard: int
    complete: bool = False
    shards: tuple[str, ...] = ()
    positions: tuple[str, ...] | None = None
    format: int = FORMAT

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.rows_per_shard)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, whose folders are NAME.zarr."""
        return ("features",) if self.positions is None else ("features", "positions")

    def shard_rows(self, shard: int) -> range:
        """Return the rows of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.rows))

    def write(self, path: Path) -> None:
        """Replace ``manifest.json`` in the folder `path`, all at once."""
        content = json.dumps(dataclasses.asdict(self), indent=1)
        write_atomically(path / "manifest.json", content)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read the manifest of the folder `path`.

        Raises:
            DataError: no manifest, or one of another format.
        """
        try:
            found = json.loads((path / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not an embedding: manifest.json: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            version = found.get("format") if isinstance(found, dict) else None
            raise DataError(
                f"{path} is an embedding of format {version}, this fnx reads format {FORMAT}: "
                "delete the folder to have it extracted again"
            )
        digests = {key: found.get(key) for key in ("shards", "positions")}
        try:
            return cls(**found | {key: tuple(d) for key, d in digests.items() if d is not None})
        except TypeError as error:
            raise DataError(f"{path} is not an embedding: manifest.json: {error}") from error


def find(cache: Path, name: str, fingerprint: str) -> Path:
    """Return the folder of the embedding with this fingerprint, whatever name it was given.

    Where there is none yet, it is the folder to extract into.
    """
    found = sorted(cache.glob(f"*-{fingerprint}"))
    return found[0] if found else cache / f"{name}-{fingerprint}"


def is_whole(path: Path) -> bool:
    """Return whether an embedding is finished and its shards still are what was written.

    Raises:
        DataError: an embedding of another format.
    """
    if not (path / "manifest.json").is_file():
        return False
    manifest = Manifest.read(path)
    if not manifest.complete:
        return False
    if damaged := damaged_shards(path, manifest):
        log.warning("%d of %d shards of %s are damaged", len(damaged), manifest.n_shards, path)
    return not damaged


def create(path: Path, manifest: Manifest, images: pl.DataFrame, features: pl.DataFrame) -> None:
    """Make the folder of an embedding to be extracted; the manifest is written last."""
    path.mkdir(parents=True, exist_ok=True)
    width = -(-manifest.features // COLUMNS_PER_CHUNK) * COLUMNS_PER_CHUNK  # whole chunks
    for name in manifest.arrays:
        dtype, rest, axes = (
            ("uint8", (2,), ("axis",)) if name == "positions" else ("float32", (), ())
        )
        zarr.create_array(
            store=path / f"{name}.zarr",
            shape=(manifest.rows, manifest.features, *rest),
            shards=(manifest.rows_per_shard, width, *rest),
            chunks=(manifest.rows_per_shard, COLUMNS_PER_CHUNK, *rest),
            dtype=dtype,
            compressors=None,
            dimension_names=("image", "feature", *axes),
            overwrite=True,
        )
    shutil.rmtree(path / "shards", ignore_errors=True)
    (path / "shards").mkdir()
    images.write_parquet(path / "images.parquet")
    features.write_parquet(path / "features.parquet")
    manifest.write(path)


def write_shard(
    path: Path,
    manifest: Manifest,
    shard: int,
    values: NDArray[np.float32],
    positions: NDArray[np.uint8] | None = None,
) -> None:
    """Write one whole shard, then its marker.

    `values` is float32 (rows of the shard, F), `positions` uint8 (rows of the shard, F, 2), which
    is not written into a store without positions.
    """
    rows = manifest.shard_rows(shard)
    digests = []
    for name, block in zip(manifest.arrays, (values, positions), strict=False):
        assert block is not None
        assert block.shape[:2] == (len(rows), manifest.features), (name, block.shape, rows)
        array = zarr.open_array(path / f"{name}.zarr", mode="r+")
        array[rows.start : rows.stop] = block
        file = _shard_file(path, name, shard)
        if file.is_file():  # a shard of zeros has none
            with file.open("rb") as written:
                os.fsync(written.fileno())
        digests.append(_digest(file))
    _write_marker(path, manifest, shard, digests)


def missing_shards(path: Path, manifest: Manifest) -> list[int]:
    """Return the shards that still have to be extracted."""
    return [shard for shard in range(manifest.n_shards) if not _marker(path, shard).is_file()]


def damaged_shards(path: Path, manifest: Manifest) -> list[int]:
    """Return the written shards with a file that was truncated, overwritten or lost since.

    All of them are read, which takes a fraction of the time of the statistic that comes after.
    """
    if manifest.complete:
        known = {shard: _recorded(manifest, shard) for shard in range(manifest.n_shards)}
    else:
        there = sorted(set(range(manifest.n_shards)) - set(missing_shards(path, manifest)))
        known = {shard: _marked(path, manifest, shard) for shard in there}

    def digests(shard: int) -> list[str]:
        return [_digest(_shard_file(path, name, shard)) for name in manifest.arrays]

    bar = progress_bar("checking", total=len(known), unit="shards", enabled=len(known) > 20)
    with bar, ThreadPoolExecutor() as threads:  # hashing and reading release Python's lock
        damaged = []
        for shard, found in zip(known, threads.map(digests, known), strict=True):
            bar.update()
            if found != known[shard]:
                damaged.append(shard)
    return damaged


def reopen(path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
    """Make the embedding unfinished and the `damaged` shards missing; return its manifest now."""
    if manifest.complete:
        (path / "shards").mkdir(exist_ok=True)
        for shard in sorted(set(range(manifest.n_shards)) - set(damaged)):
            _write_marker(path, manifest, shard, _recorded(manifest, shard))
        positions = None if manifest.positions is None else ()
        manifest = dataclasses.replace(manifest, complete=False, shards=(), positions=positions)
        manifest.write(path)
    for shard in damaged:
        _marker(path, shard).unlink(missing_ok=True)
        for name in manifest.arrays:
            _shard_file(path, name, shard).unlink(missing_ok=True)
    return manifest


def finish(path: Path, manifest: Manifest) -> None:
    """Declare the embedding complete; its shards' digests move into the manifest."""
    assert not missing_shards(path, manifest)
    digests = [_marked(path, manifest, shard) for shard in range(manifest.n_shards)]
    values, *positions = (tuple(column) for column in zip(*digests, strict=True))
    dataclasses.replace(
        manifest, complete=True, shards=values, positions=positions[0] if positions else None
    ).write(path)
    shutil.rmtree(path / "shards")


def _marker(path: Path, shard: int) -> Path:
    return path / "shards" / f"{shard:06d}.json"


def _write_marker(path: Path, manifest: Manifest, shard: int, digests: Sequence[str]) -> None:
    rows = manifest.shard_rows(shard)
    # The first key is the one that versions without positions wrote and read.
    named = dict(zip(("digest", "positions"), digests, strict=False))
    content = json.dumps({"rows": [rows.start, rows.stop], **named}, indent=1)
    write_atomically(_marker(path, shard), content)


def _marked(path: Path, manifest: Manifest, shard: int) -> list[str]:
    """Return the digests that a shard's marker holds, one per array."""
    marker = json.loads(_marker(path, shard).read_text())
    return [str(marker[key]) for key in ("digest", "positions")[: len(manifest.arrays)]]


def _recorded(manifest: Manifest, shard: int) -> list[str]:
    """Return the digests that a complete manifest holds, one per array."""
    return [digests[shard] for digests in (manifest.shards, manifest.positions) if digests]


def _shard_file(path: Path, name: str, shard: int) -> Path:
    """Return where zarr keeps a shard: one row of shards, as wide as the array."""
    last = "0/0" if name == "positions" else "0"
    return path / f"{name}.zarr" / "c" / str(shard) / last


def _digest(file: Path) -> str:
    try:
        return file_digest(file)
    except FileNotFoundError:
        return "none"

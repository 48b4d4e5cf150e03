"""The embedding on disk: a sharded zarr array, its tables and a manifest.

A shard is `rows_per_shard` rows × all features, written once, whole, by one writer; its marker in
``shards/`` appears only after it, so the markers are the state from which an interrupted extraction
goes on. The last act is the manifest's ``complete``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from fnx.embedding.fingerprint import FORMAT
from fnx.errors import DataError, unknown
from fnx.utils.progress import progress_bar

# Measured (DESIGN.md): reads of 64 columns take 0.4 × the time of plain npy blocks.
COLUMNS_PER_CHUNK = 64


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds: the fingerprint's whole input, and the store's layout."""

    fingerprint: str
    inputs: dict[str, Any]
    rows: int
    features: int
    rows_per_shard: int
    complete: bool = False
    shards: tuple[str, ...] = ()  # BLAKE2b of each shard's file, once complete
    format: int = FORMAT

    @property
    def n_shards(self) -> int:
        """Number of shards, the last of which may be short."""
        return -(-self.rows // self.rows_per_shard)

    def shard_rows(self, shard: int) -> range:
        """The rows of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.rows))

    def write(self, path: Path) -> None:
        """Replace ``manifest.json`` in the folder `path`, all at once."""
        _write_json(path / "manifest.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read the manifest of the folder `path`.

        Raises:
            DataError: there is none, or it is of another version of fnx.
        """
        try:
            found = json.loads((path / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not an embedding: manifest.json: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            version = found.get("format") if isinstance(found, dict) else None
            raise DataError(
                f"{path} is an embedding of format {version}, this fnx reads format {FORMAT}: "
                "delete the folder to have it extracted anew"
            )
        found["shards"] = tuple(found["shards"])
        return cls(**found)


@dataclass(frozen=True)
class Extraction:
    """What this process extracted: fewer images than all where it went on with an earlier one."""

    images: int
    seconds: float  # of the loop over the images, without the building of the network


@dataclass(frozen=True)
class Embedding:
    """A finished embedding: N images × F features, read lazily.

    Example:
        >>> import fnx
        >>> embedding = fnx.Embedding.open("outputs/embeddings/…")  # doctest: +SKIP
        >>> embedding.layer("conv4_3").shape  # doctest: +SKIP
        (400, 512)
    """

    path: Path
    manifest: Manifest
    extraction: Extraction | None = None  # None where it was there already

    @staticmethod
    def is_complete(path: Path) -> bool:
        """Whether the folder `path` holds a finished embedding."""
        return (path / "manifest.json").is_file() and Manifest.read(path).complete

    @classmethod
    def open(cls, path: str | Path) -> Embedding:
        """Open the finished embedding in the folder `path`.

        Raises:
            DataError: there is none, it is not finished, or it is of another version.
        """
        path = Path(path)
        manifest = Manifest.read(path)
        if not manifest.complete:
            raise DataError(f"{path} is not finished: run the same command again to go on with it")
        return cls(path, manifest)

    @cached_property
    def features(self) -> zarr.Array[Any]:
        """float32 (N, F); slices are read from disk when asked for."""
        return zarr.open_array(self.path / "features.zarr", mode="r")

    @cached_property
    def images(self) -> pl.DataFrame:
        """Every image that was listed; row i of `features` is the i-th one with status ``ok``."""
        return pl.read_parquet(self.path / "images.parquet")

    @cached_property
    def feature_table(self) -> pl.DataFrame:
        """feature_id, layer, unit, kind: the columns of `features`."""
        return pl.read_parquet(self.path / "features.parquet")

    @cached_property
    def network(self) -> pl.DataFrame | None:
        """Table 1 (see `fnx.backbones.network_table`); None where it could not be made."""
        file = self.path / "network.parquet"
        return pl.read_parquet(file) if file.is_file() else None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of their columns."""
        return tuple(self.feature_table["layer"].unique(maintain_order=True))

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32 (N,): the class of each row of `features`, 0 … C-1."""
        rows = self.images.filter(pl.col("status") == "ok")
        return rows["class_id"].to_numpy().astype(np.int32)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order of their label."""
        classes = self.images.drop_nulls("class_id").unique("class_id").sort("class_id")
        return tuple(classes["class_name"])

    def layer(self, name: str) -> NDArray[np.float32]:
        """float32 (N, units): the features of one layer.

        Raises:
            DataError: the embedding has no such layer.
        """
        if name not in self.layers:
            raise DataError(unknown("layer", name, self.layers))
        columns = self.feature_table.filter(pl.col("layer") == name)["feature_id"]
        first, last = int(columns[0]), int(columns[-1])
        return np.asarray(self.features[:, first : last + 1], dtype=np.float32)


def find(cache: Path, fingerprint: str) -> Path | None:
    """The folder of the embedding with this fingerprint, whatever the names before it."""
    return next(iter(sorted(cache.glob(f"*-{fingerprint}"))), None)


def create(path: Path, manifest: Manifest, images: pl.DataFrame, features: pl.DataFrame) -> None:
    """Make the folder of an embedding to be extracted; the manifest is written last."""
    path.mkdir(parents=True, exist_ok=True)
    width = -(-manifest.features // COLUMNS_PER_CHUNK) * COLUMNS_PER_CHUNK
    zarr.create_array(
        store=path / "features.zarr",
        shape=(manifest.rows, manifest.features),
        shards=(manifest.rows_per_shard, width),
        chunks=(manifest.rows_per_shard, COLUMNS_PER_CHUNK),
        dtype="float32",
        compressors=None,
        dimension_names=("image", "feature"),
        overwrite=True,
    )
    shutil.rmtree(path / "shards", ignore_errors=True)
    (path / "shards").mkdir()
    images.write_parquet(path / "images.parquet")
    features.write_parquet(path / "features.parquet")
    manifest.write(path)


def write_shard(path: Path, manifest: Manifest, shard: int, block: NDArray[np.float32]) -> None:
    """Write one whole shard, float32 (rows of the shard, F), then its marker."""
    rows = manifest.shard_rows(shard)
    assert block.shape == (len(rows), manifest.features), (block.shape, rows)
    array = zarr.open_array(path / "features.zarr", mode="r+")
    array[rows.start : rows.stop, :] = block
    file = _shard_file(path, shard)
    if file.is_file():  # a shard of zeros has none
        with file.open("rb") as written:
            os.fsync(written.fileno())
    _write_json(_marker(path, shard), {"rows": [rows.start, rows.stop], "digest": _digest(file)})


def missing_shards(path: Path, manifest: Manifest) -> list[int]:
    """The shards that still have to be extracted."""
    return [shard for shard in range(manifest.n_shards) if not _marker(path, shard).is_file()]


def damaged_shards(path: Path, manifest: Manifest) -> list[int]:
    """Written shards whose file is no longer what was written: truncated, overwritten or lost.

    All of them are read, which takes a fraction of the time of the statistic that comes after.
    """
    if manifest.complete:
        known = dict(enumerate(manifest.shards))
    else:
        there = sorted(set(range(manifest.n_shards)) - set(missing_shards(path, manifest)))
        known = {shard: _marked(path, shard) for shard in there}
    bar = progress_bar("checking", total=len(known), unit="shards", enabled=len(known) > 20)
    with bar, ThreadPoolExecutor() as threads:  # hashing and reading leave Python's lock alone
        found = threads.map(lambda shard: _digest(_shard_file(path, shard)), known)
        damaged = []
        for (shard, digest), now in zip(known.items(), found, strict=True):
            bar.update()
            if digest != now:
                damaged.append(shard)
    return damaged


def reopen(path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
    """Have the `damaged` shards extracted anew: the embedding is unfinished, and lacks them."""
    if manifest.complete:
        (path / "shards").mkdir(exist_ok=True)
        for shard, digest in enumerate(manifest.shards):
            if shard not in damaged:
                rows = manifest.shard_rows(shard)
                marker = {"rows": [rows.start, rows.stop], "digest": digest}
                _write_json(_marker(path, shard), marker)
        manifest = dataclasses.replace(manifest, complete=False, shards=())
        manifest.write(path)
    for shard in damaged:
        _marker(path, shard).unlink(missing_ok=True)
        _shard_file(path, shard).unlink(missing_ok=True)
    return manifest


def finish(path: Path, manifest: Manifest) -> None:
    """Declare the embedding complete; its shards' digests move into the manifest."""
    assert not missing_shards(path, manifest)
    digests = tuple(_marked(path, shard) for shard in range(manifest.n_shards))
    dataclasses.replace(manifest, complete=True, shards=digests).write(path)
    shutil.rmtree(path / "shards")


def _marker(path: Path, shard: int) -> Path:
    return path / "shards" / f"{shard:06d}.json"


def _marked(path: Path, shard: int) -> str:
    """The digest that a shard's marker holds."""
    return str(json.loads(_marker(path, shard).read_text())["digest"])


def _shard_file(path: Path, shard: int) -> Path:
    """Where zarr keeps a shard: one row of shards, as wide as the array."""
    return path / "features.zarr" / "c" / str(shard) / "0"


def _digest(file: Path) -> str:
    blake2b = partial(hashlib.blake2b, digest_size=16)
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, blake2b).hexdigest()
    except FileNotFoundError:
        return "none"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    # A reader sees the old file or the new one, never a half: replace() is atomic, and the bytes
    # are on the disk before the name is.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

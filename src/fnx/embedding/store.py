"""The embedding's folder: two sharded zarr arrays, their tables and a manifest.

``features.zarr`` holds the values, ``positions.zarr`` where in the image each unit is highest. A
shard is `rows_per_shard` rows × all features of both, written once, whole, by one writer; its
marker in ``shards/`` appears only after it, so the markers are the state from which an interrupted
extraction resumes. The last act is the manifest's ``complete``, with a digest of every file.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from fnx.embedding.fingerprint import fingerprint
from fnx.embedding.gaps import Gap
from fnx.embedding.manifest import Manifest
from fnx.embedding.reading import open_array, open_arrays, read_blocks
from fnx.errors import DataError
from fnx.utils.cores import cores
from fnx.utils.files import atomic_path, file_digest, largest_file, write_atomically
from fnx.utils.parquet import read_parquet
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

# Measured (DESIGN.md): reads of 64 columns take 0.4 × the time of plain npy blocks.
COLUMNS_PER_CHUNK = 64
FEWEST_ROWS, MOST_ROWS = 64, 2048  # of a shard
# Files beside the arrays' shards, and what a table of no known digest must have.
_COLUMNS = {
    "images.parquet": ("image_id", "path", "class_id", "class_name", "status"),
    "features.parquet": ("feature_id", "layer", "unit", "kind"),
    "network.parquet": ("name",),
    "receptive_fields.parquet": ("layer",),
}
# Those that tell of the network: made by whoever finds them missing.
NETWORK_TABLES = ("network.parquet", "receptive_fields.parquet")


def find(cache: Path, name: str, mark: str) -> Path:
    """Return the folder of the embedding with this fingerprint, whatever name it was given.

    Where there is none yet, it is the folder to extract into.
    """
    found = sorted(cache.glob(f"[!.]*-{mark}"))
    return found[0] if found else cache / f"{name}-{mark}"


def is_whole(path: Path, fingerprint: str | None = None) -> bool:
    """Return whether an embedding is finished and its files still are what was written.

    Raises:
        DataError: see `Manifest.read`.
    """
    if not (path / "manifest.json").is_file():
        return False
    manifest = Manifest.read(path, fingerprint)
    if not manifest.complete:
        return False
    files = [name for name in small_files(path, manifest) if not is_sound(path, manifest, name)]
    if files:
        log.warning("damaged or missing in %s: %s", path, ", ".join(files))
    if damaged := damaged_shards(path, manifest):
        log.warning("%d of %d shards of %s are damaged", len(damaged), manifest.n_shards, path)
    return not files and not damaged


def small_files(path: Path, manifest: Manifest) -> list[str]:
    """Return the names of the tables, and of the arrays' metadata."""
    optional = [name for name in NETWORK_TABLES if (path / name).exists()]
    arrays = [f"{name}.zarr/zarr.json" for name in manifest.arrays]
    return ["images.parquet", "features.parquet", *optional, *arrays]


def is_sound(path: Path, manifest: Manifest, name: str) -> bool:
    """Return whether one of the small files is what was written.

    An older version's, of which no digest is known, must be readable and fit the manifest.
    """
    if name in manifest.files:
        return _digest(path / name) == manifest.files[name]
    try:
        if name.endswith("zarr.json"):
            shape = open_array((path / name).parent).shape
            return shape[:2] == (manifest.rows, manifest.features)
        table = read_parquet(path / name)
        if name == "images.parquet":
            table = table.select(_COLUMNS[name]).filter(pl.col("status") == "ok")
        rows = {"images.parquet": manifest.rows, "features.parquet": manifest.features}
        return table.select(_COLUMNS[name]).height == rows.get(name, table.height)
    except Exception:  # whatever Polars and zarr raise on what is none of theirs
        return False


def open_or_create(
    path: Path,
    inputs: dict[str, Any],
    images: pl.DataFrame,
    features: pl.DataFrame,
    rows_per_shard: Callable[[], int],
) -> Manifest:
    """Return the manifest of the store that is there, damaged shards dropped, or of a new one.

    The tables of a store that is there are written anew, but for its images, if they are sound: a
    data set of the same contents may have other labels and names, and does not change the store's.

    Raises:
        DataError: see `Manifest.read` and `create`.
    """
    mark = fingerprint(inputs)
    if (path / "manifest.json").is_file():
        manifest = Manifest.read(path, mark)
        if damaged := damaged_shards(path, manifest):
            log.warning("damaged shards are made again: %s", damaged)
        manifest = reopen(path, manifest, damaged)
        if is_sound(path, manifest, "images.parquet"):
            images = read_parquet(path / "images.parquet")
        write_small_files(path, manifest, images, features)
        return manifest
    rows = images.filter(pl.col("status") == "ok").height
    manifest = Manifest(mark, inputs, rows, features.height, rows_per_shard(), positions=())
    create(path, manifest, images, features)
    return manifest


def create(path: Path, manifest: Manifest, images: pl.DataFrame, features: pl.DataFrame) -> None:
    """Make the folder of an embedding to be extracted; the manifest is written last.

    Raises:
        DataError: shards that are larger than files may be (``ulimit -f``).
    """
    _check_limit(path, manifest)
    path.mkdir(parents=True, exist_ok=True)
    for name in ("shards", *(f"{name}.zarr" for name in manifest.arrays)):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / "shards").mkdir()
    write_small_files(path, manifest, images, features)
    manifest.write(path)


def _check_limit(path: Path, manifest: Manifest) -> None:
    """Refuse a store whose shards are larger than files may be, before any is computed.

    Raises:
        DataError: naming the limit.
    """
    limit, shard = largest_file(), manifest.rows_per_shard * _width(manifest) * 4
    if limit is not None and shard > limit:
        raise DataError(
            f"a file may have {limit:,} bytes here, and a part of the embedding in {path} has "
            f"{shard:,}: raise the limit (ulimit -f)"
        )


def _width(manifest: Manifest) -> int:
    return -(-manifest.features // COLUMNS_PER_CHUNK) * COLUMNS_PER_CHUNK  # whole chunks


def write_small_files(
    path: Path, manifest: Manifest, images: pl.DataFrame, features: pl.DataFrame
) -> None:
    """Write the tables and the arrays' metadata, anew where they are there; no array is touched."""
    for name, table in (("images.parquet", images), ("features.parquet", features)):
        with atomic_path(path / name) as temporary:
            table.write_parquet(temporary)
    for name in manifest.arrays:
        dtype, rest, axes = (
            ("uint8", (2,), ("axis",)) if name == "positions" else ("float32", (), ())
        )
        with TemporaryDirectory(prefix=".zarr-", dir=path) as folder:
            zarr.create_array(
                store=folder,
                shape=(manifest.rows, manifest.features, *rest),
                shards=(manifest.rows_per_shard, _width(manifest), *rest),
                chunks=(manifest.rows_per_shard, COLUMNS_PER_CHUNK, *rest),
                dtype=dtype,
                compressors=None,
                dimension_names=("image", "feature", *axes),
                overwrite=True,
            )
            (path / f"{name}.zarr").mkdir(exist_ok=True)
            content = (Path(folder) / "zarr.json").read_bytes()
        write_atomically(path / f"{name}.zarr" / "zarr.json", content)


def add_table(path: Path, name: str, table: pl.DataFrame) -> None:
    """Put a table beside those of a finished embedding."""
    with atomic_path(path / name) as temporary:
        table.write_parquet(temporary)
    manifest = Manifest.read(path)
    files = manifest.files | {name: _digest(path / name)}
    dataclasses.replace(manifest, files=files).write(path)


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
    _write_marker(path, manifest, shard, _write_blocks(path, manifest, shard, values, positions))


def begin_shard(
    path: Path,
    manifest: Manifest,
    shard: int,
    values: NDArray[np.float32],
    positions: NDArray[np.uint8],
) -> tuple[str, ...]:
    """Write a shard of which some rows are known, and no marker; return the digests of its files.

    The others are added by `complete_shard`.
    """
    return tuple(_write_blocks(path, manifest, shard, values, positions))


def complete_shard(
    path: Path,
    manifest: Manifest,
    shard: int,
    gap: Gap,
    values: NDArray[np.float32],
    positions: NDArray[np.uint8],
) -> None:
    """Write a shard whose missing rows these are, float32 (rows, F) and uint8 (rows, F, 2).

    Raises:
        DataError: what was there of it is not what `begin_shard` wrote.
    """
    if gap.begun:
        first = manifest.shard_rows(shard).start
        blocks = read_blocks(open_arrays(path, manifest), manifest, shard)
        if digests(path, manifest, shard) != list(gap.begun):
            raise DataError(
                f"{path}: shard {shard} was changed while its last rows were extracted; the same "
                "command makes it again"
            )
        for block, part in zip(blocks, (values, positions)[: len(blocks)], strict=True):
            block[np.asarray(gap.rows) - first] = part
        values, positions = blocks[0], blocks[-1]
    write_shard(path, manifest, shard, values, positions)


def _write_blocks(
    path: Path, manifest: Manifest, shard: int, *blocks: NDArray[Any] | None
) -> list[str]:
    """Write one shard of each array; return the digests of their files."""
    rows = manifest.shard_rows(shard)
    for name, block in zip(manifest.arrays, blocks, strict=False):
        assert block is not None
        assert block.shape[:2] == (len(rows), manifest.features), (name, block.shape, rows)
        array = zarr.open_array(path / f"{name}.zarr", mode="r+")
        array[rows.start : rows.stop] = block
        file = _shard_file(path, name, shard)
        if file.is_file():  # a shard of zeros has none
            with file.open("rb") as written:
                os.fsync(written.fileno())
    return digests(path, manifest, shard)


def digests(path: Path, manifest: Manifest, shard: int) -> list[str]:
    """Return the digests of a shard's files as they are now, one per array."""
    return [_digest(_shard_file(path, name, shard)) for name in manifest.arrays]


def known_digests(path: Path, manifest: Manifest, shard: int) -> list[str] | None:
    """Return the digests that were noted when a shard was written; None if it is missing."""
    if manifest.complete:
        return [found[shard] for found in (manifest.shards, manifest.positions) if found]
    try:
        return _marked(path, manifest, shard)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # a damaged marker, or none
        return None


def missing_shards(path: Path, manifest: Manifest) -> list[int]:
    """Return the shards that still have to be extracted."""
    return [shard for shard in range(manifest.n_shards) if not _marker(path, shard).is_file()]


def damaged_shards(path: Path, manifest: Manifest) -> list[int]:
    """Return the written shards with a file that was truncated, overwritten or lost since.

    All of them are read, which takes a fraction of the time of the statistic that comes after.
    """
    absent = set() if manifest.complete else set(missing_shards(path, manifest))
    there = sorted(set(range(manifest.n_shards)) - absent)
    known = {shard: known_digests(path, manifest, shard) for shard in there}
    now = partial(digests, path, manifest)

    bar = progress_bar("checking", total=len(known), unit="shards", enabled=len(known) > 20)
    with bar, ThreadPoolExecutor(cores()) as threads:  # hashing and reading release Python's lock
        damaged = []
        for shard, found in zip(known, threads.map(now, known), strict=True):
            bar.update()
            if found != known[shard]:
                damaged.append(shard)
    return damaged


def reopen(path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
    """Make the embedding unfinished and the `damaged` shards missing; return its manifest now."""
    if manifest.complete:
        (path / "shards").mkdir(exist_ok=True)
        for shard in sorted(set(range(manifest.n_shards)) - set(damaged)):
            _write_marker(path, manifest, shard, known_digests(path, manifest, shard) or ())
        positions = None if manifest.positions is None else ()
        for name in NETWORK_TABLES:
            if not is_sound(path, manifest, name):
                (path / name).unlink(missing_ok=True)
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
    found = [_marked(path, manifest, shard) for shard in range(manifest.n_shards)]
    values, *positions = (tuple(column) for column in zip(*found, strict=True))
    dataclasses.replace(
        manifest,
        complete=True,
        shards=values,
        positions=positions[0] if positions else None,
        files={name: _digest(path / name) for name in small_files(path, manifest)},
    ).write(path)
    shutil.rmtree(path / "shards")


def _marker(path: Path, shard: int) -> Path:
    return path / "shards" / f"{shard:06d}.json"


def _write_marker(path: Path, manifest: Manifest, shard: int, found: Sequence[str]) -> None:
    rows = manifest.shard_rows(shard)
    # The first key is the one that versions without positions wrote and read.
    named = dict(zip(("digest", "positions"), found, strict=False))
    content = json.dumps({"rows": [rows.start, rows.stop], **named}, indent=1)
    write_atomically(_marker(path, shard), content)


def _marked(path: Path, manifest: Manifest, shard: int) -> list[str]:
    """Return the digests that a shard's marker holds, one per array."""
    marker = json.loads(_marker(path, shard).read_text())
    return [str(marker[key]) for key in ("digest", "positions")[: len(manifest.arrays)]]


def _shard_file(path: Path, name: str, shard: int) -> Path:
    """Return where zarr keeps a shard: one row of shards, as wide as the array."""
    last = "0/0" if name == "positions" else "0"
    return path / f"{name}.zarr" / "c" / str(shard) / last


def _digest(file: Path) -> str:
    try:
        return file_digest(file)
    except FileNotFoundError:
        return "none"

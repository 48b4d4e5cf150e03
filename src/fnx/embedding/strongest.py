"""The images that activate each unit most, on disk: partial results by shard, then one table.

A shard's file holds, for each unit, the k highest peaks among the shard's images. It appears whole
or not at all, so the files are the state from which an interrupted search goes on, and what a
search holds in memory does not grow with the number of images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.embedding.store import Manifest
from fnx.errors import DataError

if TYPE_CHECKING:
    from fnx.backbones.receptive import ReceptiveField

log = logging.getLogger(__name__)

#: One peak of a unit: its value, the image (row of the readable ones), its place in the layer's map
#: (see `fnx.backbones.pooling.peaks`), the view of the image, and that view's size in pixels.
PEAK = np.dtype(
    [
        ("activation", np.float32),
        ("image", np.int32),
        ("row", np.int32),
        ("column", np.int32),
        ("view", np.int16),
        ("height", np.int32),
        ("width", np.int32),
    ]
)

_TABLES = ("strongest", "strongest_images")
_DIGEST = 16  # bytes of the checksum before a shard's content


@dataclass(frozen=True)
class Strongest:
    """A finished search, in a folder of its own.

    Attributes:
        path: the folder.
        manifest: what was searched, with what.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Strongest:
        """Open the finished search in the folder `path`.

        Raises:
            DataError: there is none, it is not finished, or it is of another version.
        """
        manifest = Manifest.read(path)
        if not manifest.complete:
            raise DataError(f"{path} is not finished: run the same command again to go on with it")
        return cls(path, manifest)

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row a unit and rank; a unit that never fires has none.

        ``feature_id``, ``rank`` (from 1), ``image_id``, ``activation`` (the peak over space and
        views), ``top``, ``left``, ``bottom``, ``right`` (the unit's receptive field there, in
        pixels of the view, reaching beyond it where the network padded), ``view``.
        """
        return pl.read_parquet(self.path / "strongest.parquet")

    @cached_property
    def images(self) -> pl.DataFrame:
        """The images of `table`: ``image_id``, ``path``, ``class_name``, ``dataset``."""
        return pl.read_parquet(self.path / "strongest_images.parquet")

    def copy_to(self, folder: Path) -> None:
        """Put the two tables into a run's folder."""
        for name in _TABLES:
            shutil.copyfile(self.path / f"{name}.parquet", folder / f"{name}.parquet")


def is_whole(path: Path) -> bool:
    """Whether a search is finished and still is what was written."""
    if not (path / "manifest.json").is_file() or not (manifest := Manifest.read(path)).complete:
        return False
    whole = _digests(path) == manifest.shards
    if not whole:
        log.warning("%s is damaged", path)
    return whole


def create(path: Path, manifest: Manifest, images: pl.DataFrame, features: pl.DataFrame) -> None:
    """Make the folder of a search; the manifest is written last.

    Args:
        path: the folder.
        manifest: what is searched.
        images: ``image_id``, ``path``, ``class_name`` of the readable images, in their order, and
            the ``dataset``.
        features: the units, as in an embedding.
    """
    shutil.rmtree(path / "shards", ignore_errors=True)
    (path / "shards").mkdir(parents=True)
    images.write_parquet(path / "images.parquet")
    features.write_parquet(path / "features.parquet")
    manifest.write(path)


def write_shard(path: Path, shard: int, peaks: NDArray[np.void]) -> None:
    """Write a shard's peaks, `PEAK` (at most k, F), highest first; whole or not at all."""
    content = io.BytesIO()
    np.save(content, peaks)
    file = _shard_file(path, shard)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with unfinished.open("wb") as stream:
        stream.write(_blake2b(content.getvalue()) + content.getvalue())
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


def read_shard(path: Path, shard: int) -> NDArray[np.void] | None:
    """What `write_shard` wrote; None if it is not what is there."""
    content = _shard_file(path, shard).read_bytes()
    if content[:_DIGEST] != _blake2b(content[_DIGEST:]):
        return None
    peaks: NDArray[np.void] = np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False)
    return peaks


def missing_shards(path: Path, manifest: Manifest) -> list[int]:
    """The shards that still have to be searched."""
    return [shard for shard in range(manifest.n_shards) if not _shard_file(path, shard).is_file()]


def damaged_shards(path: Path, manifest: Manifest) -> list[int]:
    """Written shards that are no longer what was written; of a finished search all, or none."""
    if manifest.complete:
        return [] if _digests(path) == manifest.shards else list(range(manifest.n_shards))
    there = set(range(manifest.n_shards)) - set(missing_shards(path, manifest))
    return [shard for shard in sorted(there) if read_shard(path, shard) is None]


def reopen(path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
    """Have the `damaged` shards searched anew."""
    if damaged and manifest.complete:
        (path / "shards").mkdir(exist_ok=True)
        manifest = dataclasses.replace(manifest, complete=False, shards=())
        manifest.write(path)
    for shard in damaged:
        _shard_file(path, shard).unlink(missing_ok=True)
    return manifest


def merged(one: NDArray[np.void], other: NDArray[np.void], k: int) -> NDArray[np.void]:
    """The k highest of two sets of peaks, (·, F); of equal ones those of `one` go first."""
    both = np.concatenate([one, other])
    order = np.argsort(-both["activation"], axis=0, kind="stable")[:k]
    return np.take_along_axis(both, order, axis=0)


def finish(path: Path, manifest: Manifest, fields: Mapping[str, ReceptiveField]) -> None:
    """Merge the shards into the two tables, declare the search complete, and drop the shards."""
    k = int(manifest.inputs["strongest"])
    peaks = np.empty((0, manifest.features), PEAK)
    for shard in range(manifest.n_shards):
        found = read_shard(path, shard)
        assert found is not None  # all were checked, or just written
        peaks = merged(peaks, found, k)
    images = pl.read_parquet(path / "images.parquet")
    table = _table(peaks, images["image_id"], pl.read_parquet(path / "features.parquet"), fields)
    used = images.join(table.select("image_id").unique(), on="image_id", how="semi")
    for name, content in zip(_TABLES, (table, used), strict=True):
        content.write_parquet(path / f"{name}.parquet")
    dataclasses.replace(manifest, complete=True, shards=_digests(path)).write(path)
    shutil.rmtree(path / "shards")


def _table(
    peaks: NDArray[np.void],
    image_ids: pl.Series,
    features: pl.DataFrame,
    fields: Mapping[str, ReceptiveField],
) -> pl.DataFrame:
    """The table of `Strongest`; peaks of 0, a silent unit's, are not among them."""
    ranks, units = np.nonzero(np.isfinite(peaks["activation"]) & (peaks["activation"] != 0))
    chosen = peaks[ranks, units]
    layers = features["layer"].to_numpy()[units]
    boxes = np.empty((len(chosen), 4), np.int32)
    for number, (layer, peak) in enumerate(zip(layers, chosen, strict=True)):
        boxes[number] = _box(fields.get(layer), peak)
    table = pl.DataFrame(
        {
            "feature_id": units.astype(np.int64),
            "rank": ranks.astype(np.int32) + 1,
            "image_id": image_ids.to_numpy()[chosen["image"]],
            "activation": chosen["activation"],
            **{name: boxes[:, at] for at, name in enumerate(("top", "left", "bottom", "right"))},
            "view": chosen["view"].astype(np.int32),
        }
    )
    return table.sort("feature_id", "rank")


def _box(field: ReceptiveField | None, peak: np.void) -> tuple[int, int, int, int]:
    """The pixels of the view that made a peak; the whole view where no field is known."""
    row, column = int(peak["row"]), int(peak["column"])
    view = (int(peak["height"]), int(peak["width"]))
    if field is None:
        return (0, 0, *view)
    if column < 0:
        row, column = divmod(row, field.map[1])
    if field.boxes is not None and (row >= field.map[0] or column >= field.map[1]):
        return (0, 0, *view)  # fields are known for squares only
    return field.box(row, column, view)


def _shard_file(path: Path, shard: int) -> Path:
    return path / "shards" / f"{shard:06d}.peaks"


def _digests(path: Path) -> tuple[str, ...]:
    """Checksums of the two tables, for the manifest."""
    files = (path / f"{name}.parquet" for name in _TABLES)
    return tuple(_blake2b(file.read_bytes()).hex() if file.is_file() else "none" for file in files)


def _blake2b(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()

"""Rows that embeddings of the same recipe hold already: found by their images' contents, copied."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from fnx.embedding import reading, store
from fnx.embedding.fingerprint import fingerprint, recipe
from fnx.embedding.gaps import Gap
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError
from fnx.images.dataset import contents_digest
from fnx.utils.memory import available_memory
from fnx.utils.parquet import read_parquet
from fnx.utils.progress import progress_bar

if TYPE_CHECKING:
    from fnx.images.dataset import LabelledImages

log = logging.getLogger(__name__)

# Shards are filled several at a time, so that a shard of a source, which is read whole, is read
# once for all of them where the order of the images is another one.
_BYTES_AT_ONCE = 1 << 30
_MEMORY_SHARE = 0.25  # of what is free, at most
_BYTES_PER_FEATURE = 6  # a value and a position


@dataclass(frozen=True)
class Source:
    """An embedding, finished or not, whose sound shards may be copied."""

    path: Path
    manifest: Manifest

    def contents(self) -> pl.Series | None:
        """Return the digest of the image of each row; None where it is not known for certain."""
        try:
            table = read_parquet(self.path / "images.parquet", ["status", "digest"])
        except ValueError:  # damaged, or of a version that kept no digests
            return None
        found = table.filter(pl.col("status") == "ok")["digest"]
        if len(found) != self.manifest.rows or found.null_count():
            return None
        certain = contents_digest(found) == self.manifest.inputs.get("images")
        if not certain and self.manifest.complete:  # of a version with another kind of digest
            certain = store.is_sound(self.path, self.manifest, "images.parquet")
        return found if certain else None

    def written(self) -> NDArray[np.bool_]:
        """Return whether each row lies in a shard that is written."""
        written = np.ones(self.manifest.rows, bool)
        if not self.manifest.complete:
            for shard in store.missing_shards(self.path, self.manifest):
                rows = self.manifest.shard_rows(shard)
                written[rows.start : rows.stop] = False
        return written

    @cached_property
    def _arrays(self) -> list[zarr.Array[Any]]:
        for name in self.manifest.arrays:
            if not store.is_sound(self.path, self.manifest, f"{name}.zarr/zarr.json"):
                raise DataError(f"{name}.zarr/zarr.json is damaged")
        return reading.open_arrays(self.path, self.manifest)

    def read(self, shard: int) -> list[NDArray[Any]] | None:
        """Return the values and positions of a shard; None if it is damaged or gone."""
        try:
            blocks = reading.read_blocks(self._arrays, self.manifest, shard)
            # Only now: zarr reads zeros where a file was removed meanwhile.
            noted = store.known_digests(self.path, self.manifest, shard)
            sound = noted is not None and noted == store.digests(self.path, self.manifest, shard)
        except Exception:  # whatever zarr raises on what is none of its own, or is being removed
            return None
        return blocks if sound else None


@dataclass(frozen=True)
class KnownRows:
    """Where the rows of an embedding lie in others.

    Attributes:
        sources: the others.
        source: int32 (N,): which of them holds each row; -1 for none.
        row: int64 (N,): the row there.
    """

    sources: tuple[Source, ...]
    source: NDArray[np.int32]
    row: NDArray[np.int64]

    @property
    def all(self) -> bool:
        """Whether every row is known."""
        return bool((self.source >= 0).all())


@dataclass(frozen=True)
class Copied:
    """How many rows were copied, and what each unfinished shard still needs."""

    rows: int
    gaps: Mapping[int, Gap]


def stored(cache: Path) -> Iterator[Source]:
    """Yield the embeddings below `cache` that can be read, finished or not; the largest first."""
    found = []
    for file in cache.glob("[!.]*/manifest.json"):
        try:
            found.append(Source(file.parent, Manifest.read(file.parent)))
        except DataError:  # damaged, or of another version
            continue
    yield from sorted(found, key=lambda source: (-source.manifest.rows, source.path.name))


def locate(
    cache: Path, name: str, images: LabelledImages, inputs: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the embedding with these `inputs`, and the inputs that it has.

    Where none has their fingerprint, one with the same recipe and contents is the same embedding,
    made by a version whose fingerprint was another one. Else it is the folder to extract into.
    """
    path = store.find(cache, name, fingerprint(inputs))
    if (path / "manifest.json").is_file():
        return path, inputs
    contents = None
    for source in _alike(cache, inputs):
        if source.manifest.rows == inputs["n_images"] and _decoded_alike(source, inputs):
            contents = images.ok()["digest"] if contents is None else contents
            held = source.contents()
            if held is not None and held.equals(contents):
                return source.path, source.manifest.inputs
    return path, inputs


def find(cache: Path, path: Path, images: LabelledImages, inputs: dict[str, Any]) -> KnownRows:
    """Find the rows of the embedding to be made in `path` that those below `cache` hold.

    That of `path` itself may hold some, if it was begun and interrupted: of images that come again.
    Rows of images whose pixels depend on more than their file are taken only from an embedding with
    the same ``decoding``. An embedding without positions is left out: they cost a pass as well.
    """
    wanted = images.ok().select("digest")
    special = wanted["digest"].is_in(list(images.special)).to_numpy()
    source, row = np.full(wanted.height, -1, np.int32), np.zeros(wanted.height, np.int64)
    sources: list[Source] = []
    for other in _alike(cache, inputs):
        if other.manifest.positions is None:
            continue
        if (contents := other.contents()) is None:
            continue
        written = other.written()
        there = pl.DataFrame({"digest": contents}).with_row_index("row").filter(written)
        there = there.unique("digest", keep="first", maintain_order=True)
        found = wanted.join(there, on="digest", how="left", maintain_order="left")["row"]
        new = found.is_not_null().to_numpy() & (source < 0)
        if not _decoded_alike(other, inputs):
            new &= ~special
        if other.path == path:
            new &= ~written
        if new.any():
            source[new] = len(sources)
            row[new] = found.fill_null(0).to_numpy()[new]
            sources.append(other)
        if (source >= 0).all():
            break
    return KnownRows(tuple(sources), source, row)


def _alike(cache: Path, inputs: dict[str, Any]) -> Iterator[Source]:
    wanted = recipe(inputs)
    return (source for source in stored(cache) if recipe(source.manifest.inputs) == wanted)


def _decoded_alike(source: Source, inputs: dict[str, Any]) -> bool:
    return bool(source.manifest.inputs.get("decoding") == inputs.get("decoding"))


def assemble(
    path: Path, images: LabelledImages, inputs: dict[str, Any], known: KnownRows
) -> Copied | None:
    """Make an embedding in `path` all rows of which are known, without a network.

    Returns:
        What was copied; where sources turn out to be damaged or gone, with what is still to be
        extracted. None if nothing could be begun.
    """
    for first in known.sources:
        if store.is_sound(first.path, first.manifest, "features.parquet"):
            break
    else:
        return None
    features = read_parquet(first.path / "features.parquet")
    # How many rows a network of this recipe takes a minute for, should some have to be extracted.
    rows = max(source.manifest.rows_per_shard for source in known.sources)
    total = len(known.row)
    manifest = store.open_or_create(
        path, inputs, images.table, features, lambda: min(total, max(store.FEWEST_ROWS, rows))
    )
    copied = fill(path, manifest, known)
    if not copied.gaps:
        store.finish(path, manifest)
    return copied


def add_network_tables(path: Path, cache: Path, inputs: dict[str, Any]) -> None:
    """Put what another embedding of the recipe tells of the network beside a finished one."""
    missing = [name for name in store.NETWORK_TABLES if not (path / name).is_file()]
    for source in _alike(cache, inputs) if missing else ():
        for name in missing:
            recorded = name in source.manifest.files and not (path / name).is_file()
            if recorded and store.is_sound(source.path, source.manifest, name):
                store.add_table(path, name, read_parquet(source.path / name))


def fill(path: Path, manifest: Manifest, known: KnownRows | None) -> Copied:
    """Copy what is known into the missing shards of the store in `path`.

    Shards of which all rows are known are finished; others are begun, and their rows still have to
    be extracted. What is read of a source is verified; where it is damaged or gone, its rows are
    extracted.
    """
    missing = store.missing_shards(path, manifest)
    if known is None or not known.sources:
        return Copied(0, {shard: Gap(manifest.shard_rows(shard)) for shard in missing})
    bytes_per_shard = manifest.rows_per_shard * manifest.features * _BYTES_PER_FEATURE
    budget = min(_BYTES_AT_ONCE, int(_MEMORY_SHARE * available_memory()))
    at_once = max(1, budget // bytes_per_shard)
    gaps: dict[int, Gap] = {}
    count = 0
    spans = [manifest.shard_rows(shard) for shard in missing]
    wanted = sum(int((known.source[span.start : span.stop] >= 0).sum()) for span in spans)
    with progress_bar("copying", total=wanted, unit="images", delay=1.0) as bar:
        for start in range(0, len(missing), at_once):
            copied = _fill_some(path, manifest, known, missing[start : start + at_once], bar)
            count += copied.rows
            gaps |= copied.gaps
    if lost := wanted - count:
        log.warning("%d rows of other embeddings are damaged or gone", lost)
    if count:
        log.info("copied %d images of %d from embeddings of the same recipe", count, manifest.rows)
    return Copied(count, gaps)


def _fill_some(
    path: Path, manifest: Manifest, known: KnownRows, shards: Sequence[int], bar: Any
) -> Copied:
    """Fill some shards side by side; each shard of a source is read once."""
    spans = [manifest.shard_rows(shard) for shard in shards]
    rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
    ends = np.cumsum([0, *map(len, spans)])
    values = np.zeros((len(rows), manifest.features), np.float32)
    positions = np.zeros((len(rows), manifest.features, 2), np.uint8)
    there = np.zeros(len(rows), bool)
    for source, shard, places in _by_source(known, rows):
        other = known.sources[source]
        if (blocks := other.read(shard)) is not None:
            at = known.row[rows[places]] - other.manifest.shard_rows(shard).start
            values[places], positions[places] = blocks[0][at], blocks[1][at]
            there[places] = True
            bar.update(len(places))
    gaps = {}
    for shard, span, (first, last) in zip(shards, spans, pairwise(ends), strict=True):
        part, held = slice(first, last), there[first:last]
        if held.all():
            store.write_shard(path, manifest, shard, values[part], positions[part])
        elif held.any():
            begun = store.begin_shard(path, manifest, shard, values[part], positions[part])
            gaps[shard] = Gap(rows[part][~held], begun)
        else:
            gaps[shard] = Gap(span)
    return Copied(int(there.sum()), gaps)


def _by_source(
    known: KnownRows, rows: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Yield each shard of a source that holds some of `rows`, and their places among these."""
    source = known.source[rows]
    sizes = np.array([other.manifest.rows_per_shard for other in known.sources])
    shard = np.where(source < 0, 0, known.row[rows] // sizes[source])
    order = np.lexsort((shard, source))
    order = order[source[order] >= 0]
    changes = np.flatnonzero((np.diff(source[order]) != 0) | (np.diff(shard[order]) != 0)) + 1
    for places in np.split(order, changes):
        if len(places):
            yield int(source[places[0]]), int(shard[places[0]]), places

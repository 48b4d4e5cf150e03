"""What lies below ``paths.cache``: embeddings, which runs use them, and how they are removed."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnx.analysis.record import RECORD, RunRecord
from fnx.embedding import store
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError, reason
from fnx.utils.files import files_called
from fnx.utils.lock import locked_at_once, unshared

_NAME = re.compile(r".+-[0-9a-f]{12}")
_PARTS = re.compile(r"(features|positions)\.zarr|shards|manifest\.json|\w+\.parquet|\..*")
_LEFT_OVER = ".removed-"  # before the name of a folder whose removal was interrupted


@dataclass(frozen=True)
class Cached:
    """An embedding below ``paths.cache``.

    Attributes:
        path: its folder.
        bytes: the size of its files.
        used: when a run last made or found it.
        runs: folders of the finished runs that use it.
        manifest: None if it is damaged, or of another version.
        rows_done: rows of the shards that are written.
    """

    path: Path
    bytes: int
    used: datetime
    runs: tuple[Path, ...] = ()
    manifest: Manifest | None = None
    rows_done: int = 0

    @property
    def state(self) -> str:
        """``finished``, ``unfinished`` or ``damaged``."""
        if self.manifest is None:
            return "damaged"
        return "finished" if self.manifest.complete else "unfinished"

    @property
    def recipe(self) -> dict[str, Any]:
        """What shaped its rows, beside its images; empty if it is damaged."""
        inputs = {} if self.manifest is None else self.manifest.inputs
        return {key: value for key, value in inputs.items() if key not in ("images", "n_images")}


def cached(cache: Path, outputs: Path) -> list[Cached]:
    """Return the embeddings below `cache` by name, with the runs below `outputs` that use them."""
    runs = _runs(outputs)
    found = []
    for path in _folders(cache):
        manifest = None
        with suppress(DataError):
            manifest = Manifest.read(path)
        if manifest is None and not _looks_like_one(path):
            continue
        done = 0
        if manifest is not None:
            absent = [] if manifest.complete else store.missing_shards(path, manifest)
            done = manifest.rows - sum(len(manifest.shard_rows(shard)) for shard in absent)
        marks = {path.name} if manifest is None else {path.name, manifest.fingerprint}
        users = {run for mark in marks for run in runs.get(mark, ())}
        found.append(
            Cached(path, size(path), _last_used(path), tuple(sorted(users)), manifest, done)
        )
    return found


def remove(entry: Cached) -> None:
    """Remove an embedding, unless a run makes it or reads it.

    Its folder is renamed first, so that no run finds half of it. Links are not followed.

    Raises:
        DataError: a run makes or reads it; the folder cannot be written.
    """
    path = entry.path
    gone = path.with_name(f"{_LEFT_OVER}{uuid.uuid4().hex}")
    try:
        with locked_at_once(path), unshared(path):
            path.rename(gone)
        remove_left_over(path.parent)
    except OSError as error:
        raise DataError(f"{path} cannot be removed ({reason(error)})") from error


def remove_left_over(cache: Path) -> None:
    """Remove what interrupted removals left.

    Raises:
        OSError: a folder that cannot be written.
    """
    for path in cache.glob(f"{_LEFT_OVER}*"):
        if not path.is_symlink():
            shutil.rmtree(path)


def size(path: Path) -> int:
    """Return the bytes of the files in a folder, or of a file; links count nothing."""
    total, folders = 0, [str(path)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def _folders(cache: Path) -> Iterator[Path]:
    """Yield what may be an embedding: no links, which lead out of the cache, and nothing hidden."""
    try:
        paths = sorted(cache.iterdir())
    except OSError as error:
        raise DataError(f"{cache} (paths.cache): cannot be read ({reason(error)})") from error
    for path in paths:
        if not path.name.startswith(".") and not path.is_symlink() and path.is_dir():
            yield path


def _looks_like_one(path: Path) -> bool:
    """Return whether a folder without a manifest that can be read was an embedding."""
    if not _NAME.fullmatch(path.name):
        return False
    try:
        names = [entry.name for entry in path.iterdir()]
    except OSError:
        return False
    return bool(names) and all(_PARTS.fullmatch(name) for name in names)


def _last_used(path: Path) -> datetime:
    file = path / "manifest.json"
    seconds = (file if file.is_file() else path).stat().st_mtime
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def _runs(outputs: Path) -> Mapping[str, list[Path]]:
    """Return the folders of the finished runs by the fingerprints and folders of embeddings."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files_called(RECORD, outputs):
        with suppress(DataError):
            record = RunRecord.read(file.parent)
            names = {Path(one).name for one in (record.embedding, record.reference_embedding)}
            for mark in {record.fingerprint, *names} - {""}:
                found[mark].append(file.parent)
    return found

"""Walks a folder of images: each folder once, without hidden names and what fnx itself wrote."""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from fnx.errors import DataError, reason
from fnx.images.paths import FETCHED, shown

#: Names that stand together only in a folder that fnx, of this or an older version, has written.
_SIGNS = (
    {".hydra", "run.log"},  # a run that has begun
    {"distances.npy", "distances_random.npy"},  # a run that was ended, started from Python
    {"run.json", "distances.npy"},  # a finished run
    {"multirun.yaml"},  # a sweep
    {"features.zarr"},  # an embedding
    {"table3.parquet", "fits.parquet"},  # a comparison
    {FETCHED},
)
_NO_IMAGES = (".log", ".caffemodel", ".part")  # logs, weights and broken downloads
#: What a run or a comparison leaves in its folder, should that be one of the user's images.
LEFT_BY_RUN = {"figures", "pictures", "report", "tables", "tensorboard", "wandb"}
_LEFT_FILES = (".csv", ".html", ".json", ".npy", ".parquet", ".yaml")
#: How the names of images end, in lower case.
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".webp")
_WANDB_RUN = re.compile(r"(offline-)?run-\d{8}_\d{6}-\w+")
_CHECKS = re.compile(r"[0-9a-f]{32}\.parquet")  # what is remembered of the images of a folder


@dataclass(frozen=True)
class Walk:
    """What lies below a folder, as paths relative to it, in the order in which it was met.

    Attributes:
        files: images, judging by where they lie; also links that lead nowhere.
        again: links to folders that were met before, each with the path under which they were.
        written: folders that fnx wrote; their files are not listed.
    """

    files: list[str] = field(default_factory=list)
    again: list[tuple[str, str]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def walk(root: Path) -> Walk:
    """List all files below `root`; of links to folders each folder is entered once.

    Where fnx wrote into `root` itself, or into a folder that directly holds images, only what it
    wrote is left out. Folders come before links, so that a folder is met by its own path if it has
    one below `root`.

    Raises:
        DataError: a folder that cannot be listed.
    """
    found = Walk()
    met: dict[tuple[int, int], str] = {}
    folders, links = deque([""]), deque[str]()
    while folders or links:
        folder = (folders or links).popleft()
        where = f"{root}/{folder}"  # a Path takes a hundred times as long for a thousand parts
        try:
            stat = os.stat(where)  # noqa: PTH116
            first = met.setdefault((stat.st_dev, stat.st_ino), folder)
            if first != folder:
                found.again.append((folder, first))
                continue
            with os.scandir(where) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            why = reason(error)
            raise DataError(f"cannot list the folder {shown(root / folder)}: {why}") from error
        names = {entry.name for entry in entries}
        written = written_by_fnx(folder, names)
        if written and folder and not any(name.lower().endswith(ENDINGS) for name in names):
            found.written.append(folder)
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name.endswith(_NO_IMAGES):
                continue
            if written and entry.name in LEFT_BY_RUN:
                found.written.append(path)
            elif written and entry.name.endswith(_LEFT_FILES):
                continue
            elif _leads_to_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif _is_candidate(entry):
                found.files.append(path)
    return found


def written_by_fnx(folder: str, names: set[str]) -> bool:
    """Return whether fnx, or W&B for it, wrote the folder with this path that holds these names."""
    last = folder.rsplit("/", 1)[-1]
    return (
        any(sign <= names for sign in _SIGNS)
        or (last == "wandb" and any(map(_WANDB_RUN.fullmatch, names)))
        or (last == "checked" and any(map(_CHECKS.fullmatch, names)))
    )


def names_in(folder: Path) -> set[str]:
    """Return the names of all that lies directly in a folder."""
    return {item.name for item in folder.iterdir()}


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles, or out of reach
        return False


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file, or a link that leads nowhere: an image too, but no device."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True  # the check will say why it cannot be read

"""`layout=folder`: images in folders that name their class."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, reason
from fnx.images.dataset import Listing
from fnx.images.paths import Files, natural_key, to_text

log = logging.getLogger(__name__)


def read(config: DatasetConfig) -> Listing:
    """List all files below `root` that lie in a class's folder, sorted as people sort names.

    `depth` levels of folders name a class (`a/b` for 2) and every file below belongs to it; with
    depth=None each folder that directly holds files is a class. Files outside of a class and hidden
    names (beginning with a dot) are left out; links are followed, but not in circles.

    Raises:
        ConfigError: no root given.
        DataError: no such folder, nothing in it, or fewer than two classes.
    """
    root, layout = _root(config), _layout(config.depth)
    files = _files_below(root)
    classes = [_class_name(path, config.depth) for path in files]
    kept = [(path, name) for path, name in zip(files, classes, strict=True) if name is not None]
    # Class by class, where a class's name ends before a longer one's begins (depth=null).
    kept.sort(key=lambda row: natural_key(row[1]))
    outside = len(files) - len(kept)
    if not kept:
        found = f"{outside} files outside of such folders" if outside else "no files"
        raise DataError(
            f"no images of any class in {_name(root)}: expected {layout}, found {found}"
        )
    names = {name for _, name in kept}
    if len(names) == 1:
        raise DataError(
            f"only one class, {names.pop()!r}, in {_name(root)}: expected {layout}, with at least "
            f"two classes{_deeper([path for path, _ in kept], config.depth)}"
        )
    if outside:
        log.warning("%d files in %s ignored: not in a class's folder", outside, _name(root))
    return _listing(root, [path for path, _ in kept], [name for _, name in kept])


def read_all(config: DatasetConfig) -> Listing:
    """List all files below `root`, also those outside of a class's folder, which have no class."""
    root = _root(config)
    files = _files_below(root)
    return _listing(root, files, [_class_name(path, config.depth) for path in files])


def _listing(root: Path, paths: Sequence[str], class_names: Sequence[str | None]) -> Listing:
    return Listing(paths, class_names, [None] * len(paths), Files(str(root)), root)


def _files_below(root: Path) -> list[str]:
    """Return the paths of all files below `root`, relative to it, sorted as people sort names."""
    return sorted((to_text(path) for path in _files(root, "", ())), key=natural_key)


def _root(config: DatasetConfig) -> Path:
    layout = _layout(config.depth)
    if not config.root:
        raise ConfigError(
            f"dataset.root is not set: give dataset.root=PATH, a folder with {layout}"
        )
    root = Path(config.root).expanduser()
    if not root.exists():
        raise DataError(f"no folder {_name(root)} (dataset.root): expected a folder with {layout}")
    if not root.is_dir():
        raise DataError(f"{_name(root)} (dataset.root) is no folder: expected one with {layout}")
    return root.absolute()


def _files(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the paths of the files below `folder`; `above`: the folders on the way, by identity."""
    try:
        stat = folder.stat()
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot list the folder {_name(folder)}: {reason(error)}") from error
    identity = (stat.st_dev, stat.st_ino)
    if identity in above:
        return
    for entry in entries:
        path = prefix + entry.name
        if _leads_to_folder(entry):
            yield from _files(folder / entry.name, f"{path}/", (*above, identity))
        elif _is_candidate(entry):
            yield path


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


def _class_name(path: str, depth: int | None) -> str | None:
    folders = path.split("/")[:-1]
    if not folders or (depth is not None and len(folders) < depth):
        return None
    return "/".join(folders[:depth])


def _layout(depth: int | None) -> str:
    if depth is None:
        return "<class>/<image>, every folder with images being a class (dataset.depth=null)"
    return f"{'<class>/' if depth == 1 else '<folder>/' * depth}<image> (dataset.depth={depth})"


def _deeper(paths: list[str], depth: int | None) -> str:
    """Return a hint if there would be classes one folder further down."""
    if depth is None:
        return ""
    counts = Counter(_class_name(path, depth + 1) for path in paths)
    del counts[None]
    if len(counts) < 2:
        return ""
    return f"; dataset.depth={depth + 1} would find {len(counts)}"


def _name(folder: Path) -> str:
    """Return a folder's path as one line of text."""
    return repr(to_text(str(folder)))

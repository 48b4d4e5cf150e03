"""`layout=folder`: images in folders that name their class."""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images.dataset import Listing
from fnx.images.labels import tidy
from fnx.images.layouts.walk import ENDINGS, Walk, walk
from fnx.images.paths import Files, natural_key, shown, to_text
from fnx.utils.files import expand_user

log = logging.getLogger(__name__)

_SPLIT = re.compile(
    r"(train|training|trainval|test|testing|val|valid|validation|dev|eval|evaluation|holdout)"
    r"([-_ ]?(set|data|images|split))?",
    re.IGNORECASE,
)


class Image(NamedTuple):
    """A file, the split whose folder it lies in, and its class, if it lies in one's folder."""

    path: str
    split: str | None
    class_name: str | None


def read(config: DatasetConfig) -> Listing:
    """List all files below `root` that lie in a class's folder, sorted as people sort names.

    `depth` levels of folders name a class (`a/b` for 2) and every file below belongs to it; with
    depth=None each folder that directly holds files is a class. If all folders at the top, or in
    the only one there, are splits (train, test …), the folders in them name classes. Files outside
    of a class, hidden names (beginning with a dot) and what fnx wrote are left out; links are
    followed, but not in circles.

    Raises:
        ConfigError: no root given.
        DataError: no such folder, nothing in it, fewer than two classes, or a folder that links
            make a part of two classes.
    """
    root, layout = _root(config), _layout(config.depth)
    images, above = _images_below(root, config.depth)
    # Class by class, where a class's name ends before a longer one's begins (depth=null).
    kept = sorted(
        (image for image in images if image.class_name is not None),
        key=lambda image: natural_key(str(image.class_name)),
    )
    outside = len(images) - len(kept)
    if not kept:
        found = f"{outside} files outside of such folders" if outside else "no files"
        raise DataError(
            f"no images of any class in {shown(root)}: expected {layout}, found {found}"
        )
    names = {str(image.class_name) for image in kept}
    if len(names) == 1:
        raise DataError(
            f"only one class, {shown(names.pop())}, in {shown(root)}: expected {layout}, with at "
            f"least two classes{_deeper(kept, config.depth, above)}"
        )
    if outside:
        log.warning("%d files in %s ignored: not in a class's folder", outside, shown(root))
    return _listing(root, kept)


def read_all(config: DatasetConfig) -> Listing:
    """List all files below `root`, also those outside of a class's folder, which have no class."""
    root = _root(config)
    images, _ = _images_below(root, config.depth)
    return _listing(root, images)


def _listing(root: Path, images: Sequence[Image]) -> Listing:
    return Listing(
        paths=[image.path for image in images],
        class_names=[image.class_name for image in images],
        splits=[image.split for image in images],
        open=Files(str(root)),
        root=root,
    )


def _root(config: DatasetConfig) -> Path:
    layout = _layout(config.depth)
    if not config.root:
        raise ConfigError(
            f"dataset.root is not set: give dataset.root=PATH, a folder with {layout}"
        )
    root = Path(expand_user(config.root)).absolute()
    if not root.exists():
        raise DataError(f"no folder {shown(root)} (dataset.root): expected a folder with {layout}")
    if not root.is_dir():
        raise DataError(f"{shown(root)} (dataset.root) is no folder: expected one with {layout}")
    return root


def _images_below(root: Path, depth: int | None) -> tuple[list[Image], int]:
    """Return all files with their classes, sorted as people sort names.

    The second is how many folders lie above those that name classes.
    """
    found = walk(root)
    if found.written:
        log.info(
            "%d folders in %s left out, which fnx wrote: %s%s",
            len(found.written),
            shown(root),
            shown(found.written[0]),
            " …" if len(found.written) > 1 else "",
        )
    paths = sorted(map(to_text, found.files), key=natural_key)
    above, splits = _splits(paths)
    if above:
        # Whoever counts the split as a level means the level above.
        if depth is not None:
            depth = min(depth, max(path.count("/") for path in paths) - above)
        log.info(
            "%s in %s are taken for splits, not for classes; dataset.depth counts the folders in "
            "them",
            ", ".join(splits),
            shown(root),
        )
    _check_links(root, found, depth, above)
    return [_image(path, depth, above) for path in paths], above


def _splits(paths: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many folders there are down to the splits, 0 without any, and the splits' names.

    They are all folders with images at the top, or in the only one there, and so on; and one of
    them holds folders with images.
    """
    images = [path for path in paths if path.lower().endswith(ENDINGS)] or paths
    folders = [path.split("/")[:-1] for path in images]
    for level in range(max(map(len, folders), default=0)):
        names = list(dict.fromkeys(parts[level] for parts in folders if len(parts) > level))
        if all(_SPLIT.fullmatch(tidy(name)) for name in names):
            deeper = any(len(parts) > level + 1 for parts in folders)
            return (level + 1, names) if deeper else (0, [])
        if len(names) > 1:
            break
    return 0, []


def _image(path: str, depth: int | None, above: int) -> Image:
    """Return an image whose class is named by the folders below the first `above` ones."""
    folders = path.split("/")[:-1]
    split = tidy(folders[above - 1]) if 0 < above <= len(folders) else None
    folders = folders[above:]
    outside = not folders or (depth is not None and len(folders) < depth)
    return Image(path, split, None if outside else "/".join(map(tidy, folders[:depth])))


def _check_links(root: Path, found: Walk, depth: int | None, above: int) -> None:
    """Refuse links by which the images of a folder would be of another class too."""
    files = sorted(found.files) if found.again else []
    circles = []
    for link, folder in found.again:
        below = f"{folder}/" if folder else ""
        if f"{link}/".startswith(below):
            circles.append(link)
            continue
        place = bisect_left(files, below)
        if place == len(files) or not files[place].startswith(below):
            continue
        there = to_text(files[place])
        here = to_text(f"{link}/{files[place][len(below) :]}")
        if _image(there, depth, above)[2] != _image(here, depth, above)[2]:
            raise DataError(
                f"{shown(link)} and {shown(folder)} in {shown(root)} are the same folder, by a "
                "link: its images would be of two classes; remove one of the two"
            )
    if circles:
        log.warning(
            "%d links in %s are not followed, for they lead to a folder that they lie in: %s%s",
            len(circles),
            shown(root),
            shown(circles[0]),
            " …" if len(circles) > 1 else "",
        )


def _layout(depth: int | None) -> str:
    if depth is None:
        return "<class>/<image>, every folder with images being a class (dataset.depth=null)"
    return f"{'<class>/' if depth == 1 else '<folder>/' * depth}<image> (dataset.depth={depth})"


def _deeper(images: Sequence[Image], depth: int | None, above: int) -> str:
    """Return a hint if there would be classes one folder further down."""
    if depth is None:
        return ""
    counts = Counter(_image(image.path, depth + 1, above).class_name for image in images)
    del counts[None]
    if len(counts) < 2:
        return ""
    return f"; dataset.depth={depth + 1} would find {len(counts)}"

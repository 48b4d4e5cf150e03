"""Listing the images of a data set, with the reader of its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, MissingDataError, unknown
from fnx.images.dataset import Listing
from fnx.images.fetch import fetch
from fnx.images.labels import tidied
from fnx.images.layouts import (
    caltech,
    catsdogs,
    cub200,
    digits,
    flowers102,
    folder,
    food101,
    huggingface,
    imagenet,
    split_lists,
    stanforddogs,
    table,
    wood,
)
from fnx.images.layouts.common import root_path
from fnx.images.official import OFFICIAL
from fnx.images.paths import Files

#: The function that lists the images of each `dataset.layout`.
READERS: dict[str, Callable[[DatasetConfig], Listing]] = {
    "imagenet": imagenet.read,
    "cub200": cub200.read,
    "wood": wood.read,
    "flowers102": flowers102.read,
    "caltech101": caltech.read_101,
    "mit67": split_lists.read_mit67,
    "textures": split_lists.read_textures,
    "caltech256": caltech.read_256,
    "stanforddogs": stanforddogs.read,
    "catsdogs": catsdogs.read,
    "food101": food101.read,
    "csv": table.read,
    "digits": digits.read,
    "folder": folder.read,
    "huggingface": huggingface.read,
}


def list_images(config: DatasetConfig) -> Listing:
    """List the images of a data set as they lie on disk; no image is opened.

    With `download` a data set of Table 2 that is not complete is fetched first.

    Raises:
        ConfigError: an unknown layout, or a key that the layout needs.
        DataError: images that are not where, or not as, the layout expects them, or that could not
            be fetched; names of classes that `tidied` refuses.
    """
    if config.layout not in READERS:
        raise ConfigError(unknown("dataset.layout", config.layout, READERS))
    return _of_splits(_read(config), config.splits)


def _read(config: DatasetConfig) -> Listing:
    """List all images of a data set, fetched first where that is asked for."""
    read = READERS[config.layout]
    if not config.download or config.layout in ("digits", "huggingface"):  # they fetch themselves
        return tidied(read(config))
    if config.layout not in OFFICIAL:
        raise ConfigError(
            f"dataset.download=true: no archive is known for {config.layout}; "
            f"allowed for {', '.join(OFFICIAL)}"
        )
    with suppress(MissingDataError):
        listing = read(config)
        if not missing_files(listing):
            return tidied(listing)
    fetch(config.layout, root_path(config))
    return tidied(read(config))


def _of_splits(listing: Listing, splits: Sequence[str]) -> Listing:
    """Return the candidates of these splits; all without any."""
    if not splits:
        return listing
    there = sorted({split for split in listing.splits if split is not None})
    for split in splits:
        if split not in there:
            raise ConfigError(unknown("split in dataset.splits", split, there))
    rows = [row for row, split in enumerate(listing.splits) if split in splits]
    return listing.take(rows)


def missing_files(listing: Listing) -> list[str]:
    """Return the listed paths that have no file on disk: an incomplete data set."""
    source = listing.open
    if not isinstance(source, Files):
        return []
    return [path for path in listing.paths if not source.file(path).exists()]

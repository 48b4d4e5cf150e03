"""Labelled images: found by the reader of their layout, checked, decoded, cut into crops."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fnx.errors import DataError
from fnx.images.dataset import TABLE_SCHEMA, LabelledImages, Listing
from fnx.images.layouts.readers import list_images
from fnx.images.official import differences
from fnx.images.validate import Checked, check_images, checked_before

if TYPE_CHECKING:
    from fnx.config.schema import DatasetConfig

log = logging.getLogger(__name__)


def open_images(
    config: DatasetConfig, cache: Path, listing: Listing | None = None
) -> LabelledImages:
    """Find the images of a data set and check that each can be read, before any other work.

    The counts of a data set of the paper's Table 2 are compared with it: a difference is logged and
    kept in `LabelledImages.warnings`. With `limit_per_class` the first readable images of each
    class are taken, and no more are checked than that needs. Classes without a readable image are
    left out, with a warning. Of several runs that want the same images one checks, the others wait.

    Args:
        config: what to read; `on_error` says what an unreadable image means.
        cache: folder below which the checks are remembered.
        listing: what `list_images(config)` returned, if it has been called already.

    Raises:
        ConfigError: an unknown layout, or a key that the layout needs.
        DataError: no images, fewer than two classes, or (on_error=raise) an unreadable image.
    """
    listing = list_images(config) if listing is None else listing
    with checked_before(listing.root, cache) as known:
        checked = _check_up_to(listing, config.limit_per_class, known)

    rows = [row for row, path in enumerate(listing.paths) if path in checked]
    failed = [listing.paths[row] for row in rows if checked[listing.paths[row]].error is not None]
    if failed:
        _complain(failed, checked, config.on_error)
    images = _labelled(config.name, listing, rows, checked)
    gone = sum(checked[path].error == os.strerror(errno.ENOENT) for path in failed)
    warnings = differences(config, images.ok()["class_name"].to_list(), gone)
    for warning in warnings:
        log.warning("%s", warning)
    log.info(
        "%s: %d images in %d classes, %d failed",
        config.name,
        len(rows) - len(failed),
        len(images.class_names),
        len(failed),
    )
    return replace(images, warnings=warnings)


def _check_up_to(
    listing: Listing, limit: int | None, known: dict[str, Checked]
) -> dict[str, Checked]:
    """Check all images, or of each class as many as it takes to have `limit` readable ones."""
    if limit is None:
        return check_images(listing, listing.paths, known)
    waiting: dict[str, list[str]] = {}
    for path, name in zip(listing.paths, listing.class_names, strict=True):
        waiting.setdefault(name, []).append(path)
    missing = dict.fromkeys(waiting, limit)
    checked: dict[str, Checked] = {}
    while True:
        chosen = {name: paths[: missing[name]] for name, paths in waiting.items()}
        batch = [path for paths in chosen.values() for path in paths]
        if not batch:
            return checked
        checked |= check_images(listing, batch, known)
        for name, paths in chosen.items():
            waiting[name] = waiting[name][len(paths) :]
            missing[name] -= sum(checked[path].error is None for path in paths)


def _complain(failed: Sequence[str], checked: dict[str, Checked], on_error: str) -> None:
    first = f"{failed[0]!r} ({checked[failed[0]].error})"
    if on_error == "raise":
        others = f" and {len(failed) - 1} other images" if len(failed) > 1 else ""
        raise DataError(f"dataset.on_error=raise: cannot read {first}{others}")
    log.warning("%d images cannot be read and are left out; the first: %s", len(failed), first)


def _labelled(
    name: str, listing: Listing, rows: Sequence[int], checked: dict[str, Checked]
) -> LabelledImages:
    results = [checked[listing.paths[row]] for row in rows]
    names = [listing.class_names[row] for row in rows]
    readable = {name for name, result in zip(names, results, strict=True) if not result.error}
    # In order of the listing, which is the reader's order of classes.
    class_names = tuple(dict.fromkeys(filter(readable.__contains__, listing.class_names)))
    unreadable = [name for name in dict.fromkeys(names) if name not in readable]
    if len(class_names) < 2:
        raise DataError(
            f"{name}: {len(class_names)} classes with readable images among {len(rows)} files; "
            "at least two are needed"
        )
    if unreadable:
        log.warning(
            "classes without a readable image are left out: %s", ", ".join(map(repr, unreadable))
        )
    ids = {class_name: class_id for class_id, class_name in enumerate(class_names)}
    table = pl.DataFrame(
        {
            "image_id": range(len(rows)),
            "path": [listing.paths[row] for row in rows],
            "class_id": [ids.get(name) for name in names],
            "class_name": names,
            "split": [listing.splits[row] for row in rows],
            "status": ["failed" if result.error else "ok" for result in results],
            "error": [result.error for result in results],
            "digest": [result.digest for result in results],
        },
        schema=TABLE_SCHEMA,
    )
    return LabelledImages(name, table, class_names, listing.open)

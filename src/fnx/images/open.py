"""From a configured data set to checked images with their labels."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from fnx.analysis.labelling import with_concepts
from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import TABLE_SCHEMA, LabelledImages, Listing
from fnx.images.decode import Decoder
from fnx.images.intensity import Ranges, few_levels, settle, unusual
from fnx.images.layouts.readers import list_images
from fnx.images.official import differences
from fnx.images.paths import Files, shown
from fnx.images.validate import Checked, check_images, known_checks

log = logging.getLogger(__name__)


def open_images(
    config: DatasetConfig, cache: Path, listing: Listing | None = None
) -> LabelledImages:
    """Find the images of a data set and check that each can be read, before any other work.

    The counts of a data set of the paper's Table 2 are compared with it: a difference is logged and
    kept in `LabelledImages.warnings`. With `limit_per_class` the first readable images of each
    class are taken, and no more are checked than that needs. Classes without a readable image are
    left out, with a warning. Of several runs on the same images one checks, the others wait.

    Args:
        config: what to read; `on_error` says what an unreadable image means.
        cache: folder below which the checks are remembered.
        listing: what `list_images(config)` returned, if it has been called already.

    Raises:
        ConfigError, DataError: see `list_images`.
        DataError: fewer than two classes, or (on_error=raise) an unreadable image.
    """
    images = open_listing(config, cache, list_images(config) if listing is None else listing)
    concepts = "class_ids" in images.table.columns
    readable = images.ok()["class_name"].to_list()
    n_classes, n_files = len(images.class_names), images.table.height
    if n_classes < (1 if concepts else 2):
        raise DataError(
            f"{config.name}: {n_classes} classes with readable images among {n_files} files; "
            "at least two are needed"
        )
    gone = images.table.filter(error=os.strerror(errno.ENOENT)).height
    warnings = () if concepts else differences(config, readable, gone)
    for warning in warnings:
        log.warning("%s", warning)
    found = f"{len(readable)} images in {n_classes} classes, {n_files - len(readable)} failed"
    log.info("%s: %s", config.name, found)
    return replace(images, warnings=warnings)


def open_listing(
    config: DatasetConfig, cache: Path, listing: Listing, ranges: Ranges | None = None
) -> LabelledImages:
    """Check the images of a listing, up to `limit_per_class` of each class, and number them.

    A file that is listed twice, by whatever path or link, is taken once. Images of more than 8 bits
    are mapped by the `ranges` of their kind, where these are given; else by ``intensity_range``.

    Raises:
        DataError: a file of two classes; an unreadable image, with on_error=raise.
    """
    listing = _some_of_concepts(_each_file_once(listing), config.limit_per_class)
    with known_checks(listing.root, cache, config.max_pixels) as known:
        checked = _check_up_to(listing, config, known)
    images = _labelled(config, listing, checked, ranges)
    failed = images.table.filter(status="failed")
    if failed.height:
        first = f"{failed['path'][0]!r} ({failed['error'][0]})"
        if config.on_error == "raise":
            others = f" and {failed.height - 1} other images" if failed.height > 1 else ""
            raise DataError(f"dataset.on_error=raise: cannot read {first}{others}")
        log.warning("%d images cannot be read and are left out; the first: %s", len(failed), first)
    left_out = failed.filter(pl.col("class_id").is_null())["class_name"]
    if unreadable := left_out.drop_nulls().unique(maintain_order=True).to_list():
        log.warning(
            "classes without a readable image are left out: %s", ", ".join(map(repr, unreadable))
        )
    _warn_of_copies(images.ok())
    return images


def _warn_of_copies(readable: pl.DataFrame) -> None:
    """Warn of images with the same bytes in two classes."""
    labelled = readable.drop_nulls("class_name")
    two = labelled.filter(pl.col("class_name").n_unique().over("digest") > 1)
    if two.height:
        same = two.filter(digest=two["digest"][0]).unique("class_name", maintain_order=True)
        log.warning(
            "%d images have copies in another class, as %s and %s",
            two.height,
            *map(shown, same["path"][:2]),
        )


def _each_file_once(listing: Listing) -> Listing:
    """Leave out paths that lead to a file which another one names, and refuse two classes of it."""
    if not isinstance(listing.open, Files):
        return listing
    paths, names, concepts = listing.paths, listing.class_names, listing.concepts
    first_of: dict[tuple[int, ...], int] = {}
    kept, again, of_two = [], [], []
    for row, path in enumerate(paths):
        identity = listing.open.identity(path)
        first = row if identity is None else first_of.setdefault(identity, row)
        if first == row:
            kept.append(row)
            continue
        again.append((path, paths[first]))
        if (names[row], concepts and concepts[row]) != (names[first], concepts and concepts[first]):
            of_two.append(
                f"{shown(paths[first])} ({names[first]}) and {shown(path)} ({names[row]})"
            )
    if of_two:
        raise DataError(
            f"{len(of_two)} images are listed under two classes, as {of_two[0]}, which are the "
            "same file: an image has one class; remove one of the two"
        )
    if not again:
        return listing
    log.warning(
        "%d images are listed twice and taken once, as %s, which is the file %s",
        len(again),
        *map(shown, again[0]),
    )
    return listing.take(kept)


def _some_of_concepts(listing: Listing, limit: int | None) -> Listing:
    """Return the images of concepts, of each which lacks some yet, up to a limit of images each.

    An image without any counts as one of a concept of its own.
    """
    if listing.concepts is None or limit is None:
        return listing
    counts: Counter[str] = Counter()
    kept = []
    for row, own in enumerate(listing.concepts):
        names = own or [""]
        if any(counts[name] < limit for name in names):
            kept.append(row)
            counts.update(names)
    return listing.take(kept)


def _of_concepts(
    table: pl.DataFrame, concepts: Sequence[Sequence[str]], order: Sequence[str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Add the concepts of the images; those of none of them, or of all, are left out."""
    ok = table["status"].to_list()
    counts = Counter(
        name for own, status in zip(concepts, ok, strict=True) if status == "ok" for name in own
    )
    everywhere = [name for name in order if counts[name] == ok.count("ok")]
    if everywhere:
        log.warning(
            "concepts that all images have are left out: %s", ", ".join(map(repr, everywhere))
        )
    kept = [name for name in order if counts[name] and name not in everywhere]
    known = set(kept)
    names = [[name for name in own if name in known] for own in concepts]
    return with_concepts(table, names, kept), tuple(kept)


def _check_up_to(
    listing: Listing, config: DatasetConfig, known: dict[str, Checked]
) -> dict[str, Checked]:
    """Check all images, or of each class as many as `limit_per_class` readable ones take.

    Images without a class have no limit.
    """
    check = partial(check_images, listing, known=known, max_pixels=config.max_pixels)
    limit = config.limit_per_class
    if limit is None or listing.concepts is not None:
        return check(listing.paths)
    waiting: dict[str | None, list[str]] = {}
    for path, name in zip(listing.paths, listing.class_names, strict=True):
        waiting.setdefault(name, []).append(path)
    missing = dict.fromkeys(waiting, limit)
    checked = check(waiting.pop(None, []))
    while True:
        chosen = {name: paths[: missing[name]] for name, paths in waiting.items()}
        batch = [path for paths in chosen.values() for path in paths]
        if not batch:
            return checked
        checked |= check(batch)
        for name, paths in chosen.items():
            waiting[name] = waiting[name][len(paths) :]
            missing[name] -= sum(checked[path].error is None for path in paths)


def _labelled(
    config: DatasetConfig,
    listing: Listing,
    checked: dict[str, Checked],
    given: Ranges | None = None,
) -> LabelledImages:
    """Give the checked images and their classes numbers, in order of the listing."""
    rows = [row for row, path in enumerate(listing.paths) if path in checked]
    results = [checked[listing.paths[row]] for row in rows]
    names = [listing.class_names[row] for row in rows]
    readable = {name for name, result in zip(names, results, strict=True) if result.error is None}
    class_names = tuple(filter(readable.__contains__, listing.classes))
    ids = {class_name: class_id for class_id, class_name in enumerate(class_names)}
    table = pl.DataFrame(
        {
            "image_id": range(len(rows)),
            "path": [listing.paths[row] for row in rows],
            "class_id": [None if name is None else ids.get(name) for name in names],
            "class_name": names,
            "split": [listing.splits[row] for row in rows],
            "status": ["ok" if result.error is None else "failed" for result in results],
            "error": [result.error for result in results],
            "digest": [result.digest for result in results],
        },
        schema=TABLE_SCHEMA,
    )
    if listing.groups is not None:
        groups = [listing.groups[row] for row in rows]
        table = table.with_columns(pl.Series("group", groups, dtype=pl.String))
    if listing.concepts is not None:
        concepts = [listing.concepts[row] for row in rows]
        table, class_names = _of_concepts(table, concepts, listing.classes)
    used = [result for result in results if result.error is None]
    ranges, decoding = _ranges(config, used, given)
    if any(result.turned_tiff for result in used):
        decoding["upright_tiff"] = True  # older versions turned them twice
    return LabelledImages(
        config.name,
        table,
        class_names,
        Decoder(listing.open, config.max_pixels, ranges),
        decoding=decoding,
        special=frozenset(
            result.digest
            for result in used
            if result.digest and (result.extent is not None or result.turned_tiff)
        ),
        largest=max((result.pixels for result in used), default=0),
    )


def _ranges(
    config: DatasetConfig, used: Sequence[Checked], given: Ranges | None
) -> tuple[Ranges, dict[str, Any]]:
    """Settle the range of images of more than 8 bits; the second is for the fingerprint."""
    extents = [checked.extent for checked in used if checked.extent is not None]
    chosen = config.intensity_range
    ranges = settle(extents, given or (None if chosen == "auto" else tuple(chosen)))
    for line in few_levels(ranges, extents):
        log.warning("%s: %s", config.name, line)
    shaping = {kind: list(ranges[kind]) for kind in unusual(ranges, extents)}
    return ranges, {"intensity_range": shaping} if shaping else {}

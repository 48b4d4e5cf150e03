"""Reference images: those that show what a feature answers to, the run's own or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from fnx.config.schema import Config, CropsConfig, DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import LabelledImages
from fnx.images.layouts import folder
from fnx.images.open import open_images, open_listing


def open_reference(
    images: LabelledImages, config: Config, dataset: DatasetConfig | None
) -> LabelledImages | None:
    """Return the images of ``report.reference_dataset``, checked; None if no pictures are wanted.

    Of each class there are as many as ``report.reference_limit_per_class`` allows. In a folder,
    images outside of a class's folder belong to it too: they have no class, and no limit.

    Args:
        images: the run's own, which are taken where no others are named.
        config: the run's configuration.
        dataset: what ``report.reference_dataset`` names, or None.

    Raises:
        ConfigError, DataError: see `open_images`; a folder needs no classes, but one image.
    """
    if config.report.pictures == "none":
        return None
    if dataset is None:
        limit = config.report.reference_limit_per_class
        return images if limit is None else _first_of_each_class(images, limit)
    cache = Path(config.paths.cache)
    if dataset.layout != "folder":
        return open_images(dataset, cache)
    listing = folder.read_all(dataset)
    found = open_listing(dataset, cache, listing)
    if found.ok().is_empty():
        raise DataError(
            f"report.reference_dataset={dataset.root}: no images in {len(listing.paths)} files"
        )
    return found


def _first_of_each_class(images: LabelledImages, limit: int) -> LabelledImages:
    """Return the first readable images of each class, under the numbers they have."""
    first = pl.int_range(pl.len()).over("class_name") < limit
    return replace(images, table=images.ok().filter(first))


def reference_crops(config: Config) -> CropsConfig:
    """Return the views of a reference image that are embedded.

    The run's own for the run's own images, whose embedding is there already; for others
    ``report.reference_crops`` at the run's size.
    """
    name, own = config.report.reference_crops, config.crops
    if config.report.reference_dataset is None or name is None or name == own.name:
        return own
    # The whole image is as large as the run's crops, for which the network is made.
    return replace(own, name=name, resize=own.size if name == "dense" else own.resize)

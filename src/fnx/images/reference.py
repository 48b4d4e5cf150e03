"""Reference images: those that show what a feature answers to, the run's own or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from fnx.config.schema import Config, CropsConfig, DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import LabelledImages
from fnx.images.labels import tidied
from fnx.images.layouts import folder
from fnx.images.open import open_images, open_listing


def open_reference(
    images: LabelledImages, config: Config, dataset: DatasetConfig | None
) -> LabelledImages | None:
    """Return the images of ``report.reference_dataset``, checked; None if no pictures are wanted.

    Of each class there are as many as ``report.reference_limit_per_class`` allows. In a folder,
    images outside of a class's folder belong to it too: they have no class, and no limit. Where no
    other `dataset` is named, they are of the run's own `images`, under the numbers they have.

    Raises:
        ConfigError, DataError: see `open_images`; a folder needs no classes, but one image.
    """
    if config.report.pictures == "none":
        return None
    if dataset is None:
        limit = config.report.reference_limit_per_class
        if limit is None:
            return images
        first = pl.int_range(pl.len()).over("class_name") < limit
        return replace(images, table=images.ok().filter(first))
    cache = Path(config.paths.cache)
    if dataset.layout != "folder":
        return open_images(dataset, cache)
    found = open_listing(dataset, cache, tidied(folder.read_all(dataset)))
    if found.ok().is_empty():
        raise DataError(
            f"report.reference_dataset={dataset.root}: no images in {found.table.height} files"
        )
    return found


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

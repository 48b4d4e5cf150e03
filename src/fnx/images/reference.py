"""Reference images: those that show what a feature answers to, the run's own or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fnx.errors import DataError
from fnx.images.dataset import TABLE_SCHEMA, LabelledImages, Listing
from fnx.images.layouts.folder import files_below
from fnx.images.open import open_images
from fnx.images.paths import Files
from fnx.images.validate import check_images, checked_before

if TYPE_CHECKING:
    from fnx.config.schema import Config, CropsConfig, DatasetConfig


def open_reference(
    images: LabelledImages, config: Config, dataset: DatasetConfig | None
) -> LabelledImages | None:
    """The images of ``report.reference_dataset``, checked; None if no pictures are wanted.

    Args:
        images: the run's own, which are taken where no others are named.
        config: the run's configuration.
        dataset: what ``report.reference_dataset`` names; None: the run's own images.

    Returns:
        Images as any data set has them, of each class as many as ``reference_limit_per_class``
        allows. In a folder, the uppermost folders are the classes; images beside these have none,
        and no limit.

    Raises:
        DataError: no images that can be read.
    """
    if config.report.pictures == "none":
        return None
    if dataset is None:
        return _limited(images, config.report.reference_limit_per_class)
    cache = Path(config.paths.cache)
    if dataset.layout == "folder" and dataset.root is not None:
        return _open_folder(dataset.name, Path(dataset.root), cache, dataset.limit_per_class)
    return open_images(dataset, cache)


def reference_crops(config: Config) -> CropsConfig:
    """The views of a reference image: ``report.reference_crops`` of the run's size."""
    name, own = config.report.reference_crops, config.crops
    if name is None or name == own.name:
        return own
    # The whole image is as large as the run's crops, for which the network is made.
    return replace(own, name=name, resize=own.size if name == "dense" else own.resize)


def _limited(images: LabelledImages, limit: int | None) -> LabelledImages:
    """The first images of each class that can be read, under the numbers they have."""
    if limit is None:
        return images
    first = pl.int_range(pl.len()).over("class_name") < limit
    return replace(images, table=images.ok().filter(first))


def _open_folder(name: str, root: Path, cache: Path, limit: int | None) -> LabelledImages:
    paths = files_below(root)
    classes = [path.split("/")[0] if "/" in path else None for path in paths]
    listed = pl.DataFrame(
        {"path": paths, "class_name": classes}, schema_overrides={"class_name": pl.String}
    )
    if limit is not None:
        first = pl.int_range(pl.len()).over("class_name") < limit
        listed = listed.filter(pl.col("class_name").is_null() | first)
    paths, classes = listed["path"].to_list(), listed["class_name"].to_list()
    listing = Listing(
        paths, [name or "" for name in classes], [None] * len(paths), Files(str(root)), root
    )
    with checked_before(root, cache) as known:
        checked = check_images(listing, paths, known)
    class_names = tuple(dict.fromkeys(name for name in classes if name is not None))
    ids = {name: number for number, name in enumerate(class_names)}
    results = [checked[path] for path in paths]
    if all(result.error for result in results):
        raise DataError(f"report.reference_dataset={root}: no images in {len(paths)} files")
    table = pl.DataFrame(
        {
            "image_id": range(len(paths)),
            "path": paths,
            "class_id": [None if name is None else ids[name] for name in classes],
            "class_name": classes,
            "split": [None] * len(paths),
            "status": ["failed" if result.error else "ok" for result in results],
            "error": [result.error for result in results],
            "digest": [result.digest for result in results],
        },
        schema=TABLE_SCHEMA,
    )
    return LabelledImages(name, table, class_names, listing.open)

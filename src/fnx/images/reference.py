"""Reference images: those that show what a feature answers to, the run's own or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fnx.config.schema import folder_name
from fnx.errors import ConfigError, DataError
from fnx.images.dataset import TABLE_SCHEMA, LabelledImages, Listing
from fnx.images.layouts.folder import files_below
from fnx.images.open import open_images
from fnx.images.paths import Files
from fnx.images.validate import check_images, checked_before

if TYPE_CHECKING:
    from fnx.config.schema import Config, CropsConfig, DatasetConfig


# Layouts that no option can describe without a key from the command line.
_NEEDED = {"folder": "root", "csv": "file", "huggingface": "source"}


def check_reference(config: Config) -> None:
    """Refuse a reference data set that is not there, before any work.

    Raises:
        ConfigError: neither an option of ``dataset`` nor a folder.
    """
    if config.report.pictures != "none" and config.report.reference_dataset is not None:
        _located(config.report.reference_dataset, config)


def open_reference(images: LabelledImages, config: Config) -> LabelledImages | None:
    """The images of ``report.reference_dataset``, checked; None if no pictures are wanted.

    Args:
        images: the run's own, which are taken where no others are named.
        config: the run's configuration.

    Returns:
        Images as any data set has them, of each class as many as ``reference_limit_per_class``
        allows. In a folder, the uppermost folders are the classes; images beside these have none,
        and no limit.

    Raises:
        ConfigError: see `check_reference`.
        DataError: no images that can be read.
    """
    if config.report.pictures == "none":
        return None
    name, limit = config.report.reference_dataset, config.report.reference_limit_per_class
    if name is None:
        return _limited(images, limit)
    found = _located(name, config)
    cache = Path(config.paths.cache)
    if isinstance(found, Path):
        return _open_folder(found, cache, limit)
    return open_images(replace(found, limit_per_class=limit), cache)


def reference_crops(config: Config) -> CropsConfig:
    """The views of a reference image: ``report.reference_crops`` of the run's size."""
    name, own = config.report.reference_crops, config.crops
    if name is None or name == own.name:
        return own
    # The whole image is as large as the run's crops, for which the network is made.
    return replace(own, name=name, resize=own.size if name == "dense" else own.resize)


def _located(name: str, config: Config) -> DatasetConfig | Path:
    from fnx import cli  # which knows the config groups

    folder = Path(name).expanduser()
    options = cli.groups()["dataset"]
    if name not in options:
        if folder.is_dir():
            return folder.absolute()
        raise ConfigError(
            f"report.reference_dataset={name}: no folder of this name, and no data set; allowed "
            f"are a folder with images and {', '.join(options)}"
        )
    try:
        dataset = cli.dataset_option(name, config.paths)
        complaint = (
            "" if dataset.layout != "folder" or dataset.root else "a folder's path is missing"
        )
    except Exception as error:  # of several kinds, which only the command line knows
        complaint = cli.one_line(error)
    if complaint:
        raise ConfigError(f"report.reference_dataset={name}: {complaint}")
    return dataset


def _limited(images: LabelledImages, limit: int | None) -> LabelledImages:
    """The first images of each class that can be read, under the numbers they have."""
    if limit is None:
        return images
    first = pl.int_range(pl.len()).over("class_name") < limit
    return replace(images, table=images.ok().filter(first))


def _open_folder(root: Path, cache: Path, limit: int | None) -> LabelledImages:
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
    return LabelledImages(folder_name(str(root)), table, class_names, listing.open)

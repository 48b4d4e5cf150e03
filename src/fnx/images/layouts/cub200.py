"""`layout=cub200`: Caltech-UCSD Birds 200-2011, labelled by its text files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_columns, spaced, to_listing
from fnx.images.paths import shown

_LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")


def read(config: DatasetConfig) -> Listing:
    """List all images of `images.txt`; `002.Laysan_Albatross` is called `Laysan Albatross`.

    With ``dataset.labels=attributes``, each has those of the 312 attributes that it was given.
    """
    if config.labels not in (None, "attributes"):
        raise ConfigError(f"dataset.labels={config.labels}: allowed for cub200 is attributes")
    base = find_base(config, ["images", *_LISTS], folders=("CUB_200_2011",))
    paths, names, labels, training = (dict(read_columns(base / file, 2)) for file in _LISTS)
    if not paths.keys() == labels.keys() == training.keys() or set(labels.values()) - set(names):
        raise DataError(
            f"the lists of {base} do not fit: {len(paths)} images, {len(labels)} labels, "
            f"{len(training)} splits, {len(names)} classes"
        )
    rows = [
        Row(
            f"images/{path}",
            spaced(names[labels[image]].split(".", 1)[-1]),
            "train" if training[image] == "1" else "test",
            int(labels[image]),
        )
        for image, path in paths.items()
    ]
    listing = to_listing(config, base, rows)
    return listing if config.labels is None else _with_attributes(config, base, listing, paths)


def _with_attributes(
    config: DatasetConfig, base: Path, listing: Listing, paths: Mapping[str, str]
) -> Listing:
    """Give the images their attributes, of ``attributes/image_attribute_labels.txt``.

    A line is image, attribute, presence and certainty, 1 (not visible) to 4 (definitely); what
    comes after, the time that it took, is of several words in some lines of the published file.
    """
    places = (base / "attributes", base, base.parent)
    lists = [place / "attributes.txt" for place in places]
    found = next((file for file in lists if file.is_file()), lists[0])
    marks = base / "attributes" / "image_attribute_labels.txt"
    names = {number: _attribute(name) for number, name in read_columns(found, 2)}
    own: dict[str, list[str]] = {image: [] for image in paths}
    for image, attribute, present, certainty in read_columns(marks, 4):
        if attribute not in names or image not in own:
            raise DataError(f"{shown(marks)}: no image {image} or no attribute {attribute}")
        if present == "1" and certainty >= str(config.certainty):
            own[image].append(names[attribute])
    by_path = {f"images/{path}": own[image] for image, path in paths.items()}
    return replace(
        listing,
        class_names=[None] * len(listing.paths),
        concepts=[by_path[path] for path in listing.paths],
        concept_order=list(names.values()),
    )


def _attribute(name: str) -> str:
    """Return an attribute's name as people write it.

    >>> _attribute("has_bill_shape::curved_(up_or_down)")
    'has bill shape: curved (up or down)'
    """
    return spaced(name.replace("::", ": "))

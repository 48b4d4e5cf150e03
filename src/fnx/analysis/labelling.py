"""The labels of a run's images or rows, from its table of them: classes, or overlapping concepts.

Where images have any number of concepts, ``class_id`` is null, and two more columns hold lists:
``class_ids`` and ``class_names``. ``class_name`` then joins them, to be read. ``group`` says which
rows stay together when labels are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.statistics.labels import Labels

SEPARATOR = " | "  # of the names of an image's concepts, where they are shown
CONCEPTS = {"class_ids": pl.List(pl.Int32), "class_names": pl.List(pl.String)}


def with_concepts(
    images: pl.DataFrame, names: Sequence[Sequence[str]], order: Sequence[str] = ()
) -> pl.DataFrame:
    """Return a table of images with the concepts that each has, by name.

    Their ids are the places in `order`; those that are not there come after, as they first occur.

    >>> table = with_concepts(pl.DataFrame({"image_id": [0, 1]}), [["b", "a"], ["b"]])
    >>> table["class_ids"].to_list(), table["class_name"].to_list()
    ([[0, 1], [0]], ['b | a', 'b'])
    """
    known = {name: number for number, name in enumerate(order)}
    ids = [[known.setdefault(name, len(known)) for name in own] for own in names]
    return images.with_columns(
        pl.lit(None, pl.Int32).alias("class_id"),
        pl.Series("class_name", [SEPARATOR.join(own) or None for own in names], dtype=pl.String),
        pl.Series("class_ids", ids, dtype=CONCEPTS["class_ids"]),
        pl.Series("class_names", [list(own) for own in names], dtype=CONCEPTS["class_names"]),
    )


def used(images: pl.DataFrame) -> pl.DataFrame:
    """Return the images that were used, in order of the rows of the embedding."""
    return images.filter(pl.col("status") == "ok")


def memberships(images: pl.DataFrame) -> pl.DataFrame:
    """Return a table of images with one row for each image and class that it has."""
    if "class_ids" not in images.columns:
        return images
    each = images.drop("class_id", "class_name").explode("class_ids", "class_names")
    return each.rename({"class_ids": "class_id", "class_names": "class_name"})


def class_names(images: pl.DataFrame) -> tuple[str, ...]:
    """Return the names of the classes of a table of images, in order of their ids."""
    classes = memberships(images).drop_nulls("class_id").unique("class_id").sort("class_id")
    return tuple(classes["class_name"])


def labelling(images: pl.DataFrame) -> Labels:
    """Return the labels of the images that were used."""
    rows, count = used(images), len(class_names(images))
    if "class_ids" in rows.columns:
        return Labels.of_concepts(rows["class_ids"].to_list(), count)
    return Labels(rows["class_id"].to_numpy().astype(np.int32), count)


def groups(images: pl.DataFrame) -> NDArray[Any] | None:
    """Return which rows of the images that were used go together; None where each stands alone."""
    if "group" not in images.columns:
        return None
    return used(images)["group"].to_numpy()

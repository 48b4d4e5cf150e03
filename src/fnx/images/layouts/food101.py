"""`layout=food101`: Food-101's test split, as the paper uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, lines, listing, located, readable

if TYPE_CHECKING:
    from fnx.config.schema import DatasetConfig


def read(config: DatasetConfig) -> Listing:
    """The 25,250 images of meta/test.txt, named as meta/labels.txt says where it is there.

    Raises:
        DataError: something is not there.
    """
    base = located(config, ["images", "meta/test.txt"], folders=("food-101",))
    names = {}
    if (base / "meta/classes.txt").is_file() and (base / "meta/labels.txt").is_file():
        folders, labels = lines(base / "meta/classes.txt"), lines(base / "meta/labels.txt")
        names = dict(zip(folders, labels, strict=False))
    found = ((path, path.split("/")[0]) for path in lines(base / "meta/test.txt"))
    return listing(
        config,
        base,
        (
            Row(f"images/{path}.jpg", names.get(folder, readable(folder)), "test")
            for path, folder in found
        ),
    )

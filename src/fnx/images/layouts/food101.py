"""`layout=food101`: Food-101's test split, as the paper uses it."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_lines, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the 25,250 images of meta/test.txt, named as in meta/labels.txt if it is there."""
    base = find_base(config, ["images", "meta/test.txt"], folders=("food-101",))
    folders, labels = base / "meta/classes.txt", base / "meta/labels.txt"
    names = {}
    if folders.is_file() and labels.is_file():
        names = dict(zip(read_lines(folders), read_lines(labels), strict=False))
    found = ((path, path.split("/")[0]) for path in read_lines(base / "meta/test.txt"))
    rows = [
        Row(f"images/{path}.jpg", names.get(folder, spaced(folder)), "test")
        for path, folder in found
    ]
    return to_listing(config, base, rows)

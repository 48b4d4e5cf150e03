"""`layout=catsdogs`: Oxford-IIIT Pet, 37 breeds of cats and dogs."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_columns, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the images of annotations/list.txt; `american_bulldog_100` is an `american bulldog`."""
    base = find_base(
        config,
        ["images", *(f"annotations/{name}.txt" for name in ("list", "trainval", "test"))],
        folders=("oxford-iiit-pet",),
    )
    splits = {
        name: split
        for split in ("trainval", "test")
        for (name,) in read_columns(base / f"annotations/{split}.txt", 1)
    }
    rows = [
        Row(f"images/{name}.jpg", spaced(name.rsplit("_", 1)[0]), splits.get(name))
        for (name,) in read_columns(base / "annotations/list.txt", 1)
        if not name.startswith("#")
    ]
    return to_listing(config, base, rows)

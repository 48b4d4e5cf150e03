"""`layout=catsdogs`: Oxford-IIIT Pet, 37 breeds of cats and dogs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, columns, lines, listing, located, readable

if TYPE_CHECKING:
    from fnx.config.schema import DatasetConfig


def read(config: DatasetConfig) -> Listing:
    """The images of annotations/list.txt; `american_bulldog_100` is of class `american bulldog`.

    Raises:
        DataError: something is not there.
    """
    base = located(
        config,
        ["images", *(f"annotations/{name}.txt" for name in ("list", "trainval", "test"))],
        folders=("oxford-iiit-pet",),
    )
    splits = {
        line.split()[0]: split
        for split in ("trainval", "test")
        for line in lines(base / f"annotations/{split}.txt")
    }
    rows = [row for row in columns(base / "annotations/list.txt", 1) if not row[0].startswith("#")]
    return listing(
        config,
        base,
        (
            Row(f"images/{name}.jpg", readable(name.rsplit("_", 1)[0]), splits.get(name))
            for (name,) in rows
        ),
    )

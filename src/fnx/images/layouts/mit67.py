"""`layout=mit67`: MIT Indoor 67, the images of its two lists."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_lines, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the 6,700 images of TrainImages.txt and TestImages.txt, which Table 2 counts.

    The folder holds 15,620; those in neither list are left out.
    """
    lists = {"train": "TrainImages.txt", "test": "TestImages.txt"}
    base = find_base(config, ["Images", *lists.values()], folders=("indoorCVPR_09",))
    rows = [
        Row(f"Images/{path}", spaced(path.split("/")[0]), split)
        for split, file in lists.items()
        for path in read_lines(base / file)
    ]
    return to_listing(config, base, rows)

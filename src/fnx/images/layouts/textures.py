"""`layout=textures`: the Describable Textures, with the first of their ten official splits."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_lines, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the images of train1, val1 and test1, which together are all 5,640."""
    lists = {split: f"labels/{split}1.txt" for split in ("train", "val", "test")}
    base = find_base(config, ["images", *lists.values()], folders=("dtd",))
    rows = [
        Row(f"images/{path}", spaced(path.split("/")[0]), split)
        for split, file in lists.items()
        for path in read_lines(base / file)
    ]
    return to_listing(config, base, rows)

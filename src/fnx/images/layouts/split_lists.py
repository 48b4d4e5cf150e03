"""`layout=mit67` and `layout=textures`: a list of images for each official split."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_lines, spaced, to_listing


def read_mit67(config: DatasetConfig) -> Listing:
    """List the 6,700 images of MIT Indoor 67's lists, which Table 2 counts.

    The folder holds 15,620; those in neither list are left out.
    """
    lists = {"train": "TrainImages.txt", "test": "TestImages.txt"}
    return _read(config, "Images", lists, "indoorCVPR_09")


def read_textures(config: DatasetConfig) -> Listing:
    """List the Describable Textures by the first of ten splits, which holds all 5,640."""
    lists = {split: f"labels/{split}1.txt" for split in ("train", "val", "test")}
    return _read(config, "images", lists, "dtd")


def _read(config: DatasetConfig, images: str, lists: dict[str, str], folder: str) -> Listing:
    base = find_base(config, [images, *lists.values()], folders=(folder,))
    rows = [
        Row(f"{images}/{path}", spaced(path.split("/")[0]), split)
        for split, file in lists.items()
        for path in read_lines(base / file)
    ]
    return to_listing(config, base, rows)

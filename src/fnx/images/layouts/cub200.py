"""`layout=cub200`: Caltech-UCSD Birds 200-2011, labelled by its text files."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_columns, spaced, to_listing

_LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")


def read(config: DatasetConfig) -> Listing:
    """List all images of `images.txt`; `002.Laysan_Albatross` is called `Laysan Albatross`."""
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
    return to_listing(config, base, rows)

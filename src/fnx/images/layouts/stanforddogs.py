"""`layout=stanforddogs`: Stanford Dogs, by its MATLAB lists."""

from __future__ import annotations

import numpy as np

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_mat, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the images of train_list.mat and test_list.mat; `n02085620-Chihuahua` is `Chihuahua`."""
    lists = {"train": "train_list.mat", "test": "test_list.mat"}
    base = find_base(config, ["Images", *lists.values()], folders=("lists",))
    rows = []
    for split, name in lists.items():
        found = read_mat(base / name).get("file_list")
        if found is None:
            raise DataError(f"{base / name}: expected a variable file_list")
        rows += [
            Row(f"Images/{path}", spaced(path.split("/")[0].split("-", 1)[-1]), split)
            for path in map(str, np.atleast_1d(found))
        ]
    return to_listing(config, base, rows)

"""`layout=stanforddogs`: Stanford Dogs, by its MATLAB lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_mat, spaced, to_listing


def read(config: DatasetConfig) -> Listing:
    """List the images of train_list.mat and test_list.mat; `n02085620-Chihuahua` is `Chihuahua`.

    Raises:
        DataError: something is not there, or a list is damaged.
    """
    lists = {"train": "train_list.mat", "test": "test_list.mat"}
    base = find_base(config, ["Images", *lists.values()], folders=("lists",))
    return to_listing(
        config,
        base,
        (
            Row(f"Images/{path}", spaced(path.split("/")[0].split("-", 1)[-1]), split)
            for split, name in lists.items()
            for path in _files(base / name)
        ),
    )


def _files(file: Path) -> list[str]:
    found = read_mat(file).get("file_list")
    if found is None:
        raise DataError(f"{file}: expected a variable file_list")
    return [str(path) for path in np.atleast_1d(found)]

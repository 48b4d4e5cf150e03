"""`layout=caltech101` and `layout=caltech256`: a folder per class, one of them background."""

from __future__ import annotations

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import (
    Row,
    existing_root,
    find_base,
    folders_in,
    images_in,
    incomplete,
    spaced,
    to_listing,
)


def read_101(config: DatasetConfig) -> Listing:
    """List Caltech 101, without `BACKGROUND_Google` unless `include_background`."""
    return _read(config, "101_ObjectCategories", "BACKGROUND_Google")


def read_256(config: DatasetConfig) -> Listing:
    """List Caltech 256, without `257.clutter` unless `include_background`; `001.ak47` is `ak47`."""
    return _read(config, "256_ObjectCategories", "257.clutter")


def _read(config: DatasetConfig, folder: str, background: str) -> Listing:
    root = existing_root(config)
    prefix = f"{folder}/"
    if root.name == folder:
        base = root.parent
    elif sum(bool(images_in(root / name)) for name in folders_in(root)) > 1:
        base, prefix = root, ""  # the classes' folders themselves
    else:
        base = find_base(config, [folder], folders=("caltech-101", "caltech101", "caltech256"))
    classes = folders_in(base / prefix)
    if not classes:
        raise incomplete(config, f"no classes in {folder}")
    rows = [
        Row(path, spaced(name.split(".", 1)[-1]), None, order)
        for order, name in enumerate(classes)
        if config.include_background or name != background
        for path in images_in(base / prefix / name, f"{prefix}{name}/")
    ]
    return to_listing(config, base, rows)

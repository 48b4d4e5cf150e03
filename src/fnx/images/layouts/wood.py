"""`layout=wood`: Oulu's images of knots in spruce, by its list of grades or in folders by class."""

from __future__ import annotations

from pathlib import Path

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import (
    Row,
    existing_root,
    folders_in,
    images_in,
    incomplete,
    read_columns,
    spaced,
    to_listing,
)

_CONVERTED = (".png", ".jpg", ".bmp", ".tif")


def read(config: DatasetConfig) -> Listing:
    """List the images of `names.txt` (`st1005.ppm dry_knot …`), or of a folder per class.

    The list may lie beside the images or above a folder of them (`KNOTS`, `images`, `imgs`); an
    image may have been converted from .ppm, its name kept.
    """
    root = existing_root(config)
    bases = [base for base in (root, root / "KNOTS", root / "knots") if base.is_dir()]
    for file in (base / name for base in bases for name in ("names.txt", "labels.txt")):
        if file.is_file():
            return to_listing(config, file.parent, _listed(file))
    for base in bases:
        rows = [
            Row(path, spaced(name))
            for name in folders_in(base)
            for path in images_in(base / name, f"{name}/")
        ]
        if len({row.class_name for row in rows}) > 1:
            return to_listing(config, base, rows)
    raise incomplete(config, "neither names.txt nor folders by class")


def _listed(file: Path) -> list[Row]:
    base, places = file.parent, ("", "KNOTS/", "images/", "imgs/")

    def path(name: str) -> str:
        stem = name.rsplit(".", 1)[0]
        for place in places:
            for candidate in (name, *(stem + ending for ending in _CONVERTED)):
                if (base / place / candidate).is_file():
                    return place + candidate
        return name

    return [Row(path(name), spaced(label)) for name, label in read_columns(file, 2)]

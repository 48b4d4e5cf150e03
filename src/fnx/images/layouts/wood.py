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

_LISTS = ("names.txt", "labels.txt")
_CONVERTED = (".png", ".jpg", ".bmp", ".tif")


def read(config: DatasetConfig) -> Listing:
    """List the images of `names.txt` (`st1005.ppm dry_knot …`), or of a folder per class.

    The list may lie beside the images or above a folder of them (`KNOTS`, `images`, `imgs`); an
    image may have been converted from .ppm, its name kept.

    Raises:
        DataError: neither a list nor folders with images.
    """
    root = existing_root(config)
    for place in (root, root / "KNOTS", root / "knots"):
        for name in _LISTS:
            if (place / name).is_file():
                return to_listing(config, place, _listed(place, place / name))
    for place in (root, root / "KNOTS", root / "knots"):
        names = folders_in(place) if place.is_dir() else []
        rows = [
            Row(path, spaced(name))
            for name in names
            for path in images_in(place / name, f"{name}/")
        ]
        if len({row.class_name for row in rows}) > 1:
            return to_listing(config, place, rows)
    raise incomplete(config, "neither names.txt nor folders by class")


def _listed(base: Path, file: Path) -> list[Row]:
    places = [place for place in ("", "KNOTS/", "images/", "imgs/") if (base / place).is_dir()]

    def path(name: str) -> str:
        stem = name.rsplit(".", 1)[0]
        for place in places:
            for candidate in (name, *(stem + ending for ending in _CONVERTED)):
                if (base / place / candidate).is_file():
                    return place + candidate
        return name

    return [Row(path(name), spaced(label)) for name, label in read_columns(file, 2)]

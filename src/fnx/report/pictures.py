"""Where the pictures of features and classes lie in a run's folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def sprite_path(run_dir: Path, layer: str, unit: int) -> Path:
    """The sprite of one feature: up to 9 tiles, the images that activate it most.

    A layer's name may hold anything: what could lead out of the folder is escaped.

    >>> sprite_path(Path("run"), "a/b", 3).as_posix()
    'run/pictures/a%2Fb/3.jpg'
    """
    name = quote(layer, safe="")
    folder = name if name.strip(".") else name.replace(".", "%2E")
    return run_dir / "pictures" / folder / f"{unit}.jpg"

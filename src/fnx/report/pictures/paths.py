"""Where the pictures of features and classes lie in a run's folder; imports nothing heavy."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def sprite_path(run_dir: Path, layer: str, unit: int) -> Path:
    """Where the picture of a feature lies, if there is one; safe for any layer's name.

    >>> sprite_path(Path("run"), "conv4_3", 458).as_posix()
    'run/pictures/conv4_3/458.jpg'
    >>> sprite_path(Path("run"), "../a b", 0).as_posix()
    'run/pictures/__a_b-2c2c791a/0.jpg'
    """
    folder = re.sub(r"[^\w.-]|^\.+", "_", layer, flags=re.ASCII)
    if folder != layer or layer == "classes":
        # What was replaced must not make two names one, nor one that of the classes' folder.
        folder += f"-{hashlib.sha256(layer.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return run_dir / "pictures" / folder / f"{unit}.jpg"


def class_path(run_dir: Path, class_id: int) -> Path:
    """Where the sample images of a class lie, if there are any."""
    return run_dir / "pictures" / "classes" / f"{class_id}.jpg"

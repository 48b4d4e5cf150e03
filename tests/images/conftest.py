"""Image files as people have them, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def write() -> Write:
    """write(path, size=(w, h), seed=0): a random RGB image in the format of the name's ending."""

    def write(path: Path, size: tuple[int, int] = (12, 9), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def root(tmp_path: Path, write: Write) -> Path:
    """A data set of two classes of three images each."""
    folder = tmp_path / "data"
    for place, name in enumerate(
        ["cat/1.png", "cat/2.jpg", "cat/10.png", "dog/a.png", "dog/b.bmp"]
    ):
        write(folder / name, seed=place)
    write(folder / "dog/c.tif", seed=9)
    return folder

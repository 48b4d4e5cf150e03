"""`layout=digits`: scikit-learn's 1,797 scanned digits of 8 × 8 pixels; no files, no network."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing, Stream
from fnx.utils.collector import uncollected


def read(config: DatasetConfig) -> Listing:
    """List the digits in scikit-learn's order: paths `digits/0000` …, classes `0` … `9`."""
    _, labels = _digits()
    return Listing(
        paths=[f"digits/{index:04d}" for index in range(len(labels))],
        class_names=[str(label) for label in labels],
        splits=[None] * len(labels),
        open=Digits(),
    )


@dataclass(frozen=True)
class Digits:
    """Source of the digits as 8-bit grey images (see `fnx.images.dataset.Source`)."""

    def stream(self, path: str) -> Stream:
        """Return the image as a PGM file in memory."""
        return io.BytesIO(b"P5 8 8 255\n" + self._pixels(path).tobytes())

    def stamp(self, path: str) -> None:
        """Remember nothing: reading them again costs nothing."""

    def _pixels(self, path: str) -> NDArray[np.uint8]:
        images, _ = _digits()
        pixels: NDArray[np.uint8] = images[int(path.removeprefix("digits/"))]
        return pixels


@cache
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels, uint8 (1797, 8, 8), and labels; grey values 0…16 become 0…255."""
    with uncollected():
        from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target

"""Readable images as a torch data set, resized but of any shape; plain torch, no Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from fnx.errors import DataError
from fnx.images.crops import Crops
from fnx.images.dataset import LabelledImages
from fnx.images.validate import why_unreadable

# Where processes share memory on Linux; a container may have 64 MB of it.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


class VanishedImageError(DataError):
    """An image that was readable when it was checked, and no longer is when it is needed."""

    def __init__(self, text: str) -> None:
        # A DataLoader creates the error of a worker process again from its whole traceback, whose
        # last line is the message.
        last = text.strip().splitlines()[-1]
        super().__init__(last.split(f"{type(self).__name__}: ", maxsplit=1)[-1])


class ImageDataset(Dataset[tuple[int, Tensor]]):
    """Item `row` is the `row`-th readable image: (row, uint8 (3, H, W)), resized, not yet cropped.

    Raises:
        VanishedImageError: an image that can no longer be read, by name.
    """

    def __init__(self, images: LabelledImages, crops: Crops) -> None:
        # Worker processes share the array's memory. Of a list of a million texts each would soon
        # have its own copy, because reading an object changes its reference count.
        rows = images.ok()
        self.paths = np.array(rows["path"].to_list(), np.dtypes.StringDType())
        self.digests = np.array(rows["digest"].to_list(), np.dtypes.StringDType())
        self.open = images.open
        self.crops = crops

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[int, Tensor]:
        """Decode and resize one image."""
        path = self.paths[row]
        try:
            return row, self.crops.resized(self.open(path, self.digests[row]))
        except Exception as error:
            why = why_unreadable(error)
            raise VanishedImageError(
                f"image {path!r} could be read when it was checked and now cannot: {why}"
            ) from error


class Batch(NamedTuple):
    """Images of any sizes in one block of memory, which reaches a device in one copy.

    Attributes:
        rows: the images' rows.
        sizes: (height, width) of each image.
        pixels: uint8, all images one after the other, each (3, H, W); an array where a process sent
            it through a pipe.
    """

    rows: list[int]
    sizes: list[tuple[int, int]]
    pixels: Tensor | NDArray[np.uint8]

    def with_tensor(self) -> Batch:
        """Return the batch with `pixels` as a tensor, which Lightning moves to the device."""
        return self._replace(pixels=torch.as_tensor(self.pixels))

    def images(self) -> list[Tensor]:
        """Return the images, uint8 (3, H, W), as views of `pixels`."""
        pixels = torch.as_tensor(self.pixels)
        parts = torch.split(pixels, [3 * height * width for height, width in self.sizes])
        return [part.view(3, *size) for part, size in zip(parts, self.sizes, strict=True)]


def collate(items: Sequence[tuple[int, Tensor]]) -> Batch:
    """Collect items of any shapes into one batch."""
    rows, images = zip(*items, strict=True)
    sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
    pixels = torch.cat([image.flatten() for image in images])
    return Batch(list(rows), sizes, pixels if get_worker_info() is None else handed_over(pixels))


def handed_over(pixels: Tensor) -> Tensor | NDArray[np.uint8]:
    """Return pixels as a process hands them to another: in shared memory, or to be piped.

    A tensor is shared here rather than by the loader's thread, which would fail unseen where there
    is no space, and leave the other process waiting. Half of the space is left to others.
    """
    if 2 * pixels.nbytes <= _free_shared_memory():
        with suppress(RuntimeError, OSError):  # another process took the space, or `ulimit -f`
            pixels.share_memory_()  # type: ignore[no-untyped-call]
            return pixels
    return pixels.numpy()


def _free_shared_memory() -> float:
    """Return the bytes that are free, infinite where it is not a file system."""
    try:
        return disk_usage(_SHARED_MEMORY).free
    except OSError:
        return float("inf")

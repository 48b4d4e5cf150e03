"""The views of an image that are averaged into its embedding: one resize, then slices and mirrors.

The paper (Section 4) averages ten crops, the four corners and the centre, each mirrored. The ten
overlap in most of their pixels; `dense` sees the whole resized image and its mirror instead, each
pixel once. Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnx.errors import ConfigError, DataError, unknown
from fnx.images.decode import to_rgb

if TYPE_CHECKING:
    from torch import Tensor

    Pixels = TypeVar("Pixels", Tensor, NDArray[np.uint8])

_COUNTS = {"ten": 10, "five": 5, "center": 1, "dense": 2}
_MIRRORED = ("ten", "dense")
_RESIZE_MODES = ("short_side", "squash")


@dataclass(frozen=True)
class Crops:
    """How many views an image has, where they lie, and how large they are.

    Attributes:
        name: `ten`, `five`, `center` or `dense`.
        resize: side in pixels that an image is resized to before it is cropped.
        size: side of a crop in pixels; with `dense`, which cuts nothing off, that of the images.
        resize_mode: `short_side` keeps the image's shape, `squash` makes it square.

    Raises:
        ConfigError: an unknown name or mode, crops larger than the image, or `dense` with crops
            smaller than it.
    """

    name: str
    resize: int = 256
    size: int = 224
    resize_mode: str = "short_side"

    def __post_init__(self) -> None:
        if self.name not in _COUNTS:
            raise ConfigError(unknown("crops", self.name, _COUNTS))
        if self.resize_mode not in _RESIZE_MODES:
            raise ConfigError(unknown("crops.resize_mode", self.resize_mode, _RESIZE_MODES))
        if not 1 <= self.size <= self.resize:
            raise ConfigError(
                f"crops.size={self.size}: must be between 1 and crops.resize={self.resize}"
            )
        if self.whole and self.size != self.resize:
            raise ConfigError(
                f"crops.size={self.size}: crops=dense cuts nothing off, so it must be the same as "
                f"crops.resize={self.resize}"
            )

    @property
    def count(self) -> int:
        """Number of views of one image."""
        return _COUNTS[self.name]

    @property
    def centre(self) -> int:
        """Number of the view that is the unmirrored centre crop, or the whole unmirrored image.

        >>> [Crops(name, 224, 224).centre for name in ("ten", "five", "center", "dense")]
        [4, 4, 0, 0]
        """
        return 4 if self.name in ("ten", "five") else 0

    @property
    def whole(self) -> bool:
        """Whether a view is the whole image, in the image's own shape."""
        return self.name == "dense"

    def example(self, views: int) -> Tensor:
        """Return black views, as those of a square image: uint8 (views, 3, size, size)."""
        import torch

        return torch.zeros((views, 3, self.size, self.size), dtype=torch.uint8)

    def resized(self, image: Image.Image) -> Tensor:
        """Return the image as RGB, resized once: uint8 (3, H, W), min(H, W) = `resize`.

        Bilinear with antialiasing, as torchvision's and timm's evaluation of VGG; the long side is
        truncated to whole pixels as theirs is. An image of that size already is left as it is.
        """
        import torch

        pixels = np.array(self._resized(image))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def part(
        self,
        image: Image.Image,
        box: tuple[int, int, int, int],
        size: tuple[int, int] | None = None,
    ) -> Image.Image:
        """Return a part of the view `centre` as RGB; only that part is resized, and without torch.

        Args:
            image: of any size that has the view.
            box: left, top, right and bottom of the part in pixels of the view, within it.
            size: width and height that it is resized to; without, it has those of the view.
        """
        rgb = to_rgb(image)
        width, height = self._resized_size(rgb.size)
        top, left = self._corners(height, width)[self.centre]
        across, down = rgb.width / width, rgb.height / height
        area = (
            (left + box[0]) * across,
            (top + box[1]) * down,
            min(rgb.width, (left + box[2]) * across),
            min(rgb.height, (top + box[3]) * down),
        )
        size = size or (box[2] - box[0], box[3] - box[1])
        return rgb.resize(size, Image.Resampling.BILINEAR, box=area)

    def view_size(self, image: Image.Image) -> tuple[int, int]:
        """Return width and height of each view of an image."""
        return self._resized_size(image.size) if self.whole else (self.size, self.size)

    def _resized(self, image: Image.Image) -> Image.Image:
        """Return the image as RGB, resized once."""
        rgb = to_rgb(image)
        size = self._resized_size(rgb.size)
        return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BILINEAR)

    def _resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of an image of this width and height once it is resized."""
        width, height = (1, 1) if self.resize_mode == "squash" else size
        short = min(width, height)
        return int(self.resize * width / short), int(self.resize * height / short)

    def windows(self, image: Pixels) -> list[Pixels]:
        """Return the crops before they are mirrored: (…, size, size), which share `image`'s memory.

        Args:
            image: (…, H, W), neither side smaller than `size`.

        Returns:
            `center`: the centre. `five`, `ten`: top left, top right, bottom left, bottom right,
            centre. `dense`: the image.

        Raises:
            DataError: an image smaller than the crop.
        """
        if self.whole:
            return [image]
        corners = self._corners(*image.shape[-2:])
        return [image[..., top : top + self.size, left : left + self.size] for top, left in corners]

    def _corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return top and left of each of `windows` of an image of this size."""
        if self.whole:
            return [(0, 0)]
        down, right = height - self.size, width - self.size
        if min(down, right) < 0:
            raise DataError(
                f"an image of {width} × {height} pixels has no crop of {self.size} × {self.size}"
            )
        # An odd margin is halved as torchvision's center_crop does it.
        middle = (round(down / 2.0), round(right / 2.0))
        if self.name == "center":
            return [middle]
        return [(0, 0), (0, right), (down, 0), (down, right), middle]

    def views(self, image: Tensor) -> Tensor:
        """Return all views of an image, on its device and of its dtype: (K, 3, size, size).

        The crops of `windows`; for `ten` and `dense` their mirrors follow in the same order. With
        `dense` the views keep the image's shape: (2, 3, H, W). One copy is made, into the batch
        that the network reads.

        >>> import torch
        >>> Crops("ten", resize=4, size=2).views(torch.arange(16).view(1, 4, 4))[[0, 5], 0].tolist()
        [[[0, 1], [4, 5]], [[1, 0], [5, 4]]]
        """
        import torch

        crops = torch.stack(self.windows(image))
        return torch.cat([crops, crops.flip(-1)]) if self.name in _MIRRORED else crops

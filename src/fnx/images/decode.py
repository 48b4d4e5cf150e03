"""From the bytes of a raster image to 8-bit RGB, the right way up.

What the paper and most code leave to chance is settled here: EXIF orientation is applied;
transparent pixels are laid on white, as viewers show them; more than 8 bits are mapped from the
range of the data set (see `fnx.images.intensity`); of an animation the first frame counts. Colour
profiles are not applied.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from fnx.config.schema import MAX_PIXELS
from fnx.images import foreign
from fnx.images.intensity import (
    USUAL,
    Ranges,
    extent_of,
    lower_tiles,
    merge_bytes,
    settle,
    strips,
    to_8_bits,
)
from fnx.utils.files import digest
from fnx.utils.memory import Budget, available_memory

if TYPE_CHECKING:
    from fnx.images.dataset import Source, Stream

#: What is opened, whatever a file's name: formats that hold pixels and nothing else, in the order
#: in which they are tried. Pillow knows others, of which some are programs (EPS) or are handed to
#: one (WMF).
FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "DIB", "CUR", "PCX", "DCX", "DDS"),
    *("FITS", "FLI", "IM", "JPEG2000", "ICNS", "ICO", "PPM", "PSD", "QOI", "SGI", "SPIDER", "SUN"),
    *("TGA", "XBM", "XPM"),
)

#: Of an image being decoded, at most, libjpeg's coefficients included.
BYTES_PER_PIXEL = 10

_DNG_VERSION, _SUBFILE_TYPE, _SUB_IFDS, _PREVIEW = 50706, 254, 330, 1  # of TIFF

# Of many pixels, and of broken metadata, which is common in images from the web.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImageError(ValueError):
    """An image that is not decoded; its text says why, in one line."""


def open_image(stream: Stream, max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Open a raster image, its pixels not yet decoded; its format is told by its content.

    More pixels than Pillow's own limit, which is one of the process, raise that.

    Raises:
        UnreadableImageError: another format, or more than `max_pixels` pixels.
        OSError, ValueError, …: whatever Pillow raises on damaged files.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and max_pixels > 2 * limit:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        stream.seek(0)
        raise UnreadableImageError(foreign.describe(stream.read(foreign.HEAD))) from error
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise UnreadableImageError(_too_many(pixels, max_pixels)) from error
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise UnreadableImageError(_too_many(pixels, max_pixels))
    tags = getattr(image, "tag_v2", {})
    preview = tags.get(_SUBFILE_TYPE, 0) & _PREVIEW and _SUB_IFDS in tags
    if preview or _DNG_VERSION in tags:  # what Pillow opens is a thumbnail
        raise UnreadableImageError(foreign.RAW)
    return image


def _too_many(pixels: int, max_pixels: int) -> str:
    return f"{pixels:,} pixels: more than dataset.max_pixels={max_pixels}"


def to_rgb(
    image: Image.Image, ranges: Ranges | None = None, lower: Image.Image | None = None
) -> Image.Image:
    """Return `image` as 8-bit RGB, upright; `image` itself is turned upright too.

    It is returned itself if that is what it is.

    Args:
        image: as Pillow opens or makes it.
        ranges: the data set's, of images of more than 8 bits; None: by the image alone.
        lower: the lower bytes of colours of 16 bits (see `intensity.lower_tiles`), if they count.

    Raises:
        OSError, ValueError, …: whatever Pillow raises on damaged or unsupported files.

    >>> to_rgb(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0))  # transparent black
    (255, 255, 255)
    >>> to_rgb(Image.new("I;16", (1, 1), 0x8000), {"integer": (0, 65535)}).getpixel((0, 0))
    (128, 128, 128)
    """
    plain = image.mode == "RGB" and not image.info and not getattr(image, "tile", None)
    if plain and lower is None:
        return image  # as this has left it
    turn_upright(image)
    extent = extent_of(image)
    if extent is not None:
        chosen = (ranges or settle([extent]))[extent.kind]
        rgb = _by_strips(
            image,
            lambda part: Image.fromarray(to_8_bits(np.asarray(part), extent, chosen)),
        )
    else:
        if lower is not None and ranges is not None:
            turn_upright(lower)
            image = merge_bytes(image, lower, ranges["integer"])
        rgb = _by_strips(image, _on_white) if image.has_transparency_data else image.convert("RGB")
    rgb.info = {}  # an orientation in it has been applied
    return rgb


def turn_upright(image: Image.Image) -> None:
    """Decode an image and turn it upright."""
    # Loading comes first: it turns a TIFF upright, and tells whether a palette has transparency.
    image.load()
    with suppress(Exception):  # broken metadata (common in images from the web) turns nothing
        ImageOps.exif_transpose(image, in_place=True)


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert an image part by part, so that not much more than it and the result is in memory."""
    rgb = Image.new("RGB", image.size)
    for top, part in strips(image):
        rgb.paste(convert(part), (0, top))
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest == 255:
        return rgba.convert("RGB")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


@dataclass(frozen=True)
class Decoder:
    """Opens the images of a data set by their path, as 8-bit RGB; picklable.

    Attributes:
        source: the images' files.
        max_pixels: see `open_image`.
        ranges: see `to_rgb`.
    """

    source: Source
    max_pixels: int = MAX_PIXELS
    ranges: Ranges = field(default_factory=dict)

    def __call__(
        self, path: str, content_digest: str | None = None, *, side: int | None = None
    ) -> Image.Image:
        """Return the image with this path, upright; see `Opener`.

        Raises:
            UnreadableImageError: bytes with another digest than the one given; see `open_image`.
            OSError, ValueError, …: whatever the system raises, or Pillow on damaged files.
        """
        # Bytes, for of a file Pillow maps an uncompressed TIFF into memory, and mixes up the pixels
        # of one that has to be turned by 90 degrees.
        with self.source.stream(path) as stream:
            content = stream.read()
        if content_digest is not None and digest([content]) != content_digest:
            raise UnreadableImageError(
                "it was replaced in the meantime; the same command takes it as it is now"
            )
        image = open_image(io.BytesIO(content), self.max_pixels)
        if side is not None:
            image.draft(None, (side, side))
        with budget().take(bytes_needed(image)):
            return self._to_rgb(image, content)

    def _to_rgb(self, image: ImageFile.ImageFile, content: bytes) -> Image.Image:
        lower = None
        if self.ranges.get("integer", USUAL["integer"]) != USUAL["integer"]:
            tiles = lower_tiles(image)
            if tiles is not None:
                lower = open_image(io.BytesIO(content), self.max_pixels)
                lower.tile = tiles
        turn_upright(image)
        if not image.has_transparency_data:  # what else tells something has been told
            image.info = {}
        return to_rgb(image, self.ranges, lower)


@cache
def budget() -> Budget:
    """Return the budget of decoding in this process: half of the memory that it may take."""
    return Budget(available_memory() // 2)


def bytes_needed(image: Image.Image) -> int:
    """Return the memory that an image takes while it is decoded and becomes RGB."""
    own = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    more = 8 if lower_tiles(image) else 0 if image.mode == "RGB" else 4
    return image.width * image.height * (own + more)

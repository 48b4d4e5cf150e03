"""From any image that Pillow opens to 8-bit RGB, the right way up.

What the paper and most code leave to chance is settled here: EXIF orientation is applied;
transparent pixels are laid on white, as viewers show them; 16-bit values are divided by 257, not
clipped; of an animation the first frame counts. Colour profiles are not applied.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` as 8-bit RGB, upright; `image` itself is turned upright too.

    Raises:
        OSError, ValueError, …: whatever Pillow raises on damaged or unsupported files.

    >>> to_rgb(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0))  # transparent black
    (255, 255, 255)
    >>> to_rgb(Image.new("I;16", (1, 1), 0x8000)).getpixel((0, 0))
    (128, 128, 128)
    """
    # Loading comes first: it turns a TIFF upright, and tells whether a palette has transparency.
    image.load()
    with suppress(Exception):  # broken metadata (common in images from the web) turns nothing
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float64) / 257)
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        return _grey(_wide_to_0_255(values, integer=image.mode == "I"))
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest == 255:
        return rgba.convert("RGB")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _wide_to_0_255(values: NDArray[np.float64], *, integer: bool) -> NDArray[np.float64]:
    """32-bit integers or floats, by the usual range they fit in, for such files name no white.

    Integers: 16 bits. Floats: 0…1, 8 bits or 16 bits. Beyond, or below 0: from minimum to maximum.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros_like(values)
    low, high = float(finite.min()), float(finite.max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low < 0 or high > 65535:
        return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    if integer or high > 255:
        return values / 257
    return values if high > 1 else values * 255


def _grey(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")

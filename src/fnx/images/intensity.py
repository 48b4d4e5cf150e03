"""The range of values that becomes 0 … 255 in images of more than 8 bits, one for a data set.

Such files do not say what is white: a camera of 12 bits writes files of 16, and floats end at 1, at
255 or anywhere. A range guessed for each image alone would make dark images bright, so it is taken
from all images of a data set together.
"""

from __future__ import annotations

import logging
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

log = logging.getLogger(__name__)

#: The values that become 0 and 255.
Range = tuple[float, float]
#: The range of each kind of image: ``integer``, ``float``.
Ranges = Mapping[str, Range]

#: Of integers, what Pillow's upper bytes stand for; of floats, what most programs write.
USUAL: Ranges = {"integer": (0, 65535), "float": (0, 1)}

_TOPS = (1, 255, 1023, 4095, 16383, 65535)  # of masks, and of 8, 10, 12, 14 and 16 bits
_OFFSET = 2**15  # of signed numbers in unsigned files, as microscopes write them
_OVERSHOOT = 0.01  # beyond 0 … 1: what resizing adds to floats
_NAMES = {"integer": "images of 16 bits", "float": "images of floats"}
_FEW = 32  # levels of grey, of 256
_PIXELS_AT_ONCE = 1 << 20
_SWAPPED = {";16B": ";16L", ";16L": ";16B"}
_SWAPPED[";16N"] = _SWAPPED[";16L" if sys.byteorder == "little" else ";16B"]  # the machine's own


class Extent(NamedTuple):
    """The lowest and the highest finite value of an image of more than 8 bits."""

    kind: str
    low: float
    high: float


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image from top to bottom, in parts of which each is small, with their tops."""
    width, height = image.size
    rows = max(1, _PIXELS_AT_ONCE // max(1, width))
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def kind_of(image: Image.Image) -> str | None:
    """Return ``integer`` or ``float`` for a grey image of more than 8 bits, else None."""
    if image.mode == "F":
        return "float"
    return "integer" if image.mode == "I" or image.mode.startswith("I;16") else None


def extent_of(image: Image.Image, lower: Image.Image | None = None) -> Extent | None:
    """Return the extent of an image, None with 8 bits; `lower`: see `lower_tiles`.

    An image without a finite value is taken for zeros.
    """
    kind = "integer" if lower is not None else kind_of(image)
    if kind is None:
        return None
    ends: list[float] = []
    for values in _colours(image, lower) if lower else (np.asarray(s) for _, s in strips(image)):
        finite = values[np.isfinite(values)]
        if finite.size:
            ends += [float(finite.min()), float(finite.max())]
    return Extent(kind, min(ends, default=0.0), max(ends, default=0.0))


def to_8_bits(values: NDArray[Any], extent: Extent, chosen: Range) -> NDArray[np.uint8]:
    """Map the values of an image from a range to 0 … 255, rounded; beyond it they are clipped.

    Values that are not finite become the lowest and the highest of the image, by its `extent`.
    """
    low, high = chosen
    finite = np.nan_to_num(
        values.astype(np.float64), nan=extent.low, posinf=extent.high, neginf=extent.low
    )
    # Multiplied first: 0 … 65535 is exactly a division by 257.
    return np.rint(np.clip((finite - low) * 255 / (high - low), 0, 255)).astype(np.uint8)


def lower_tiles(image: Image.Image) -> list[Any] | None:
    """Return tiles with which an opened image of 16-bit colours decodes their lower bytes.

    Pillow decodes the upper bytes, by the order that it is told of. None for other images.
    """
    tiles = []
    for tile in getattr(image, "tile", []):
        mode, *others = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        order = _SWAPPED.get(str(mode).removeprefix(image.mode))
        if image.mode not in ("RGB", "RGBA") or order is None:
            return None
        mode = image.mode + order
        tiles.append(tile._replace(args=(mode, *others) if others else mode))
    return tiles or None


def merge_bytes(upper: Image.Image, lower: Image.Image, chosen: Range) -> Image.Image:
    """Map colours of 16 bits, given by their upper and lower bytes, to 8; alpha is kept."""
    merged = upper.copy()
    extent = Extent("integer", *chosen)  # integers are finite
    for (top, part), values in zip(strips(upper), _colours(upper, lower), strict=True):
        pixels = np.array(part)
        pixels[..., :3] = to_8_bits(values, extent, chosen)
        merged.paste(Image.fromarray(pixels), (0, top))
    return merged


def _colours(upper: Image.Image, lower: Image.Image) -> Iterator[NDArray[np.uint16]]:
    for (_, one), (_, other) in zip(strips(upper), strips(lower), strict=True):
        high, low = (np.asarray(part)[..., :3].astype(np.uint16) for part in (one, other))
        yield high * np.uint16(256) + low


def settle(extents: Iterable[Extent], given: Range | Ranges | None = None) -> dict[str, Range]:
    """Return the range of each kind of image that there is: the one given, or what all fit in.

    `given` is one for all kinds, or one for each.

    >>> settle([Extent("integer", 3, 800), Extent("integer", 0, 4000), Extent("float", 0, 0.9)])
    {'integer': (0, 4095), 'float': (0, 1)}
    """
    ends: dict[str, Range] = {}
    for kind, low, high in extents:
        lowest, highest = ends.get(kind, (low, high))
        ends[kind] = min(lowest, low), max(highest, high)
    if isinstance(given, Mapping):
        return {kind: given[kind] for kind in ends}
    return {kind: given or _fitting(*ends[kind], kind == "float") for kind in ends}


def _fitting(low: float, high: float, is_float: bool) -> Range:
    """Return the usual range that holds `low` … `high`, or else these."""
    if is_float and -_OVERSHOOT * high <= low and high <= 1 + _OVERSHOOT:
        return 0, 1
    signed = not is_float and low >= _OFFSET and high - _OFFSET <= _TOPS[-2]
    start = _OFFSET if signed else 0
    for top in _TOPS:
        # Less than 16 of 256 levels are no image of 8 bits.
        if low >= start and high - start <= top and not 1 < high - start < 16:
            return start, start + top
    return low, high if high > low else low + 1


def unusual(ranges: Ranges, extents: Iterable[Extent]) -> list[str]:
    """Return the kinds of images that are not mapped as all were before there was a choice.

    That is by the usual range, which nothing exceeds.
    """
    beyond = {
        kind for kind, low, high in extents if low < ranges[kind][0] or high > ranges[kind][1]
    }
    return [kind for kind in ranges if ranges[kind] != USUAL[kind] or kind in beyond]


def few_levels(ranges: Ranges, extents: Sequence[Extent]) -> list[str]:
    """Return a line for each kind of image of which half have few levels of grey left."""
    lines = []
    for kind, (low, high) in ranges.items():
        own = [extent for extent in extents if extent.kind == kind]
        levels = statistics.median(_levels(extent, low, high) for extent in own)
        if levels < _FEW:
            ends = [statistics.median(values) for values in list(zip(*own, strict=True))[1:]]
            lines.append(
                f"{_NAMES[kind]}: {low:g} … {high:g} becomes 0 … 255, which leaves half of the "
                f"{len(own):,} at most {math.floor(levels)} levels of 256; most lie in "
                f"{ends[0]:g} … {ends[1]:g}: choose dataset.intensity_range=[LOW,HIGH]"
            )
    return lines


def _levels(extent: Extent, low: float, high: float) -> float:
    seen = max(0.0, min(extent.high, high) - max(extent.low, low))
    levels = seen * 255 / (high - low)
    return 1 + (levels if extent.kind == "float" else min(levels, seen))

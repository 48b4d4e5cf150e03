"""The check of every image before any work: can it be decoded to its end, and what does it hold?

Its result is remembered below the cache folder, so that the next run does not read the files again;
a file counts as unchanged while its size, mtime and ctime stay the same.
"""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import PIL
import polars as pl
from PIL import ExifTags, Image

from fnx.config.schema import MAX_PIXELS
from fnx.errors import reason
from fnx.images.dataset import Listing, Source, Stamp, Stream
from fnx.images.decode import (
    UnreadableImageError,
    budget,
    bytes_needed,
    open_image,
    to_rgb,
    turn_upright,
)
from fnx.images.intensity import Extent, extent_of, lower_tiles
from fnx.utils import forked
from fnx.utils.cores import cores
from fnx.utils.files import atomic_path, digest, file_digest
from fnx.utils.lock import exclusive_lock
from fnx.utils.parquet import read_parquet
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_VERSION = 2  # of the check: a higher one forgets what was remembered
_AT_ONCE = 256  # images that an interruption waits for at most
# Decoding releases Python's lock only in part: from so many cores and images on, processes pay.
_MANY_CORES, _MANY_IMAGES = 4, 512
_PORTION = 1 << 14  # images for which processes are started
_SMALL = 1 << 26  # bytes that an image may take in a process, beside the budget of this one
_LONGEST = 1000  # long side over short: resized to 256 pixels, 200 MB; nothing to see in it either
_SCHEMA = pl.Schema(
    {
        "path": pl.String,
        "size": pl.Int64,
        "mtime_ns": pl.Int64,
        "ctime_ns": pl.Int64,
        "digest": pl.String,
        "error": pl.String,
        "pixels": pl.Int64,
        "kind": pl.String,
        "low": pl.Float64,
        "high": pl.Float64,
        "turned_tiff": pl.Boolean,
    }
)


@dataclass(frozen=True, slots=True)  # there is one for each image
class Checked:
    """What an image holds, or why it cannot be used.

    Attributes:
        digest: of its bytes; None if it cannot be used.
        error: why it cannot.
        stamp: the state of the file for which this holds; None if it should not be remembered.
        pixels: how many it has.
        extent: of an image of more than 8 bits.
        turned_tiff: whether it is a TIFF with an orientation, which older versions turned twice.
    """

    digest: str | None = None
    error: str | None = None
    stamp: Stamp | None = None
    pixels: int = 0
    extent: Extent | None = None
    turned_tiff: bool = False


def check_images(
    listing: Listing,
    paths: Sequence[str],
    known: dict[str, Checked],
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Checked]:
    """Check the images of `paths`, except those that `known` holds and are unchanged.

    Each result is put into `known` at once, so that it is not lost if the check is interrupted.
    """
    Image.init()  # Pillow's formats, before threads would load them side by side
    check = partial(_check, listing.open, known, max_pixels)
    found: dict[str, Checked] = {}
    with progress_bar("checking images", total=len(paths), unit="images", delay=1.0) as bar:

        def keep(path: str, checked: Checked) -> None:
            found[path] = checked
            if checked.stamp is not None:
                known[path] = checked
            bar.update()

        if cores() >= _MANY_CORES and forked.possible():
            new = [path for path in paths if path not in known]  # others take no decoding
            if len(new) >= _MANY_IMAGES:
                seen = [path for path in paths if path in known]
                paths = seen + _in_processes(check, new, keep)
        _in_threads(check, paths, keep)
    return found


def _in_processes(
    check: Callable[..., Checked], paths: Sequence[str], keep: Callable[[str, Checked], None]
) -> list[str]:
    """Check images in processes, and return those that are left to this one.

    Those are what the system failed for, and what takes so much memory that it needs the budget.
    """
    left = []

    def arrived(result: tuple[str, Checked]) -> None:
        path, checked = result
        if checked.error is not None and checked.stamp is None:
            left.append(path)
        else:
            keep(path, checked)

    for first in range(0, len(paths), _PORTION):
        some = paths[first : first + _PORTION]
        forked.each(lambda path: (path, check(path, most=_SMALL)), some, arrived)
    return left


def _in_threads(
    check: Callable[[str], Checked], paths: Sequence[str], keep: Callable[[str, Checked], None]
) -> None:
    pool = ThreadPoolExecutor(2 * cores())  # network disks want several requests at once
    with ExitStack() as stack:
        # An interruption does not wait for a read that never ends.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            for path, checked in zip(some, pool.map(check, some), strict=True):
                keep(path, checked)


def why_unreadable(error: BaseException) -> str:
    """Return why an image cannot be read, in one short line."""
    return str(error) if isinstance(error, UnreadableImageError) else reason(error)


@contextmanager
def known_checks(
    root: Path | None, cache: Path, max_pixels: int = MAX_PIXELS
) -> Iterator[dict[str, Checked]]:
    """Yield what earlier runs found of the images below `root`, by path, to be added to.

    It is remembered below `cache` when the block ends, also by an interruption: what has been read
    need not be read again. Another run on the same images waits, and finds it all known.
    """
    if root is None:
        yield {}
        return
    # Another version of Pillow may read other files.
    versions = f"{PIL.__version__}\0{_VERSION}\0{max_pixels}".encode()
    key = b"\0".join([os.fsencode(root.resolve()), versions])
    file = cache / "checked" / f"{digest([key])}.parquet"
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written, which `_remember` will report
            doing = f"checks the images of {root}"
            stack.enter_context(
                exclusive_lock(file, doing, lambda: "they are read once for all runs")
            )
        known = _remembered(root, file)
        before = dict(known)
        try:
            yield known
        finally:
            if known != before:
                _remember(known, file)


def _remembered(root: Path, file: Path) -> dict[str, Checked]:
    if not file.is_file():
        return {}
    try:
        table = read_parquet(file)
        if table.schema != _SCHEMA:
            raise ValueError("not the columns of this version")
    except Exception as error:
        log.warning("what was known of %s is unreadable, checking anew: %s", root, reason(error))
        return {}
    return {
        path: Checked(
            digest,
            error,
            (size, mtime, ctime),
            pixels,
            None if kind is None else Extent(kind, low, high),
            turned,
        )
        for path, size, mtime, ctime, digest, error, pixels, kind, low, high, turned in (
            table.iter_rows()
        )
    }


def _remember(known: dict[str, Checked], file: Path) -> None:
    rows = [
        (
            path,
            *checked.stamp,
            checked.digest,
            checked.error,
            checked.pixels,
            *(checked.extent or (None, None, None)),
            checked.turned_tiff,
        )
        for path, checked in known.items()
        if checked.stamp is not None
    ]
    try:
        with atomic_path(file) as temporary:
            pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        log.warning("the next run will check the images again: %s", reason(error))


def _check(
    source: Source, known: dict[str, Checked], max_pixels: int, path: str, *, most: float = math.inf
) -> Checked:
    stamp = None
    try:
        stamp = source.stamp(path)
        before = known.get(path)
        if before is not None and before.stamp == stamp:
            return before
        # A file that is replaced meanwhile has another stamp the next time.
        return replace(_read(source, path, max_pixels, most), stamp=stamp)
    except Exception as error:
        # Failures of the system (permission, disk, memory) may be gone the next time.
        of_the_content = not isinstance(error, MemoryError) and not getattr(error, "errno", None)
        return Checked(error=why_unreadable(error), stamp=stamp if of_the_content else None)


def _read(source: Source, path: str, max_pixels: int, most: float) -> Checked:
    with source.stream(path) as stream:
        if not stream.read(1):
            raise UnreadableImageError("the file is empty")
        # The image is decoded first: a file that is none is refused without reading all of it.
        image = open_image(stream, max_pixels)
        needed = bytes_needed(image)
        if needed > most:
            raise MemoryError
        with image, budget().take(needed):
            checked = _decode(image, stream, max_pixels)
        stream.seek(0)
        if image.format == "PNG":  # whose checksums Pillow's decoder does not look at
            open_image(stream, max_pixels).verify()
            stream.seek(0)
        return replace(checked, digest=file_digest(stream))


def _decode(image: Image.Image, stream: Stream, max_pixels: int) -> Checked:
    """Decode an image to its end; whether it becomes RGB is tried on one pixel of it."""
    short, long = sorted(image.size)
    if long > _LONGEST * short:
        raise UnreadableImageError(f"{image.width} × {image.height} pixels: too long for its width")
    checked = Checked(pixels=short * long, turned_tiff=image.format == "TIFF" and _turned(image))
    if image.format == "JPEG":
        # libjpeg then reads the whole stream but skips most of the inverse transform. Real
        # decoding never does this: it changes the pixels.
        image.draft(None, (1, 1))
    tiles, lower = lower_tiles(image), None
    turn_upright(image)
    if tiles is not None:
        stream.seek(0)
        lower = open_image(io.BytesIO(stream.read()), max_pixels)
        lower.tile = tiles
        turn_upright(lower)
    extent = extent_of(image, lower)
    to_rgb(image.crop((0, 0, 1, 1)))
    return replace(checked, extent=extent)


def _turned(image: Image.Image) -> bool:
    try:
        return bool(image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9))
    except Exception:  # broken metadata turns nothing
        return False

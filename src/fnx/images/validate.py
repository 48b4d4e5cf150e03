"""The check of every image before any work: can it be decoded to its end, and what is its digest?

Its result is remembered below the cache folder, so that the next run does not read the files again;
a file counts as unchanged while its size, mtime and ctime stay the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import PIL
import polars as pl
from PIL import Image, UnidentifiedImageError

from fnx.errors import reason
from fnx.images.dataset import Listing, Source, Stamp
from fnx.images.decode import to_rgb
from fnx.utils.files import atomic_path, digest, file_digest
from fnx.utils.lock import exclusive_lock
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_VERSION = 1  # of the check: a higher one forgets what was remembered
_AT_ONCE = 256  # images that an interruption waits for at most
_LONGEST = 1000  # long side over short: resized to 256 pixels, 200 MB; nothing to see in it either
_SCHEMA = pl.Schema(
    {
        "path": pl.String,
        "size": pl.Int64,
        "mtime_ns": pl.Int64,
        "ctime_ns": pl.Int64,
        "digest": pl.String,
        "error": pl.String,
    }
)


@dataclass(frozen=True, slots=True)  # there is one for each image
class Checked:
    """The digest of an image's bytes, or why it cannot be used.

    `stamp` is the state of the file for which it holds; None if it should not be remembered.
    """

    digest: str | None
    error: str | None
    stamp: Stamp | None = None


def check_images(
    listing: Listing, paths: Sequence[str], known: dict[str, Checked]
) -> dict[str, Checked]:
    """Check the images of `paths` in threads, except those that `known` holds and are unchanged.

    Each result is put into `known` at once, so that it is not lost if the check is interrupted.
    """
    Image.init()  # Pillow's formats, before threads would load them side by side
    check = partial(_check, listing.open, known)
    found: dict[str, Checked] = {}
    bar = progress_bar("checking images", total=len(paths), unit="images", delay=1.0)
    # Decoding releases Python's lock only in part, and network disks want several requests at once.
    pool = ThreadPoolExecutor(2 * (os.cpu_count() or 1))
    with ExitStack() as stack:
        # An interruption does not wait for a read that never ends.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        stack.enter_context(bar)
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            for path, checked in zip(some, pool.map(check, some), strict=True):
                found[path] = checked
                if checked.stamp is not None:
                    known[path] = checked
                bar.update()
    return found


def why_unreadable(error: BaseException) -> str:
    """Return why an image cannot be read, in one short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that Pillow does not know"
    return reason(error)


@contextmanager
def known_checks(root: Path | None, cache: Path) -> Iterator[dict[str, Checked]]:
    """Yield what earlier runs found of the images below `root`, by path, to be added to.

    It is remembered below `cache` when the block ends, also by an interruption: what has been read
    need not be read again. Another run on the same images waits, and finds it all known.
    """
    if root is None:
        yield {}
        return
    # Another version of Pillow may read other files.
    key = b"\0".join([os.fsencode(root.resolve()), PIL.__version__.encode(), b"%d" % _VERSION])
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
        table = pl.read_parquet(file)
        if table.schema != _SCHEMA:
            raise ValueError("not the columns of this version")
    except Exception as error:
        log.warning("what was known of %s is unreadable, checking anew: %s", root, reason(error))
        return {}
    return {
        path: Checked(digest, error, (size, mtime, ctime))
        for path, size, mtime, ctime, digest, error in table.iter_rows()
    }


def _remember(known: dict[str, Checked], file: Path) -> None:
    rows = [
        (path, *checked.stamp, checked.digest, checked.error)
        for path, checked in known.items()
        if checked.stamp is not None
    ]
    try:
        with atomic_path(file) as temporary:
            pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        log.warning("the next run will check the images again: %s", reason(error))


def _check(source: Source, known: dict[str, Checked], path: str) -> Checked:
    stamp = None
    try:
        stamp = source.stamp(path)
        before = known.get(path)
        if before is not None and before.stamp == stamp:
            return before
        return Checked(_digest_if_readable(source, path), None, stamp)
    except Exception as error:
        # Failures of the system (permission, disk, memory) may be gone the next time.
        of_the_content = not isinstance(error, MemoryError) and not getattr(error, "errno", None)
        return Checked(None, why_unreadable(error), stamp if of_the_content else None)


def _digest_if_readable(source: Source, path: str) -> str:
    with source.stream(path) as stream:
        if not stream.read(1):
            raise ValueError("the file is empty")
        # The image is decoded first: a file that is none is refused without reading all of it.
        with Image.open(stream) as image:
            short, long = sorted(image.size)
            if long > _LONGEST * short:
                raise ValueError(f"{image.width} × {image.height} pixels: too long for its width")
            if image.format == "JPEG":
                # libjpeg then reads the whole stream but skips most of the inverse transform. Real
                # decoding never does this: it changes the pixels.
                image.draft(None, (1, 1))
            to_rgb(image)
        stream.seek(0)
        return file_digest(stream)

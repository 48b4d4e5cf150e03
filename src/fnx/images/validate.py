"""Reads every image once before any work: can it be decoded to its end, and what is its digest?

What was found is remembered below the cache folder, so that the next run does not read the files
again; a file counts as unchanged while its size, mtime and ctime stay the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import PIL
import polars as pl
from PIL import Image, UnidentifiedImageError

from fnx.images.dataset import Listing, Source, Stamp
from fnx.images.decode import to_rgb
from fnx.utils.lock import exclusive_lock
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_VERSION = 1  # of the check: a higher one forgets what was remembered
_AT_ONCE = 256  # images between two looks at the keyboard
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
    """What is known of an image: the digest of its bytes, or why it cannot be used.

    `stamp` is the state of the file it holds for; None if it should not be remembered.
    """

    digest: str | None
    error: str | None
    stamp: Stamp | None = None


def check_images(
    listing: Listing, paths: Sequence[str], known: dict[str, Checked]
) -> dict[str, Checked]:
    """Check the images of `paths` in threads, but for those that `known` holds unchanged.

    A bar is shown once this takes longer than a second. What is found is put into `known` at once,
    so that it is not lost if the check is broken off.

    Returns:
        What is known of each path.
    """
    Image.init()  # Pillow's formats, before threads would load them side by side
    look = partial(_check, listing.open, known)
    found: dict[str, Checked] = {}
    bar: Any = None
    start = time.monotonic()
    # Decoding releases Python's lock only in part, and network disks want several requests at once.
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        try:
            for first in range(0, len(paths), _AT_ONCE):
                some = paths[first : first + _AT_ONCE]
                for path, checked in zip(some, pool.map(look, some), strict=True):
                    found[path] = checked
                    if checked.stamp is not None:
                        known[path] = checked
                    if bar is not None:
                        bar.update()
                    elif time.monotonic() - start > 1:
                        bar = progress_bar(
                            "checking images",
                            total=len(paths),
                            unit="images",
                            initial=len(found),
                        )
        finally:
            if bar is not None:
                bar.close()
    return found


def reason(error: BaseException) -> str:
    """Why an image cannot be read, in one short line.

    >>> reason(FileNotFoundError(2, "No such file or directory", "/somewhere/x.png"))
    'No such file or directory'
    """
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that Pillow does not know"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, OSError):
        text = f"{type(error).__name__}: {text}" if str(error).strip() else text
    return text.encode(errors="backslashreplace").decode()[:300]


@contextmanager
def checked_before(root: Path | None, cache: Path) -> Iterator[dict[str, Checked]]:
    """What is known of the images below `root`, to be added to; remembered at the end."""
    if root is None:
        yield {}
        return
    file = memory_file(root, cache)
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written: `remember` will say so
            doing = f"checks the images of {root}"
            stack.enter_context(
                exclusive_lock(file, doing, lambda: "they are read once for all runs")
            )
        known = remembered(root, file)
        before = dict(known)
        try:
            yield known
        finally:
            # Also when the user breaks it off: what has been read need not be read again.
            if known != before:
                remember(known, file)


def remembered(root: Path, file: Path) -> dict[str, Checked]:
    """What earlier checks of the images below `root` have left in `file`, by path."""
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


def remember(known: dict[str, Checked], file: Path) -> None:
    """Write what is known of images into `file` for the next run; whole or not at all."""
    rows = [
        (path, *checked.stamp, checked.digest, checked.error)
        for path, checked in known.items()
        if checked.stamp is not None
    ]
    # Several jobs of a sweep, on several machines, may write it at once.
    unfinished = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(unfinished)
        unfinished.replace(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        log.warning("the next run will check the images again: %s", reason(error))


def memory_file(root: Path, cache: Path) -> Path:
    """Where what is known of the images below `root` is kept."""
    # Another version of Pillow may read other files.
    key = b"\0".join([os.fsencode(root.resolve()), PIL.__version__.encode(), b"%d" % _VERSION])
    return cache / "checked" / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.parquet"


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
        return Checked(None, reason(error), stamp if of_the_content else None)


def _digest_if_readable(source: Source, path: str) -> str:
    with source.stream(path) as stream:
        if not stream.read(1):
            raise ValueError("the file is empty")
        stream.seek(0)
        # The image is decoded first: what is none is refused without reading the whole of it.
        with Image.open(stream) as image:
            _decode_to_the_end(image)
        stream.seek(0)
        return hashlib.file_digest(stream, partial(hashlib.blake2b, digest_size=16)).hexdigest()


def _decode_to_the_end(image: Image.Image) -> None:
    short, long = sorted(image.size)
    if long > _LONGEST * short:
        raise ValueError(f"{image.width} × {image.height} pixels: too long for its width")
    if image.format == "JPEG":
        # libjpeg then reads the whole stream but skips most of the inverse transform. Real
        # decoding never does this: it changes the pixels.
        image.draft(None, (1, 1))
    to_rgb(image)

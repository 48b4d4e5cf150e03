"""Files from the network: resumed where they were cut off, checked, then put in their place."""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from fnx import __version__
from fnx.errors import DataError
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TRIES = 4  # each goes on where the one before ended
_TIMEOUT = 30.0  # seconds without a byte


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
) -> Path:
    """Fetch `url` to `target`, unless it is there.

    The file grows as ``<target>.part`` beside its place, from where an interrupted download is
    taken up again, and gets its name once its size and checksum are right. Several processes may
    ask for the same file: one fetches, the others wait.

    Args:
        url: an address of http or https.
        target: where the file belongs; its folder is made.
        sha256: the checksum it must have, in hexadecimal digits.
        md5: likewise, where authors publish nothing better.
        size: the number of bytes it must have.

    Returns:
        `target`.

    Raises:
        DataError: no such address, no connection, no space, or another file than was expected.
    """
    if target.is_file():
        return target
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url} cannot be fetched: addresses begin with http:// or https://")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file, _locked(file):
            if target.is_file():  # fetched by another process while this one waited
                part.unlink(missing_ok=True)
                return target
            try:
                _fetch(url, file, size)
                file.flush()
            except DataError:
                if file.tell() == 0:
                    part.unlink(missing_ok=True)
                raise
            _check(url, part, {"sha256": sha256, "md5": md5}, size)
            part.replace(target)
    except OSError as error:
        raise DataError(f"{url} cannot be fetched to {target}: {_why(error)}") from error
    return target


def _fetch(url: str, file: IO[bytes], size: int | None) -> None:
    """Append to `file` what it lacks of `url`, in several tries if the connection breaks."""
    for attempt in range(1, _TRIES + 1):
        try:
            return _request(url, file, size)
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _TRIES:
                raise DataError(
                    f"{url} cannot be fetched: the server answers {error.code} {error.reason}"
                ) from error
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ) as e:
            if attempt == _TRIES:
                done = f"; {file.tell():,} bytes are kept and not fetched again"
                kept = done if file.tell() else ""
                raise DataError(f"{url} cannot be fetched: {_why(e)}{kept}") from e
        log.info("%s: connection lost, trying again", url)
        time.sleep(attempt)
    return None


def _request(url: str, file: IO[bytes], size: int | None) -> None:
    have = file.seek(0, 2)
    if size is not None and have == size:
        return
    headers = {"User-Agent": f"fnx/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), checked
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code != 416 or not have:
            raise
        if whole != str(have):  # what is kept is not of this file
            file.truncate(0)
            _request(url, file, size)
        return
    with response:
        if response.status != 206 or not _continues(response, have):
            have = 0
            file.truncate(0)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        bar = progress_bar(
            f"fetching {Path(urlsplit(url).path).name}",
            total=(total or 0) // _BLOCK,
            unit="MB",
            initial=have // _BLOCK,
            enabled=total is None or total >= _BLOCK,
        )
        with bar:
            while block := response.read(_BLOCK):
                file.write(block)
                have += len(block)
                bar.update(have // _BLOCK - bar.n)
        if length and total and have < total:
            raise http.client.IncompleteRead(b"", total - have)


def _continues(response: Any, have: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _check(url: str, part: Path, checksums: dict[str, str | None], size: int | None) -> None:
    """Refuse, and remove, a file that is not the one expected."""
    found = part.stat().st_size
    wrong = f"{found:,} bytes where {size:,} are expected" if size not in (None, found) else None
    for kind, expected in checksums.items():
        if wrong or not expected:
            continue
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, kind).hexdigest()
        if digest != expected.lower():
            wrong = f"its {kind} is {digest} where {expected.lower()} is expected"
    if wrong:
        part.unlink()
        raise DataError(f"{url} is another file than expected: {wrong}")


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Hold `file` for this process alone, where the system knows such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with suppress(OSError):  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file lets it go


def _why(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended {error.expected:,} bytes early"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

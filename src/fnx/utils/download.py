"""Files from the network: resumed where they were cut off, checked, then put in their place."""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from fnx.errors import DataError, reason
from fnx.utils.files import file_digest
from fnx.utils.progress import progress_bar
from fnx.utils.version import fnx_version

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

    The file grows as ``<target>.part`` beside its place, from where an interrupted download goes
    on, and gets its name once its size and checksum are right. Several processes may ask for the
    same file: one fetches, the others wait.

    Args:
        url: an address of http or https.
        target: where the file belongs, and what is returned; its folder is made.
        sha256: the checksum it must have, in hexadecimal digits.
        md5: likewise, where authors publish nothing better.
        size: the number of bytes it must have.

    Raises:
        DataError: no such address, no connection, no space, or another file than was expected.
    """
    if target.is_file():
        return target
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url} cannot be fetched: addresses begin with http:// or https://")
    part = target.with_name(f"{target.name}.part")
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                if not target.is_file():  # or another process fetched it while this one waited
                    _fetch(url, part, size)
                    _check(url, part, {"sha256": sha256, "md5": md5}, size)
                    part.replace(target)
            finally:
                lock.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{url} cannot be fetched to {target}: {_why(error)}") from error
    return target


def answers(url: str, seconds: float = 5.0) -> bool:
    """Return whether anything answers at an address within some seconds, be it an error."""
    answered: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD", headers=_headers())  # noqa: S310
        try:
            urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310 - http(s)
        except urllib.error.HTTPError:
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # other libraries trust others
                return
        except http.client.HTTPException:
            pass
        except OSError:
            return
        answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name heeds no time-out
    thread.start()
    thread.join(seconds)
    return bool(answered)


def _headers() -> dict[str, str]:
    return {"User-Agent": f"fnx/{fnx_version()}", "Accept-Encoding": "identity"}


def _fetch(url: str, part: Path, size: int | None) -> None:
    """Append to `part` what it does not have of `url`; try again if the connection breaks."""
    with part.open("ab") as file:
        for attempt in count(1):
            try:
                _request(url, file, size)
                return
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                ConnectionError,
                TimeoutError,
            ) as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if refused or attempt == _TRIES:
                    kept = file.seek(0, 2)
                    if not kept:
                        part.unlink()
                    rest = f"; {kept:,} bytes are kept and not fetched again" if kept else ""
                    raise DataError(f"{url} cannot be fetched: {_why(error)}{rest}") from error
            log.info("%s: connection lost, trying again", url)
            time.sleep(attempt)


def _request(url: str, file: IO[bytes], size: int | None) -> None:
    have = file.seek(0, 2)
    if have == size:
        return
    headers = _headers()
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), checked
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if not have or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if whole != str(have):  # what is kept is not of this file
            file.truncate(0)
            _request(url, file, size)
        return
    with response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server sends the whole file
            file.truncate(0)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        bar = progress_bar(
            f"fetching {Path(urlsplit(url).path).name}",
            total=(total or 0) // _BLOCK,
            unit="MB",
            initial=have // _BLOCK,
            delay=1.0,
        )
        with bar:
            while block := response.read(_BLOCK):
                file.write(block)
                have += len(block)
                bar.update(have // _BLOCK - bar.n)
        if length and total and have < total:
            raise http.client.IncompleteRead(b"", total - have)


def _check(url: str, part: Path, checksums: dict[str, str | None], size: int | None) -> None:
    """Refuse, and remove, a file that is not the one expected."""
    found = part.stat().st_size
    wrong = f"{found:,} bytes where {size:,} are expected" if size not in (None, found) else None
    for algorithm, expected in checksums.items():
        if wrong or not expected:
            continue
        digest = file_digest(part, algorithm)
        if digest != expected.lower():
            wrong = f"its {algorithm} is {digest} where {expected.lower()} is expected"
    if wrong:
        part.unlink()
        raise DataError(f"{url} is another file than expected: {wrong}")


def _why(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended {error.expected:,} bytes early"
    return reason(error)

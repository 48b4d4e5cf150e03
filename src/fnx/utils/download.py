"""Files from the network: resumed where they were cut off, checked, then put in their place."""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from email.message import Message
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from fnx.errors import DataError, reason
from fnx.utils.files import file_digest
from fnx.utils.progress import progress_bar
from fnx.utils.text import plain
from fnx.utils.version import fnx_version

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TRIES = 4  # each goes on where the one before ended
_TIMEOUT = 30.0  # seconds without a byte
_MOST = 50 * 10**9  # bytes of a file
_LONGEST = 200  # characters of what a server says
_ASK_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
) -> Path:
    """Fetch `url` to `target`, unless it is there.

    The file grows as ``<target>.part`` beside its place, from where an interrupted download goes
    on if the server's file is still the same (by its ETag or date, kept in ``<target>.part.id``, or
    because a checksum will tell), and gets its name once its checksum is right. Several processes
    may ask for the same file: one fetches, the others wait.

    Args:
        url: an address of http or https.
        target: where the file belongs, and what is returned; its folder is made.
        sha256: the checksum it must have, in hexadecimal digits.
        md5: likewise, where authors publish nothing better.

    Raises:
        DataError: no such address, no connection, no space, or another file than was expected.
    """
    if target.is_file():
        return target
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url} cannot be fetched: addresses begin with http:// or https://")
    part = target.with_name(f"{target.name}.part")
    lock = target.with_name(f".{target.name}.lock")
    checksums = {name: value for name, value in (("sha256", sha256), ("md5", md5)) if value}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                if not target.is_file():  # or another process fetched it while this one waited
                    identity = _identity_file(part)
                    if not checksums and not identity.is_file():
                        part.unlink(missing_ok=True)  # nothing would tell what it is a part of
                    _fetch(url, part, checked=bool(checksums))
                    _check(url, part, checksums)
                    part.replace(target)
                    identity.unlink(missing_ok=True)
            finally:
                if part.is_file() and not part.stat().st_size:
                    part.unlink()
                lock.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # ValueError: an address that is none
        raise DataError(f"{url} cannot be fetched to {target}: {_why(error)}") from error
    return target


def _identity_file(part: Path) -> Path:
    """Return the file that holds the ETag or the date of the file that `part` is a part of."""
    return part.with_name(f"{part.name}.id")


def answers(url: str, seconds: float = 5.0) -> bool:
    """Return whether anything answers at an address within some seconds, be it an error."""
    answered: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD", headers=_headers())  # noqa: S310
            urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310 - http(s)
        except urllib.error.HTTPError as error:
            error.close()
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # other libraries trust others
                return
        except (OSError, ValueError, http.client.InvalidURL):
            return
        except http.client.HTTPException:
            pass
        answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name heeds no time-out
    thread.start()
    thread.join(seconds)
    return bool(answered)


def _headers() -> dict[str, str]:
    return {"User-Agent": f"fnx/{fnx_version()}", "Accept-Encoding": "identity"}


def _fetch(url: str, part: Path, *, checked: bool) -> None:
    """Append to `part` what it does not have of `url`; try again if the connection breaks."""
    with part.open("ab") as file:
        for attempt in count(1):
            try:
                _request(url, file, part, checked=checked)
                return
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                ConnectionError,
                TimeoutError,
            ) as error:
                refused = (
                    isinstance(error, urllib.error.HTTPError)
                    and error.code < 500
                    and error.code not in _ASK_AGAIN
                )
                if refused or attempt == _TRIES:
                    kept = file.seek(0, 2) if checked or _identity_file(part).is_file() else 0
                    if not kept:
                        _forget(part)
                    rest = f"; {kept:,} bytes are kept and not fetched again" if kept else ""
                    raise DataError(f"{url} cannot be fetched: {_why(error)}{rest}") from error
            log.info("%s: connection lost, trying again", url)
            time.sleep(attempt)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _identity_file(part).unlink(missing_ok=True)


def _request(url: str, file: IO[bytes], part: Path, *, checked: bool) -> None:
    """Ask for what `file`, which is `part`, does not have, and append what comes."""
    have = file.seek(0, 2)
    headers = _headers()
    kept = _identity_file(part)
    known = kept.read_text(encoding="latin-1") if kept.is_file() else None
    if have:
        headers["Range"] = f"bytes={have}-"
        if known is not None:
            headers["If-Range"] = known
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), checked
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if not have or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if whole != str(have) or not (checked or _identity(error.headers) == known):
            file.truncate(0)
            kept.unlink(missing_ok=True)
            _request(url, file, part, checked=checked)
        return
    with response:
        if not checked and url.startswith("https://") and not response.url.startswith("https://"):
            raise DataError(
                f"{url} is refused: it leads to an address without TLS, and no checksum is known"
            )
        found = _identity(response.headers)
        continued = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == HTTPStatus.PARTIAL_CONTENT and not continued:
            raise http.client.HTTPException("another part of the file came than was asked for")
        if not continued:
            have = 0  # the server sends the whole file
        elif have and found not in (None, known) and not (checked and known is None):
            file.truncate(0)
            kept.unlink(missing_ok=True)
            _request(url, file, part, checked=checked)
            return
        if not have:
            file.truncate(0)
            kept.unlink(missing_ok=True)
            if found is not None:
                kept.write_text(found, encoding="latin-1")
        _append(url, response, file, part, have)


def _append(
    url: str, response: http.client.HTTPResponse, file: IO[bytes], part: Path, have: int
) -> None:
    """Append what a response holds to a file of `have` bytes."""
    length = response.length  # None where the server does not say it, or not in digits
    total = None if length is None else have + length
    bar = progress_bar(
        f"fetching {Path(urlsplit(url).path).name}",
        total=(total or 0) // _BLOCK,
        unit="MB",
        initial=have // _BLOCK,
        delay=1.0,
    )
    with bar:
        while max(have, total or 0) <= _MOST and (block := response.read(_BLOCK)):
            file.write(block)
            have += len(block)
            bar.update(have // _BLOCK - bar.n)
    if max(have, total or 0) > _MOST:
        _forget(part)
        raise DataError(f"{url} is refused: it is longer than {_MOST:,} bytes")
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _identity(headers: Message) -> str | None:
    """Return what tells a server's file from a later one: its strong ETag, or else its date."""
    tag = headers.get("ETag")
    found = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    return None if found is None else " ".join(found.split())


def _check(url: str, part: Path, checksums: dict[str, str]) -> None:
    """Refuse, and remove, a file that is not the one expected."""
    with part.open("rb") as file:
        start = file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    wrong = None
    if not part.stat().st_size:
        wrong = "it is empty"
    elif start.startswith((b"<!doctype html", b"<html", b"<head")):
        wrong = "it is a web page, as servers send for a file that has moved"
    for algorithm, expected in checksums.items():
        if wrong is None and (digest := file_digest(part, algorithm)) != expected.lower():
            wrong = f"its {algorithm} is {digest} where {expected.lower()} is expected"
    if wrong:
        _forget(part)
        raise DataError(f"{url} is another file than expected: {wrong}")


def _why(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return plain(f"the server answers {error.code} {error.reason}")[:_LONGEST]
    if isinstance(error, urllib.error.URLError):
        return plain(str(error.reason))[:_LONGEST]
    if isinstance(error, http.client.IncompleteRead):
        early = "early" if error.expected is None else f"{error.expected:,} bytes early"
        return f"the connection ended {early}"
    return plain(reason(error))[:_LONGEST]

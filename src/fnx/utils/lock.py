"""Exclusive locks: on a path, whose work one run does and others find done, and on a run's folder.

A lock is the system's own on an open file, so it ends with the process that held it, however that
ended. What a waiting run logs about the holder comes from a note beside it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fnx.errors import DataError

log = logging.getLogger(__name__)

# What a file system without locks says.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
_RETRY_EVERY = 0.5  # seconds between two attempts
_LOG_EVERY = 30.0  # seconds between two lines, unless the holder has made progress


@contextmanager
def exclusive_lock(path: Path, doing: str, progress: Callable[[], str]) -> Iterator[None]:
    """Hold the lock on `path`, waiting while another run holds it.

    Args:
        path: a file or folder; it need not exist yet.
        doing: what the holder does, for the log of those that wait ("extracts digits-vgg16-…").
        progress: returns how far the holder is, for the same log.

    Raises:
        OSError: a folder that cannot be written.
    """
    note = path.parent / f".{path.name}.holder.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
    _acquire(lock, note, doing, progress)
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        note.write_text(json.dumps(holder))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


@contextmanager
def locked_at_once(path: Path) -> Iterator[None]:
    """Hold the lock on `path` that `exclusive_lock` waits for.

    Raises:
        DataError: another run holds it.
        OSError: a folder that cannot be written.
    """
    lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = _lock_holder(path.parent / f".{path.name}.holder.json")
        raise DataError(f"{path} is being made by {holder}") from None
    try:
        yield
    finally:
        lock.release()


class SharedLock:
    """A lock that several processes hold on one path: `unshared` is refused while this lives.

    On a system without such locks, or in a folder that cannot be written, it holds nothing.
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        if os.name == "posix":
            import fcntl

            with suppress(OSError):
                file = os.open(_readers(path), os.O_RDWR | os.O_CREAT, 0o666)
                self._file = file
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


@contextmanager
def unshared(path: Path) -> Iterator[None]:
    """Hold `path` while no process has a `SharedLock` on it.

    Raises:
        DataError: one has.
    """
    file = _readers(path)
    if os.name != "posix" or not file.is_file():
        yield
        return
    import fcntl

    with file.open("r+b") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise DataError(f"{path} is being read by a run") from error
        yield
        file.unlink(missing_ok=True)


def _readers(path: Path) -> Path:
    return path.parent / f".{path.name}.readers"


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this run alone.

    Raises:
        DataError: another run holds it.
        OSError: a folder that cannot be written.
    """
    file = folder / ".lock"
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(f"{folder}: another run is writing there; choose another folder") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Return whether a run holds the folder."""
    if not (folder / ".lock").exists():
        return False
    try:
        with sole_use(folder):
            return False
    except DataError:
        return True


def _acquire(lock: FileLock, note: Path, doing: str, progress: Callable[[], str]) -> None:
    logged, when = "", 0.0
    while True:
        try:
            lock.acquire()
        except Timeout:
            now = progress()
            if now != logged or time.monotonic() - when > _LOG_EVERY:
                log.info("waiting for %s, which %s: %s", _lock_holder(note), doing, now)
                logged, when = now, time.monotonic()
            time.sleep(_RETRY_EVERY)
        else:
            if logged:
                log.info("the wait is over: no other run %s any more", doing)
            return


def _lock_holder(note: Path) -> str:
    try:
        holder = json.loads(note.read_text())
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError):  # it has just begun, or has just ended
        return "another run"

"""One run at a time extracts an embedding; others that want the same one wait for it.

The lock is the system's own on an open file, so it is gone with the process that held it, however
that ended. What the waiting ones say of the holder comes from a note beside it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fnx.errors import DataError

log = logging.getLogger(__name__)

_ASK_EVERY = 0.5  # seconds between two attempts
_SAY_EVERY = 30.0  # seconds between two lines, unless the holder has got on


@contextmanager
def sole(path: Path, progress: Callable[[], str]) -> Iterator[None]:
    """Hold the right to extract into the folder `path`, waiting for it where another run has it.

    Args:
        path: the embedding's folder; it need not be there yet.
        progress: how far the embedding is, in words, for those who wait.

    Raises:
        DataError: a folder that cannot be written.
    """
    note = path.parent / f".{path.name}.holder.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
        _acquire(lock, note, path, progress)
        note.write_text(json.dumps(_holder()))
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be written ({error.strerror or error}), so nothing can be "
            "extracted there: choose another folder as paths.cache=PATH"
        ) from error
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, note: Path, path: Path, progress: Callable[[], str]) -> None:
    said, when = "", 0.0
    while True:
        try:
            lock.acquire()
        except Timeout:
            now = progress()
            if now != said or time.monotonic() - when > _SAY_EVERY:
                log.info("waiting for %s, which extracts %s: %s", _who(note), path.name, now)
                said, when = now, time.monotonic()
            time.sleep(_ASK_EVERY)
        else:
            if said:
                log.info("the wait for %s is over", path.name)
            return


def _holder() -> dict[str, object]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _who(note: Path) -> str:
    try:
        holder = json.loads(note.read_text())
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError):  # it has just begun, or has just ended
        return "another run"

"""One run at a time does what others want too; they wait for it, and find it done.

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

log = logging.getLogger(__name__)

_ASK_EVERY = 0.5  # seconds between two attempts
_SAY_EVERY = 30.0  # seconds between two lines, unless the holder has got on


@contextmanager
def sole(path: Path, doing: str, progress: Callable[[], str]) -> Iterator[None]:
    """Hold the right to make `path`, waiting for it where another run has it.

    Args:
        path: a file or folder; it need not be there yet.
        doing: what the holder does, for those who wait ("extracts digits-vgg16-…").
        progress: how far it is, in words, for those who wait.

    Raises:
        OSError: a folder that cannot be written.
    """
    note = path.parent / f".{path.name}.holder.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
    _acquire(lock, note, doing, progress)
    try:
        note.write_text(json.dumps(_holder()))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, note: Path, doing: str, progress: Callable[[], str]) -> None:
    said, when = "", 0.0
    while True:
        try:
            lock.acquire()
        except Timeout:
            now = progress()
            if now != said or time.monotonic() - when > _SAY_EVERY:
                log.info("waiting for %s, which %s: %s", _who(note), doing, now)
                said, when = now, time.monotonic()
            time.sleep(_ASK_EVERY)
        else:
            if said:
                log.info("the wait is over: nobody %s any more", doing)
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

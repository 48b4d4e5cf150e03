"""Ends a process that was told to end, also while it starts or waits for what never answers."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

GRACE = 5.0  # seconds that a process has to end by itself

_NAMES = {"INT": "interrupted", "TERM": "terminated", "HUP": "hung up", "QUIT": "quit"}
ENDINGS: dict[int, str] = {  # Windows does not have all of them
    getattr(signal, f"SIG{name}"): word
    for name, word in _NAMES.items()
    if hasattr(signal, f"SIG{name}")
}
"""The signals that end a process, and what is said of one that they ended."""

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def answered(handler: Handler) -> Iterator[None]:
    """Answer the signals that end a process by `handler`; those that are ignored stay so."""
    before = answer(handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous or signal.SIG_DFL)


def answer(handler: Handler) -> dict[int, Any]:
    """Answer the signals that end a process by `handler` from now on; return who did before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in ENDINGS}
    heard = {number: one for number, one in before.items() if one is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    return heard


def end_at_once(number: int, frame: FrameType | None = None, *, program: str = "fnx") -> None:
    """End this process and its children with one line; while it starts, nothing can be lost."""
    # Python's streams may be writing just now, which this interrupts.
    line = f"{program}: {ENDINGS[number]}\n".encode()
    _end(number, lambda _: _write(line))


def _write(line: bytes) -> None:
    with suppress(OSError):
        os.write(2, line)


@contextmanager
def ended_when_told(farewell: Callable[[int], None], grace: float = GRACE) -> Iterator[None]:
    """End this process `grace` seconds after a signal of `ENDINGS`, should it still run by then.

    Python answers a signal only once its main thread returns from the system, which a read from a
    dead network disk never does, and waits for its threads before it ends. Signals that have no
    handler in Python, or that are ignored, are none of its business. Main thread only.

    Args:
        farewell: is called with the signal's number just before the process ends.
        grace: seconds.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    told = threading.Event()

    def watch() -> None:
        with reader:
            while number := reader.recv(1):
                if number[0] in ENDINGS:
                    told.set()
                    time.sleep(grace)
                    _end(number[0], farewell)

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):  # a child process would write its own signals there
        os.register_at_fork(after_in_child=partial(signal.set_wakeup_fd, -1))
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        if not told.is_set():
            signal.set_wakeup_fd(before)
            writer.close()


def leave_to_main(_: int = 0) -> None:
    """Have this process end in silence, for the main process says in one line why.

    What is typed in a terminal, its loss, and a batch system's request to end reach all its
    processes, and a thread that hands something over when the main process ends would print a
    traceback of its own. An error of the work is not lost: it is carried to the main process.
    """
    for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
        if hasattr(signal, name):  # not all of them on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # To end by the signal would be an error to the main process, which has had the same signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.excepthook = lambda *_: None


def _end(number: int, farewell: Callable[[int], None]) -> None:
    """End this process at once, with the exit code of the signal, and those that it started."""
    try:
        if "multiprocessing" in sys.modules:
            from multiprocessing import active_children

            for child in active_children():
                child.kill()
        farewell(number)
    finally:
        os._exit(128 + number)

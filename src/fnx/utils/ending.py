"""Ends a process that was told to end, also if it waits for what never answers."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

GRACE = 5.0  # seconds that a process has to end by itself


@contextmanager
def ended_when_told(farewell: Callable[[int], None], grace: float = GRACE) -> Iterator[None]:
    """End this process `grace` seconds after SIGINT or SIGTERM, should it still run by then.

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
        while number := reader.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM):
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

"""Python's garbage collector, which need not look at what stays until the process ends."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_settled = False


def settle() -> None:
    """Say that this process is fnx's own: what `uncollected` leaves is kept until it ends.

    In anybody else's process that would keep some of his objects for ever.
    """
    global _settled
    _settled = True
    atexit.register(gc.unfreeze)  # for compiled modules count what is left when the process ends


@contextmanager
def uncollected() -> Iterator[None]:
    """Import large packages without the collector, which takes a fifth of their time.

    They make a million objects that stay, and it looks at all of them again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _settled:
            gc.freeze()
        if enabled:
            gc.enable()

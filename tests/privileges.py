"""Root without root's right to read and write everything, for tests of missing permissions."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h: the version of the call, and the two rights (bits of the first word).
_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Have the permissions of files bind this thread, and those that it starts, as any user."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    _checked(libc.capget(header, words))
    before = words[0]
    words[0] = before & ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _checked(libc.capset(header, words))
    try:
        yield
    finally:
        words[0] = before
        _checked(libc.capset(header, words))


def _checked(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

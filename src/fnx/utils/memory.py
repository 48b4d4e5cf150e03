"""The memory that this process may take, and a budget of it that threads share."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fnx.utils.cores import control_groups, cores

# Of version 1 or not: limits, what is used, and which of it is files that give way.
_VERSIONS: dict[bool, tuple[tuple[str, ...], str, str]] = {
    True: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    False: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
}
_ALWAYS_THERE = 1 << 26  # bytes for which it is not worth asking


def available_memory() -> int:
    """Return the bytes this process may still take.

    That is the least of what the machine, each of its control groups (of either version, those
    above included) and its limit on addresses (``ulimit -v``) leave.
    """
    left = [int(psutil.virtual_memory().available), *_left_by_groups(), *_left_by_limit()]
    return max(0, min(left))


def workers(tasks: int, needed: int, share: float = 0.25) -> int:
    """Return how many of some tasks run at once: one a core, as many as a share of memory holds.

    `needed` is the bytes that each takes.
    """
    affordable = int(share * available_memory()) // max(1, needed)
    return max(1, min(cores(), tasks, affordable))


def _left_by_groups() -> Iterator[int]:
    for folder, first in control_groups("memory"):
        yield from _left_by_group(folder, *_VERSIONS[first])


def _left_by_group(folder: Path, limits: tuple[str, ...], used: str, files: str) -> Iterator[int]:
    try:
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
        taken = int((folder / used).read_text()) - int(statistics.get(files, 0))
    except (OSError, ValueError):  # no such group
        return
    for name in limits:
        try:
            yield int((folder / name).read_text()) - taken
        except (OSError, ValueError):  # without a limit ("max")
            continue


def _left_by_limit() -> Iterator[int]:
    if os.name == "posix":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield limit - psutil.Process().memory_info().vms


class Budget:
    """Bytes that the threads of a process may have under way at once."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Wait until there is room; what exceeds the budget has its turn alone.

        Raises:
            OSError: more than the memory that this process may take (ENOMEM).
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + amount <= self._total)
            self._used += amount
        try:
            if amount > _ALWAYS_THERE and amount > (left := available_memory()):
                raise OSError(
                    errno.ENOMEM, f"it needs {amount >> 20:,} MB of memory, {left >> 20:,} are free"
                )
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()

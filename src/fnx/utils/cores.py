"""The cores that this process may use, and the control groups that limit it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many cores this process may use.

    That is the least of those it may run on, which ``taskset`` and batch systems set, and the share
    of time that each of its control groups leaves it, as of a container with ``--cpus``.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([allowed, *_by_groups()]))


def _by_groups() -> Iterator[int]:
    for folder, first in control_groups("cpu"):
        with suppress(OSError, ValueError):  # no such group, or without a limit ("max", or -1)
            if first:
                names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
                quota, period = (int((folder / name).read_text()) for name in names)
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            if quota > 0:
                yield math.ceil(quota / period)


def control_groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the control groups of this process that may have a controller, those above included.

    Each is a folder, and whether it is of version 1.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        first = controller in controllers.split(",")
        if controllers and not first:
            continue
        root = _CONTROL_GROUPS / (controller if first else "")
        # In a container the path may be the machine's: then only the root is there.
        own = root / path.strip("/")
        for folder in (own, *own.parents):
            yield folder, first
            if folder == root:
                break

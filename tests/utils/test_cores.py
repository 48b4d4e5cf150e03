"""Cores: those that a process may run on, and the share of them that its control groups leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from fnx.utils import cores

ALLOWED = 6
PERIOD = "cpu.cfs_period_us", "100000"
QUOTA = "cpu.cfs_quota_us"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {}, ALLOWED),
        ("0::/", {"cpu.max": "max 100000"}, ALLOWED),
        ("0::/", {"cpu.max": "400000 100000"}, 4),
        ("0::/", {"cpu.max": "250000 100000"}, 3),  # a part of a core is one that is used
        ("0::/", {"cpu.max": "10000 50000"}, 1),
        ("0::/", {"cpu.max": "6400000 100000"}, ALLOWED),
        ("0::/", {"cpu.max": ""}, ALLOWED),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a", {"b/cpu.max": "200000 100000"}, ALLOWED),
        ("0::/not/here", {"cpu.max": "200000 100000"}, 2),  # a container, from outside
        ("3:cpu,cpuacct:/a\n0::/", {f"cpu/a/{PERIOD[0]}": PERIOD[1], f"cpu/a/{QUOTA}": "20000"}, 1),
        ("3:cpu,cpuacct:/a", {f"cpu/a/{PERIOD[0]}": PERIOD[1], f"cpu/a/{QUOTA}": "-1"}, ALLOWED),
        ("3:cpuset:/a", {f"cpu/a/{PERIOD[0]}": PERIOD[1], f"cpu/a/{QUOTA}": "20000"}, ALLOWED),
    ],
)
def test_control_groups_leave_a_share_of_the_cores(
    control_groups: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    own: str,
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ALLOWED)), raising=False)
    control_groups(own, **files)
    assert cores.cores() == expected


def test_without_affinity_and_groups_it_is_the_machine_s(
    control_groups: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores.cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.cores() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a process is bound to cores on Linux")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from fnx.utils.cores import cores; print(cores())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"

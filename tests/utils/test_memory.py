"""Memory: what a process may take is the least of all limits, and threads share a budget of it."""

from __future__ import annotations

import errno
import resource
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from fnx.utils import memory
from fnx.utils.memory import Budget, available_memory

MACHINE = 10_000


@pytest.fixture
def groups(
    control_groups: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """`control_groups` on a machine of which `MACHINE` bytes are free."""
    machine = SimpleNamespace(available=MACHINE)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)

    return control_groups


def group(folder: str, limit: str, used: int, files: int = 0, version: int = 2) -> dict[str, str]:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    content = (limit, str(used), f"anon 7\n{names[2]} {files}")
    kept = (*names[:2], "memory.stat")
    return {f"{folder}/{name}".lstrip("/"): text for name, text in zip(kept, content, strict=True)}


def test_without_limits_it_is_the_machine_s(groups: Callable[..., None]) -> None:
    assert available_memory() == MACHINE  # no control groups at all
    groups("0::/")
    assert available_memory() == MACHINE


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", group("", "900", 300), 600),
        ("0::/", group("", "max", 300), MACHINE),
        ("0::/", group("", "99999", 300), MACHINE),
        ("0::/", group("", "200", 300), 0),
        ("0::/", group("", "900", 300, files=100), 700),
        ("0::/", {**group("", "900", 300), "memory.high": "500"}, 200),
        ("0::/a/b", group("a/b", "900", 300), 600),
        ("0::/a/b", {**group("a/b", "900", 300), **group("a", "500", 350)}, 150),
        ("0::/a/b", {**group("a/b", "max", 3), **group("a", "max", 3), **group("", "40", 3)}, 37),
        ("0::/not/here", group("", "900", 300), 600),
        ("0::/a", group("b", "900", 300), MACHINE),
        ("4:memory:/a\n1:cpu:/b", group("memory/a", "900", 300, 50, version=1), 650),
        ("4:cpu,memory:/x", group("memory", "900", 300, version=1), 600),
        ("4:memory:/a\n0::/", group("memory/a", "9223372036854771712", 3, version=1), MACHINE),
        ("4:cpu:/a", group("memory/a", "900", 300, version=1), MACHINE),
        ("4:cpu:/a", group("a", "900", 300), MACHINE),
    ],
)
def test_every_control_group_above_the_process_limits_it(
    groups: Callable[..., None], own: str, files: dict[str, str], expected: int
) -> None:
    groups(own, **files)
    assert available_memory() == expected


def test_a_limit_on_addresses_counts_what_is_taken(
    groups: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = SimpleNamespace(memory_info=lambda: SimpleNamespace(vms=3000))
    monkeypatch.setattr(memory.psutil, "Process", lambda: info)
    for limit, expected in ((8000, 5000), (20_000, MACHINE), (2000, 0)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, which * 0))
        assert available_memory() == expected


def test_threads_wait_for_room_and_one_is_always_let_in() -> None:
    budget, inside, most = Budget(10), threading.Semaphore(0), []
    entered: list[int] = []

    def work(amount: int) -> None:
        with budget.take(amount):
            entered.append(amount)
            most.append(budget._used)
            inside.acquire(timeout=10)

    threads = []
    for amount in (4, 6, 99, 1):
        threads.append(threading.Thread(target=work, args=[amount]))
        threads[-1].start()
        threads[-1].join(0.1)
    assert entered == [4, 6]
    inside.release()  # the 4 or the 6: then there is room for the 1, not for the 99 before it
    threads[3].join(0.2)
    assert entered == [4, 6, 1]
    for _ in range(3):
        inside.release()
    for thread in threads:
        thread.join(10)
    assert entered == [4, 6, 1, 99]
    assert max(most[:3]) == 10
    assert most[3] == 99
    assert budget._used == 0


@pytest.mark.parametrize(
    ("amount", "left", "refused"),
    [(100 << 20, 99 << 20, True), (100 << 20, 100 << 20, False), (1 << 26, 0, False)],
)
def test_more_than_all_memory_is_refused(
    amount: int, left: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: left)
    budget = Budget(1)
    if not refused:
        with budget.take(amount):
            assert budget._used == amount
    else:
        words = "it needs 100 MB of memory, 99 are free"
        with pytest.raises(OSError, match=words) as caught, budget.take(amount):
            pass
        assert caught.value.errno == errno.ENOMEM
    assert budget._used == 0


@pytest.mark.parametrize(("needed", "expected"), [(1, 3), (20, 2), (30, 1), (1000, 1), (0, 3)])
def test_as_many_work_at_once_as_a_share_of_memory_holds(
    monkeypatch: pytest.MonkeyPatch, needed: int, expected: int
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    monkeypatch.setattr(memory, "cores", lambda: 8)
    assert memory.workers(3, needed, share=0.5) == expected

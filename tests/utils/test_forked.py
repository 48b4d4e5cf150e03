"""Work in processes that have this one's memory: same results, same errors, everywhere."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from fnx.utils import forked, memory

LINUX = sys.platform == "linux"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cores", lambda: 2)


def test_results_come_in_order_from_processes_that_have_this_one_s_memory() -> None:
    squares = {number: number**2 for number in range(20)}
    found = forked.each(lambda number: (squares[number], os.getpid()), range(20))
    assert [square for square, _ in found] == list(squares.values())
    assert (os.getpid() in {process for _, process in found}) != LINUX


@pytest.mark.skipif(not LINUX, reason="processes are copied on Linux alone")
def test_processes_leave_it_to_the_main_one_to_tell_of_the_end() -> None:
    ignored = forked.each(lambda _: signal.getsignal(signal.SIGINT) is signal.SIG_IGN, range(2))
    assert ignored == [True, True]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize(
    "why",
    ["one item", "one core", "no memory", "no semaphores", "another system", "a process of a pool"],
)
def test_work_is_done_here_where_processes_are_of_no_use(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "no semaphores")

    if why == "one core":
        monkeypatch.setattr(memory, "cores", lambda: 1)
    elif why == "no semaphores":
        monkeypatch.setattr(forked, "ProcessPoolExecutor", refuse)
    elif why == "another system":
        monkeypatch.setattr(sys, "platform", "darwin")
    elif why == "a process of a pool":  # which may have no children
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    items = [1] if why == "one item" else [1, 2, 3]
    needed = 1 << 60 if why == "no memory" else 0
    found = forked.each(lambda _: os.getpid(), items, needed=needed)
    assert found == [os.getpid()] * len(items)


def test_what_processes_write_into_an_array_is_read_here() -> None:
    squares = forked.empty((5, 20))
    assert (squares.dtype, squares.shape) == (np.uint8, (5, 20))

    def write(number: int) -> None:
        squares[:, number] = number * np.arange(5)

    forked.each(write, range(20))
    np.testing.assert_array_equal(squares, np.outer(np.arange(5), np.arange(20)))
    assert forked.empty((0, 3)).shape == (0, 3)


def test_each_result_arrives_once_in_order_though_a_process_is_killed() -> None:
    here, arrived = os.getpid(), list[int]()

    def work(number: int) -> int:
        if number == 150 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert forked.each(work, range(200), arrived.append) == arrived == list(range(200))


@pytest.mark.skipif(not LINUX, reason="processes are copied on Linux alone")
def test_an_interruption_waits_for_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)

    def work(number: int) -> None:
        time.sleep(60 if number > 50 else 0)

    def interrupt(_: None) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        forked.each(work, range(1000), interrupt)
    assert time.monotonic() - began < 30
    assert multiprocessing.active_children() == []
    assert heard == []  # of the pool's thread


def test_work_is_done_here_where_a_process_was_killed() -> None:
    here = os.getpid()

    def work(number: int) -> int:
        if number == 2 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    assert forked.each(work, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_is_that_of_the_work(number: int) -> None:
    def fail(item: int) -> None:
        raise OSError(28, f"no space for {item}")

    with pytest.raises(OSError, match="no space for 0") as caught:
        forked.each(fail, range(number))
    assert caught.value.errno == 28

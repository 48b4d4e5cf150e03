"""Work shared out among processes that have this one's memory, where the system has such."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

from fnx.utils.cores import cores
from fnx.utils.ending import leave_to_main

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable[[Any], Any] | None = None  # what this process was started for


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what a function gives for each item; on Linux in a process for each core.

    The processes have the function as it is now, with all that it refers to, so it need not be
    picklable; only items and results are sent. It must not touch what has threads of its own, which
    a process that is copied does not have: torch, Polars. Where there are no such processes, or one
    is killed, this one does the work, which may so be begun twice.

    >>> each(str.upper, ["a", "b"])
    ['A', 'B']
    """
    number = min(cores(), len(items))
    if number > 1 and sys.platform == "linux" and not multiprocessing.current_process().daemon:
        # Without /dev/shm, as in some sandboxes; or a process was killed, as for memory.
        with suppress(OSError, BrokenProcessPool), _processes(number, function) as processes:
            return list(processes.map(_call, items))
    return [function(item) for item in items]


def _processes(number: int, function: Callable[[Any], Any]) -> ProcessPoolExecutor:
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(number, fork, initializer=_begin, initargs=(function,))


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    leave_to_main()


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)

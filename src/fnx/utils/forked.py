"""Work shared out among processes that have this one's memory, where the system has such."""

from __future__ import annotations

import math
import mmap
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fnx.utils.ending import leave_to_main
from fnx.utils.memory import workers

Item = TypeVar("Item")
Result = TypeVar("Result")

# Each process is sent its items in so many parts or more, of so many items at most.
_PARTS, _TOGETHER = 16, 32

_function: Callable[[Any], Any] | None = None  # what this process was started for


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    arrived: Callable[[Result], object] = lambda _: None,
    *,
    needed: int = 0,
) -> list[Result]:
    """Return what a function gives for each item; on Linux in a process for each core.

    The processes have the function as it is now, with all that it refers to, so it need not be
    picklable; only items and results are sent. What it writes stays with them, except into files
    and `empty` arrays. It must not touch what has threads of its own, which a process that is
    copied does not have: torch, Polars. Where there are no such processes, or one is killed, this
    one does the work that is left, of which some may so be begun twice.

    Args:
        function: of one item.
        items: what it is called with.
        arrived: called with each result, here and in their order.
        needed: bytes that the function takes; fewer processes run where memory is short of it.

    >>> each(str.upper, ["a", "b"])
    ['A', 'B']
    """
    number, results = workers(len(items), needed), list[Result]()

    def keep(result: Result) -> None:
        results.append(result)
        arrived(result)

    if number > 1 and possible():
        together = min(_TOGETHER, math.ceil(len(items) / number / _PARTS))
        # Without /dev/shm, as in some sandboxes; or a process was killed, as for memory.
        with suppress(OSError, BrokenProcessPool), _processes(number, function) as processes:
            parts = [items[at : at + together] for at in range(0, len(items), together)]
            for done in [processes.submit(_call_each, part) for part in parts]:
                for result in done.result():
                    keep(result)
    for item in items[len(results) :]:
        keep(function(item))
    return results


def possible() -> bool:
    """Return whether the system, and this process, can have such processes."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def empty(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array, uint8, into which the processes of `each` write for this one to read."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8, size).reshape(shape)


@contextmanager
def _processes(number: int, function: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(number, fork, initializer=_begin, initargs=(function,)) as processes:
        try:
            yield processes
        except BaseException:
            # An interruption does not wait for what may never end. (Python 3.11 tells of futures
            # that are cancelled before the processes end.)
            for process in list((processes._processes or {}).values()):
                process.kill()
            raise


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    leave_to_main()


def _call_each(items: Sequence[Any]) -> list[Any]:
    assert _function is not None
    return [_function(item) for item in items]

"""Runs a statistic on a Dask cluster: one task a block of columns, bit by bit what `engine` gives.

A task holds all it needs: how to read its columns (or the columns themselves, where they are in
memory), the labellings and the statistic. So the scheduler can give it to another worker when the
one that had it dies.
"""

from __future__ import annotations

import importlib
import logging
import mmap
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice, starmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.errors import ConfigError
from fnx.registry.registry import Statistic
from fnx.statistics.columns import Columns, open_columns, warn_of_zeros
from fnx.statistics.engine import Distances, empty_distances
from fnx.statistics.labels import Sets
from fnx.statistics.tiles import Grouping, Task, group, prepare

AHEAD = 3  # tasks sent out for each thread: so that none waits, and memory stays small
TIMEOUT = "30s"  # to reach a scheduler


def all_distances(
    features: Any,
    labellings: NDArray[Any],
    n_classes: int,
    statistic: Statistic,
    parameters: Mapping[str, Any] | None = None,
    *,
    sets: Sets | None = None,
    out: Sequence[NDArray[np.float32]] | NDArray[np.float32] | None = None,
    address: str | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Distances:
    """Do what `fnx.statistics.engine.all_distances` does on a Dask cluster, to the same bits.

    zarr arrays and memory maps are read by the workers, who must see the same files under the same
    path; of other arrays each task carries its columns.

    `address` is that of a running scheduler, default a cluster on this machine for this call;
    `workers` the processes of the cluster on this machine, default one per core.

    Raises:
        ConfigError: no scheduler answers at `address`.
        FnxError: as there.
    """
    columns = open_columns(features)
    grouping = group(labellings, columns.n_rows, n_classes, sets)
    task = prepare(statistic, parameters, grouping)  # refuses here what can be refused
    warn_of_zeros(columns, statistic, parameters)
    found = empty_distances(task, columns.n_columns, out)
    payload = _portable(statistic, dict(parameters or {}), grouping)
    source = _source(columns)
    with connect(address, workers) as client:
        threads = sum(client.nthreads().values()) or 1

        def send(start: int, stop: int) -> tuple[int, Any]:
            data = source if source is not None else columns.block(start, stop)
            return start, client.submit(compute, data, start, stop, payload, pure=False)

        sent = starmap(send, columns.blocks())
        waiting = deque(islice(sent, AHEAD * threads))
        while waiting:  # in order: the first fault named is always the same one
            start, future = waiting.popleft()
            values, constant = future.result()
            waiting.extend(islice(sent, 1))
            found.put(start, values, constant)
            if progress is not None:
                progress(constant.size)
    return found


def compute(source: Any, start: int, stop: int, payload: bytes) -> Distances:
    """Compute the distances (L, width, C) of the features start … stop - 1: one task.

    `source` is from `_source`, or the block (N, width) itself; `payload` from `_portable`.
    """
    if not isinstance(source, np.ndarray) and not hasattr(source, "toarray"):
        array = source() if isinstance(source, partial) else source
        source = open_columns(array).block(start, stop)
    task = _task(payload)
    found = empty_distances(task, stop - start)
    task.run(source, start, lambda first, *part: found.put(first - start, *part))
    return found


@lru_cache(maxsize=4)
def _task(payload: bytes) -> Task:
    """Prepare a task once per worker, not once per block."""
    return prepare(*pickle.loads(payload))  # noqa: S301 (from our own caller)


def _portable(statistic: Statistic, parameters: dict[str, Any], grouping: Grouping) -> bytes:
    """Pickle a task with the statistic's code: its module need not be importable elsewhere."""
    import cloudpickle

    module = sys.modules.get(statistic.function.__module__)
    by_value = module is not None and module.__name__.partition(".")[0] not in ("fnx", "__main__")
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps((statistic, parameters, grouping)))
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


def _source(columns: Columns) -> Any:
    """Return what a worker can read by itself, or None: a zarr array, or how to open a map."""
    array = columns.array
    if isinstance(array, np.memmap):
        base: Any = array.base
        contiguous = array.flags.c_contiguous or array.flags.f_contiguous
        if not (contiguous and isinstance(base, mmap.mmap) and array.filename):
            return None
        order = "C" if array.flags.c_contiguous else "F"
        path = Path(array.filename).resolve()
        return partial(np.memmap, path, array.dtype, "r", array.offset, array.shape, order)
    on_disk = type(getattr(array, "store", None)).__name__ not in ("NoneType", "MemoryStore")
    return array if on_disk else None  # pickled as its path and metadata


@contextmanager
def connect(address: str | None, workers: int | None = None) -> Iterator[Any]:
    """Connect to the scheduler at `address`, or to processes started for it on this machine.

    Raises:
        ConfigError: no scheduler answers at the address.
    """
    distributed: Any = importlib.import_module("distributed")
    if address is not None:
        try:
            # A client that failed for its address would be waited for, a minute, when it goes.
            importlib.import_module("distributed.comm").resolve_address(address)
            client = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"engine.address={address}: no scheduler answers: {reason}") from None
        with client:
            yield client
        return
    cluster = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,  # a block is small: nothing to watch
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client

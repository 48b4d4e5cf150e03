"""fnx itself on an embedding of the size of flowers102, and the time to read it once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fnx.registry import load_installed, statistics
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations
from fnx.utils.cores import cores

PERMUTATIONS = 10
ALL = "all of it"
ROUNDS = 5
SCIPY_FEATURES, SCIPY_CLASSES = 4, 5


def maximum(values: Any, threads: int) -> float:
    """Read all of it once."""
    with ThreadPoolExecutor(threads) as pool:
        return float(max(pool.map(np.max, np.array_split(values, threads))))


def test_read(embedding: Any, measure: Any) -> None:
    values, labels = embedding

    def read() -> float:
        return maximum(values, cores())

    pairs = values.shape[1] * (labels.max() + 1)
    found = measure("reading the data once (maximum, on all cores)", pairs, read, scale=ALL)
    assert found == values.max()


@pytest.mark.parametrize("statistic", ["ks", "ks_exact"])
@pytest.mark.parametrize("count", [0, PERMUTATIONS])
def test_fnx(embedding: Any, measure: Any, statistic: str, count: int) -> None:
    load_installed()
    values, labels = embedding
    labellings = np.vstack([labels[None], permutations(labels, count, seed=0)])
    classes = int(labels.max()) + 1
    entry = statistics.get(statistic)
    title = f"**fnx `{statistic}`**" + (f" and under {count} permutations" if count else "")
    found = measure(
        title,
        values.shape[1] * classes,
        lambda: all_distances(values, labellings, classes, entry),
        scale=ALL,
        rounds=2 if count else 4,
    )
    assert found.values.shape == (1 + count, values.shape[1], classes)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("data", ["synthetic", "real"])
def test_ratios(
    data: str, request: Any, benchmark: Any, measured: dict[str, Any], scipy_loop: Any
) -> None:
    """Each round does everything once, in turn; a ratio is of one round, so what slows both goes.

    Per core it is of CPU seconds, of one thread; with all cores of seconds.
    """
    load_installed()
    if data == "real":
        values, labels, told = request.getfixturevalue("activations")
    else:
        whole, labels = request.getfixturevalue("embedding")
        values = np.ascontiguousarray(whole[:, ::3])
        told = f"{len(values):,} images × {values.shape[1]:,} features × {labels.max() + 1} classes"
    classes = int(labels.max()) + 1
    several = np.vstack([labels[None], permutations(labels, PERMUTATIONS, seed=0)])
    chosen = np.linspace(0, values.shape[1] - 1, SCIPY_FEATURES).astype(int)
    few = np.ascontiguousarray(values[:, chosen])
    jobs: dict[str, Any] = {"reading": lambda threads: maximum(values, threads)}
    for statistic in ("ks", "ks_exact"):
        entry = statistics.get(statistic)
        for title, some in (("", labels[None]), (f" and {PERMUTATIONS} permutations", several)):
            jobs[statistic + title] = lambda threads, entry=entry, some=some: all_distances(
                values, some, classes, entry, threads=threads
            )
    costs: dict[str, Any] = {name: {"core": [], "all": []} for name in (*jobs, "SciPy loop")}

    def run() -> None:
        for name, job in jobs.items():
            start = time.process_time()
            job(1)
            costs[name]["core"].append((time.process_time() - start) / values.shape[1] / classes)
            start = time.perf_counter()
            job(cores())
            costs[name]["all"].append((time.perf_counter() - start) / values.shape[1] / classes)
        clocks = time.process_time(), time.perf_counter()
        scipy_loop(few, labels, SCIPY_CLASSES, "asymp")
        pairs = SCIPY_FEATURES * SCIPY_CLASSES
        costs["SciPy loop"]["core"].append((time.process_time() - clocks[0]) / pairs)
        costs["SciPy loop"]["all"].append((time.perf_counter() - clocks[1]) / pairs)

    maximum(values, 1)
    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=0)
    measured[f"ratios {data}"] = {"told": told, "costs": costs}

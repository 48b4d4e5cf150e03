"""Cost grows linearly with images and features, and memory does not grow with the embedding."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fnx

HERE = Path(__file__).parent
STATISTICS = ("ks", "ks_exact")
SIZES = (1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000)
WIDTHS = (64, 256, 1_024, 4_096, 12_416)


def seconds(function: Any, rounds: int = 3) -> float:
    function()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def slope(sizes: Any, costs: Any) -> float:
    """Exponent of the power law that fits best."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def test_cost_is_linear(benchmark: Any, make_embedding: Any, measured: Any) -> None:
    costs: dict[str, dict[str, list[float]]] = {"N": {}, "F": {}}
    large, large_labels = make_embedding(SIZES[-1], 64, 10)
    order = np.random.default_rng(0).permutation(SIZES[-1])  # all classes in every part
    large, large_labels = large[order], large_labels[order]
    wide, wide_labels = make_embedding(1_000, WIDTHS[-1], 10)
    for statistic in STATISTICS:
        costs["N"][statistic] = [
            seconds(
                lambda n=n, s=statistic: fnx.distances(large[:n], large_labels[:n], statistic=s)
            )
            for n in SIZES
        ]
        costs["F"][statistic] = [
            seconds(lambda f=f, s=statistic: fnx.distances(wide[:, :f], wide_labels, statistic=s))
            for f in WIDTHS
        ]
    benchmark.pedantic(lambda: fnx.distances(wide, wide_labels), rounds=1)
    measured["linearity"] = {
        "sizes": {"N": SIZES, "F": WIDTHS},
        "costs": costs,
        "slopes": {
            axis: {s: slope(sizes, costs[axis][s]) for s in STATISTICS}
            for axis, sizes in (("N", SIZES), ("F", WIDTHS))
        },
    }
    measured["linearity"]["last"] = {
        axis: {s: slope(sizes[-3:], costs[axis][s][-3:]) for s in STATISTICS}
        for axis, sizes in (("N", SIZES), ("F", WIDTHS))
    }
    for slopes in measured["linearity"]["slopes"].values():
        assert all(value < 1.2 for value in slopes.values()), slopes


@pytest.mark.timeout(1_200)
def test_memory_at_the_size_of_imagenet(benchmark: Any, measured: Any, tmp_path: Path) -> None:
    def run() -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, HERE / "imagenet.py", tmp_path],
            capture_output=True,
            text=True,
            check=False,
            timeout=1_000,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    found = benchmark.pedantic(run, rounds=1)
    measured["imagenet"] = found
    assert found["gib"] < 2

"""fnx itself on an embedding of the size of flowers102, and the time to read it once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fnx.registry import load_installed, statistics
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations

PERMUTATIONS = 10
ALL = "all of it"


def test_read(embedding: Any, measure: Any) -> None:
    values, labels = embedding
    parts = np.array_split(values, os.cpu_count() or 1)

    def read() -> float:
        with ThreadPoolExecutor(len(parts)) as pool:
            return float(max(pool.map(np.max, parts)))

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

"""Peak memory of the statistic at imagenet's size; prints one line of JSON.

``python imagenet.py FOLDER`` writes 2.5 GB of features into FOLDER, block by block, and removes
them. Memory is the process's peak above what it is once everything is imported and compiled.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import zarr

import fnx
from fnx.registry import load_installed, statistics
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations

IMAGES, FEATURES, CLASSES, ROWS = 50_000, 12_416, 1_000, 2_048


def peak() -> int:
    """Bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(folder: Path) -> None:
    store = folder / "features.zarr"
    labels = (np.arange(IMAGES) % CLASSES).astype(np.int32)
    labellings = np.vstack([labels[None], permutations(labels, 1, seed=0)])
    rng = np.random.default_rng(0)
    fnx.distances(rng.normal(size=(3_000, 64)).astype(np.float32), labels[:3_000])
    features = zarr.create_array(
        store,
        shape=(IMAGES, FEATURES),
        chunks=(ROWS, 64),
        shards=(ROWS, FEATURES),
        dtype="f4",
        compressors=None,
    )
    for start in range(0, IMAGES, ROWS):
        rows = min(ROWS, IMAGES - start)
        block = rng.standard_normal((rows, FEATURES), dtype=np.float32)
        features[start : start + rows] = np.maximum(block, 0, out=block)
        del block
    out = [
        np.lib.format.open_memmap(folder / f"{k}.npy", "w+", np.float32, (FEATURES, CLASSES))
        for k in range(2)
    ]
    # The peak so far is that of writing; Linux forgets it when asked.
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    before = resident()
    start = time.perf_counter()
    load_installed()
    all_distances(features, labellings, CLASSES, statistics.get("ks"), out=out)
    taken = time.perf_counter() - start
    assert np.isfinite(out[0][::1000]).all()
    shutil.rmtree(store)
    for k in range(2):
        (folder / f"{k}.npy").unlink()
    print(json.dumps({"gib": (highest() - before) / 2**30, "seconds": taken}))


def resident() -> int:
    """Bytes in memory now."""
    return _status("VmRSS") or peak()


def highest() -> int:
    """Most bytes in memory since the peak was forgotten."""
    return _status("VmHWM") or peak()


def _status(field: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))

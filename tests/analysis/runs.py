"""A run held in memory, of numbers that can be counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fnx.analysis import Run, tables
from fnx.analysis.record import RunRecord
from fnx.thresholds import Curve, Side, Thresholds

CLASSES = ("cat", "dog", "bird")
SIZES = (4, 2, 3)
REAL = np.float32(
    [
        [0.50, -0.50, 0.25],  # conv/0
        [-0.75, 0.75, 0.00],  # conv/1
        [0.00, 0.00, 0.00],  # conv/2, constant
        [1.00, -0.25, 0.75],  # fc/5
        [0.25, 0.50, -1.00],  # fc/7
    ]
)
RANDOM = np.float32(
    [
        [[0.50, 0.00, -0.50]] * 4 + [[0.00, 0.00, 0.00]],
        [[-0.25, 0.25, 0.125]] * 4 + [[0.75, -0.75, 0.75]],
    ]
)
PLUS, MINUS = Side(0.25, 1.0, 2.5, 0.75, 0.125), Side(-0.25, 0.5, 1.5, 0.5, 0.25)
CURVE = Curve(np.array([0.0, 0.25]), np.array([0.5, 1.0]), np.array([0.25, 0.5]))
FEATURES = pl.DataFrame(
    {
        "feature_id": pl.Series(range(5), dtype=pl.Int64),
        "layer": ["conv", "conv", "conv", "fc", "fc"],
        "unit": pl.Series([0, 1, 2, 5, 7], dtype=pl.Int32),
        "kind": ["conv", "conv", "conv", "fc", "fc"],
        "constant": [False, False, True, False, False],
    }
)


def images() -> pl.DataFrame:
    rows = [(name, i) for i, name in enumerate(CLASSES) for _ in range(SIZES[i])]
    rows += [("dog", 1), ("bird", 2), ("bird", 2)]
    status = ["ok"] * sum(SIZES) + ["failed"] * 3
    return pl.DataFrame(
        {
            "image_id": pl.Series(range(len(rows)), dtype=pl.Int64),
            "path": [f"{name}/{number}.jpg" for number, (name, _) in enumerate(rows)],
            "class_id": pl.Series([class_id for _, class_id in rows], dtype=pl.Int32),
            "class_name": [name for name, _ in rows],
            "status": status,
        }
    )


def run(
    folder: Path,
    *,
    signed: bool = True,
    record: dict[str, Any] | None = None,
    by_class: tuple[float, ...] | None = None,
    null_second_moment: np.ndarray | None = None,
    **held: Any,
) -> Run:
    """Make a run; `by_class` are thresholds t⁺ of the classes, `held` takes the place of values."""
    plus = PLUS if by_class is None else Side(0.25, 1.0, 2.5, 0.75, 0.125, np.array(by_class))
    thresholds = Thresholds(plus, MINUS if signed else None, CURVE)
    real, random = (REAL, RANDOM) if signed else (np.abs(REAL), np.abs(RANDOM))
    found = tables.analyse(
        *(images(), CLASSES, FEATURES, real, random, thresholds, 2),
        null_second_moment=null_second_moment,
    )
    if "distances" in held or "distances_random" in held:
        found = {name: found[name] for name in found if name not in ("extents", "domain", "scan")}
    told = {"dataset": "pets", "model": "tiny", "statistic": {"name": "ks"}} | (record or {})
    return Run(folder, RunRecord(**told), found | held)

"""Table 3: each run's thresholds and what they keep, in order of images per class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from fnx.analysis.run import Run

_QUANTITIES = {"t": "threshold", "davg": "davg", "kept": "kept", "kept_random": "kept_random"}


def table3_row(run: Run) -> dict[str, Any]:
    """Return a run's row: t±, d_avg(t±), features kept per class under real and random labels."""
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "model": run.model,
        "statistic": run.statistic,
        "images": run.n_images,
        "classes": run.classes.height,
        "images_per_class": run.images_per_class,
        "features": run.features.height,
    }
    for name, sign in (("plus", "+"), ("minus", "-")):
        found = run.threshold(sign) or {}
        row |= {f"{key}_{name}": found.get(column) for key, column in _QUANTITIES.items()}
    return row | {"run": str(run.path)}


def table3(runs: Iterable[Run]) -> pl.DataFrame:
    """Return Table 3 of some runs, in the paper's order: ascending mean images per class.

    Returns:
        ``dataset``, ``model``, ``statistic``, ``images``, ``classes``, ``images_per_class``,
        ``features``; ``t_plus``, ``davg_plus``, ``kept_plus``, ``kept_random_plus`` and the same
        with ``minus`` (null for an unsigned statistic); ``run``, the folder.
    """
    numbers = [f"{key}_{sign}" for sign in ("plus", "minus") for key in _QUANTITIES]
    rows = [table3_row(run) for run in runs]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64)).sort(
        "images_per_class", "dataset", maintain_order=True
    )

"""Advice of given accuracies, out of thin air."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from fnx.analysis.advice import ENTRIES, FULL_NETWORK, Advice


def advice(
    accuracies: Sequence[float],
    recommended: int | None = None,
    error: float = 0.02,
    **more: Any,
) -> Advice:
    """Advice on layers "l0", "l1", …, and the full-network embedding as the last one."""
    last = len(accuracies) - 1
    rows = [
        {
            "entry": FULL_NETWORK if i == last else f"l{i}",
            "kind": "full_network" if i == last else "layer",
            "depth": None if i == last else i,
            "features": 10 * (i + 1),
            "accuracy": accuracy,
            "standard_error": error,
            "recommended": i == recommended,
        }
        for i, accuracy in enumerate(accuracies)
    ]
    table = pl.DataFrame(rows, schema=ENTRIES)
    told: dict[str, Any] = {"reason": "", "chance": 0.1, "measure": "accuracy", "rows": 99}
    name = None if recommended is None else rows[recommended]["entry"]
    return Advice(table=table, recommended=name, **(told | more))

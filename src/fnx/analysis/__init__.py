"""From distances to the paper's quantities, as Polars tables: NumPy and Polars only."""

from __future__ import annotations

from fnx.analysis import tables
from fnx.analysis.run import Run

__all__ = ["Run", "tables"]

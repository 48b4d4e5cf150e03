"""Distances under real and random labels to what is worth keeping.

The strategies are in `fnx.thresholds.strategies`; nothing heavy is imported before one is used.
"""

from __future__ import annotations

from fnx.thresholds.api import find_thresholds
from fnx.thresholds.evaluation import evaluate
from fnx.thresholds.result import Curve, Side, Thresholds

__all__ = ["Curve", "Side", "Thresholds", "evaluate", "find_thresholds"]

"""Statistics and threshold strategies by name, fnx's own and plugins'."""

from fnx.registry.registry import (
    Statistic,
    ThresholdStrategy,
    get_statistic,
    get_threshold,
    statistic,
    threshold,
)

__all__ = [
    "Statistic",
    "ThresholdStrategy",
    "get_statistic",
    "get_threshold",
    "statistic",
    "threshold",
]

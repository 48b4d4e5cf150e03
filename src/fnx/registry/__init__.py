"""Statistics and threshold strategies by name, fnx's own and plugins'."""

from fnx.registry.backbones import BackboneEntry, backbone, backbones
from fnx.registry.discovery import load_folder, load_installed
from fnx.registry.registry import (
    Registry,
    Statistic,
    ThresholdStrategy,
    statistic,
    statistics,
    threshold,
    thresholds,
)

__all__ = [
    "BackboneEntry",
    "Registry",
    "Statistic",
    "ThresholdStrategy",
    "backbone",
    "backbones",
    "load_folder",
    "load_installed",
    "statistic",
    "statistics",
    "threshold",
    "thresholds",
]

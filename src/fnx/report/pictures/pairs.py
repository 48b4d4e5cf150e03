"""Refuses pairs of a feature and a class that a run will not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fnx.analysis.pairs import check_pair

if TYPE_CHECKING:
    from fnx.config.schema import Config


def check_pairs(config: Config, class_names: Sequence[str]) -> None:
    """Refuse pairs of a layer, unit or class that the run has not, before the network's work.

    Raises:
        ConfigError: naming the first.
    """
    asked = [("report.pairs", pair) for pair in config.report.pairs]
    if config.report.pair is not None:
        asked.append(("report.pair", config.report.pair))
    if not asked:
        return
    from fnx import backbones

    layers = backbones.layer_names(config.model, config.crops.size)
    units = {layer.name: layer.units for layer in layers}
    for key, pair in asked:
        check_pair(pair, units, class_names, key=key)

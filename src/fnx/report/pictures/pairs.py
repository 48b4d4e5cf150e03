"""The (feature, class) pairs that the figures of features show: those asked for, or the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from fnx.analysis import Run
from fnx.analysis.pairs import parse_pair

SHOWN_LAYERS = 8
"""Layers that have a pair of their own where none is asked for, spread over the network."""


def features_table(run: Run) -> pl.DataFrame:
    """The pairs that are shown, in order of the layers.

    Those of ``report.pairs``, or for some layers, spread over the network, the pair with the
    highest and the pair with the lowest D.

    Returns:
        ``sign``, ``layer``, ``unit``, ``feature_id``, ``class_id``, ``class_name``, ``distance``.
    """
    asked = run.record.setting("report.pairs")
    rows = _asked(run, asked) if asked else _best(run)
    schema = {"sign": pl.String, "feature_id": pl.Int64, "class_id": pl.Int32}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    values = run.distances[table["feature_id"].to_numpy(), table["class_id"].to_numpy()]
    return (
        table.with_columns(distance=pl.Series(values, dtype=pl.Float32))
        .join(run.features.select("feature_id", "layer", "unit"), on="feature_id")
        .join(run.classes.select("class_id", "class_name"), on="class_id")
        .sort("sign", "feature_id", "class_id")
        .select("sign", "layer", "unit", "feature_id", "class_id", "class_name", "distance")
    )


def _asked(run: Run, pairs: Sequence[str]) -> list[tuple[str, int, int]]:
    features = {
        (layer, unit): number
        for number, layer, unit in run.features.select("feature_id", "layer", "unit").iter_rows()
    }
    classes = dict(run.classes.select("class_name", "class_id").iter_rows())
    rows = []
    for pair in pairs:
        layer, unit, class_name = parse_pair(pair, "report.pairs")
        feature, class_id = features[layer, unit], classes[class_name]
        absent = run.signed and run.distances[feature, class_id] < 0
        rows.append(("-" if absent else "+", feature, class_id))
    return rows


def _best(run: Run) -> list[tuple[str, int, int]]:
    layers = run.features["layer"].unique(maintain_order=True)
    spread = np.linspace(0, len(layers) - 1, min(SHOWN_LAYERS, len(layers))).round().astype(int)
    rows = []
    for layer in layers.gather(spread):
        ids = run.features.filter(layer=layer)["feature_id"].to_numpy()
        block = np.asarray(run.distances[ids])
        for sign, best in (("+", block.argmax()), ("-", block.argmin())):
            feature, class_id = divmod(int(best), block.shape[1])
            if sign == "+" or run.signed:
                rows.append((sign, int(ids[feature]), class_id))
    return rows

"""The tables a run leaves: classes, layers, thresholds, d_avg, strongest features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import (
    Distances,
    LayerRows,
    Sign,
    Spread,
    Threshold,
    blocks,
    layer_rows,
    lognormal_spread,
    percent_beyond,
    spread,
)

if TYPE_CHECKING:
    from fnx.thresholds import Side, Thresholds

CLASS_BLOCK = 64
"""Classes whose features are ranked at once."""


def classes_table(images: pl.DataFrame, class_names: Sequence[str]) -> pl.DataFrame:
    """The classes and the number of their images that were used.

    Args:
        images: columns ``class_id`` and ``status``; only rows with status "ok" count.
        class_names: name of each class; the index is the class id.

    Returns:
        ``class_id`` Int32, ``class_name`` String, ``n_images`` Int64.

    >>> images = pl.DataFrame({"class_id": [0, 0, 1, 1], "status": ["ok", "ok", "ok", "failed"]})
    >>> classes_table(images, ["cat", "dog"])["n_images"].to_list()
    [2, 1]
    """
    ids = images.filter(pl.col("status") == "ok")["class_id"].to_numpy().astype(np.int64)
    counts = np.bincount(ids, minlength=len(class_names))
    return pl.DataFrame(
        {
            "class_id": pl.Series(range(len(class_names)), dtype=pl.Int32),
            "class_name": pl.Series(list(class_names), dtype=pl.String),
            "n_images": pl.Series(counts, dtype=pl.Int64),
        }
    )


def layers_table(
    features: pl.DataFrame, real: Distances, random: Distances, thresholds: Thresholds
) -> pl.DataFrame:
    """Each layer's distribution of D⁺ and D⁻ (Fig 5) and the pairs the thresholds keep (Fig 10).

    Args:
        features: columns ``feature_id``, ``layer``, ``kind``.
        real: [F, C] distances under the real labels.
        random: [R, F, C] distances under random labels.
        thresholds: t⁺, and t⁻ unless the statistic is unsigned (then there are no "-" rows).

    Returns:
        One row a layer and sign: ``layer``, ``sign``; ``mode``, ``low``, ``high`` of D (see
        `fnx.analysis.distributions.spread`; null if a layer has no value of this sign);
        ``pct_kept`` and ``pct_kept_random``, percent of the layer's (feature, class) pairs with
        D > t⁺ (D < t⁻), the latter the mean over the permutations; ``mode_random``,
        ``low_random``, ``high_random``, the distribution under random labels, pooled; the same six
        with ``lognormal_`` before them, of the fitted law (see
        `fnx.analysis.distributions.lognormal_spread`).
    """
    signs = [(sign, _limit(side)) for sign, side in _sides(thresholds)]
    rows = [
        _layer_row(layer, sign, threshold, real, random)
        for layer in layer_rows(features)
        for sign, threshold in signs
    ]
    numbers = [name for name in rows[0] if name not in ("layer", "sign")] if rows else []
    return pl.DataFrame(
        rows, schema={"layer": pl.String, "sign": pl.String} | dict.fromkeys(numbers, pl.Float64)
    )


def _sides(thresholds: Thresholds) -> list[tuple[Sign, Side]]:
    both: list[tuple[Sign, Side | None]] = [("+", thresholds.plus), ("-", thresholds.minus)]
    return [(sign, side) for sign, side in both if side is not None]


def _limit(side: Side) -> Threshold:
    return side.threshold if side.by_class is None else side.by_class


def _layer_row(
    layer: LayerRows, sign: Sign, threshold: Threshold, real: Distances, random: Distances
) -> dict[str, Any]:
    found = next(blocks(real, layer.rows))
    # All permutations of one layer at once: the largest array in memory here, fc6 of 1,000 classes
    # with 5 permutations, has 80 MB.
    noise = np.asarray(random[:, layer.rows])
    return {
        "layer": layer.name,
        "sign": sign,
        **_columns(spread(found, sign), "{}"),
        "pct_kept": percent_beyond(real, layer.rows, threshold, sign),
        "pct_kept_random": percent_beyond(random, layer.rows, threshold, sign),
        **_columns(spread(noise, sign), "{}_random"),
        **_columns(lognormal_spread(found, sign), "lognormal_{}"),
        **_columns(lognormal_spread(noise, sign), "lognormal_{}_random"),
    }


def _columns(found: Spread | None, called: str) -> dict[str, float | None]:
    return {
        called.format(name): getattr(found, name) if found else None
        for name in ("mode", "low", "high")
    }


def top_features_table(real: Distances, k: int) -> pl.DataFrame:
    """The k features that say most about each class, by presence (D > 0) and by absence (D < 0).

    Args:
        real: [F, C] distances.
        k: features listed for each class and sign; fewer if fewer have that sign.

    Returns:
        ``class_id`` Int32, ``sign`` "+" or "-", ``rank`` Int32 from 1, ``feature_id`` Int64,
        ``distance`` Float32. Equal distances are ranked by feature id.

    >>> top_features_table(np.float32([[0.2], [0.9], [-0.5]]), 1).rows()
    [(0, '+', 1, 1, 0.89...), (0, '-', 1, 2, -0.5)]
    """
    n_classes = real.shape[1]
    parts: list[tuple[NDArray[Any], ...]] = []
    for start in range(0, n_classes, CLASS_BLOCK):
        columns = np.ascontiguousarray(real[:, start : start + CLASS_BLOCK].T)
        best = np.argsort(-columns, axis=1, kind="stable")[:, :k]
        worst = np.argsort(columns, axis=1, kind="stable")[:, :k]
        for row, column in enumerate(columns):
            highest, lowest = best[row], worst[row]
            highest = highest[column[highest] > 0]
            lowest = lowest[column[lowest] < 0]
            ids = np.concatenate([highest, lowest])
            ranks = np.concatenate([np.arange(len(highest)), np.arange(len(lowest))]) + 1
            negative = np.arange(len(ids)) >= len(highest)
            parts.append((np.full(len(ids), start + row), negative, ranks, ids, column[ids]))
    classes, negatives, ranks, ids, values = (
        (np.concatenate(column) for column in zip(*parts, strict=True))
        if parts
        else (np.empty(0) for _ in range(5))
    )
    return pl.DataFrame(
        {
            "class_id": pl.Series(classes, dtype=pl.Int32),
            "sign": pl.Series(np.where(negatives, "-", "+").tolist(), dtype=pl.String),
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "feature_id": pl.Series(ids, dtype=pl.Int64),
            "distance": pl.Series(values, dtype=pl.Float32),
        }
    )


def thresholds_table(thresholds: Thresholds) -> pl.DataFrame:
    """t⁺ and t⁻ (if the statistic is signed) with what they keep: the run's row of Table 3.

    Returns:
        ``sign``, ``threshold``, ``davg`` (the maximum of Eq. 4), ``kept`` and ``kept_random``
        (mean number of features a class, under real and random labels), ``spread_random`` (standard
        deviation of the latter over the permutations; null for one).
    """
    rows = [
        (sign, side.threshold, side.davg, side.kept, side.kept_random, _number(side.spread))
        for sign, side in _sides(thresholds)
    ]
    names = ("threshold", "davg", "kept", "kept_random", "spread_random")
    return pl.DataFrame(
        rows, schema={"sign": pl.String} | dict.fromkeys(names, pl.Float64), orient="row"
    )


def _number(value: float) -> float | None:
    """NaN as null: the record of a run is JSON."""
    return None if np.isnan(value) else value


def class_thresholds_table(thresholds: Thresholds, n_classes: int) -> pl.DataFrame:
    """The thresholds of each class: those of a strategy that has them by class, else the same.

    Returns:
        ``class_id`` Int32, ``t_plus`` and ``t_minus`` (null for an unsigned statistic) Float64; inf
        and -inf for a class that keeps nothing.
    """
    limits = {sign: _limit(side) for sign, side in _sides(thresholds)}

    def column(sign: Sign) -> pl.Series:
        if sign not in limits:
            return pl.Series([None] * n_classes, dtype=pl.Float64)
        return pl.Series(np.broadcast_to(limits[sign], n_classes).astype(np.float64))

    return pl.DataFrame(
        {
            "class_id": pl.Series(range(n_classes), dtype=pl.Int32),
            "t_plus": column("+"),
            "t_minus": column("-"),
        }
    )


def davg_table(thresholds: Thresholds) -> pl.DataFrame:
    """The average distance to random labels at every x (Eq. 4).

    Returns:
        ``x`` from 0, ``davg_plus`` (features with D > x) and ``davg_minus`` (with D < −x; null for
        an unsigned statistic), real minus random, mean over classes.
    """
    curve = thresholds.curve
    minus = curve.davg_minus
    return pl.DataFrame(
        {
            "x": pl.Series(np.asarray(curve.x), dtype=pl.Float64),
            "davg_plus": pl.Series(np.asarray(curve.davg_plus), dtype=pl.Float64),
            "davg_minus": pl.Series(
                [None] * len(curve.x) if minus is None else np.asarray(minus), dtype=pl.Float64
            ),
        }
    )

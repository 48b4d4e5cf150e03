"""The tables of a run: classes, layers, thresholds, d_avg, top features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.calibrated import Calibrated
from fnx.analysis.distributions import (
    Distances,
    Sign,
    Spread,
    Threshold,
    domain,
    extent,
    layer_rows,
    ranked,
)
from fnx.analysis.labelling import memberships, used
from fnx.analysis.scan import Scan, SideScan, Spreads, scan
from fnx.statistics.calibration import effective_sizes
from fnx.thresholds import Side, Thresholds


def analyse(
    images: pl.DataFrame,
    class_names: Sequence[str],
    features: pl.DataFrame,
    real: Distances,
    random: Distances,
    thresholds: Thresholds,
    top_k: int,
    neutral: float = 0.0,
    *,
    null_second_moment: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Count what the distances tell, and make a run's tables of it.

    Args:
        images: see `classes_table`.
        class_names: name of each class.
        features: ``feature_id``, ``layer``, ``unit``, ``kind``, ``constant``.
        real: [F, C] distances under the real labels.
        random: [R, F, C] distances under random labels.
        thresholds: of these distances.
        top_k: features listed for each class and sign.
        neutral: of the statistic.
        null_second_moment: (F,) see `fnx.null`; None without calibration.

    Returns:
        What a `fnx.analysis.Run` holds, by name: its arrays, its scan and its tables.
    """
    extents = extent(real, neutral), extent(random, neutral)
    classes = classes_table(images, class_names)
    calibrated, moments = None, pl.Series([None] * features.height, dtype=pl.Float64)
    if null_second_moment is not None:
        sizes = effective_sizes(classes["n_images"].to_numpy(), classes.height, used(images).height)
        known = null_second_moment, sizes, neutral
        calibrated = Calibrated(real, *known), Calibrated(random, *known)
        moments = pl.Series(null_second_moment, dtype=pl.Float64)
    scanned = scan(
        layer_rows(features), real, random, limits(thresholds), domain(*extents), calibrated
    )
    return {
        "distances": real,
        "distances_random": random,
        "extents": extents,
        "domain": scanned.domain,
        "scan": scanned,
        "images": images,
        "classes": classes.join(
            class_thresholds_table(thresholds, len(class_names)), on="class_id"
        ),
        "features": features.with_columns(null_second_moment=moments),
        "thresholds": thresholds_table(thresholds),
        "davg": davg_table(thresholds),
        "layers": layers_table(scanned),
        "top_features": top_features_table(real, top_k, neutral),
    }


def classes_table(images: pl.DataFrame, class_names: Sequence[str]) -> pl.DataFrame:
    """Return the classes and the number of their images that were used.

    Args:
        images: columns ``class_id`` (or ``class_ids``, see `fnx.analysis.labelling`) and
            ``status``; only rows with status "ok" count.
        class_names: name of each class; the index is the class id.

    Returns:
        ``class_id`` Int32, ``class_name`` String, ``n_images`` Int64.

    >>> images = pl.DataFrame({"class_id": [0, 0, 1, 1], "status": ["ok", "ok", "ok", "failed"]})
    >>> classes_table(images, ["cat", "dog"])["n_images"].to_list()
    [2, 1]
    """
    ids = memberships(used(images))["class_id"].drop_nulls().to_numpy().astype(np.int64)
    counts = np.bincount(ids, minlength=len(class_names))
    return pl.DataFrame(
        {"class_id": range(len(class_names)), "class_name": class_names, "n_images": counts},
        schema={"class_id": pl.Int32, "class_name": pl.String, "n_images": pl.Int64},
    )


def layers_table(scanned: Scan) -> pl.DataFrame:
    """Return each layer's distribution of D⁺ and D⁻ (Fig 5) and the pairs kept of it (Fig 10).

    Returns:
        One row per layer and sign ("-" only for a signed statistic): ``layer``, ``sign``; ``mode``,
        ``low``, ``high`` of D (see `fnx.analysis.distributions.spread`; null if a layer has no
        value of this sign); ``pct_kept`` and ``pct_kept_random``, percent of the layer's (feature,
        class) pairs with D > t⁺ (D < t⁻), the latter over all permutations; ``mode_random``,
        ``low_random``, ``high_random``, the distribution under random labels, pooled; the same six
        with ``lognormal_`` before them, of the fitted law (see
        `fnx.analysis.distributions.lognormal_spread`); ``mean`` and ``mean_random`` of D. All
        these but ``pct_kept`` and ``pct_kept_random`` with ``calibrated_`` before them, and
        ``calibrated_pct``, ``calibrated_pct_random``, percent of the pairs whose calibrated D has
        this sign, not 0. Modes and bars are of these pairs, and lie farther out the smaller the
        classes; means are of all pairs whose D has this sign, and hardly do. Null in a run that is
        not calibrated.
    """
    rows = [
        _layer_row(scanned, i, side) for i in range(len(scanned.layers)) for side in scanned.sides
    ]
    numbers = [name for name in rows[0] if name not in ("layer", "sign")]
    return pl.DataFrame(
        rows, schema={"layer": pl.String, "sign": pl.String} | dict.fromkeys(numbers, pl.Float64)
    )


def _layer_row(scanned: Scan, i: int, side: SideScan) -> dict[str, Any]:
    pairs = scanned.layers[i].size * side.limits.size
    row: dict[str, Any] = {
        "layer": scanned.layers[i].name,
        "sign": side.sign,
        **_columns(side.spreads[i].real, "{}"),
        "pct_kept": 100 * int(side.kept[i].sum()) / pairs,
        "pct_kept_random": 100 * int(side.kept_random[i].sum()) / (pairs * scanned.n_random),
        **_spread_columns(side.spreads[i]),
    }
    sides = scanned.calibrated.sides if scanned.calibrated else []
    found = next((one for one in sides if one.sign == side.sign), None)
    names = (*_spread_columns(side.spreads[i]), "pct", "pct_random")
    calibrated: dict[str, float | None] = dict.fromkeys(names)
    if found is not None:
        calibrated |= _spread_columns(found.spreads[i])
        calibrated["pct"] = 100 * int(found.count[i]) / pairs
        calibrated["pct_random"] = 100 * int(found.count_random[i]) / (pairs * scanned.n_random)
    return row | {f"calibrated_{name}": value for name, value in calibrated.items()}


def _spread_columns(spreads: Spreads) -> dict[str, float | None]:
    return {
        **_columns(spreads.real, "{}"),
        **_columns(spreads.random, "{}_random"),
        **_columns(spreads.lognormal, "lognormal_{}"),
        **_columns(spreads.lognormal_random, "lognormal_{}_random"),
        "mean": spreads.mean,
        "mean_random": spreads.mean_random,
    }


def _columns(found: Spread | None, called: str) -> dict[str, float | None]:
    return {
        called.format(name): getattr(found, name) if found else None
        for name in ("mode", "low", "high")
    }


def _sides(thresholds: Thresholds) -> dict[Sign, Side]:
    plus: dict[Sign, Side] = {"+": thresholds.plus}
    return plus if thresholds.minus is None else plus | {"-": thresholds.minus}


def limits(thresholds: Thresholds) -> dict[Sign, Threshold]:
    """Return the threshold of each sign that there is; (C,) of a strategy with one per class."""
    return {
        sign: side.threshold if side.by_class is None else side.by_class
        for sign, side in _sides(thresholds).items()
    }


def top_features_table(real: Distances, k: int, neutral: float = 0.0) -> pl.DataFrame:
    """Return the k features that say most about each class by presence, and by absence.

    Args:
        real: [F, C] distances.
        k: features listed for each class and sign; fewer if fewer have that sign.
        neutral: of the statistic: presence lies above it, absence below.

    Returns:
        ``class_id`` Int32, ``sign`` "+" or "-", ``rank`` Int32 from 1, ``feature_id`` Int64,
        ``distance`` Float32. Equal distances are ranked by feature id.

    >>> top_features_table(np.float32([[0.2], [0.9], [-0.5]]), 1).rows()
    [(0, '+', 1, 1, 0.89...), (0, '-', 1, 2, -0.5)]
    """
    rows = [
        (class_id, *row)
        for class_id in range(real.shape[1])
        for row in ranked(np.ascontiguousarray(real[:, class_id]), k, neutral)
    ]
    schema = {
        "class_id": pl.Int32,
        "sign": pl.String,
        "rank": pl.Int32,
        "feature_id": pl.Int64,
        "distance": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def thresholds_table(thresholds: Thresholds) -> pl.DataFrame:
    """Return t⁺ and t⁻ (of a signed statistic) with what they keep: the run's row of Table 3.

    Returns:
        ``sign``, ``threshold``, ``davg`` (the maximum of Eq. 4), ``kept`` and ``kept_random``
        (mean number of features per class under real and random labels), ``spread_random``, the
        standard deviation of the latter over the permutations (null for one).
    """
    rows = [
        (sign, side.threshold, side.davg, side.kept, side.kept_random, side.spread)
        for sign, side in _sides(thresholds).items()
    ]
    numbers = ("threshold", "davg", "kept", "kept_random", "spread_random")
    schema = {"sign": pl.String} | dict.fromkeys(numbers, pl.Float64)
    # The record of a run is JSON, which has no NaN.
    return pl.DataFrame(rows, schema, orient="row").with_columns(
        pl.col("spread_random").fill_nan(None)
    )


def class_thresholds_table(thresholds: Thresholds, n_classes: int) -> pl.DataFrame:
    """Return the thresholds of each class; they differ where the strategy has one per class.

    Returns:
        ``class_id`` Int32, ``t_plus`` and ``t_minus`` (null for an unsigned statistic) Float64; inf
        and -inf for a class that keeps nothing.
    """
    known = limits(thresholds)
    return pl.DataFrame(
        {"class_id": range(n_classes), "t_plus": known["+"], "t_minus": known.get("-")},
        schema={"class_id": pl.Int32, "t_plus": pl.Float64, "t_minus": pl.Float64},
    )


def davg_table(thresholds: Thresholds) -> pl.DataFrame:
    """Return the average distance to random labels at every x (Eq. 4).

    Returns:
        ``x`` from 0, ``davg_plus`` (features with D > neutral + x) and ``davg_minus`` (with
        D < neutral − x; null for an unsigned statistic), real minus random, mean over classes.
    """
    columns = ("x", "davg_plus", "davg_minus")
    return pl.DataFrame(
        {name: getattr(thresholds.curve, name) for name in columns},
        schema=dict.fromkeys(columns, pl.Float64),
    )

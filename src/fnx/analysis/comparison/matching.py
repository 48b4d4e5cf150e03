"""Units of two networks that say the same of the same classes, found by their rows of D."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.comparison.shared import SharedClasses
from fnx.analysis.distributions import beyond, from_neutral, layer_rows
from fnx.analysis.run import Run

FEWEST_CLASSES = 4
"""Shared classes below which any two units may correlate."""

BEYOND_CHANCE = 95
"""Percentile of the best correlations by chance that a match beyond chance exceeds."""

_SEED = 0
_BLOCK = 2048  # units whose correlations are in memory at once, of each run

UNIT_COLUMNS: dict[str, Any] = {
    "layer_a": pl.String(),
    "unit_a": pl.Int32(),
    "feature_id_a": pl.Int64(),
    "layer_b": pl.String(),
    "unit_b": pl.Int32(),
    "feature_id_b": pl.Int64(),
    "correlation": pl.Float64(),
    "mutual": pl.Boolean(),
    "class_name": pl.String(),
    "distance_a": pl.Float64(),
    "distance_b": pl.Float64(),
    "kept": pl.Boolean(),
}
MATCHED_COLUMNS: dict[str, Any] = {
    **{"layer_a": pl.String(), "units": pl.Int64(), "correlation": pl.Float64()},
    **dict.fromkeys(("correlation_chance", "pct_beyond_chance", "pct_mutual"), pl.Float64()),
    **{"partner_layer": pl.String(), "pct_partner_layer": pl.Float64()},
}


def match_units(
    a: Run, b: Run, classes: SharedClasses, distance: str = "raw"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Find for each unit of a run the unit of another run whose D correlates most over the classes.

    Args:
        a: a run.
        b: another, whose units do not correspond to those of the first.
        classes: the classes of both, at least 4.
        distance: "raw" or "calibrated". If one of the statistics has no sign, |D| is taken of both.

    Returns:
        Two tables. Of the units: ``layer_a``, ``unit_a``, ``feature_id_a`` and the same of its
        partner, with ``_b``; ``correlation``, Pearson's of both rows of D over the shared classes;
        ``mutual``, whether the first is the partner's best as well; ``class_name``, the class of
        which the first says most, and the D of both, raw or calibrated, for it; ``kept``, whether
        both keep it there by the thresholds of their runs. The best come first. Units whose D is
        the same for all classes are left out.

        Of the layers of `a`: ``units``; ``correlation``, the median over them, and
        ``correlation_chance``, the same with the classes of `b` in another order;
        ``pct_beyond_chance``, percent of the units above the 95th percentile of the latter;
        ``pct_mutual``; ``partner_layer``, in which most of the partners lie, and
        ``pct_partner_layer`` that do.
    """
    magnitudes = a.signed != b.signed
    first = _rows(a, classes.columns_a, distance, magnitudes=magnitudes)
    second = _rows(b, classes.columns_b, distance, magnitudes=magnitudes)
    ours, theirs = _standardized(first), _standardized(second)
    partner, correlation, back = _best(ours, theirs)
    order = np.random.default_rng(_SEED).permutation(len(classes.names))
    chance = _best(ours, _standardized(second[:, order]))[1]
    told = np.flatnonzero(np.isfinite(correlation))
    at = np.abs(first[told]).argmax(axis=1)
    units = _unit_table(a, b, told, partner[told]).with_columns(
        correlation=correlation[told],
        mutual=back[partner[told]] == told,
        class_name=pl.Series(np.array(classes.names, object)[at], dtype=pl.String),
        distance_a=_at(a, told, classes.columns_a[at], distance),
        distance_b=_at(b, partner[told], classes.columns_b[at], distance),
        kept=_kept(a, told, classes.columns_a[at], b, partner[told], classes.columns_b[at]),
        chance=chance[told],
    )
    layers = _layer_table(a, units)
    ranked = units.sort("correlation", descending=True, maintain_order=True)
    return ranked.select([pl.col(name).cast(kind) for name, kind in UNIT_COLUMNS.items()]), layers


def _rows(
    run: Run, columns: NDArray[np.int64], distance: str, *, magnitudes: bool
) -> NDArray[np.float32]:
    """Return D less its neutral value (F, C), the infinite ones as far out as the farthest."""
    real = np.asarray(run.arrays(distance)[0])[:, columns]
    found = from_neutral(real, run.neutral).astype(np.float32)
    finite = np.abs(found[np.isfinite(found)])
    found = np.clip(found, *(np.float32([-1, 1]) * finite.max(initial=0)))
    return np.abs(found) if magnitudes else found


def _standardized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of mean 0 and length 1, whose dot products are correlations; else of NaN."""
    centred = rows.astype(np.float64)
    centred[np.ptp(rows, axis=1) == 0] = np.nan
    centred -= centred.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    return centred.astype(np.float32)


def _best(
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return the best of theirs for each of ours, the correlation, and our best for each of theirs.

    NaN where a row has no correlation.
    """
    partner, back = np.zeros(len(ours), np.int64), np.full(len(theirs), -1)
    correlation = np.full(len(ours), -np.inf, np.float32)
    best_back = np.full(len(theirs), -np.inf, np.float32)
    for start in range(0, len(ours), _BLOCK):
        rows = slice(start, start + _BLOCK)
        for other in range(0, len(theirs), _BLOCK):
            columns = slice(other, other + _BLOCK)
            found = ours[rows] @ theirs[columns].T
            found[np.isnan(found)] = -np.inf
            for axis, best, at, of, offset in (
                (1, correlation, partner, rows, other),
                (0, best_back, back, columns, start),
            ):
                highest = found.max(axis=axis)
                better = highest > best[of]
                at[of] = np.where(better, found.argmax(axis=axis) + offset, at[of])
                best[of] = np.maximum(best[of], highest)
    correlation[correlation == -np.inf] = np.nan
    return partner, np.clip(correlation, -1, 1), back


def _unit_table(a: Run, b: Run, ours: NDArray[Any], theirs: NDArray[Any]) -> pl.DataFrame:
    names = pl.col("layer", "unit", "feature_id")
    return pl.concat(
        [
            run.features.select(names.name.suffix(side))[rows]
            for run, side, rows in ((a, "_a", ours), (b, "_b", theirs))
        ],
        how="horizontal",
    )


def _at(run: Run, features: NDArray[Any], classes: NDArray[Any], distance: str) -> pl.Series:
    return pl.Series(run.arrays(distance)[0][features, classes])


def _kept(
    a: Run,
    rows_a: NDArray[Any],
    classes_a: NDArray[Any],
    b: Run,
    rows_b: NDArray[Any],
    classes_b: NDArray[Any],
) -> NDArray[np.bool_]:
    """Return which pairs of both runs are beyond the thresholds of each, by the same sign."""
    kept = np.zeros(len(rows_a), bool)
    by_sign = [
        {
            sign: beyond(run.distances[rows, classes], limits[classes], sign)
            for sign, limits in run.limits.items()
        }
        for run, rows, classes in ((a, rows_a, classes_a), (b, rows_b, classes_b))
    ]
    if a.signed != b.signed:  # without a sign, a pair is kept whichever way it speaks
        first, second = (np.logical_or.reduce(list(one.values())) for one in by_sign)
        return np.asarray(first & second)
    for sign in by_sign[0]:
        kept |= by_sign[0][sign] & by_sign[1][sign]
    return kept


def _layer_table(a: Run, units: pl.DataFrame) -> pl.DataFrame:
    """Return the table of layers; one whose units all are left out has only their number, 0."""
    rows = []
    for layer in layer_rows(a.features):
        own = units.filter(layer_a=layer.name)
        row: dict[str, Any] = {"layer_a": layer.name, "units": own.height}
        if own.height:
            limit = float(np.percentile(own["chance"], BEYOND_CHANCE))
            partners = (
                own.group_by("layer_b", maintain_order=True)
                .len()
                .sort("len", descending=True, maintain_order=True)
            )
            row |= {
                "correlation": own["correlation"].median(),
                "correlation_chance": own["chance"].median(),
                "pct_beyond_chance": 100 * float((own["correlation"] > limit).to_numpy().mean()),
                "pct_mutual": 100 * float(own["mutual"].to_numpy().mean()),
                "partner_layer": partners["layer_b"][0],
                "pct_partner_layer": 100 * partners["len"][0] / own.height,
            }
        rows.append(row)
    return pl.DataFrame(rows, schema=MATCHED_COLUMNS)

"""How far two runs of the same data set agree, layer by layer (Section 8 compares two sources).

Distances are read one layer at a time: the largest arrays are those of one layer and all classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata, wasserstein_distance

from fnx.analysis.comparison.shared import (
    Shared,
    SharedLayer,
    compared_distances,
    same_data,
    shared,
)
from fnx.analysis.distributions import Sign, beyond, from_neutral, spread
from fnx.analysis.run import Run

_HEAD = dict.fromkeys(("run_a", "run_b", "by", "distance"), pl.String())
_SIGNS: tuple[tuple[Sign, str], ...] = (("+", "plus"), ("-", "minus"))

_LAYER_NUMBERS = (
    *("spearman", "spearman_by_class", "mean_abs_difference", "max_abs_difference"),
    *("pct_sign_flips", "jaccard", "jaccard_plus", "jaccard_minus", "wasserstein"),
    *("mean_a", "mean_b", "mode_plus_shift", "mode_minus_shift"),
    *("pct_kept_a", "pct_kept_b", "spearman_classes"),
)
LAYER_COLUMNS: dict[str, Any] = {
    **_HEAD,
    **dict.fromkeys(("layer", "kind"), pl.String()),
    **dict.fromkeys(("units_a", "units_b"), pl.Int64()),
    **dict.fromkeys(_LAYER_NUMBERS, pl.Float64()),
    "note": pl.String(),
}

_LIMITS = tuple(f"t_{name}_{of}" for _, name in _SIGNS for of in ("a", "b", "shift"))
PAIR_COLUMNS: dict[str, Any] = {
    **_HEAD,
    **dict.fromkeys(("same_scale", "magnitudes"), pl.Boolean()),
    **dict.fromkeys(("classes", "layers", "features"), pl.Int64()),
    **dict.fromkeys((*_LIMITS, "spearman", "spearman_lowest"), pl.Float64()),
    "lowest_layer": pl.String(),
    **dict.fromkeys(("jaccard", "wasserstein", "mean_change", "spearman_layers"), pl.Float64()),
    "note": pl.String(),
}


def comparable_pairs(runs: Sequence[Run], reference: int | None = None) -> list[tuple[int, int]]:
    """Return the pairs of runs (by index) that are of the same data set, in order.

    With the index of a reference, all others are compared with that run; else each with each.
    """
    pairs: Iterable[tuple[int, int]] = combinations(range(len(runs)), 2)
    if reference is not None:
        pairs = ((reference, i) for i in range(len(runs)) if i != reference)
    return [(i, j) for i, j in pairs if same_data(runs[i], runs[j])]


def agreement(
    runs: Sequence[Run],
    labels: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    progress: Callable[[int], object] = lambda layers: None,
    distance: str = "auto",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compare runs two by two.

    Args:
        runs: those that `pairs` index.
        labels: what each run is called in the tables.
        pairs: indices of runs, as of `comparable_pairs`.
        progress: called with 1 after each pair.
        distance: see `fnx.analysis.comparison.shared.compared_distances`, which is asked about each
            pair.

    Returns:
        Two tables. One row a pair and ``distance``, "raw" or "calibrated" (what is kept is decided
        by raw ones in either): what is shared (``by`` "unit", "distribution" or "nothing";
        ``classes``, ``layers``, ``features`` of the first run), the thresholds and their shift
        (second run less first; null without a common scale), ``spearman``, ``jaccard`` and
        ``wasserstein`` (medians over layers), ``mean_change`` (of the layers' mean |D| from the
        first run to the second, percent, median), ``spearman_lowest`` in ``lowest_layer``,
        ``spearman_layers`` (rank correlation over layers of the percentage kept: do the same layers
        speak?), ``note``. And one row a pair, distance and layer: see `layer_agreement`.
    """
    pair_rows: list[dict[str, Any]] = []
    layer_rows: list[dict[str, Any]] = []
    for i, j in pairs:
        a, b = runs[i], runs[j]
        common = shared(a, b)
        layers = common.layers if common.class_names else ()
        by = "nothing" if not layers else "unit" if common.by_unit else "distribution"
        chosen, why = compared_distances([a, b], distance)
        note = " ".join([*common.notes, why] if why else common.notes)
        for one in chosen:
            head = (labels[i], labels[j], by, one)
            same = dict(zip(_HEAD, head, strict=True)) | {"note": note}
            rows = [layer_agreement(a, b, common, layer, one) for layer in layers]
            layer_rows += [same | row for row in rows]
            pair_rows.append(same | _pair(a, b, common, rows))
        progress(1)
    return (
        pl.DataFrame(pair_rows, schema=PAIR_COLUMNS),
        pl.DataFrame(layer_rows, schema=LAYER_COLUMNS),
    )


def layer_agreement(
    a: Run, b: Run, common: Shared, layer: SharedLayer, distance: str = "raw"
) -> dict[str, Any]:
    """Compare two runs in one layer, by their "raw" or "calibrated" distances D.

    Returns:
        ``spearman``: rank correlation of D over the (feature, class) pairs; ``spearman_by_class``:
        the same over the features of a class, mean over classes; ``mean_abs_difference`` and
        ``max_abs_difference`` of D; ``pct_sign_flips``: pairs that one tells by presence and the
        other by absence, in percent; ``jaccard``: pairs that both keep over pairs that either keeps
        (a pair counts once for each sign), and apart for each sign. These only where features
        correspond.

        ``wasserstein``: mean distance between the sorted D of both; ``mean_a``, ``mean_b``: of the
        finite |D| (about a neutral value that is not 0, |D - neutral|); ``mode_plus_shift`` and
        ``mode_minus_shift``: of the modes of D⁺ and D⁻ (Fig 5); ``pct_kept_a``, ``pct_kept_b``:
        pairs whose raw D is beyond the thresholds of each run, in percent; ``spearman_classes``:
        rank correlation over classes of the number of features kept. What does not apply is missing
        or None; infinite distances have ranks, but no differences.
    """
    first = _block(a, layer.rows_a, common.classes_a)
    second = _block(b, layer.rows_b, common.classes_b)
    kept_a, kept_b = _kept(a, first, common.classes_a), _kept(b, second, common.classes_b)
    either_a, either_b = np.logical_or.reduce(kept_a), np.logical_or.reduce(kept_b)
    if distance != "raw":
        first = _block(a, layer.rows_a, common.classes_a, distance)
        second = _block(b, layer.rows_b, common.classes_b, distance)
    row: dict[str, Any] = {
        "layer": layer.name,
        "kind": layer.kind,
        "units_a": len(layer.rows_a),
        "units_b": len(layer.rows_b),
        "pct_kept_a": 100 * float(either_a.mean()),
        "pct_kept_b": 100 * float(either_b.mean()),
        "spearman_classes": spearman(either_a.sum(axis=0), either_b.sum(axis=0)),
    }
    if common.same_scale:
        row["wasserstein"] = wasserstein(first.ravel(), second.ravel())
        row |= {"mean_a": _mean(first, a.neutral), "mean_b": _mean(second, b.neutral)}
        for sign, name in _SIGNS:
            of_a, of_b = spread(first, sign, a.neutral), spread(second, sign, b.neutral)
            if of_a and of_b:
                row[f"mode_{name}_shift"] = _number(of_b.mode - of_a.mode)
    if common.by_unit:
        if not (a.signed and b.signed):  # without sign, a pair is kept whichever way it speaks
            row["jaccard"] = _jaccard(either_a, either_b)
        else:
            row["jaccard"] = _jaccard(kept_a, kept_b)
            for i, (_, name) in enumerate(_SIGNS):
                row[f"jaccard_{name}"] = _jaccard(kept_a[i], kept_b[i])
            flips = ((first > a.neutral) & (second < b.neutral)) | (
                (first < a.neutral) & (second > b.neutral)
            )
            row["pct_sign_flips"] = 100 * float(flips.mean())
        if common.same_scale:
            both = np.isfinite(first) & np.isfinite(second)
            difference = np.abs(first[both] - second[both])
            if difference.size:
                row["mean_abs_difference"] = float(difference.mean(dtype=np.float64))
                row["max_abs_difference"] = float(difference.max())
        if common.magnitudes:
            first = np.abs(from_neutral(first, a.neutral))
            second = np.abs(from_neutral(second, b.neutral))
        row["spearman"] = spearman(first.ravel(), second.ravel())
        of_classes = [spearman(x, y) for x, y in zip(first.T, second.T, strict=True)]
        row["spearman_by_class"] = _over(np.mean, of_classes)
    return row


def spearman(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """Return Spearman's rank correlation; ties have their mean rank, pairs with NaN are left out.

    Returns:
        None for fewer than three pairs, or if all values of one side are equal.

    >>> spearman(np.array([1, 2, 3]), np.array([1.0, 9.0, np.inf]))
    1.0
    """
    known = ~(np.isnan(x) | np.isnan(y))
    if known.sum() < 3:
        return None
    first, second = (rankdata(values[known]) for values in (x, y))
    first -= first.mean()
    second -= second.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return min(1.0, max(-1.0, float(first @ second) / norm)) if norm else None


def wasserstein(x: NDArray[np.float32], y: NDArray[np.float32]) -> float | None:
    """Return the first Wasserstein distance of two samples' finite values; None if one has none.

    >>> wasserstein(np.float32([0, 1]), np.float32([1, 2]))
    1.0
    """
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if not x.size or not y.size:
        return None
    if x.size == y.size:  # far less memory than the general case
        return float(np.abs(np.sort(x) - np.sort(y)).mean(dtype=np.float64))
    return float(wasserstein_distance(x, y))


def _mean(distances: NDArray[np.float32], neutral: float) -> float | None:
    """Return the mean finite |D|, None if there is none."""
    finite = from_neutral(distances[np.isfinite(distances)], neutral)
    return float(np.abs(finite).mean(dtype=np.float64)) if finite.size else None


def _block(
    run: Run, rows: NDArray[np.int64], classes: NDArray[np.int64], distance: str = "raw"
) -> NDArray[np.float32]:
    """Read the distances of some features, which lie close together, and some classes."""
    low = int(rows.min())
    block = np.asarray(run.arrays(distance)[0][low : int(rows.max()) + 1])
    return block[np.ix_(rows - low, classes)]


def _kept(run: Run, values: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs pass t⁺ and which t⁻ (where there is one) of their run, (signs, F, C)."""
    return np.stack([beyond(values, run.limits[sign][classes], sign) for sign in run.limits])


def _jaccard(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float | None:
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else None


def _over(mean: Callable[[list[float]], Any], values: Iterable[float | None]) -> float | None:
    """Return a mean of the values that are known, None if there are none."""
    known = [value for value in values if value is not None]
    return float(mean(known)) if known else None


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _pair(a: Run, b: Run, common: Shared, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "same_scale": common.same_scale,
        "magnitudes": common.magnitudes,
        "classes": len(common.class_names),
        "layers": len(common.layers),
        "features": sum(len(layer.rows_a) for layer in common.layers),
        "spearman_layers": spearman(
            *(np.array([row[f"pct_kept_{side}"] for row in rows], np.float64) for side in "ab")
        ),
    }
    for sign, name in _SIGNS:
        of_a, of_b = ((run.threshold(sign) or {}).get("threshold") for run in (a, b))
        row |= {f"t_{name}_a": of_a, f"t_{name}_b": of_b}
        if common.same_scale and of_a is not None and of_b is not None:
            row[f"t_{name}_shift"] = _number(of_b - of_a)
    row["mean_change"] = _over(
        np.median,
        (
            100 * (one["mean_b"] / one["mean_a"] - 1)
            for one in rows
            if one.get("mean_a") and one["mean_b"] is not None
        ),
    )
    for name in ("spearman", "jaccard", "wasserstein"):
        row[name] = _over(np.median, (layer.get(name) for layer in rows))
    ranked = [layer for layer in rows if layer.get("spearman") is not None]
    if ranked:
        lowest = min(ranked, key=lambda layer: float(layer["spearman"]))
        row |= {"spearman_lowest": lowest["spearman"], "lowest_layer": lowest["layer"]}
    return row


def joint_counts(
    a: Run,
    b: Run,
    common: Shared,
    edges_a: NDArray[np.float64],
    edges_b: NDArray[np.float64],
    distance: str = "raw",
) -> NDArray[np.int64]:
    """Count the shared (feature, class) pairs with a D in each bin of both runs, [A, B].

    `distance` is "raw" or "calibrated".

    Raises:
        ValueError: if the features of the two runs do not correspond.
    """
    if not common.by_unit:
        raise ValueError("features of networks trained apart do not correspond")
    counts = np.zeros((len(edges_a) - 1, len(edges_b) - 1), np.int64)
    for layer in common.layers:
        first = _block(a, layer.rows_a, common.classes_a, distance).ravel()
        second = _block(b, layer.rows_b, common.classes_b, distance).ravel()
        counts += np.histogram2d(first, second, bins=(edges_a, edges_b))[0].astype(np.int64)
    return counts

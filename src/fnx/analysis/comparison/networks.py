"""Different networks on the same images: their layers by CKA, their units by their D over classes.

Images are the same if their files' contents are, whatever their names, labels and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.comparison.cka import layer_similarity
from fnx.analysis.comparison.matching import (
    FEWEST_CLASSES,
    MATCHED_COLUMNS,
    UNIT_COLUMNS,
    match_units,
)
from fnx.analysis.comparison.shared import (
    SharedClasses,
    classes_by_name,
    compared_distances,
    same_data,
    same_weights,
)
from fnx.analysis.distributions import layer_rows
from fnx.analysis.labelling import memberships, used
from fnx.analysis.run import Run
from fnx.errors import DataError

MOST_IMAGES = 2000
"""Images that CKA is measured on; of more, so many chosen by their digests."""

FEWEST_IMAGES = 10
"""Shared images below which nothing is compared."""

_RUNS = {"run_a": pl.String(), "run_b": pl.String()}
_LAYERS = {"layer_a": pl.String(), "layer_b": pl.String()}
CKA_COLUMNS: dict[str, Any] = {**_RUNS, **_LAYERS, "cka": pl.Float64()}
PAIR_COLUMNS: dict[str, Any] = {
    **_RUNS,
    **dict.fromkeys(("images", "images_used", "classes"), pl.Int64()),
    **_LAYERS,
    **dict.fromkeys(("cka", "cka_last"), pl.Float64()),
    "distance": pl.String(),
    "units": pl.Int64(),
    **dict.fromkeys(("correlation", "pct_beyond_chance"), pl.Float64()),
    "note": pl.String(),
}


@dataclass(frozen=True)
class Networks:
    """What different networks make of the same images.

    Attributes:
        pairs: one row for two runs: ``run_a``, ``run_b``; ``images`` of both, of which CKA
            is measured on ``images_used``, and ``classes`` of both; the most alike layers,
            ``layer_a`` and ``layer_b``, with their ``cka``; ``cka_last`` of the last layers; the
            ``distance`` by which ``units`` of the first were matched, "raw" or "calibrated", the
            median ``correlation`` with their partners and ``pct_beyond_chance``; ``note``.
        cka: one row for two layers: ``run_a``, ``run_b``, ``layer_a``, ``layer_b``, ``cka``.
        layers: ``run_a``, ``run_b``, and see `fnx.analysis.comparison.matching.match_units`.
        units: likewise.
    """

    pairs: pl.DataFrame
    cka: pl.DataFrame
    layers: pl.DataFrame
    units: pl.DataFrame


@dataclass(frozen=True)
class SharedImages:
    """The images of both of two runs, in order of their digests: their rows in each embedding."""

    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.rows_a)


def networks(
    runs: Sequence[Run],
    labels: Sequence[str],
    open_features: Callable[[Run], Any],
    pairs: Sequence[tuple[int, int]] | None = None,
    distance: str = "auto",
    progress: Callable[[int], object] = lambda pairs: None,
) -> Networks:
    """Compare runs of different embeddings two by two, where they have images in common.

    Args:
        runs: all of them.
        labels: what each is called in the tables.
        open_features: returns the features (N, F) of a run; raises DataError where they are gone.
        pairs: indices of runs; default those of `network_pairs`.
        distance: see `fnx.analysis.comparison.shared.compared_distances`.
        progress: called with 1 after each pair.
    """
    parts: dict[str, list[pl.DataFrame]] = {"cka": [], "layers": [], "units": []}
    rows = []
    for i, j in network_pairs(runs) if pairs is None else pairs:
        row, found = _compare(runs[i], runs[j], (labels[i], labels[j]), open_features, distance)
        named = {"run_a": labels[i], "run_b": labels[j]}
        rows.append(named | row)
        for name, table in found.items():
            parts[name].append(table.select(*(pl.lit(v).alias(k) for k, v in named.items()), "*"))
        progress(1)
    empty = {"cka": CKA_COLUMNS, "layers": _RUNS | MATCHED_COLUMNS, "units": _RUNS | UNIT_COLUMNS}
    tables = {name: pl.concat([pl.DataFrame(schema=empty[name]), *parts[name]]) for name in empty}
    return Networks(pairs=pl.DataFrame(rows, schema=PAIR_COLUMNS), **tables)


def network_pairs(runs: Sequence[Run], reference: int | None = None) -> list[tuple[int, int]]:
    """Return the pairs of runs (by index) whose embeddings differ and are of the same images.

    Of several runs of the same two embeddings, the first pair. Pairs of one data set, by its name,
    are among them where it is not known which images they have. With the index of a reference, all
    others are compared with that run; else each with each.
    """
    pairs: Iterable[tuple[int, int]] = combinations(range(len(runs)), 2)
    if reference is not None:
        pairs = ((reference, i) for i in range(len(runs)) if i != reference)
    found, known = [], set()
    for i, j in pairs:
        marks = frozenset(runs[k].record.fingerprint or str(runs[k].path) for k in (i, j))
        if len(marks) == 1 or marks in known:
            continue
        a, b = runs[i], runs[j]
        if _without_digests(a, b):
            comparable = same_data(a, b)
        else:
            comparable = shared_images(a, b).count >= FEWEST_IMAGES
        if comparable:
            known.add(marks)
            found.append((i, j))
    return found


def _without_digests(*runs: Run) -> list[Run]:
    return [run for run in runs if "digest" not in run.images.columns or run.of_array]


def shared_images(a: Run, b: Run) -> SharedImages:
    """Find the images whose files have the same contents in both runs, each content once."""
    first, second = (
        used(run.images)
        .select("digest", row=pl.int_range(pl.len(), dtype=pl.Int64))
        .drop_nulls("digest")
        .unique("digest", keep="first", maintain_order=True)
        for run in (a, b)
    )
    both = first.join(second, on="digest").sort("digest")
    return SharedImages(both["row"].to_numpy(), both["row_right"].to_numpy())


def shared_classes(a: Run, b: Run, images: SharedImages) -> SharedClasses:
    """Find the classes that two runs share: those of the same shared images, then of the same name.

    Renamed and reordered classes are the same; a class of which a few images were labelled anew is
    found by its name.
    """
    sets_a, sets_b = _image_sets(a, images.rows_a), _image_sets(b, images.rows_b)
    names_a, names_b = (run.classes["class_name"].to_list() for run in (a, b))
    pairs: dict[int, int] = {}
    free = dict.fromkeys(sets_b)
    for own, held in sets_a.items():
        same = [other for other in free if sets_b[other] == held]
        if same:
            named = [other for other in same if names_b[other] == names_a[own]]
            pairs[own] = (named or same)[0]
            del free[pairs[own]]
    taken = set(pairs.values())
    by_name = classes_by_name(a, b)
    for own, other in zip(by_name.columns_a.tolist(), by_name.columns_b.tolist(), strict=True):
        if own not in pairs and other not in taken:
            pairs[own] = other
    columns = sorted(pairs)
    return SharedClasses(
        tuple(names_a[own] for own in columns),
        np.array(columns, np.int64),
        np.array([pairs[own] for own in columns], np.int64),
    )


def _image_sets(run: Run, rows: NDArray[np.int64]) -> dict[int, frozenset[int]]:
    """Return, of each class, which of the shared images it has; not of a class without any."""
    table = memberships(used(run.images)[rows].with_row_index("shared")).drop_nulls("class_id")
    grouped = table.group_by("class_id", maintain_order=True).agg("shared").sort("class_id")
    return {class_id: frozenset(shared) for class_id, shared in grouped.iter_rows()}


def _compare(
    a: Run,
    b: Run,
    labels: tuple[str, str],
    open_features: Callable[[Run], Any],
    distance: str,
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Return the row of two runs, and their tables "cka", "layers" and "units" where there are."""
    without = [label for label, run in zip(labels, (a, b), strict=True) if _without_digests(run)]
    if without:
        note = (
            f"It is not known which images {' and '.join(without)} had (an array, or a run of an"
            " older version): fnx.cka compares two arrays whose rows correspond."
        )
        return {"note": note}, {}
    images = shared_images(a, b)
    classes = shared_classes(a, b, images)
    row: dict[str, Any] = {"images": images.count, "classes": len(classes.names)}
    found: dict[str, pl.DataFrame] = {}
    notes: list[str] = []
    gone: list[str] = []
    features: list[Any] = []
    for label, run in zip(labels, (a, b), strict=True):
        try:
            features.append(open_features(run))
        except DataError as error:
            gone.append(f"{label}: {error}")
    if gone:
        notes.append(f"No CKA: {'; '.join(gone)}. The command of the run extracts it again.")
    else:
        found["cka"] = table = _cka_table(a, b, images, features)
        row |= {"images_used": min(images.count, MOST_IMAGES), "cka_last": table["cka"][-1]}
        row |= table.fill_nan(None).top_k(1, by="cka").row(0, named=True)
    if same_weights(a, b):
        notes.append("The weights are the same: units correspond by their numbers.")
    elif len(classes.names) < FEWEST_CLASSES:
        notes.append(f"Units are not matched: that needs at least {FEWEST_CLASSES} shared classes.")
    else:
        row["distance"] = compared_distances([a, b], distance)[0][-1]
        found["units"], found["layers"] = match_units(a, b, classes, row["distance"])
        row["units"] = found["units"].height
        row["correlation"] = found["units"]["correlation"].median()
        share = pl.col("pct_beyond_chance").dot("units") / pl.col("units").sum()
        row["pct_beyond_chance"] = found["layers"].fill_null(0).select(share).item()
    return row | {"note": " ".join(notes)}, found


def _cka_table(a: Run, b: Run, images: SharedImages, features: Sequence[Any]) -> pl.DataFrame:
    of_a, of_b = layer_rows(a.features), layer_rows(b.features)
    found = layer_similarity(
        features[0],
        [layer.rows for layer in of_a],
        images.rows_a[:MOST_IMAGES],
        features[1],
        [layer.rows for layer in of_b],
        images.rows_b[:MOST_IMAGES],
    )
    return pl.DataFrame(
        {
            "layer_a": np.repeat([layer.name for layer in of_a], len(of_b)),
            "layer_b": [layer.name for layer in of_b] * len(of_a),
            "cka": found.ravel(),
        }
    ).fill_nan(None)

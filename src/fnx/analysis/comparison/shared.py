"""What two runs have in common, and so what of them can be compared, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import layer_rows
from fnx.analysis.run import Run

SCALES = {"ks_exact": "ks"}
"""Statistics that measure on the scale of another one."""

_LISTED = 3


@dataclass(frozen=True)
class SharedLayer:
    """A layer of both runs, and the rows of the compared features in each.

    Where features are compared one by one, the rows of both runs stand for the same units, in the
    same order; else they are the whole layer.
    """

    name: str
    kind: str
    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]


@dataclass(frozen=True)
class SharedClasses:
    """The classes of both of two runs, and their columns in the distances of each."""

    names: tuple[str, ...]
    columns_a: NDArray[np.int64]
    columns_b: NDArray[np.int64]


@dataclass(frozen=True)
class Shared:
    """What two runs have in common.

    Attributes:
        by_unit: whether a feature of one run is the same feature of the other: only with the same
            weights; unit numbers of networks that were trained apart mean nothing to each other.
        same_scale: whether a distance of one run can be subtracted from one of the other.
        magnitudes: whether |D| is compared, for one of the statistics has no sign.
        class_names: the shared classes.
        classes_a, classes_b: their columns in the distances of each run.
        layers: the shared layers, in the order of the first run.
        notes: what a reader of the comparison must know, one sentence each.
    """

    by_unit: bool
    same_scale: bool
    magnitudes: bool
    class_names: tuple[str, ...]
    classes_a: NDArray[np.int64]
    classes_b: NDArray[np.int64]
    layers: tuple[SharedLayer, ...]
    notes: tuple[str, ...]


def same_weights(a: Run, b: Run) -> bool:
    """Return whether two runs read the same trained network, by the digest of its weights.

    The digest of random weights is only their seed, so there the network must have the same name.
    """
    first, second = (run.record.weights_digest for run in (a, b))
    if not first or first != second:
        return False
    return not first.startswith("random-") or a.model == b.model


def same_data(a: Run, b: Run) -> bool:
    """Return whether two runs are of the same data set: its name, or all names of the classes."""
    names = [Counter(run.classes["class_name"].to_list()) for run in (a, b)]
    return a.dataset == b.dataset or names[0] == names[1]


def compared_distances(runs: Sequence[Run], asked: str = "auto") -> tuple[tuple[str, ...], str]:
    """Return which distances of some runs are compared, and one sentence that says why.

    Args:
        runs: one or more.
        asked: "raw", "calibrated", "both", or "auto": "calibrated" where the runs' classes differ
            in size, else "raw".

    Returns:
        "raw", "calibrated", or both of them; only "raw" where a run is not calibrated. The sentence
        is empty where nothing needs to be said.
    """
    differ = len({tuple(sorted(run.classes["n_images"])) for run in runs}) > 1
    if asked == "raw" or (asked == "auto" and not differ):
        return ("raw",), ""
    why = "The runs' classes differ in size, and chance alone gives smaller classes larger D"
    if lacking := sum(run.calibrated is None for run in runs):
        which = f"{lacking} of the {len(runs)} runs"
        lack = f"{which} have no calibrated one (an older run, calibration=none, or the statistic)"
        return ("raw",), f"{why}; yet raw D is compared: {lack}." if differ else f"{lack}."
    if not differ:
        return ("raw", "calibrated") if asked == "both" else ("calibrated",), ""
    if asked == "both":
        return ("raw", "calibrated"), f"{why}; it hardly enlarges calibrated D."
    return ("calibrated",), f"{why}: calibrated D is compared, which it hardly enlarges."


def shared(a: Run, b: Run) -> Shared:
    """Find the classes (by name), layers (by name) and features (by unit) that two runs share."""
    by_unit = same_weights(a, b)
    scales = [SCALES.get(run.statistic, run.statistic) for run in (a, b)]
    magnitudes = a.signed != b.signed
    classes = classes_by_name(a, b)
    layers = _layers(a, b, by_unit)
    notes = [*_notes_on_classes(a, b, len(classes.names)), *_notes_on_layers(a, b, layers, by_unit)]
    if scales[0] != scales[1]:
        notes.append(
            f"{a.statistic} and {b.statistic} have no common scale: only ranks and what is kept are"
            " compared."
        )
    elif a.statistic != b.statistic or a.record.statistic != b.record.statistic:
        notes.append("The two statistics measure on the same scale.")
    if magnitudes:
        signed, unsigned = (a, b) if a.signed else (b, a)
        size = f"|D − {signed.neutral:g}|" if signed.neutral else "|D|"
        notes.append(
            f"{unsigned.statistic} does not tell presence from absence: {size} of"
            f" {signed.statistic} is taken."
        )
    same_scale = scales[0] == scales[1]
    own = classes.names, classes.columns_a, classes.columns_b
    return Shared(by_unit, same_scale, magnitudes, *own, layers, tuple(notes))


def classes_by_name(a: Run, b: Run) -> SharedClasses:
    """Find the classes of the same name."""
    # Numbered within their name, for two classes may have one name (ImageNet's "crane").
    first, second = (
        run.classes.select(
            "class_name",
            number=pl.int_range(pl.len()).over("class_name"),
            column=pl.int_range(pl.len()),
        )
        for run in (a, b)
    )
    both = first.join(second, on=["class_name", "number"], maintain_order="left")
    columns = (both[name].to_numpy() for name in ("column", "column_right"))
    return SharedClasses(tuple(both["class_name"]), *columns)


def _layers(a: Run, b: Run, by_unit: bool) -> tuple[SharedLayer, ...]:
    others = {layer.name: layer.rows for layer in layer_rows(b.features)}
    units_a, units_b = (run.features["unit"].to_numpy() for run in (a, b))
    found = []
    for layer in layer_rows(a.features):
        if layer.name not in others:
            continue
        rows_a, rows_b = (
            np.arange(rows.start, rows.stop) for rows in (layer.rows, others[layer.name])
        )
        if by_unit:
            _, at_a, at_b = np.intersect1d(units_a[rows_a], units_b[rows_b], return_indices=True)
            rows_a, rows_b = rows_a[at_a], rows_b[at_b]
        if len(rows_a):
            found.append(SharedLayer(layer.name, layer.kind, rows_a, rows_b))
    return tuple(found)


def _notes_on_classes(a: Run, b: Run, n_shared: int) -> list[str]:
    if not n_shared:
        return ["No class has the same name in both: nothing is compared."]
    notes = []
    counts = (a.classes.height, b.classes.height)
    if (n_shared, n_shared) != counts:
        notes.append(
            f"{n_shared} classes shared, of {counts[0]} and {counts[1]}: only they are compared."
            " D sets a class against all others of its run, so it differs with them, too."
        )
    if a.dataset != b.dataset:
        notes.append("The classes have the same names, the data sets have not.")
    elif a.n_images != b.n_images:
        notes.append(f"Images used: {a.n_images:,} and {b.n_images:,}.")
    return notes


def _notes_on_layers(a: Run, b: Run, found: Sequence[SharedLayer], by_unit: bool) -> list[str]:
    if not found:
        return [
            "No layer has the same name in both: here only the thresholds are compared. Where the"
            " runs have images in common, layers and units of other names are compared by CKA and"
            " by their D."
        ]
    notes = []
    if not by_unit:
        notes.append(
            "The weights differ (by their digests). Unit numbers of networks trained apart do not"
            " correspond, so no feature is compared with its namesake: only the layers'"
            " distributions of D, and how many features each class keeps."
        )
    sizes = [Counter(run.features["layer"].to_list()) for run in (a, b)]
    for these, others, which in ((*sizes, "first"), (*reversed(sizes), "second")):
        alone = [name for name in these if name not in others]
        if alone:
            listed = ", ".join(alone[:_LISTED]) + (", …" if len(alone) > _LISTED else "")
            count = f"{len(alone)} layer{'s' if len(alone) > 1 else ''}"
            notes.append(f"{count} of the {which} run alone, not compared: {listed}.")
    if by_unit:
        partly = [
            layer.name
            for layer in found
            if not sizes[0][layer.name] == sizes[1][layer.name] == len(layer.rows_a)
        ]
        if partly:
            notes.append(f"Only the shared units are compared in: {', '.join(partly[:_LISTED])}.")
    return notes

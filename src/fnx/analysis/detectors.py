"""Detectors: single features and cuts that tell a class from all others, judged on unseen rows.

The distance D of a Kolmogorov-Smirnov statistic is Youden's J = recall - false-positive rate at its
best cut, so every feature is a rule already. The best of thousands is the best partly by luck:
feature and cut are therefore chosen anew without each fold of the rows, and judged on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fnx.analysis.folds import ALWAYS_TRAINED, assign_folds
from fnx.errors import ConfigError
from fnx.registry import load_installed, statistics
from fnx.statistics.calibration import calibrate
from fnx.statistics.columns import Columns, open_columns
from fnx.statistics.engine import each_block
from fnx.statistics.labels import Labels
from fnx.statistics.null import null
from fnx.statistics.tiles import Task, group, prepare
from fnx.utils.memory import available_memory
from fnx.utils.progress import progress_bar

SCHEMA = {
    "class_id": pl.Int32,
    "class_name": pl.String,
    "rank": pl.Int32,
    "feature_id": pl.Int64,
    "layer": pl.String,
    "unit": pl.Int32,
    "sign": pl.String,
    "cut": pl.Float64,
    "D": pl.Float64,
    "D_cal": pl.Float64,
    "j_heldout": pl.Float64,
    "recall": pl.Float64,
    "false_positive_rate": pl.Float64,
    "folds_agreeing": pl.Float64,
}
_BYTES_AT_ONCE = 1 << 30  # of the chosen features' values
_MEMORY_SHARE = 0.25  # of what is free, at most


class Embedded(Protocol):
    """What detectors are found in: a `fnx.Embedding` or anything with its attributes."""

    @property
    def features(self) -> Any:
        """(N, F) values."""

    @property
    def labels(self) -> NDArray[Any]:
        """(N,) class of each row."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes."""

    @property
    def feature_table(self) -> pl.DataFrame:
        """``layer``, ``unit`` of each feature."""


@dataclass(frozen=True)
class Rule:
    """A feature is beyond a cut: above it (sign +1) or not above it (sign -1)."""

    feature: int
    cut: float
    sign: int

    def fires(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return for which values the rule holds."""
        above: NDArray[np.bool_] = values > self.cut
        return above if self.sign > 0 else ~above


def detectors(
    embedding: Embedded,
    *,
    folds: int = 5,
    select: str = "auroc",
    per_class: int = 1,
    groups: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pl.DataFrame:
    """Find for each class the features that detect it best alone, and how well on unseen rows.

    A feature is chosen by `select`, its cut by Youden's J, both on all rows. ``j_heldout``,
    ``recall`` and ``false_positive_rate`` are those of the whole procedure: chosen without a fold
    of the rows, counted on it, summed over the folds. They are what to expect of new rows; D, of
    the same rows that it was chosen by, is too good.

    Args:
        embedding: `fnx.Embedding`, or anything with its ``features`` (N, F), ``labels`` (N,), or
            bool (N, C) of concepts, ``class_names`` and ``feature_table``.
        folds: parts of the rows, 2 or more; classes are spread over them evenly.
        select: name of the statistic by which features are chosen: the one farthest from the
            neutral value. For few rows per class ``auroc`` chooses better than ``ks``.
        per_class: features per class, best first; at most all.
        groups: (N,) rows of one group (a patient, a video, a document) are never divided.
        seed: of the folds.
        progress: whether to show a progress bar when it takes longer than a second.

    Returns:
        One row per class and rank: ``class_id``, ``class_name``, ``rank`` (from 1),
        ``feature_id``, ``layer``, ``unit``; ``sign`` "+" where rows above ``cut`` are taken for
        the class, "-" where those at or below are; ``D`` = J of all rows, negative for "-", and
        ``D_cal`` (see `fnx.calibrate`); the three held-out numbers, null for a class whose rows
        are all in one group; ``folds_agreeing``, the share of folds that choose the same feature.

    Raises:
        ConfigError: an unknown statistic, or a number that is too small.
        DataError: see `fnx.distances`; groups of another number of rows.
    """
    load_installed()
    for name, value, least in (("folds", folds, 2), ("per_class", per_class, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name}={value!r}: must be an integer of {least} or more")
    n_classes = len(embedding.class_names)
    labels = _labelling(embedding, n_classes)
    columns = open_columns(embedding.features)
    per_class = min(per_class, columns.n_columns)
    part = assign_folds(labels, folds, groups=groups, seed=seed)
    trained = [part != fold for fold in np.unique(part[part != ALWAYS_TRAINED])]
    selections = [*trained, np.ones(columns.n_rows, np.bool_)]  # the last choice is that of all
    chosen = _choose(columns, labels, n_classes, select, per_class, selections, progress)
    counts = np.zeros((n_classes, per_class, 2, 2), np.int64)  # of others and own: fired, held out
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for features in _portions(np.unique(chosen), columns):
        values = _read(columns, features)
        exact = null(
            values, labels, statistic="ks_exact", method="bridge", seed=seed, progress=progress
        )
        for number, feature in enumerate(features):
            column = values[:, number]
            for selection, class_id, rank in np.argwhere(chosen == feature):
                train, inner = selections[selection], labels.has(class_id)
                rule = best_rule(int(feature), column[train], inner[train])
                fired = rule.fires(column)
                if selection < len(trained):
                    for own in (0, 1):
                        held_out = fired[~train & (inner == bool(own))]
                        counts[class_id, rank, own] += held_out.sum(), held_out.size
                    continue
                distance = rule.sign * (fired[inner].mean() - fired[~inner].mean())
                moment, size = exact.second_moment[[number]], [inner.sum()]
                calibrated = calibrate(
                    np.array([[distance]]), moment, size, n_images=columns.n_rows
                )
                found[int(class_id), int(rank)] = {
                    "feature_id": rule.feature,
                    "layer": embedding.feature_table["layer"][rule.feature],
                    "unit": embedding.feature_table["unit"][rule.feature],
                    "sign": "+" if rule.sign > 0 else "-",
                    "cut": rule.cut,
                    "D": distance,
                    "D_cal": float(calibrated[0, 0]),
                }
    agreeing = (chosen[:-1] == chosen[-1]).mean(axis=0) if trained else None
    rows = []
    for (class_id, rank), row in sorted(found.items()):
        known = counts[class_id, rank, :, 1].all()
        false, recall = counts[class_id, rank, :, 0] / np.maximum(counts[class_id, rank, :, 1], 1)
        head = {
            "class_id": class_id,
            "class_name": embedding.class_names[class_id],
            "rank": rank + 1,
        }
        judged = {
            "j_heldout": recall - false if known else None,
            "recall": recall if known else None,
            "false_positive_rate": false if known else None,
            "folds_agreeing": None if agreeing is None else agreeing[class_id, rank],
        }
        rows.append(head | row | judged)
    return pl.DataFrame(rows, SCHEMA)


def _labelling(embedding: Embedded, n_classes: int) -> Labels:
    """Return the classes, or the concepts, of the rows."""
    given = np.asarray(embedding.labels)
    return Labels.of_table(given) if given.ndim == 2 else Labels(given, n_classes)


def best_rule(feature: int, values: NDArray[Any], inner: NDArray[np.bool_]) -> Rule:
    """Return the cut with the highest Youden's J; the lowest such cut of equal ones.

    Args:
        feature: its number.
        values: (N,) of the feature.
        inner: (N,) which rows are of the class.

    >>> best_rule(0, np.array([1.0, 2.0, 5.0, 6.0]), np.array([False, False, True, True]))
    Rule(feature=0, cut=3.5, sign=1)
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.float64)
    ends = np.flatnonzero(ordered[1:] != ordered[:-1])  # of equal values, but the last
    if not ends.size:
        return Rule(feature, np.inf, 1)  # a constant feature detects nothing
    own = np.cumsum(inner[order])[ends]
    n_inner = int(inner.sum())
    n_outer = inner.size - n_inner
    # Whole numbers, so that equal cuts are equal: n_inner n_outer (F_outer - F_inner).
    gap = (ends + 1 - own) * n_inner - own * n_outer
    best = int(np.argmax(np.abs(gap)))
    low, high = ordered[ends[best]], ordered[ends[best] + 1]
    middle = low + (high - low) / 2
    return Rule(feature, float(middle if middle < high else low), 1 if gap[best] > 0 else -1)


def _choose(
    columns: Columns,
    labels: Labels,
    n_classes: int,
    select: str,
    per_class: int,
    selections: Sequence[NDArray[np.bool_]],
    progress: bool,
) -> NDArray[np.int64]:
    """Choose the features of each class by some rows: int64 (selections, C, per_class), best first.

    All selections of rows are served by one pass over the features.
    """
    entry = statistics.get(select)
    tasks: list[Task] = [
        prepare(
            entry, None, group(labels.codes[None, rows], int(rows.sum()), n_classes, labels.sets)
        )
        for rows in selections
    ]
    scores = np.full((len(selections), n_classes, per_class), -1.0)
    chosen = np.full(scores.shape, columns.n_columns, np.int64)
    lock = threading.Lock()

    def keep(number: int, start: int, distances: NDArray[np.float32], _: NDArray[np.bool_]) -> None:
        """Keep the best of those that were and the distances (1, features, C) from `start` on."""
        found = np.abs(distances[0].T.astype(np.float64) - entry.neutral)
        ids = np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)
        with lock:
            all_scores = np.concatenate([scores[number], found], 1)
            all_ids = np.concatenate([chosen[number], ids], 1)
            # Of equal scores the lowest id, whatever block came first.
            best = np.lexsort((all_ids, -all_scores), 1)[:, :per_class]
            scores[number] = np.take_along_axis(all_scores, best, 1)
            chosen[number] = np.take_along_axis(all_ids, best, 1)

    def work(start: int, stop: int) -> None:
        block = columns.block(start, stop)  # which stays sparse, and of whose rows some are taken
        for number, (task, rows) in enumerate(zip(tasks, selections, strict=True)):
            task.run(block[rows], start, partial(keep, number))

    total = columns.n_columns
    with progress_bar(
        f"detectors ({entry.name})", total=total, unit="features", delay=1.0, enabled=progress
    ) as bar:
        each_block(columns, work, progress=bar.update)
    return chosen


def _portions(features: NDArray[np.int64], columns: Columns) -> list[NDArray[np.int64]]:
    """Cut features into parts whose values fit in the memory that is taken at a time."""
    budget = min(_BYTES_AT_ONCE, int(_MEMORY_SHARE * available_memory()))
    some = max(1, budget // (columns.n_rows * columns.dtype.itemsize))
    return [features[start : start + some] for start in range(0, features.size, some)]


def _read(columns: Columns, features: NDArray[np.int64]) -> NDArray[Any]:
    """Return some columns, (N, features), each block read once."""
    values = np.empty((columns.n_rows, features.size), columns.dtype)
    for start, stop in columns.blocks():
        inside = np.flatnonzero((features >= start) & (features < stop))
        if inside.size:
            values[:, inside] = columns.read(start, stop)[:, features[inside] - start]
    return values

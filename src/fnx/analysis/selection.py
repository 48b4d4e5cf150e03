"""Accuracy against the number of features kept: chosen by D, by the F-test, or at random."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.advice import CURVE
from fnx.analysis.judging import Split, Task
from fnx.analysis.probes import (
    FLOOR,
    Floats,
    spectrum_of_features,
    spectrum_of_kernel,
    standardise,
)
from fnx.registry import Statistic, load_installed, statistics
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block, empty_distances
from fnx.statistics.labels import Labels
from fnx.statistics.tiles import group, prepare
from fnx.thresholds import find_thresholds
from fnx.thresholds.selection import kept
from fnx.utils.memory import workers

COUNTS = (10, 30, 100, 300, 1000, 3000)
AT_ONCE = 512  # columns that are standardised at a time
PERMUTATIONS = 5  # of the labels, for the thresholds


def selection_curve(task: Task, features: Any, seed: int = 0) -> pl.DataFrame:
    """Probe growing numbers of features, each chosen on the training rows of a fold alone.

    Of "D", the features come in turn from the list of each class, the farthest from neutral first;
    one point has as many as the paper's thresholds keep for any class. Of "F-test", they come by
    the F of an analysis of variance.

    Args:
        task: what is told apart; its folds should be of one dealing.
        features: (n, F) of the task's rows, dense or sparse columns.
        seed: of what is chosen at random.

    Returns:
        See `fnx.analysis.advice.Advice.curve`.
    """
    total = features.shape[1]
    counts = [count for count in COUNTS if count < total]
    load_installed()
    statistic = statistics.get("ks")

    def judge(number: int, split: Split) -> tuple[int, dict[tuple[str, int], NDArray[Any]]]:
        train = features[split.train]
        by_distance, size = rank_by_distance(train, task, split, statistic, seed + number)
        orders = {
            "D": by_distance,
            "F-test": np.argsort(-f_values(train, task.owned[split.train]), kind="stable"),
            "random": np.random.default_rng(seed + number).permutation(total),
        }
        chosen = {(by, count): order[:count] for by, order in orders.items() for count in counts}
        # -1: as many as the thresholds keep, which differs from fold to fold
        chosen["D", -1] = by_distance[: max(size, 1)]
        chosen["all", total] = np.arange(total)
        return size, {key: _decide(task, split, features, some) for key, some in chosen.items()}

    # Distances of all labellings, their ranks, and the rows in float64.
    needed = total * (4 * (PERMUTATIONS + 6) * task.owned.shape[1] + 16 * task.rows.size)
    with ThreadPoolExecutor(workers(len(task.folds), needed)) as threads:
        judged = list(threads.map(judge, range(len(task.folds)), task.folds))
    sizes, decided = zip(*judged, strict=True)
    found = {key: [of_fold[key] for of_fold in decided] for key in decided[0]}
    rows = []
    for (chosen_by, count), decisions in found.items():
        accuracy, parts = task.measure(task.hits(decisions), task.judged)
        row = {
            "features": round(float(np.mean(sizes))) if count < 0 else count,
            "accuracy": accuracy,
            "standard_error": task.standard_error(parts),
        }
        names = ("D", "F-test", "random") if chosen_by == "all" else (chosen_by,)
        rows += [row | {"chosen_by": name} for name in names]
    return pl.DataFrame(rows, CURVE).unique(["chosen_by", "features"]).sort("chosen_by", "features")


def rank_by_distance(
    train: Any, task: Task, split: Split, statistic: Statistic, seed: int
) -> tuple[NDArray[np.int64], int]:
    """Rank features by D, every class's first ones first; count those beyond the thresholds."""
    owned = task.owned[split.train]
    known = owned.any(axis=0) & ~owned.all(axis=0)
    labels = Labels.of_table(owned[:, known])
    codes = np.vstack([labels.codes, labels.permuted(PERMUTATIONS, seed)])
    columns = open_columns(train)
    work = prepare(statistic, None, group(codes, columns.n_rows, labels.n_classes, labels.sets))
    found = empty_distances(work, columns.n_columns)
    each_block(columns, lambda start, stop: work.run(columns.block(start, stop), start, found.put))
    values = found.values
    thresholds = find_thresholds(values[0], values[1:], statistic="ks")
    strength = np.abs(values[0])
    rank = np.empty(strength.shape, np.int64)
    np.put_along_axis(
        rank, np.argsort(-strength, axis=0, kind="stable"), np.arange(len(rank))[:, None], axis=0
    )
    minus = None if thresholds.minus is None else np.array([thresholds.minus.threshold])
    beyond = kept(values[0], np.array([thresholds.plus.threshold]), minus)
    order = np.lexsort((-strength.max(axis=1), rank.min(axis=1), ~beyond))
    return order, int(beyond.sum())


def f_values(train: Any, owned: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the F of each feature; of overlapping concepts the mean of each against the rest.

    Args:
        train: (n, F), dense or sparse.
        owned: (n, C) which classes a row has.
    """
    known = owned[:, owned.any(axis=0) & ~owned.all(axis=0)].astype(np.float64)
    rows, sizes = len(owned), known.sum(axis=0)[:, None]
    mean = np.asarray(train.mean(axis=0), np.float64).ravel()
    squares = train.multiply(train) if hasattr(train, "multiply") else np.square(train, dtype=float)
    total = np.asarray(squares.sum(axis=0), np.float64).ravel() - rows * np.square(mean)
    gaps = np.asarray(known.T @ train) / sizes - mean  # of the mean of each class
    if (known.sum(axis=1) == 1).all():
        between, freedom = (sizes * np.square(gaps)).sum(axis=0), len(sizes) - 1
    else:  # each concept against the rest, whose mean is off by as much the other way
        between, freedom = np.square(gaps) * sizes * rows / (rows - sizes), 1
    within = np.maximum(total - between, 0)
    constant = total <= 1e-6 * rows * np.square(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(constant, 0, between / freedom / (within / (rows - freedom - 1)))
    return np.asarray(found if found.ndim == 1 else found.mean(axis=0))


def _decide(task: Task, split: Split, features: Any, chosen: NDArray[np.int64]) -> NDArray[Any]:
    """Fit a ridge to some features, and decide about the rows held out."""
    blocks = (
        standardise(_dense(features[:, chosen[start : start + AT_ONCE]]), split.train, FLOOR)
        for start in range(0, chosen.size, AT_ONCE)
    )
    if chosen.size <= split.train.size:
        scores = np.concatenate(list(blocks), axis=1)
        spectrum = spectrum_of_features(scores[split.train], scores[split.held_out])
    else:
        kernel: Floats = np.zeros((task.rows.size, task.rows.size))
        for block in blocks:
            kernel += block @ block.T
        spectrum = spectrum_of_kernel(kernel, split.train, split.held_out)
    return task.decide_by_ridge(spectrum, split)


def _dense(block: Any) -> Floats:
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block)

"""Judges probes row by row on rows that they were not fitted to, and recommends one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fnx.analysis import labelling
from fnx.analysis.folds import ALWAYS_TRAINED, assign_folds, row_kinds, sample_rows
from fnx.analysis.probes import Floats, Spectrum, best_strength, ridge
from fnx.errors import DataError
from fnx.statistics.labels import Labels

TEST = re.compile(r"(test|testing|eval|evaluation|holdout)([-_ ]?(set|data|images|split))?", re.I)
"""Names of splits that are kept for the end: nothing is chosen by them."""

ROWS_JUDGED = 600  # few rows are dealt to folds more than once, until about as many are judged
MOST_REPEATS = 5


@dataclass(frozen=True)
class Split:
    """Rows that a probe is fitted to, and rows that it is judged on; indices of a task's rows."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What is to be told apart: n rows, C classes or concepts, and how the rows are split.

    Attributes:
        rows: (n,) which rows of the embedding, ascending.
        owned: bool (n, C) which classes a row has.
        names: of the classes.
        single: whether each row has exactly one class.
        folds: all folds, one dealing of the rows after the other.
        test: fitted to all rows of `fitted`, judged on the data set's own test rows, if any.
        fitted: rows that are not test rows.
        judged: rows that are held out in some fold, as often as the rows were dealt.
        units: (n,) rows of one unit are no independent evidence.
    """

    rows: NDArray[np.int64]
    owned: NDArray[np.bool_]
    names: tuple[str, ...]
    single: bool
    folds: list[Split]
    test: Split | None
    fitted: NDArray[np.int64]
    judged: NDArray[np.int64]
    units: NDArray[np.int64]

    @property
    def splits(self) -> list[Split]:
        """The folds, and the split of the test rows after them."""
        return [*self.folds, *([self.test] if self.test else [])]

    @cached_property
    def targets(self) -> Floats:
        """(n, C) +1 where a row has a class, else -1."""
        return np.where(self.owned, 1.0, -1.0)

    def decide(self, scores: Floats) -> NDArray[Any]:
        """Return what scores (m, C) say: the class (m,) of each row, or bool (m, C) of concepts."""
        return scores.argmax(axis=1) if self.single else scores > 0

    def decide_by_ridge(self, spectrum: Spectrum, split: Split) -> NDArray[Any]:
        """Fit a ridge to the training rows, with the strength that they choose, and decide.

        A concept is there where the score is nearer to that of the training rows with it than to
        that of those without, each as a ridge fitted to all others scores it.
        """
        targets = self.targets[split.train]
        strength, left_out = best_strength(spectrum, targets)
        scores, owned = ridge(spectrum, targets, strength), targets > 0
        if self.single:
            return self.decide(np.where(owned.any(axis=0), scores, -np.inf))
        with np.errstate(invalid="ignore"):  # of no rows with a concept, or none without
            inside = (left_out * owned).sum(axis=0) / owned.sum(axis=0)
            outside = (left_out * ~owned).sum(axis=0) / (~owned).sum(axis=0)
        return self.decide(scores - np.nan_to_num((inside + outside) / 2))

    def hits(self, decisions: Sequence[NDArray[Any]]) -> Floats:
        """Return how often the decisions of the folds are right, for each judged row.

        Returns:
            (j,), or (j, C) of concepts.
        """
        total = np.zeros(len(self.owned) if self.single else self.owned.shape)
        counts = np.zeros(len(self.owned))
        for split, decided in zip(self.folds, decisions[: len(self.folds)], strict=True):
            total[split.held_out] += self.right(decided, split.held_out)
            counts[split.held_out] += 1
        of_row = counts[self.judged]
        return np.asarray(total[self.judged] / (of_row if self.single else of_row[:, None]))

    def right(self, decided: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which decisions about some rows are right."""
        owned = self.owned[rows]
        if self.single:
            return np.asarray(owned[np.arange(rows.size), decided])
        return np.asarray(decided == owned)

    def measure(self, hits: Floats, rows: NDArray[np.int64]) -> tuple[float, Floats]:
        """Return the accuracy, or of concepts the mean balanced one, and each row's part in it.

        The balanced accuracy of a concept is the mean of the shares that are right of the rows
        with it and of those without.

        Returns:
            The accuracy, and (rows,) by how much each row's hits move it, times the rows: its
            mean is 0, and its spread over the root of the rows the standard error.
        """
        if self.single:
            return float(hits.mean()), hits - hits.mean()
        owned = self.owned[rows]
        known = owned.any(axis=0) & ~owned.all(axis=0)
        own, right = owned[:, known], hits[:, known]
        inside, outside = own / own.sum(axis=0), ~own / (~own).sum(axis=0)
        recall, specificity = (inside * right).sum(axis=0), (outside * right).sum(axis=0)
        parts = inside * (right - recall) + outside * (right - specificity)
        value = float((recall + specificity).mean() / 2)
        return value, np.asarray(parts.mean(axis=1) / 2 * rows.size)

    def standard_error(self, parts: Floats) -> float:
        """Return the standard error of a mean of the judged rows' parts; units count as one."""
        sums = np.bincount(self.units[self.judged], parts)
        count = np.unique(self.units[self.judged]).size
        if count < 2:
            return 0.0
        return float(np.sqrt(np.square(sums).sum() * count / (count - 1)) / parts.size)

    @cached_property
    def chance(self) -> float:
        """The measure without knowing anything: the commonest class's share, or one half."""
        return float(self.owned[self.judged].mean(axis=0).max()) if self.single else 0.5

    def chance_of(self, accuracy: float) -> float:
        """Return how likely an accuracy as good or better is by chance.

        Of concepts, whose decisions may go together, as if all were about one.
        """
        from scipy.stats import binom  # here, for it takes a second, and is wanted last

        count = np.unique(self.units[self.judged]).size
        if not self.single:
            owned = self.owned[self.judged]
            known = owned.any(axis=0) & ~owned.all(axis=0)
            inside, outside = owned[:, known].sum(axis=0), (~owned[:, known]).sum(axis=0)
            errors = np.sqrt((1 / inside + 1 / outside) / 16)
            count = min(count, int(0.25 / np.square(errors.mean())))
        return float(binom.sf(np.ceil(accuracy * count - 1e-9) - 1, count, self.chance))


class Labelled(Protocol):
    """An embedding of which only the labels matter."""

    @property
    def labels(self) -> NDArray[Any]:
        """(N,) class of each row, or bool (N, C) of concepts."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes."""


def make_task(
    embedding: Labelled,
    images: int,
    folds: int,
    groups: ArrayLike | None,
    seed: int,
    most_repeats: int = MOST_REPEATS,
) -> Task:
    """Sample rows, and deal them to folds; keep the data set's own test rows apart.

    Few rows are dealt more than once, but at most `most_repeats` times.

    Raises:
        DataError: no class whose rows can be held out in part.
    """
    given = np.asarray(embedding.labels)
    names = tuple(embedding.class_names)
    labels = Labels.of_table(given) if given.ndim == 2 else Labels(given, len(names))
    single = labels.sets is None
    table = getattr(embedding, "images", None)
    if groups is None and table is not None:
        groups = labelling.groups(table)
    units = np.arange(given.shape[0])
    if groups is not None:
        found = np.asarray(groups)
        if found.shape != units.shape:
            raise DataError(f"groups have shape {found.shape}: must be one for each of the rows")
        units = np.unique(found, return_inverse=True)[1]
    kinds = row_kinds(labels)
    tested = _test_rows(table, units.size, kinds)
    chosen = [
        members[sample_rows(kinds[members], images, seed=seed)]
        for members in (np.flatnonzero(~tested), np.flatnonzero(tested))
    ]
    rows = np.sort(np.concatenate(chosen))
    fitted = np.flatnonzero(~tested[rows])
    owned = np.stack([labels.has(c)[rows] for c in range(labels.n_classes)], axis=1)
    own = Labels(labels.codes[rows][fitted], labels.n_classes, labels.sets)
    splits: list[Split] = []
    for repeat in range(max(1, min(most_repeats, ROWS_JUDGED // fitted.size))):
        part = assign_folds(own, folds, groups=units[rows][fitted], seed=seed + repeat)
        splits += [
            Split(fitted[part != fold], fitted[part == fold])
            for fold in np.unique(part[part != ALWAYS_TRAINED])
        ]
    if not splits:
        raise DataError("no class has two rows, or groups, of which one could be held out")
    judged = np.unique(np.concatenate([split.held_out for split in splits]))
    test = Split(fitted, np.flatnonzero(tested[rows])) if tested.any() else None
    return Task(rows, owned, names, single, splits, test, fitted, judged, units[rows])


def _test_rows(
    table: pl.DataFrame | None, count: int, kinds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows the data set keeps for testing; none where the others lack a class."""
    none = np.zeros(count, np.bool_)
    if table is None or "split" not in table.columns:
        return none
    names = labelling.used(table)["split"].to_list()
    tested = np.array([bool(TEST.fullmatch(name or "")) for name in names])
    others = np.bincount(kinds[~tested], minlength=kinds.max() + 1)
    there = np.bincount(kinds, minlength=kinds.max() + 1) > 0
    return tested if (others[there] >= 2).all() else none

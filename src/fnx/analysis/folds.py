"""Deals rows to folds and samples: classes spread evenly, groups never divided."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import DataError
from fnx.statistics.labels import Labels

ALWAYS_TRAINED = -1  # the fold of rows that are never held out


def assign_folds(
    labels: Labels, folds: int, *, groups: ArrayLike | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Deal rows, or whole groups of them, to folds so that each class is spread evenly.

    A row of several concepts counts for the rarest.

    Returns:
        int64 (N,): the fold of each row, 0 … folds - 1; -1 for rows that are never held out, for
        each class keeps rows with it, and rows without it, whatever fold is held out.

    Raises:
        DataError: groups of another number of rows.

    >>> assign_folds(Labels(np.array([0, 0, 1, 1, 2]), 3), 2).tolist()
    [1, 0, 1, 0, -1]
    """
    kinds = row_kinds(labels)
    members = np.arange(kinds.size)
    if groups is not None:
        given = np.asarray(groups)
        if given.shape != kinds.shape:
            raise DataError(f"groups have shape {given.shape}: must be one for each of the rows")
        members = np.unique(given, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    n_groups = int(members.max()) + 1
    # Groups in order of their commonest kind, at random within it, are dealt like cards.
    pairs, counts = np.unique(np.stack([members, kinds]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    commonest = pairs[1][order][np.unique(pairs[0][order], return_index=True)[1]]
    dealt = np.lexsort((rng.random(n_groups), commonest))
    fold_of_group = np.empty(n_groups, np.int64)
    fold_of_group[dealt] = np.arange(n_groups) % folds
    part = fold_of_group[members]
    for class_id in range(labels.n_classes):
        inside = labels.has(class_id)
        for own in (inside, ~inside):
            if own.any() and (part[own] == part[own][0]).all():  # with their whole groups
                part[np.isin(members, members[own])] = ALWAYS_TRAINED
    return part


def row_kinds(labels: Labels) -> NDArray[np.int64]:
    """Return one class per row (N,): of several concepts the rarest, of none C.

    >>> row_kinds(Labels.of_concepts([[0], [0, 1], []], 2)).tolist()
    [0, 1, 2]
    """
    if labels.sets is None:
        return labels.codes.astype(np.int64)
    kinds = np.full(labels.codes.size, labels.n_classes, np.int64)
    for class_id in np.argsort(-labels.class_sizes, kind="stable"):
        kinds[labels.has(int(class_id))] = class_id
    return kinds


def sample_rows(kinds: NDArray[np.int64], count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return at most `count` rows, ascending, in which each kind has its share of all.

    Rows are taken in turns, so that no two kinds are off their share by more than a row; a kind
    of few rows keeps at least one as long as there are no more kinds than rows to take.

    >>> sample_rows(np.array([0, 0, 0, 0, 1, 1]), 3).tolist()
    [2, 3, 5]
    """
    if kinds.size <= count:
        return np.arange(kinds.size)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(kinds.size)
    order = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    ordered = kinds[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    sizes = np.searchsorted(ordered, ordered, side="right") - starts
    rank = np.arange(kinds.size) - starts
    # The r-th of a kind's n rows comes at r / n of the way; the first of each come first.
    turn = np.lexsort((rng.random(kinds.size), rank / sizes))
    return np.sort(order[turn[:count]])

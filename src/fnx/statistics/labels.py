"""Labels: which classes each example has, one of several or any number of overlapping concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.statistics.permutations import permutations


@dataclass(frozen=True)
class Sets:
    """The sets of concepts that occur; set s holds ``members[starts[s]:starts[s + 1]]``."""

    starts: NDArray[np.int64]  # (S + 1,)
    members: NDArray[np.int32]  # ascending within a set
    n_classes: int

    @classmethod
    def of_classes(cls, n_classes: int) -> Sets:
        """Return the sets that hold one class each: set c holds class c."""
        numbers = np.arange(n_classes + 1)
        return cls(numbers, numbers[:-1].astype(np.int32), n_classes)

    @property
    def count(self) -> int:
        """Number of sets."""
        return self.starts.size - 1

    @cached_property
    def holders(self) -> Sets:
        """The same the other way round: for each concept, the sets that hold it, ascending."""
        counts = np.bincount(self.members, minlength=self.n_classes)
        sets = np.repeat(np.arange(self.count, dtype=np.int32), np.diff(self.starts))
        ordered = sets[np.argsort(self.members, kind="stable")]
        return Sets(np.concatenate([[0], np.cumsum(counts)]), ordered, self.count)

    def sizes(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        """Count the examples of each concept: `codes` (N,) says which set each example has."""
        counts = np.bincount(codes, minlength=self.count)
        weights = np.repeat(counts, np.diff(self.starts))
        return np.bincount(self.members, weights, self.n_classes).astype(np.int64)

    def has(self, codes: NDArray[Any], class_id: int) -> NDArray[np.bool_]:
        """Return which examples have a concept, (N,)."""
        holds = np.zeros(self.count, np.bool_)
        start, stop = self.holders.starts[class_id : class_id + 2]
        holds[self.holders.members[start:stop]] = True
        found: NDArray[np.bool_] = holds[codes]
        return found


@dataclass(frozen=True)
class Labels:
    """The classes of N examples, by number.

    Attributes:
        codes: int32 (N,): the class of each example or, with `sets`, which of them it has.
        n_classes: number of classes C.
        sets: the sets of concepts; None where each example has one class.
    """

    codes: NDArray[np.int32]
    n_classes: int
    sets: Sets | None = None

    @classmethod
    def of_concepts(cls, concepts: Sequence[Sequence[int]], n_classes: int) -> Labels:
        """Return the labels of examples of which each has any number of concepts.

        Where each has one, they are the same as those of classes.

        >>> Labels.of_concepts([[1], [0, 1], [], [1]], 2).codes.tolist()
        [0, 1, 2, 0]
        >>> Labels.of_concepts([[1], [0], [1]], 2).sets is None
        True
        """
        if all(len(own) == 1 for own in concepts):
            return cls(np.array([own[0] for own in concepts], np.int32), n_classes)
        known: dict[tuple[int, ...], int] = {}
        sets = (tuple(sorted({int(c) for c in own})) for own in concepts)
        codes = np.array([known.setdefault(own, len(known)) for own in sets], np.int32)
        starts = np.concatenate([[0], np.cumsum([len(own) for own in known])]).astype(np.int64)
        members = np.array([c for own in known for c in own], np.int32)
        return cls(codes, n_classes, Sets(starts, members, n_classes))

    @classmethod
    def of_table(cls, table: Any) -> Labels:
        """Return the labels of a boolean table (N, C), one column a concept; it may be sparse.

        >>> Labels.of_table(np.array([[True, False], [True, True]])).class_sizes.tolist()
        [2, 1]
        """
        if hasattr(table, "tocsr"):
            rows = table.tocsr()
            lists = [
                rows.indices[start:stop][rows.data[start:stop] != 0].tolist()
                for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
            ]
        else:
            lists = [np.flatnonzero(row).tolist() for row in table]
        return cls.of_concepts(lists, table.shape[1])

    @property
    def class_sizes(self) -> NDArray[np.int64]:
        """int64 (C,): the number of examples of each class."""
        if self.sets is None:
            return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)
        return self.sets.sizes(self.codes)

    def has(self, class_id: int) -> NDArray[np.bool_]:
        """Return which examples have a class, (N,)."""
        return self.codes == class_id if self.sets is None else self.sets.has(self.codes, class_id)

    def permuted(self, count: int, seed: int, groups: ArrayLike | None = None) -> NDArray[np.int32]:
        """Return random labellings of the same examples; see
        `fnx.statistics.permutations.permutations`.

        The sets of concepts move as they are, so that concepts which go together still do.
        """
        return permutations(self.codes, count, seed, groups)

"""The rule of the adviser: the narrowest entry within one standard error of the best, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.advice import CONFUSIONS, ENTRIES, Advice
from fnx.analysis.judging import Task
from fnx.analysis.probes import Floats

LEVEL = 0.01  # of the test against chance, of all entries together
MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class Entry:
    """What the probes of a layer, or of several together, found.

    Attributes:
        name, kind, depth, features: see `fnx.analysis.advice.Advice`.
        decisions: of the ridge, for each split.
        neighbours: of the nearest neighbours, for each fold.
        evidence: LogME.
    """

    name: str
    kind: str
    depth: int | None
    features: int
    decisions: list[NDArray[Any]]
    neighbours: list[NDArray[Any]]
    evidence: float


def recommend(task: Task, entries: Sequence[Entry]) -> Advice:
    """Judge all entries and recommend one, or none."""
    judged = [task.measure(task.hits(entry.decisions), task.judged) for entry in entries]
    accuracies = np.array([value for value, _ in judged])
    best = int(accuracies.argmax())
    behind = accuracies[best] - accuracies
    errors = np.array([task.standard_error(judged[best][1] - parts) for _, parts in judged])
    chosen = None
    if task.chance_of(accuracies[best]) * len(entries) <= LEVEL:
        close = [i for i in range(len(entries)) if behind[i] <= errors[i]]
        chosen = min(close, key=lambda i: (entries[i].features, behind[i]))
    rows = [
        {
            "entry": entry.name,
            "kind": entry.kind,
            "depth": entry.depth,
            "features": entry.features,
            "accuracy": judged[number][0],
            "standard_error": task.standard_error(judged[number][1]),
            "knn_accuracy": task.measure(task.hits(entry.neighbours), task.judged)[0],
            "logme": entry.evidence,
            "recommended": number == chosen,
            "behind": behind[number],
            "behind_error": errors[number],
            "test_accuracy": _tested(task, entry),
        }
        for number, entry in enumerate(entries)
    ]
    return Advice(
        pl.DataFrame(rows, ENTRIES),
        None if chosen is None else entries[chosen].name,
        "",
        task.chance,
        "accuracy" if task.single else "balanced accuracy",
        task.judged.size,
    )


def _tested(task: Task, entry: Entry) -> float | None:
    """Return the measure on the data set's own test rows, if it has some."""
    if task.test is None:
        return None
    rows = task.test.held_out
    return task.measure(task.right(entry.decisions[-1], rows).astype(float), rows)[0]

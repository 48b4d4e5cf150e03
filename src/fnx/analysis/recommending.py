"""The rule of the adviser: which of the entries within one standard error of the best, and why.

Of few rows, many entries are within one standard error, and the narrowest of them may be worse by
far. So neighbours, which err on other rows, have a say among them; width decides between equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.advice import CONFUSIONS, ENTRIES, Advice
from fnx.analysis.judging import Task

LEVEL = 0.01  # of the test against chance, of all entries together
BEYOND = 2  # standard errors by which all layers together must be better than the best of them
EQUAL = 0.0025  # in the mean of both probes' accuracies
MOST_CONFUSIONS = 20
CLEARLY = 0.5  # a layer tells two classes apart that has at most this share of the errors


@dataclass(frozen=True)
class Entry:
    """What the probes of a layer, or of several together, decided.

    Attributes:
        name: of the layer.
        kind: "layer", "all" or "full_network".
        depth: of the layer, from 0.
        features: number of them.
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

    def of_folds(self, task: Task) -> list[NDArray[Any]]:
        """Return the decisions of the ridge without those about test rows."""
        return self.decisions[: len(task.folds)]


def recommend(task: Task, entries: Sequence[Entry]) -> Advice:
    """Judge all entries and recommend one, or none."""
    judged = [task.measure(task.hits(entry.decisions), task.judged) for entry in entries]
    accuracies = np.array([accuracy for accuracy, _ in judged])
    best = int(accuracies.argmax())
    behind = accuracies[best] - accuracies
    errors = np.array([task.standard_error(judged[best][1] - parts) for _, parts in judged])
    by_neighbours = [task.measure(task.hits(one.neighbours), task.judged)[0] for one in entries]
    both = (accuracies + by_neighbours) / 2
    is_layer = np.array([entry.kind == "layer" for entry in entries])
    chosen = narrowest = None
    leader, eligible = best, np.ones(len(entries), np.bool_)
    best_layer = int(np.where(is_layer, accuracies, -np.inf).argmax())
    if behind[best_layer] <= BEYOND * errors[best_layer]:  # all together are many times as wide
        leader, eligible = best_layer, is_layer
    if task.chance_of(accuracies[best]) * len(entries) <= LEVEL:
        ahead = [task.standard_error(judged[leader][1] - parts) for _, parts in judged]
        # One row's difference is one standard error exactly, but for rounding.
        near = accuracies[leader] - accuracies <= np.array(ahead) * (1 + 1e-9)
        close = np.flatnonzero(near & eligible)
        equal = close[both[close] >= both[close].max() - EQUAL]
        chosen = min(equal.tolist(), key=lambda i: (entries[i].features, -both[i]))
        narrowest = min(close.tolist(), key=lambda i: (entries[i].features, behind[i]))
    last = max(i for i, entry in enumerate(entries) if entry.kind == "layer")
    rows = [
        {
            "entry": entry.name,
            "kind": entry.kind,
            "depth": entry.depth,
            "features": entry.features,
            "accuracy": judged[number][0],
            "standard_error": task.standard_error(judged[number][1]),
            "knn_accuracy": by_neighbours[number],
            "logme": entry.evidence,
            "recommended": number == chosen,
            "behind": behind[number],
            "behind_error": errors[number],
            "test_accuracy": _tested(task, entry),
        }
        for number, entry in enumerate(entries)
    ]
    table = pl.DataFrame(rows, ENTRIES)
    error = 0.0
    if chosen is not None:
        error = task.standard_error(judged[chosen][1] - judged[last][1])
    measure = "accuracy" if task.single else "balanced accuracy"
    return Advice(
        table,
        None if chosen is None else entries[chosen].name,
        _reason(table, leader, chosen, narrowest, last, error, task.chance, measure),
        task.chance,
        measure,
        task.judged.size,
        confusions=_confusions(task, entries, chosen),
    )


def _tested(task: Task, entry: Entry) -> float | None:
    """Return the measure on the data set's own test rows, if it has some."""
    if task.test is None:
        return None
    rows = task.test.held_out
    return task.measure(task.right(entry.decisions[-1], rows).astype(float), rows)[0]


def _reason(
    table: pl.DataFrame,
    best: int,
    chosen: int | None,
    narrowest: int | None,
    last: int,
    error: float,
    chance: float,
    measure: str,
) -> str:
    """Say in a sentence or two why an entry is recommended; `error` is of it against the last."""
    rows = table.rows(named=True)
    top, final = rows[best], rows[last]
    if chosen is None:
        return (
            f"No layer tells the classes apart better than chance: the best, {top['entry']}, has "
            f"{_percent(top['accuracy'])} {measure}, and chance {_percent(chance)}."
        )
    own = rows[chosen]
    said = f"{own['entry']} has {_percent(own['accuracy'])} {measure}"
    if chosen == best:
        highest = float(table["accuracy"].max())  # type: ignore[arg-type]
        said += ", the highest" + (" of a single layer." if own["accuracy"] < highest else ".")
    else:
        said += (
            f", within one standard error of the best ({top['entry']}, "
            f"{_percent(top['accuracy'])}), and is the best of those by two kinds of probe."
        )
    if narrowest is not None and rows[narrowest]["features"] < own["features"]:
        less = rows[narrowest]
        said += (
            f" The narrowest within one standard error, {less['entry']}, has "
            f"{_percent(less['accuracy'])} with {less['features']:,} features."
        )
    if chosen == last:
        return f"{said} It is the last layer."
    gain = own["accuracy"] - final["accuracy"]
    if gain > error:
        return f"{said} The last layer, {final['entry']}, has {_percent(final['accuracy'])}."
    return (
        f"{said} The last layer, {final['entry']}, is as good: {_percent(final['accuracy'])}, "
        f"a difference of {100 * gain:+.1f} ± {100 * error:.1f} points."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _confusions(task: Task, entries: Sequence[Entry], chosen: int | None) -> pl.DataFrame:
    """Return what the chosen entry confuses most, and which layer tells it apart.

    That is one which knows the classes no worse: a layer that knows neither confuses them less with
    each other, for it confuses them with all.
    """
    if chosen is None:
        return pl.DataFrame(schema=CONFUSIONS)
    layers = [entry for entry in entries if entry.kind == "layer"]
    count = _mistaken if task.single else _missed
    own, known = count(task, entries[chosen])
    others = [count(task, layer) for layer in layers]
    order = np.argsort(-own, axis=None, kind="stable")[:MOST_CONFUSIONS]
    rows = []
    for first, second in zip(*np.unravel_index(order, own.shape), strict=True):
        if own[first, second] == 0:
            break
        both = [first, second] if task.single else [first]

        def errors(shares: NDArray[np.float64], one: int = first, two: int = second) -> float:
            return float(shares[one, two] + shares[two, one]) if task.single else shares[one, two]

        better = [
            (errors(shares), layer.name)
            for layer, (shares, right) in zip(layers, others, strict=True)
            if right[both].sum() >= known[both].sum() and errors(shares) <= CLEARLY * errors(own)
        ]
        rows.append(
            {
                "class_name": task.names[first],
                "taken_for": task.names[second] if task.single else None,
                "share": own[first, second],
                "told_apart_by": min(better)[1] if better else None,
            }
        )
    return pl.DataFrame(rows, CONFUSIONS)


Shares = NDArray[np.float64]


def _mistaken(task: Task, entry: Entry) -> tuple[Shares, Shares]:
    """Return the shares of each class's rows taken for each other (C, C), and known (C,)."""
    counts = np.zeros((len(task.names), len(task.names)))
    for split, decided in zip(task.folds, entry.of_folds(task), strict=True):
        np.add.at(counts, (task.owned[split.held_out].argmax(axis=1), decided), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    known = np.diag(shares).copy()
    np.fill_diagonal(shares, 0)
    return shares, known


def _missed(task: Task, entry: Entry) -> tuple[Shares, Shares]:
    """Return the share of each concept's rows in which it is missed (C, 1), and its accuracy."""
    counts = np.zeros((2, 2, len(task.names)))  # of rows without and with it: right, all
    for split, decided in zip(task.folds, entry.of_folds(task), strict=True):
        owned = task.owned[split.held_out]
        for own, there in enumerate((~owned, owned)):
            counts[own] += (there & (decided == owned)).sum(axis=0), there.sum(axis=0)
    right = counts[:, 0] / np.maximum(counts[:, 1], 1)
    return (1 - right[1])[:, None], right.mean(axis=0)

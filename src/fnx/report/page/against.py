"""The numbers of the page's view of a class against another: D between the two, of few features.

All pairs of classes and features would be too many: of each pair, those features are taken whose
distances of the two classes lie farthest apart; of many classes, the pairs that are most alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.analysis.contrast import between
from fnx.analysis.distributions import BLOCK, Sign, farthest
from fnx.errors import FnxError
from fnx.report.page.chunks import packed, write_chunk
from fnx.report.values import open_embedding
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block

MAX_PAIRS = 500
"""Pairs of classes whose D is measured: all of up to 32 classes."""

TOP = 10  # features of each pair and sign

ALIKE = 5  # classes most alike that a class's view names

_VALUES = 1 << 26  # values held in memory, 256 MB
_NAME = "against"


def write(run: Run, folder: Path) -> None:
    """Write the chunks ``against-A`` of the classes A, with those that come after it.

    Nothing is written where the embedding is gone, or the statistic is not installed here: the page
    then ranks by what it knows of each class alone.
    """
    try:
        embedding = open_embedding(run)
        found: dict[int, dict[str, Any]] = {}
        for a, b, value in _measured(run, embedding.features, embedding.labelling):
            found.setdefault(a, {})[str(b)] = value
    except FnxError:
        return
    for a, value in found.items():
        write_chunk(folder, f"{_NAME}-{a}", value)


def written(folder: Path) -> list[int]:
    """Return the classes that have a chunk in a folder."""
    stems = (path.stem.removeprefix(f"{_NAME}-") for path in folder.glob(f"{_NAME}-*.js"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def alike(run: Run, count: int = ALIKE) -> NDArray[np.int32]:
    """Return the classes whose D over all features correlates most with that of each class.

    Returns:
        int32 (C, count), the most alike first; fewer columns of fewer classes.
    """
    n = run.classes.height
    products, sums = np.zeros((n, n)), np.zeros(n)
    for start in range(0, run.features.height, BLOCK):
        block = np.asarray(run.distances[start : start + BLOCK], np.float64)
        block = np.nan_to_num(block, posinf=0.0, neginf=0.0)
        products += block.T @ block
        sums += block.sum(axis=0)
    covariance = products - np.outer(sums, sums) / run.features.height
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-30))
    correlation = covariance / np.outer(spread, spread)
    np.fill_diagonal(correlation, -np.inf)
    order = np.argsort(-correlation, axis=1, kind="stable")
    return order[:, : min(count, n - 1)].astype(np.int32)


def pairs(run: Run) -> list[tuple[int, int]]:
    """Return the pairs of classes that are measured, the lower number first: all, or the alike."""
    n = run.classes.height
    if n * (n - 1) // 2 <= MAX_PAIRS:
        return [(a, b) for a in range(n) for b in range(a + 1, n)]
    nearest = alike(run, max(1, MAX_PAIRS // n))
    found = {
        (min(a, int(b)), max(a, int(b))): None for rank in nearest.T for a, b in enumerate(rank)
    }
    return sorted(list(found)[:MAX_PAIRS])


def _candidates(run: Run, a: int, b: int) -> NDArray[np.int64]:
    """Return the features whose distances of the two classes lie farthest apart, both ways."""
    columns = np.asarray(run.distances[:, [a, b]])
    with np.errstate(invalid="ignore"):  # both infinite
        difference = np.nan_to_num(columns[:, 0] - columns[:, 1], posinf=np.inf, neginf=-np.inf)
    signs: tuple[Sign, Sign] = ("+", "-")
    return np.concatenate([farthest(difference, sign, TOP) for sign in signs])


def _measured(run: Run, features: Any, labels: Any) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield pairs of classes with their features, D forth and back, and D of each in the run."""
    columns, room = open_columns(features), _VALUES
    wanted: list[tuple[int, int, NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    # Of each block of columns: rows, the columns of them that are wanted, and where values go.
    parts: dict[int, list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]] = {}
    own = [labels.has(c) for c in range(run.classes.height)]
    for a, b in pairs(run):
        rows = np.flatnonzero(own[a] ^ own[b])
        at = _candidates(run, a, b)
        room -= rows.size * at.size
        if room >= 0 and at.size and own[a][rows].any() and own[b][rows].any():
            values = np.empty((rows.size, at.size), columns.dtype)
            wanted.append((a, b, rows, at, values))
            blocks, place = np.divmod(at, columns.width)
            for number in np.unique(blocks):
                inside = np.flatnonzero(blocks == number)
                parts.setdefault(int(number), []).append((rows, place[inside], values, inside))

    def fill(start: int, stop: int) -> None:
        if some := parts.get(start // columns.width):
            block = columns.read(start, stop)
            for rows, place, values, inside in some:
                values[:, inside] = block[np.ix_(rows, place)]

    each_block(columns, fill)
    for a, b, rows, at, values in wanted:
        forth, back = between(run, values, own[a][rows])
        known = np.asarray(run.distances[at][:, [a, b]])
        yield (
            a,
            b,
            {
                "features": packed(at, "i4"),
                "forth": packed(forth, "f4"),
                "back": packed(back, "f4"),
                "first": packed(known[:, 0], "f4"),
                "second": packed(known[:, 1], "f4"),
            },
        )

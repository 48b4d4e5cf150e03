"""Advises which layer to use: every layer's features probed by cross-validation, and why.

A ridge probe is fitted to most rows and judged on the others, layer by layer, for all layers
together, and for the paper's authors' full-network embedding. Of the entries within one standard
error of the best, that one is recommended which neighbours also find good, if any beats chance.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from fnx.analysis.advice import ALL, FULL_NETWORK, Advice
from fnx.analysis.detectors import Embedded, detectors
from fnx.analysis.judging import Task, make_task
from fnx.analysis.probes import (
    FLOOR,
    Floats,
    Spectrum,
    axes_of_features,
    axes_of_kernel,
    cosine,
    discretise,
    log_evidence,
    nearest,
    spectrum_of_features,
    spectrum_of_kernel,
    standardise,
)
from fnx.analysis.recommending import Entry, recommend
from fnx.analysis.selection import selection_curve
from fnx.errors import ConfigError
from fnx.statistics.columns import Columns, open_columns
from fnx.utils.cores import cores
from fnx.utils.memory import available_memory, workers
from fnx.utils.progress import progress_bar

CURVE_ROWS = 500  # at most, of the curve and of the detectors
_VALUES_AT_ONCE = 1 << 25  # of the rows that are looked at, and of all rows
_MEMORY_SHARE = 0.25  # of what is free, at most


class Layer(NamedTuple):
    """A layer: its place in depth, and its columns."""

    name: str
    depth: int
    start: int
    stop: int


def advise(
    embedding: Embedded,
    *,
    images: int = 2000,
    folds: int = 5,
    groups: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Advice:
    """Advise which layer's features to use for these classes, and tell how good they will be.

    Each layer, all layers together (each row of each layer of length 1) and the full-network
    embedding are judged by a ridge probe of z-scores, fitted to all folds but one and judged on
    that one: mean, scale and the strength of the ridge come from the training rows alone. Fewer
    than 300 rows are dealt to folds several times. Recommended is, of the entries whose
    accuracy is within one standard error (of the difference, row by row) of the best, the one with
    the highest mean of this and of the 5 nearest neighbours' accuracy; of equal ones the narrowest.

    The data set's own test rows (``split`` of ``embedding.images``) have no part in this: they
    judge the probes in a column of their own.

    Args:
        embedding: `fnx.Embedding`, or anything with its ``features`` (N, F), ``labels`` (N,), or
            bool (N, C) of concepts, ``class_names`` and ``feature_table``.
        images: rows that are looked at, at most, and as many test rows; classes keep their shares.
        folds: parts of the rows, 2 or more.
        groups: (N,) rows of one group (a patient, a video, a document) are never divided; default
            those of the embedding.
        seed: of the rows and of the folds.
        progress: whether to show a progress bar when it takes longer than a second.

    Raises:
        ConfigError: a number that is too small.
        DataError: no class of which rows can be held out; groups of another number of rows; a
            value that is not finite.

    Example:
        >>> import fnx
        >>> advice = fnx.advise(fnx.Embedding.open("outputs/…"))  # doctest: +SKIP
        >>> advice.recommended, advice.reason  # doctest: +SKIP
    """
    for name, value, least in (("images", images, 2), ("folds", folds, 2)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name}={value!r}: must be an integer of {least} or more")
    task = make_task(embedding, images, folds, groups, seed)
    columns = open_columns(embedding.features)
    layers = _layers(embedding.feature_table)
    own = Probing(task, columns)
    at_once = _workers(task, len(layers))
    with (
        threadpool_limits(max(1, cores() // at_once)),
        ThreadPoolExecutor(at_once) as pool,
        progress_bar(
            "advice", total=len(layers), unit="layers", delay=1.0, enabled=progress
        ) as bar,
    ):
        entries = []
        together = np.zeros(own.size)
        for entry, cosines in pool.map(own.layer, layers):
            entries.append(entry)
            together += cosines
            bar.update()
        if len(layers) > 1:
            kernels = [together] * len(own.ternary)
            entries.append(own.kernels(ALL, "all", columns.n_columns, kernels))
        entries.append(own.kernels(FULL_NETWORK, "full_network", columns.n_columns, own.ternary))
        advice = recommend(task, entries)
        return _explain(advice, embedding, columns, layers, images, folds, groups, seed)


def _layers(table: pl.DataFrame) -> list[Layer]:
    """Return the layers in order of their columns."""
    sizes = table.group_by("layer", maintain_order=True).len()
    stops = np.cumsum(sizes["len"].to_numpy())
    return [
        Layer(name, depth, int(stop) - count, int(stop))
        for depth, ((name, count), stop) in enumerate(zip(sizes.iter_rows(), stops, strict=True))
    ]


def _workers(task: Task, layers: int) -> int:
    """Return how many layers are probed at a time: each needs a kernel for every split."""
    needed = 8 * (len(task.splits) + 4) * task.rows.size**2
    return workers(layers, needed, _MEMORY_SHARE)


class Probing:
    """Probes layers, and adds each to the kernels of the full-network embedding.

    Attributes:
        task: what is told apart.
        columns: the features.
        size: of a kernel, (n, n).
        ternary: a kernel of the full-network embedding for each split, and one of all fitted rows.
    """

    def __init__(self, task: Task, columns: Columns) -> None:
        self.task, self.columns = task, columns
        self.size = (self.task.rows.size, self.task.rows.size)
        self.ternary = [np.zeros(self.size) for _ in range(len(self.task.splits) + 1)]
        self._lock = threading.Lock()

    def layer(self, layer: Layer) -> tuple[Entry, Floats]:
        """Probe one layer; return what was decided, and the cosines (n, n) of the rows."""
        task, features = self.task, layer.stop - layer.start
        narrow = features <= min(split.train.size for split in task.splits)
        spectra: list[Spectrum] = []
        raw = np.zeros(self.size)
        kernels = [] if narrow else [np.zeros(self.size) for _ in task.splits]
        for block in read_blocks(self.columns, task.rows, layer.start, layer.stop, narrow):
            raw += block @ block.T
            for number, train in enumerate([*(one.train for one in task.splits), task.fitted]):
                signs = discretise(standardise(block, train))
                product = signs @ signs.T
                with self._lock:  # sums of integers, whose order does not matter
                    self.ternary[number] += product
                if number == len(task.splits):
                    continue
                scores = standardise(block, train, FLOOR)
                if narrow:
                    held_out = task.splits[number].held_out
                    spectra.append(spectrum_of_features(scores[train], scores[held_out]))
                else:
                    kernels[number] += scores @ scores.T
        if not narrow:
            spectra = self._spectra(kernels)
        fitted, cosines = task.fitted, cosine(raw)
        axes = (
            axes_of_features(block[fitted].astype(np.float64))
            if narrow
            else axes_of_kernel(raw[np.ix_(fitted, fitted)])
        )
        similar = [cosines] * len(task.folds)
        entry = self._entry(layer.name, "layer", layer.depth, features, spectra, similar, axes)
        return entry, cosines

    def kernels(self, name: str, kind: str, features: int, kernels: Sequence[Floats]) -> Entry:
        """Probe what has a kernel for each split, and one of all fitted rows."""
        task, fitted = self.task, self.task.fitted
        spectra = self._spectra(kernels[:-1])
        axes = axes_of_kernel(kernels[-1][np.ix_(fitted, fitted)])
        similar = [cosine(kernel) for kernel in kernels[: len(task.folds)]]
        return self._entry(name, kind, None, features, spectra, similar, axes)

    def _spectra(self, kernels: Sequence[Floats]) -> list[Spectrum]:
        """Return the spectrum of each split from its kernel (n, n)."""
        return [
            spectrum_of_kernel(kernel, split.train, split.held_out)
            for kernel, split in zip(kernels, self.task.splits, strict=True)
        ]

    def _entry(
        self,
        name: str,
        kind: str,
        depth: int | None,
        features: int,
        spectra: Sequence[Spectrum],
        cosines: Sequence[Floats],
        axes: tuple[Floats, Floats],
    ) -> Entry:
        """Have the probes decide, given a spectrum of each split and the cosines of each fold."""
        task = self.task
        decisions = [
            task.decide_by_ridge(spectrum, split)
            for spectrum, split in zip(spectra, task.splits, strict=True)
        ]
        neighbours = []
        for similar, split in zip(cosines, task.folds, strict=True):
            owned = task.owned[split.train]
            shares = nearest(similar[np.ix_(split.held_out, split.train)], owned)
            usual = 0.0 if task.single else owned.mean(axis=0)
            neighbours.append(task.decide(shares - usual))
        evidence = log_evidence(*axes, task.owned[task.fitted])
        return Entry(name, kind, depth, features, decisions, neighbours, evidence)


def read_blocks(
    columns: Columns, rows: NDArray[Any], start: int, stop: int, whole: bool = False
) -> Iterator[Floats]:
    """Yield some rows of some columns, `whole` or as many columns at a time as memory holds."""
    width = stop - start if whole else max(1, _VALUES_AT_ONCE // rows.size)
    for first in range(start, stop, width):
        yield read_rows(columns, rows, first, min(first + width, stop))


def read_rows(columns: Columns, rows: NDArray[Any], start: int, stop: int) -> Floats:
    """Return some rows of some columns, dense."""
    width = max(1, _VALUES_AT_ONCE // (columns.n_rows * columns.width)) * columns.width
    parts = [
        columns.block(first, min(first + width, stop))[rows] for first in range(start, stop, width)
    ]
    dense = [part.toarray() if hasattr(part, "toarray") else part for part in parts]
    return np.concatenate(dense, axis=1)


@dataclass(frozen=True)
class _Sample:
    """Some rows of an embedding, in memory, as `fnx.detectors` takes them."""

    features: Any
    labels: NDArray[Any]
    class_names: Sequence[str]
    feature_table: pl.DataFrame


def _explain(
    advice: Advice,
    embedding: Embedded,
    columns: Columns,
    layers: Sequence[Layer],
    images: int,
    folds: int,
    groups: ArrayLike | None,
    seed: int,
) -> Advice:
    """Add the curve, and the strongest detectors of what is recommended, from fewer rows.

    Features that do not fit in memory, even of these rows, get neither.
    """
    task = make_task(embedding, min(images, CURVE_ROWS), folds, groups, seed, most_repeats=1)
    sparse = hasattr(columns.array, "toarray")
    needed = task.rows.size * columns.n_columns * columns.dtype.itemsize
    if not sparse and needed > _MEMORY_SHARE * available_memory():
        return advice
    if sparse:
        features: Any = columns.block(0, columns.n_columns)[task.rows].tocsc()
    else:
        features = read_rows(columns, task.rows, 0, columns.n_columns)
    curve = selection_curve(task, features, seed)
    if advice.recommended is None:
        return dataclasses.replace(advice, curve=curve)
    span = next(
        (slice(one.start, one.stop) for one in layers if one.name == advice.recommended),
        slice(0, columns.n_columns),
    )
    labels = task.owned.argmax(axis=1) if task.single else task.owned
    sample = _Sample(
        features[:, span], labels, embedding.class_names, embedding.feature_table[span]
    )
    found = detectors(sample, folds=folds, groups=task.units, seed=seed, progress=False)
    strongest = found.with_columns(pl.col("feature_id") + span.start).sort(
        "j_heldout", descending=True, nulls_last=True, maintain_order=True
    )
    return dataclasses.replace(advice, curve=curve, detectors=strongest)

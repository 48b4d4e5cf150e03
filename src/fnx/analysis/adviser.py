"""Advises which layer to use: every layer's features probed by cross-validation, and why.

A ridge probe is fitted to most rows and judged on the others, layer by layer, for all layers
together, and for the paper's authors' full-network embedding. The narrowest entry that is within
one standard error of the best is recommended, if any is better than chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fnx.analysis.advice import ALL, FULL_NETWORK, Advice
from fnx.analysis.detectors import Embedded
from fnx.analysis.judging import Task, make_task
from fnx.analysis.probes import (
    Floats,
    Spectrum,
    axes_of_features,
    axes_of_kernel,
    cosine,
    log_evidence,
    nearest,
    spectrum_of_features,
    spectrum_of_kernel,
)
from fnx.analysis.recommending import Entry, recommend
from fnx.statistics.columns import Columns, open_columns
from fnx.utils.progress import progress_bar

LOW, HIGH = -0.25, 0.15
"""A z-score below is -1, above 1, else 0 (Garcia-Gasulla et al., An Out-of-the-box Full-network
Embedding for Convolutional Neural Networks, 2018)."""


def advise(
    embedding: Embedded,
    *,
    images: int = 2000,
    folds: int = 5,
    groups: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Advice:
    task = make_task(embedding, images, folds, groups, seed)
    columns = open_columns(embedding.features)
    table = embedding.feature_table
    layers = table.group_by("layer", maintain_order=True).agg(
        pl.col("feature_id").min().alias("first"), pl.len().alias("features")
    )
    entries = []
    together = np.zeros((task.rows.size, task.rows.size))
    ternary = [np.zeros_like(together) for _ in (*task.splits, None)]
    with progress_bar(
        "advice", total=layers.height, unit="layers", delay=1.0, enabled=progress
    ) as bar:
        for depth, (layer, first, features) in enumerate(layers.iter_rows()):
            entry, cosines = _probe_layer(task, columns, layer, depth, first, features, ternary)
            entries.append(entry)
            together += cosines
            bar.update()
    total = int(layers["features"].sum())
    if layers.height > 1:
        entries.append(_probe_kernels(task, ALL, "all", total, [together] * len(ternary)))
    entries.append(_probe_kernels(task, FULL_NETWORK, "full_network", total, ternary))
    return recommend(task, entries)


def _blocks(columns: Columns, rows: NDArray[Any], start: int, stop: int) -> Iterator[Floats]:
    """Yield some rows of a layer's columns, a block at a time."""
    for first in range(start, stop, columns.width):
        block = columns.block(first, min(first + columns.width, stop))[rows]
        yield block.toarray() if hasattr(block, "toarray") else block


def standardise(block: Floats, train: NDArray[Any]) -> Floats:
    """Return the z-scores of some columns by the mean and spread of their training rows alone.

    A column that is constant there is 0 everywhere.
    """
    known = block[train]
    mean, spread = known.mean(axis=0), known.std(axis=0)
    constant = known.min(axis=0) == known.max(axis=0)
    return np.asarray((block - mean) / np.where(constant, np.inf, np.maximum(spread, 1e-30)))


def discretise(scores: Floats) -> Floats:
    """Return -1, 0 or 1 for each z-score, as the full-network embedding does.

    >>> discretise(np.array([-0.3, -0.25, 0.0, 0.15, 0.2])).tolist()
    [-1.0, 0.0, 0.0, 0.0, 1.0]
    """
    return (scores > HIGH).astype(scores.dtype) - (scores < LOW).astype(scores.dtype)


def _probe_layer(
    task: Task,
    columns: Columns,
    layer: str,
    depth: int,
    first: int,
    features: int,
    ternary: list[Floats],
) -> tuple[Entry, Floats]:
    """Probe one layer; add it to the kernels of the full-network embedding.

    Returns:
        What was found, and the cosines (n, n) of the rows.
    """
    narrow = features <= min(split.train.size for split in task.splits)
    blocks = _blocks(columns, task.rows, first, first + features)
    if narrow:
        blocks = iter([np.concatenate(list(blocks), axis=1)])
    size = (task.rows.size, task.rows.size)
    raw, kernels = np.zeros(size), [] if narrow else [np.zeros(size) for _ in task.splits]
    spectra: list[Spectrum] = []
    for block in blocks:
        raw += block @ block.T
        for number, split in enumerate(task.splits):
            scores = standardise(block, split.train)
            if narrow:
                spectra.append(spectrum_of_features(scores[split.train], scores[split.held_out]))
            else:
                kernels[number] += scores @ scores.T
            signs = discretise(scores)
            ternary[number] += signs @ signs.T
        signs = discretise(standardise(block, task.fitted))
        ternary[-1] += signs @ signs.T
    spectra = spectra or [
        spectrum_of_kernel(kernel, split.train, split.held_out)
        for kernel, split in zip(kernels, task.splits, strict=True)
    ]
    cosines = cosine(raw)
    axes = (
        axes_of_features(block[task.fitted].astype(np.float64))
        if narrow
        else axes_of_kernel(raw[np.ix_(task.fitted, task.fitted)])
    )
    evidence = log_evidence(*axes, task.owned[task.fitted])
    neighbours = [cosines] * len(task.splits)
    return _entry(task, layer, "layer", depth, features, spectra, neighbours, evidence), cosines


def _probe_kernels(
    task: Task, name: str, kind: str, features: int, kernels: list[Floats]
) -> Entry:
    """Probe what has a kernel for each split, and one of all fitted rows."""
    spectra = [
        spectrum_of_kernel(kernel, split.train, split.held_out)
        for kernel, split in zip(kernels, task.splits, strict=False)
    ]
    evidence = log_evidence(
        *axes_of_kernel(kernels[-1][np.ix_(task.fitted, task.fitted)]), task.owned[task.fitted]
    )
    cosines = [cosine(kernel) for kernel in kernels[:-1]]
    return _entry(task, name, kind, None, features, spectra, cosines, evidence)


def _entry(
    task: Task,
    name: str,
    kind: str,
    depth: int | None,
    features: int,
    spectra: Sequence[Spectrum],
    cosines: Sequence[Floats],
    evidence: float,
) -> Entry:
    """Have the probes decide, given a spectrum and the cosines (n, n) of each split."""
    decisions = [
        task.decide_by_ridge(spectrum, split)
        for spectrum, split in zip(spectra, task.splits, strict=True)
    ]
    neighbours = []
    for similar, split in zip(cosines, task.folds, strict=False):
        owned = task.owned[split.train]
        shares = nearest(similar[np.ix_(split.held_out, split.train)], owned)
        neighbours.append(task.decide(shares if task.single else shares - owned.mean(axis=0)))
    return Entry(name, kind, depth, features, decisions, neighbours, evidence)

"""Values of features inside and outside a class, from the run's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.statistics.columns import open_columns

if TYPE_CHECKING:
    from fnx.embedding import Embedding

BINS = 16

_BYTES_AT_ONCE = 64_000_000


@dataclass(frozen=True)
class Values:
    """The inner and the outer distribution of a feature (Section 4), in percent of their images."""

    class_id: int
    class_name: str
    edges: NDArray[np.float64]
    inner: NDArray[np.float64]
    outer: NDArray[np.float64]
    n_inner: int
    n_outer: int


def open_embedding(run: Run) -> Embedding:
    """Open the embedding that a run was made from, with the run's labels.

    Raises:
        DataError: it is gone, or was replaced by another one.
    """
    from fnx.embedding import Embedding

    return Embedding.of_run(run)


def feature_values(run: Run, feature_id: int, class_id: int, bins: int = BINS) -> Values:
    """Count a feature's values on a class's images and on all others.

    The bins have equal widths, from the smallest to the largest value.

    Raises:
        DataError: see `open_embedding`.
    """
    embedding = open_embedding(run)
    values = embedding.column(feature_id).astype(np.float64)
    inside = embedding.labelling.has(class_id)
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    inner, outer = (
        100 * np.histogram(part, edges)[0] / max(1, len(part))
        for part in (values[inside], values[~inside])
    )
    name = str(run.classes["class_name"][class_id])
    return Values(class_id, name, edges, inner, outer, int(inside.sum()), int((~inside).sum()))


def every_feature_values(
    run: Run, of_class: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Count the values of every feature as `feature_values` does, in one pass over the embedding.

    Args:
        run: of F features.
        of_class: (F,) the class whose values are set against all others', for each feature.

    Returns:
        (F, 2) the lowest and the highest edge, and (F, 2, BINS) the images in each bin: those of
        the class, then all others.

    Raises:
        DataError: see `open_embedding`.
    """
    from fnx.statistics.kernels.histogram import bin_column  # compiled

    embedding = open_embedding(run)
    columns = open_columns(embedding.features)
    n_rows, n_features = embedding.features.shape
    ends, counts = np.zeros((n_features, 2)), np.zeros((n_features, 2, BINS), np.int32)
    step = 64 * max(1, _BYTES_AT_ONCE // (64 * 4 * n_rows))
    index = np.empty(n_rows, np.int32)
    inside = [embedding.labelling.has(class_id) for class_id in range(run.classes.height)]
    for start in range(0, n_features, step):
        block = np.ascontiguousarray(columns.read(start, min(start + step, n_features)).T)
        for number, column in enumerate(block, start):
            low, high = float(column.min()), float(column.max())
            high = high if high > low else low + 1
            ends[number] = low, high
            bin_column(column, low, high, BINS, index)
            places = np.where(inside[of_class[number]], index, index + BINS)
            counts[number] = np.bincount(places, minlength=2 * BINS).reshape(2, BINS)
    return ends, counts

"""Values of features inside and outside a class, from the run's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block

if TYPE_CHECKING:
    from fnx.embedding import Embedding

BINS = 16


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
    from fnx.statistics.kernels.histogram import bin_column, count_classes  # compiled
    from fnx.statistics.kernels.tile import extremes, transpose

    embedding = open_embedding(run)
    columns = open_columns(embedding.features)
    n_rows, n_features = embedding.features.shape
    ends, counts = np.zeros((n_features, 2)), np.zeros((n_features, 2, BINS), np.int32)
    outside = [
        (~embedding.labelling.has(class_id)).astype(np.uint16)
        for class_id in range(run.classes.height)
    ]

    def count(start: int, stop: int) -> None:
        values = np.empty((stop - start, n_rows), columns.dtype)
        transpose(columns.read(start, stop), values)
        low, high = np.empty((2, stop - start))
        extremes(values, n_rows, low, high)
        high = np.where(high > low, high, low + 1)
        ends[start:stop] = np.stack([low, high], axis=1)
        index, places = np.empty((2, n_rows), np.uint16)
        of_bin = np.empty((BINS, 2), np.uint32)
        for number, column in enumerate(values):
            bin_column(column, low[number], high[number], BINS, index)
            count_classes(index, outside[of_class[start + number]], places, of_bin)
            counts[start + number] = of_bin.T

    each_block(columns, count)
    return ends, counts

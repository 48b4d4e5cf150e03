"""Values of features inside and outside a class, from the run's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block
from fnx.statistics.tiles import tiles

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

    embedding = open_embedding(run)
    columns, labelling = open_columns(embedding.features), embedding.labelling
    n_rows, n_features = columns.n_rows, columns.n_columns
    ends, counts = np.zeros((n_features, 2)), np.zeros((n_features, 2, BINS), np.int32)

    def count(start: int, stop: int) -> None:
        index, places = np.empty((2, n_rows), np.uint16)
        of_bin = np.empty((BINS, 2), np.uint32)
        for first, values, low, high in tiles(columns.read(start, stop), start, scales=False):
            high = np.where(high > low, high, low + 1)
            for number, column in enumerate(values[:, :n_rows]):
                feature = first + number
                ends[feature] = low[number], high[number]
                bin_column(column, low[number], high[number], BINS, index)
                outside = ~labelling.has(of_class[feature])
                count_classes(index, outside.astype(np.uint16), places, of_bin)
                counts[feature] = of_bin.T

    each_block(columns, count)
    return ends, counts

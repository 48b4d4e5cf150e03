"""A feature's values inside and outside a class, from the run's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnx.analysis import Run

if TYPE_CHECKING:
    from fnx.embedding import Embedding


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


def feature_values(run: Run, feature_id: int, class_id: int, bins: int = 16) -> Values:
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

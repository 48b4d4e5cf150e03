"""Chosen features of an embedding as a table: columns about each row, then one for each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.lookup import in_layers
from fnx.analysis.run import Run
from fnx.embedding.arrays import RESERVED
from fnx.embedding.embedding import Embedding
from fnx.errors import ConfigError, DataError
from fnx.statistics.columns import open_columns
from fnx.thresholds.selection import best, kept, scores_of

Select = str | int  # "kept", "all", or how many of the best
_VALUES_AT_ONCE = 1 << 23  # of a block, where the array does not say how it is stored


@dataclass(frozen=True)
class Table:
    """Rows with what is known about them, and features of an embedding for each.

    Attributes:
        about: columns about the rows.
        rows: int64 (N,): the row of the embedding that each has; -1 for none.
        embedding: where the values are; None if no row has any.
        features: feature_id, layer, unit and name of each feature, in order of their ids.
    """

    about: pl.DataFrame
    rows: NDArray[np.int64]
    embedding: Embedding | None
    features: pl.DataFrame

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return self.features["name"].to_list()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        if self.embedding is None:
            return np.dtype(np.float32)
        return open_columns(self.embedding.features).dtype

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield some rows of the table and their values (rows, F), NaN where a row has none.

        About as much is in memory as a shard of the embedding holds.
        """
        if self.embedding is None:
            values = np.full((len(self.rows), self.features.height), np.nan, np.float32)
            yield slice(0, len(self.rows)), values
            return
        columns = open_columns(self.embedding.features)
        array = columns.array.tocsr() if hasattr(columns.array, "tocsr") else columns.array
        chunks = getattr(array, "chunks", None)
        step = max(1, _VALUES_AT_ONCE // columns.n_columns)
        if chunks and isinstance(chunks[0], int):
            step = chunks[0]
        ids = self.features["feature_id"].to_numpy()
        first, last = int(ids[0]), int(ids[-1]) + 1
        for start in range(0, len(self.rows), step):
            own = self.rows[start : start + step]
            values = np.full((len(own), ids.size), np.nan, columns.dtype)
            there = own >= 0
            if there.any():
                low, high = int(own[there].min()), int(own[there].max()) + 1
                block = array[low:high, first:last]
                block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
                values[there] = block[np.ix_(own[there] - low, ids - first)]
            yield slice(start, start + len(own)), values

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the table as data frames of some rows each; null where a row has no values."""
        for rows, values in self.blocks():
            frame = pl.from_numpy(values, schema=self.names, orient="row")
            missing = self.rows[rows] < 0
            if missing.any():
                frame = frame.select(pl.when(~pl.Series(missing)).then(pl.all()))
            yield self.about[rows].hstack(frame)

    def frame(self) -> pl.DataFrame:
        """Return the whole table as one data frame."""
        return pl.concat(self.frames())


def choose_features(
    run: Run, select: Select = "kept", layers: str | Sequence[str] | None = None
) -> pl.DataFrame:
    """Return some features of a run: feature_id, layer, unit and name, in order of their ids.

    Args:
        run: the run.
        select: ``kept``: those beyond the threshold of one class or more; ``all``; or a number: as
            many, those whose distance to some class lies farthest from neutral.
        layers: names of layers or globs, of which the features are; None: all layers.

    Raises:
        ConfigError: another `select`, or more features than there are.
        DataError: a layer that the run does not have, or no feature is kept.
    """
    table = run.features.select("feature_id", "layer", "unit", name=run.feature_labels)
    table = in_layers(table, layers)
    ids = table["feature_id"].to_numpy()
    if select == "all":
        return table
    if select == "kept":
        found = kept(run.distances, run.limits["+"], run.limits.get("-"))[ids]
        if not found.any():
            raise DataError(f"{run.path}: none of {ids.size} features is kept for any class")
        return table.filter(found)
    if isinstance(select, bool) or not isinstance(select, int | np.integer):
        raise ConfigError(f"features={select!r}: must be kept, all, or a number of features")
    if not 1 <= select <= ids.size:
        raise ConfigError(f"features={select}: must lie in 1 … {ids.size}, the number there is")
    return table.filter(best(scores_of(run.distances, run.neutral)[ids], int(select)))


def with_concept_columns(images: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Replace lists of concepts by one column of true and false for each.

    A concept that is called as another column is `names`, or that there is, is "concept NAME".
    """
    if "class_ids" not in images.columns:
        return images
    held = images["class_ids"].to_list()
    of_id: dict[int, str] = {}
    for own, texts in zip(held, images["class_names"].to_list(), strict=True):
        of_id.update(zip(own or [], texts or [], strict=True))
    about = images.drop("class_id", "class_ids", "class_names")
    taken = {*about.columns, *names, *RESERVED}
    columns = []
    for number, name in sorted(of_id.items()):
        column = f"concept {name}" if name in taken else name
        columns.append(pl.Series(column, [number in (own or ()) for own in held], pl.Boolean))
    return about.with_columns(columns)

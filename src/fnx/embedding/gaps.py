"""What the shards of an embedding still need, shared out; an image that occurs twice, only once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray


def _no_repeats() -> NDArray[np.int64]:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Gap:
    """What a shard still needs.

    Attributes:
        rows: the rows of the embedding that are to be extracted.
        begun: digests of the files that hold the rows that are there, one per array; () if none is.
        repeats: int64 (R, 2): the rows that have the image of one before them, and that row, which
            is extracted by the same rank.
    """

    rows: range | NDArray[np.int64]
    begun: tuple[str, ...] = ()
    repeats: NDArray[np.int64] = field(default_factory=_no_repeats)


def shared_out(gaps: Mapping[int, Gap], ranks: int) -> list[list[int]]:
    """Return the shards of each rank: a run of those that need something."""
    return [run.tolist() for run in np.array_split(np.array(list(gaps), int), ranks)]


def without_repeats(gaps: Mapping[int, Gap], digests: pl.Series, ranks: int) -> dict[int, Gap]:
    """Have each of `ranks` extract an image once, in the first row that needs it.

    `digests` tells of each row which image it is of.
    """
    found = dict(gaps)
    for run in shared_out(gaps, ranks):
        rows = np.concatenate([_no_repeats()[:, 0], *(gaps[shard].rows for shard in run)])
        table = pl.DataFrame({"row": rows, "digest": digests.gather(rows)})
        first = table.select(pl.col("row").first().over("digest"))["row"].to_numpy()
        ends = np.cumsum([len(gaps[shard].rows) for shard in run])
        for shard, end in zip(run, ends, strict=True):
            part = slice(end - len(gaps[shard].rows), end)
            repeated = first[part] != rows[part]
            if repeated.any():
                repeats = np.stack([rows[part], first[part]], axis=1)[repeated]
                found[shard] = replace(gaps[shard], rows=rows[part][~repeated], repeats=repeats)
    return found


class RepeatedRows:
    """Values and positions of rows that later ones repeat, kept from the one to the others.

    They lie in a file without a name in `folder`, so that memory does not grow with their number.
    """

    def __init__(self, folder: Path, gaps: Mapping[int, Gap]) -> None:
        self.folder = folder
        first = np.unique([row for gap in gaps.values() for row in gap.repeats[:, 1]])
        self._place = {int(row): place for place, row in enumerate(first)}
        self._file: IO[bytes] | None = None

    def complete(
        self, gap: Gap, values: NDArray[np.float32], positions: NDArray[np.uint8]
    ) -> tuple[Gap, NDArray[np.float32], NDArray[np.uint8]]:
        """Return a gap of all its rows, their values and positions; keep those to be repeated.

        `values` is float32 (rows, F), `positions` uint8 (rows, F, 2), of the rows that were
        extracted.
        """
        if not self._place:
            return gap, values, positions
        shapes = (values.shape[1:], positions.shape[1:])
        kind = np.dtype([("values", "f4", shapes[0]), ("positions", "u1", shapes[1])])
        for row, value, position in zip(gap.rows, values, positions, strict=True):
            if int(row) in self._place:
                self._at(row, kind).write(np.array((value, position), kind).tobytes())
        again = np.empty(len(gap.repeats), kind)
        for number, row in enumerate(gap.repeats[:, 1]):
            again[number] = np.frombuffer(self._at(row, kind).read(kind.itemsize), kind)[0]
        rows = np.concatenate([gap.rows, gap.repeats[:, 0]])
        order = np.argsort(rows)
        return (
            Gap(rows[order], gap.begun),
            np.concatenate([values, again["values"]])[order],
            np.concatenate([positions, again["positions"]])[order],
        )

    def _at(self, row: int, kind: np.dtype[Any]) -> IO[bytes]:
        """Return the file, where it holds this row."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix=".repeated-", dir=self.folder)  # noqa: SIM115
        self._file.seek(self._place[int(row)] * kind.itemsize)
        return self._file

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

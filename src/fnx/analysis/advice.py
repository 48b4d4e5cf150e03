"""What the adviser found: which layer to use, how good it will be, and why; kept as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import polars as pl

from fnx.errors import DataError, reason
from fnx.utils.files import write_atomically
from fnx.utils.parquet import read_parquet

ADVICE = "advice.json"
TABLE = "advice.parquet"

ALL = "all layers"
FULL_NETWORK = "full-network embedding"

ENTRIES = {
    "entry": pl.String,
    "kind": pl.String,
    "depth": pl.Int32,
    "features": pl.Int64,
    "accuracy": pl.Float64,
    "standard_error": pl.Float64,
    "knn_accuracy": pl.Float64,
    "logme": pl.Float64,
    "recommended": pl.Boolean,
    "behind": pl.Float64,
    "behind_error": pl.Float64,
    "test_accuracy": pl.Float64,
}
CURVE = {
    "features": pl.Int64,
    "chosen_by": pl.String,
    "accuracy": pl.Float64,
    "standard_error": pl.Float64,
}
CONFUSIONS = {
    "class_name": pl.String,
    "taken_for": pl.String,
    "share": pl.Float64,
    "told_apart_by": pl.String,
}
_TABLES: dict[str, Mapping[str, Any]] = {"curve": CURVE, "confusions": CONFUSIONS}


def _empty(schema: Mapping[str, Any]) -> Any:
    return field(default_factory=lambda: pl.DataFrame(schema=schema))


@dataclass(frozen=True)
class Advice:
    """Which layer to use, how good its features will be on new rows, and why.

    Attributes:
        table: one row per entry, the layers in order of depth, then "all layers" and the
            "full-network embedding": ``entry``; ``kind`` "layer", "all" or "full_network";
            ``depth`` from 0, null for the last two; ``features``; ``accuracy`` of a
            cross-validated ridge probe and its ``standard_error``; ``knn_accuracy`` of the 5
            nearest neighbours; ``logme``, the log evidence per row; ``recommended``; ``behind``,
            how far the accuracy is below the best entry's, and ``behind_error``, the standard
            error of this difference, row by row; ``test_accuracy`` on the data set's own test
            rows, of probes fitted to all others, null without such rows.
        recommended: the entry to use; None where none is better than chance.
        reason: why, in a sentence or two.
        chance: what the measure is without knowing anything.
        measure: "accuracy", or "balanced accuracy" where rows have any number of concepts.
        rows: rows that the probes were judged on.
        curve: accuracy by number of ``features`` that were ``chosen_by`` "D" per class, "F-test"
            or "random", of all layers, on training rows only.
        confusions: what the recommended entry confuses most: rows of ``class_name`` are
            ``taken_for`` another class (null: missed, where classes overlap) in this ``share``;
            a layer that makes at most half of these mistakes, and knows both classes no worse, is
            ``told_apart_by`` (null: there is none).
        detectors: the strongest single units of the recommended entry, one per class; see
            `fnx.detectors`.
        untrained: the best accuracy of the same architecture with random weights; None if it was
            not measured.
    """

    table: pl.DataFrame
    recommended: str | None
    reason: str
    chance: float
    measure: str
    rows: int
    curve: pl.DataFrame = _empty(CURVE)
    confusions: pl.DataFrame = _empty(CONFUSIONS)
    detectors: pl.DataFrame = _empty({})
    untrained: float | None = None

    @property
    def best(self) -> dict[str, Any]:
        """The row of the entry with the highest accuracy, whatever its width."""
        return self.table.sort("accuracy", descending=True, maintain_order=True).row(0, named=True)

    @property
    def advised(self) -> dict[str, Any] | None:
        """The row of the recommended entry."""
        found = self.table.filter("recommended")
        return found.row(0, named=True) if found.height else None

    def write(self, folder: Path) -> None:
        """Write ``advice.json``, which holds everything, and ``advice.parquet``, the table."""
        self.table.write_parquet(folder / TABLE)
        write_atomically(folder / ADVICE, json.dumps(self.told(), indent=2) + "\n")

    def told(self) -> dict[str, Any]:
        """Return everything as JSON has it: tables as lists of rows."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value.to_dicts() if isinstance(value, pl.DataFrame) else value
            for name, value in values.items()
        }

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            DataError: it is missing or damaged.
        """
        file = folder / ADVICE
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            tables = {
                name: pl.DataFrame(told[name], _TABLES.get(name), infer_schema_length=None)
                for name in ("curve", "confusions", "detectors")
            }
            values = {one.name: told[one.name] for one in fields(cls)}
            return cls(**(values | tables | {"table": read_parquet(folder / TABLE)}))
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{file}: cannot be read ({reason(error)})") from error

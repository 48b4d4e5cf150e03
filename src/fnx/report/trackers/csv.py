"""CSV files in the run's folder: scalars in ``metrics.csv``, tables in ``tables/``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from fnx.report.tables import write_csv
from fnx.report.trackers.tracker import StoredEmbedding, Tracker
from fnx.utils.text import cell


class CsvTracker(Tracker):
    """``metrics.csv`` (name, value) and ``tables/*.csv``; figures lie in the folder already."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir
        self._values: dict[str, float | int | str | bool] = {}

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Rewrite ``metrics.csv`` with these values added."""
        self._values |= values
        with (self._folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            rows = (
                (name, cell(v) if isinstance(v, str) else v) for name, v in self._values.items()
            )
            csv.writer(file).writerows([("name", "value"), *rows])

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Write ``tables/<name>.csv``."""
        folder = self._folder / "tables"
        folder.mkdir(exist_ok=True)
        write_csv(table, folder / f"{name}.csv")

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """Add the embedding's path and fingerprint to the scalars."""
        self.log_summary({"embedding": str(embedding.path), "fingerprint": embedding.fingerprint})

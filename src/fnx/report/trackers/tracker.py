"""What every experiment tracker takes of a run, beside the run's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

PICTURE = "picture"  # column of a table that holds the path of a picture for the row, or null


@dataclass(frozen=True)
class StoredEmbedding:
    """An embedding as trackers refer to it."""

    path: Path
    fingerprint: str
    metadata: Mapping[str, Any]
    reused: bool
    """Whether the run found it there, and did not make it."""


class Tracker:
    """Keeps nothing; each tracker overrides the methods whose values it keeps."""

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Keep one value for each name."""

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Keep a table; its column `PICTURE`, if there is one, names a picture for each row."""

    def log_figure(self, name: str, path: Path) -> None:
        """Keep a PNG picture."""

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """Keep a reference to the embedding, so that it shows which runs share it."""

    def close(self, *, failed: bool = False) -> None:
        """Finish; always to be called, also after an error."""

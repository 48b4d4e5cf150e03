"""Experiment trackers: where a run's numbers, tables and figures go beside its own folder."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from fnx.config.schema import LoggerConfig
from fnx.errors import ConfigError, unknown

PICTURE = "picture"
"""Column of a table that holds the path of a picture for the row, or null."""


@dataclass(frozen=True)
class StoredEmbedding:
    """An embedding as trackers refer to it."""

    path: Path
    fingerprint: str
    metadata: Mapping[str, Any]
    reused: bool
    """Whether the run found it there, and did not make it."""


class Tracker(Protocol):
    """What every tracker takes."""

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


class NoTracker:
    """Keeps nothing."""

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Keep nothing."""

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Keep nothing."""

    def log_figure(self, name: str, path: Path) -> None:
        """Keep nothing."""

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """Keep nothing."""

    def close(self, *, failed: bool = False) -> None:
        """Nothing is open."""


class CsvTracker:
    """``metrics.csv`` (name, value) and ``tables/*.csv`` in the run's folder."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir
        self._values: dict[str, float | int | str | bool] = {}

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Rewrite ``metrics.csv`` with these values, too."""
        self._values |= values
        with (self._folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "value"])
            writer.writerows(self._values.items())

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Write ``tables/<name>.csv``."""
        folder = self._folder / "tables"
        folder.mkdir(exist_ok=True)
        table.write_csv(folder / f"{name}.csv")

    def log_figure(self, name: str, path: Path) -> None:
        """The figures lie in the run's folder already."""

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """The embedding's place and fingerprint, among the scalars."""
        self.log_summary({"embedding": str(embedding.path), "fingerprint": embedding.fingerprint})

    def close(self, *, failed: bool = False) -> None:
        """Nothing is open."""


def check_tracker(config: LoggerConfig) -> None:
    """Find out before any long work whether a tracker can be used.

    Raises:
        ConfigError: for an unknown tracker, or one whose package is not installed.
    """
    packages = {"wandb": "wandb", "csv": None, "tensorboard": "tensorboard", "none": None}
    if config.name not in packages:
        raise ConfigError(unknown("logger", config.name, packages))
    package = packages[config.name]
    if package and importlib.util.find_spec(package) is None:
        extra = " (pip install 'fnx[tensorboard]')" if package == "tensorboard" else ""
        raise ConfigError(f"logger={config.name}: package {package} is not installed{extra}")


def open_tracker(
    config: LoggerConfig,
    run_dir: Path,
    *,
    run_config: Mapping[str, Any],
    name: str,
    job_type: str,
    group: str | None = None,
    tags: Sequence[str] = (),
) -> Tracker:
    """Open the tracker that the configuration names; close it in a ``finally``.

    Args:
        config: which tracker, and W&B's project and mode.
        run_dir: folder of the run; trackers write into it.
        run_config: the whole configuration, kept with the run.
        name: display name of the run.
        job_type: what kind of work it was; W&B groups by it.
        group: what runs of one sweep share; `config.group` goes before it.
        tags: tags, before those of the configuration.

    Raises:
        ConfigError: for an unknown tracker, or one whose package is not installed.
    """
    check_tracker(config)
    if config.name == "wandb":
        from fnx.report.trackers.wandb import WandbTracker

        return WandbTracker(
            run_dir,
            run_config,
            project=config.project,
            name=name,
            job_type=job_type,
            group=config.group or group,
            tags=list(dict.fromkeys([*tags, *config.tags])),
            mode=config.mode,
        )
    if config.name == "csv":
        return CsvTracker(run_dir)
    if config.name == "tensorboard":
        from fnx.report.trackers.tensorboard import TensorBoardTracker

        return TensorBoardTracker(run_dir, run_config)
    return NoTracker()

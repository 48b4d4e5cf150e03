"""Experiment trackers: where a run's numbers, tables and figures go beside its own folder."""

from __future__ import annotations

import csv
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from fnx.analysis import Run
from fnx.analysis.table3 import table3, table3_row
from fnx.errors import ConfigError, unknown
from fnx.schema import LoggerConfig

log = logging.getLogger(__name__)

TEXT_ROWS = 200
"""Rows of a table that TensorBoard shows as text."""


class Tracker(Protocol):
    """What every tracker takes."""

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Keep one value for each name."""

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Keep a table."""

    def log_figure(self, name: str, path: Path) -> None:
        """Keep a PNG picture."""

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

    def close(self, *, failed: bool = False) -> None:
        """Nothing is open."""


class TensorBoardTracker:
    """Event files in ``tensorboard/`` of the run's folder."""

    def __init__(self, run_dir: Path, run_config: Mapping[str, Any]) -> None:
        import json

        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(run_dir / "tensorboard")
        text = json.dumps(run_config, indent=2, default=str, ensure_ascii=False)
        self._writer.add_text("config", _code_block(text))

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Numbers as scalars, the rest as text."""
        for name, value in values.items():
            if isinstance(value, str):
                self._writer.add_text(name, value)
            else:
                self._writer.add_scalar(name, float(value))

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """The first rows as a Markdown table."""
        head = table.head(TEXT_ROWS)
        rows = [head.columns, ["---"] * head.width, *map(list, head.rows())]
        cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
        self._writer.add_text(name, "\n".join("| " + " | ".join(row) + " |" for row in cells))

    def log_figure(self, name: str, path: Path) -> None:
        """The picture, as it was drawn."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), dataformats="HWC")

    def close(self, *, failed: bool = False) -> None:
        """Write what is pending."""
        self._writer.close()


def _code_block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


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
    group: str | None = None,
    tags: Sequence[str] = (),
) -> Tracker:
    """Open the tracker that the configuration names; close it in a ``finally``.

    Args:
        config: which tracker, and W&B's project and mode.
        run_dir: folder of the run; trackers write into it.
        run_config: the whole configuration, kept with the run.
        name: display name of the run.
        group: what runs of one sweep share; `config.group` goes before it.
        tags: tags, before those of the configuration.

    Raises:
        ConfigError: for an unknown tracker, or one whose package is not installed.
    """
    check_tracker(config)
    if config.name == "wandb":
        from fnx.report.wandb_tracker import WandbTracker

        return WandbTracker(
            run_dir,
            run_config,
            project=config.project,
            name=name,
            group=config.group or group,
            tags=list(dict.fromkeys([*tags, *config.tags])),
            mode=config.mode,
        )
    if config.name == "csv":
        return CsvTracker(run_dir)
    if config.name == "tensorboard":
        return TensorBoardTracker(run_dir, run_config)
    return NoTracker()


def track(run: Run, config: LoggerConfig, *, sweep: str | None = None) -> None:
    """Hand a finished run's numbers, tables and figures to the configured tracker.

    A tracker that fails takes nothing from a finished run: the reason is logged as a warning.

    Raises:
        ConfigError: for an unknown tracker, or one whose package is not installed.
    """
    check_tracker(config)
    tags = [run.dataset, run.model, run.statistic]
    try:
        tracker = open_tracker(
            config,
            run.path,
            run_config=run.record.get("config") or {},
            name="-".join(tags),
            group=sweep,
            tags=tags,
        )
        failed = True
        try:
            tracker.log_summary(metrics(run))
            for name, table in tracked_tables(run).items():
                tracker.log_table(name, table)
            for path in sorted((run.path / "figures").glob("*.png")):
                tracker.log_figure(path.stem, path)
            failed = False
        finally:
            tracker.close(failed=failed)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("logger=%s failed, the run's folder is complete: %s", config.name, reason)


def metrics(run: Run) -> dict[str, float | int | str | bool]:
    """A run's scalars: sizes, thresholds with what they keep, seconds of each stage."""
    row = {key: value for key, value in table3_row(run).items() if value is not None}
    row["failed"] = run.failed.height
    row["embedding_reused"] = bool(run.record.get("embedding_reused", False))
    seconds = {f"seconds/{stage}": value for stage, value in run.record["seconds"].items()}
    return row | seconds


def tracked_tables(run: Run) -> dict[str, pl.DataFrame]:
    """The tables that are compared across runs; features and classes by their names."""
    features = run.features.select("feature_id", "layer", "unit")
    classes = run.classes.select("class_id", "class_name")
    top = run.top_features.join(classes, on="class_id", how="left", maintain_order="left")
    return {
        "table3": table3([run]),
        "thresholds": run.thresholds,
        "layers": run.layers,
        "top_features": top.join(features, on="feature_id", how="left", maintain_order="left"),
    }

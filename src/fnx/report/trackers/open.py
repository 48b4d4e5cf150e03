"""Opens the tracker that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fnx.config.schema import LoggerConfig
from fnx.report.trackers.tracker import Tracker
from fnx.utils.redact import redacted


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

    It writes into the folder of the run, and keeps `run_config` with it. W&B shows the run by its
    name and tags, and groups runs by `job_type` and by `group`, what runs of one sweep share, over
    which that of the configuration takes precedence.
    """
    # No text of the configuration reaches a tracker with its secrets.
    config = LoggerConfig(**redacted(vars(config)))
    run_config, name, tags = redacted(run_config), redacted(name), redacted(list(tags))
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
    if config.name == "tensorboard":
        from fnx.report.trackers.tensorboard import TensorBoardTracker

        return TensorBoardTracker(run_dir, run_config)
    if config.name == "csv":
        from fnx.report.trackers.csv import CsvTracker

        return CsvTracker(run_dir)
    return Tracker()

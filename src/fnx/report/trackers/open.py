"""Opens the tracker that a configuration names, and checks early that it can be used."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fnx.config.schema import LoggerConfig
from fnx.errors import ConfigError, unknown
from fnx.report.trackers.tracker import Tracker

_PACKAGES = {"wandb": "wandb", "csv": None, "tensorboard": "tensorboard", "none": None}
"""The trackers, and the package that each needs."""


def check_tracker(config: LoggerConfig) -> None:
    """Check before any long work that a tracker can be used.

    Raises:
        ConfigError: for an unknown tracker, or one whose package is not installed.
    """
    if config.name not in _PACKAGES:
        raise ConfigError(unknown("logger", config.name, _PACKAGES))
    package = _PACKAGES[config.name]
    if package and importlib.util.find_spec(package) is None:
        extra = " (pip install 'fnx-features[tensorboard]')" if package == "tensorboard" else ""
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
        group: what runs of one sweep share; `config.group` takes precedence.
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
    if config.name == "tensorboard":
        from fnx.report.trackers.tensorboard import TensorBoardTracker

        return TensorBoardTracker(run_dir, run_config)
    if config.name == "csv":
        from fnx.report.trackers.csv import CsvTracker

        return CsvTracker(run_dir)
    return Tracker()

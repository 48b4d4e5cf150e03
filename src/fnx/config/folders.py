"""Gives each run and each sweep of the command line a folder of its own, before Hydra makes it."""

from __future__ import annotations

import atexit
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fnx.config.words import literal, quoted
from fnx.utils.files import expand_user, new_folder
from fnx.utils.lock import is_in_use
from fnx.utils.redact import redact_files


class NewFolder(Callback):
    """Make the folder of a run or sweep, with a number after its name where another has it.

    A folder that the user names (``hydra.run.dir=…``) is that one, unless a run is writing there.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Make the run's folder."""
        _make(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Make the sweep's folder; the words in its multirun.yaml may hold secrets."""
        _make(config, "hydra.sweep.dir")
        # Its first job does it too; but there may be none.
        atexit.register(redact_files, Path(config.hydra.sweep.dir).absolute(), "*.yaml")


def _make(config: DictConfig, key: str) -> None:
    # Hydra makes the folder next, and says what is wrong.
    with suppress(OSError, OmegaConfBaseException):
        named = any(word.startswith(f"{key}=") for word in config.hydra.overrides.hydra)
        folder = Path(expand_user(OmegaConf.select(config, key)))
        if not named or is_in_use(folder):
            folder = new_folder(folder)
        with read_write(config), open_dict(config):
            OmegaConf.update(config, key, literal(str(folder)))
            # The jobs of a sweep are composed again, elsewhere too, from the words.
            config.hydra.overrides.hydra.append(f"{key}={quoted(str(folder))}")

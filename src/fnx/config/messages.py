"""Errors of Hydra and OmegaConf in one line: what was found, and what is allowed.

Both say the same in many lines, with Python's words for YAML's values.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from fnx.config import schema
from fnx.errors import ConfigError, unknown
from fnx.registry import statistics, thresholds

_LAUNCHER_EXTRAS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "joblib": "joblib"}


@contextmanager
def in_one_line() -> Iterator[None]:
    """Raise errors of Hydra and OmegaConf as `ConfigError`, with one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    if isinstance(error, MissingConfigException):
        return _unknown_option(error) or _first_line(error)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not KEY=VALUE: {' '.join(str(error).splitlines()[1:2])}"
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        return f"{ambiguous[1]} names several values: add -m to sweep over them"
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else None
    detail = _first_line(cause or error)
    key = getattr(error, "full_key", None) or getattr(cause, "full_key", None) or ""
    missing = re.search(r"[Mm]issing mandatory value: (\S+)", detail)
    if missing:
        name = key if key.endswith(f".{missing[1]}") else missing[1]
        return f"{name} is missing: give it as {name}=…"
    stranger = re.match(r"Key '(.+)' (?:is )?not in '(.+)'", detail)
    if stranger:
        return _unknown_key(key or stranger[1], stranger[2])
    typed = re.search(r"Error merging override (\S+)", str(error))
    where = typed[1] if typed else key
    return f"{where}: {detail}" if where and where not in detail else detail


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unknown_option(error: MissingConfigException) -> str | None:
    """Say what options the group has, for ``dataset=foo``; Hydra's error knows them."""
    name, options = error.missing_cfg_file, error.options
    if name is None or options is None:
        return None
    group, _, option = name.rpartition("/")
    extra = _LAUNCHER_EXTRAS.get(option)
    if group == "hydra/launcher" and extra:
        return f"{group}={option} is not installed: pip install 'fnx-features[{extra}]'"
    return unknown(f"option of {group}", option, options) if group else None


def _unknown_key(key: str, owner: str) -> str:
    """Say what keys there are, for ``dataset.foo=1``; `owner` is the class without such a key."""
    parent, _, name = key.rpartition(".")
    if parent in ("statistic", "threshold"):
        entries = statistics if parent == "statistic" else thresholds
        allowed = list(entries.get(owner.partition("_")[2]).parameters)
    else:
        node: Any = schema.Config
        for part in filter(None, parent.split(".")):
            node = schema.child(node, part)
        allowed = [item.name for item in dataclasses.fields(node)]
    return unknown(f"key of {parent}" if parent else "key", name, allowed)

"""Errors of Hydra and OmegaConf in one line: what was found, and what is allowed.

Both say the same in many lines, with Python's words for YAML's values.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from fnx.config import schema
from fnx.config.words import quoted
from fnx.errors import ConfigError, unknown
from fnx.registry import backbones, statistics, thresholds

_EXTRAS = {
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/joblib": "joblib",
}


@contextmanager
def in_one_line() -> Iterator[None]:
    """Raise errors of Hydra and OmegaConf as `ConfigError`, with one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from error
    except ValueError as error:
        *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
        if not innermost.f_globals.get("__name__", "").startswith("hydra."):
            raise
        raise ConfigError(_first_line(error)) from error  # of flags that do not go together


def _one_line(error: Exception) -> str:
    if isinstance(error, MissingConfigException):
        return _unknown_option(error)
    if isinstance(error, OverrideParseException):
        return _not_parsed(error)
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
    if stranger and not key.startswith("hydra."):
        return _unknown_key(key or stranger[1], stranger[2])
    section = re.match(r"Invalid type assigned: \S+ is not a subclass of (\w+)", detail)
    if section and hasattr(schema, section[1]):
        names = [item.name for item in dataclasses.fields(getattr(schema, section[1]))]
        return f"{key} has no value of its own: give {key}.KEY=…, KEY one of {', '.join(names)}"
    typed = re.search(r"Error merging override (\S+)", str(error))
    where = typed[1] if typed else key
    return f"{where}: {detail}" if where and where not in detail else detail


def _not_parsed(error: OverrideParseException) -> str:
    """Print a word in quotes whose value has characters that mean something to Hydra's grammar."""
    key, equals, value = error.override.partition("=")
    if not equals or value[:1] in "\"'":
        return f"'{error.override}' is not KEY=VALUE: {' '.join(str(error).splitlines()[1:2])}"
    words = re.split(r"\s*,\s*", value[1:-1]) if value[:1] + value[-1:] == "[]" else None
    text = quoted(value) if words is None else f"[{','.join(map(quoted, words))}]"
    return (
        f"{error.override}: its value has characters that must be in quotes, as in"
        f" {shlex.quote(f'{key}={text}')}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unknown_option(error: MissingConfigException) -> str:
    """Say what options the group has, for ``dataset=foo``; Hydra's error knows them."""
    name = error.missing_cfg_file or ""
    group, _, option = name.rpartition("/")
    if name in _EXTRAS:
        return f"{group}={option} is not installed: pip install 'fnx-features[{_EXTRAS[name]}]'"
    if not group or error.options is None:
        return _first_line(error)
    return unknown(f"option of {group}", option, error.options)


def _unknown_key(key: str, owner: str) -> str:
    """Say what keys there are, for ``dataset.foo=1``; `owner` is the class without such a key."""
    parent, _, name = key.rpartition(".")
    if parent in ("statistic", "threshold"):
        entries = statistics if parent == "statistic" else thresholds
        allowed = list(entries.get(owner.partition("_")[2]).parameters)
    else:
        declared = getattr(schema, owner, None)
        if declared is None:  # of a plugin's network
            declared = backbones.get(owner.partition("_")[2]).config_class()
        allowed = [item.name for item in dataclasses.fields(declared)]
    return unknown(f"key of {parent}" if parent else "key", name, allowed)

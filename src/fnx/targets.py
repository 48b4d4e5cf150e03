"""What a configuration may have Python call: Hydra's own launchers, and logging; nothing else.

Whoever names a `_target_` chooses what Python runs, and a recipe from elsewhere is a YAML file that
people do not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fnx.errors import ConfigError

_ALLOWED = re.compile(
    r"hydra_plugins\.[\w.]+"
    r"|hydra\._internal\.core_plugins\.[\w.]+"
    r"|hydra\.experimental\.callbacks\.\w+"
    r"|logging\.(handlers\.)?[A-Z]\w*"  # classes, not functions such as logging.config.fileConfig
    r"|colorlog\.[A-Z]\w*"
)
_SAID = "only Hydra's own launchers and sweepers, and logging, may be named"


def refuse_targets(words: Sequence[str]) -> None:
    """Refuse words of a command line that name what Python shall call.

    Raises:
        ConfigError: naming the first.
    """
    for word in words:
        key, _, value = word.partition("=")
        if "_target_" in key and not all(_allowed(v.strip("'\" ")) for v in value.split(",")):
            raise ConfigError(f"{key}={value}: {_SAID}")
        if "_target_" in value:
            raise ConfigError(f"{key}: a value must not hold a _target_")


def refuse_composed_targets(node: Any, key: str = "") -> None:
    """The same for a composed config, whichever file a target comes from.

    Python's logging calls what stands under ``()`` and ``class``.

    Raises:
        ConfigError: naming the first.
    """
    if isinstance(node, Mapping):
        logging = key.startswith(("hydra.job_logging", "hydra.hydra_logging"))
        for name, value in node.items():
            inner = f"{key}.{name}" if key else str(name)
            called = name == "_target_" or (logging and name in ("()", "class"))
            if called and not _allowed(str(value)):
                raise ConfigError(f"{inner}={value}: {_SAID}")
            refuse_composed_targets(value, inner)
    elif isinstance(node, (list, tuple)):
        for place, value in enumerate(node):
            refuse_composed_targets(value, f"{key}[{place}]")


def _allowed(target: str) -> bool:
    return _ALLOWED.fullmatch(target) is not None

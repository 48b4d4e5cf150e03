"""``fnx.run(dataset="digits")``: a run from Python, as ``python -m fnx dataset=digits`` does it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fnx import app
from fnx.config.compose import compose_keywords
from fnx.errors import ConfigError, reason
from fnx.report.notebook import Run
from fnx.utils.files import new_folder


def run(**overrides: Any) -> Run:
    """Run the method and return the run, whose folder is made as the command line makes it.

    Args:
        **overrides: what the command line calls KEY=VALUE: a group's option (``dataset="folder"``),
            a key at the top level (``seed=1``), a dotted key (``**{"crops.size": 32}``), or the
            plain key of the one group that has it (``root="images"`` for ``dataset.root``). Values
            are Python's own: None, numbers, lists, paths, any text. Plugins are those installed.

    Raises:
        ConfigError: a key that no group has, or several have; a value that is not allowed.
        FnxError: images, weights or a plugin that cannot be used.

    >>> import fnx
    >>> fnx.run(size=0)
    Traceback (most recent call last):
    fnx.errors.ConfigError: crops.size=0: must be at least 1
    """
    config, folder = compose_keywords(overrides)
    try:
        folder = new_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({reason(error)}): choose another folder as paths.outputs"
        ) from error
    try:
        return app.run(config, folder)
    finally:
        for empty in (folder, *folder.parents[:2]):  # nothing was begun
            with suppress(OSError):
                empty.rmdir()

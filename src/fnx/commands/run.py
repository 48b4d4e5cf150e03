"""``fnx.run(dataset="digits")``: a run from Python, as ``python -m fnx dataset=digits`` does it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fnx import app
from fnx.config.compose import compose_keywords
from fnx.errors import ConfigError, reason
from fnx.report.notebook import Run
from fnx.utils.files import new_folder

if TYPE_CHECKING:
    from fnx.embedding import Embedding


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
    return _run(overrides)


def analyze(
    features: Any,
    labels: Any,
    *,
    layers: Any = None,
    feature_names: Any = None,
    groups: Any = None,
    texts: Any = None,
    **overrides: Any,
) -> Run:
    """Run the method on any array, and return the run: distances, thresholds, tables, the page.

    Args:
        features: (N, F) real numbers, a row for each example; with all that follows, what
            `fnx.Embedding.from_array` takes.
        labels: (N,) classes, a table (N, C) of concepts, or N lists of names.
        layers: (F,) the layer of each feature.
        feature_names: (F,) names.
        groups: (N,) rows that stay together when labels are shuffled.
        texts: (N,) what is shown of a row.
        **overrides: as of `fnx.run`; ``**{"dataset.name": "pbmc", "model.name": "pca"}`` are the
            names of the data and of what made the features.

    Raises:
        FnxError: see `fnx.Embedding.from_array` and `fnx.run`.
    """
    from fnx.embedding import Embedding

    given = Embedding.from_array(
        features, labels, layers=layers, feature_names=feature_names, groups=groups, texts=texts
    )
    return _run({"dataset": "array", "dataset.name": "array"} | overrides, given)


def _run(overrides: Mapping[str, Any], array: Embedding | None = None) -> Run:
    config, folder = compose_keywords(overrides)
    try:
        folder = new_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({reason(error)}): choose another folder as paths.outputs"
        ) from error
    try:
        return app.run(config, folder, array=array)
    finally:
        for empty in (folder, *folder.parents[:2]):  # nothing was begun
            with suppress(OSError):
                empty.rmdir()

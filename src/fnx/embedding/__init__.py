"""Embeddings: images × features on disk, extracted once and found again by what shaped them."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fnx import launch
from fnx.embedding.fingerprint import fingerprint, shaping_inputs
from fnx.embedding.store import Embedding, Manifest, damaged_shards, find, missing_shards
from fnx.errors import DataError
from fnx.lock import sole

if TYPE_CHECKING:
    from fnx.images.labelled import LabelledImages
    from fnx.schema import Config

__all__ = ["Embedding", "embed"]

log = logging.getLogger(__name__)


def embed(images: LabelledImages, config: Config) -> tuple[Embedding, bool]:
    """The embedding of `images` by the configured backbone, and whether it was there already.

    It is looked for by its fingerprint below ``paths.cache``, and what is there is checked by its
    checksums. Only what is missing or damaged is extracted, by one run at a time: others wait.

    Raises:
        WeightsError: weights that are missing, damaged or made for another network.
        DataError: an embedding of another version, a folder that cannot be written.
        OtherRank: in a process that srun or torchrun started, on all ranks but the first.
    """
    from fnx.backbones import weights

    located = weights.locate(config.model, config.seed)
    inputs = shaping_inputs(images, config, located.digest)
    mark = fingerprint(inputs)
    cache = Path(config.paths.cache)
    path = find(cache, mark) or cache / f"{config.dataset.name}-{config.model.name}-{mark}"
    with ExitStack() as stack:
        reused = False
        if launch.is_first():
            reused = _is_whole(path)
            if not reused:
                _wait_for_others(path, stack)
                reused = _is_whole(path)  # by now another run may have finished it
        if launch.started_elsewhere():
            from fnx.embedding import ranks

            reused = ranks.said_by_first(ranks.make_trainer(config.trainer), reused)
            if reused and not launch.is_first():
                raise launch.OtherRank
        if reused:
            log.info("embedding reused: %s", path)
        else:
            from fnx.embedding.extraction import extract

            extract(images, config, located, inputs, path)
    return Embedding.open(path), reused


def _wait_for_others(path: Path, stack: ExitStack) -> None:
    """Have the right to extract into `path` until the stack is left.

    Raises:
        DataError: a folder that cannot be written.
    """
    try:
        stack.enter_context(sole(path, f"extracts {path.name}", lambda: _how_far(path)))
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be written ({error.strerror or error}), so nothing can be "
            "extracted there: choose another folder as paths.cache=PATH"
        ) from error


def _is_whole(path: Path) -> bool:
    """Whether an embedding is finished and still is what was written."""
    if not Embedding.is_complete(path):
        return False
    manifest = Manifest.read(path)
    damaged = damaged_shards(path, manifest)
    if damaged:
        log.warning("%d of %d shards of %s are damaged", len(damaged), manifest.n_shards, path)
    return not damaged


def _how_far(path: Path) -> str:
    try:
        manifest = Manifest.read(path)
    except DataError:  # not yet made
        return "it has not begun to write"
    done = manifest.n_shards - len(missing_shards(path, manifest))
    return f"{done} of {manifest.n_shards} shards are there"

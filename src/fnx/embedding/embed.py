"""Embeddings: images × features on disk, extracted once and found again by what shaped them."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fnx.embedding import strongest
from fnx.embedding.fingerprint import fingerprint, shaping_inputs
from fnx.embedding.store import Embedding, Manifest, damaged_shards, find, missing_shards
from fnx.embedding.strongest import Strongest
from fnx.errors import DataError
from fnx.utils import launch
from fnx.utils.lock import sole

if TYPE_CHECKING:
    from fnx.config.schema import Config
    from fnx.embedding.store import Extraction
    from fnx.images.dataset import LabelledImages

__all__ = ["Embedding", "Strongest", "embed", "find_strongest"]

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
    name = f"{config.dataset.name}-{config.model.name}"
    path, reused, extraction = _made(images, config, name)
    embedding = dataclasses.replace(Embedding.open(path), extraction=extraction)
    _describe(embedding, config)
    return embedding, reused


def find_strongest(reference: LabelledImages, config: Config) -> Strongest:
    """The images of `reference` that activate each unit most.

    An image enters with the best of the views that ``report.reference_crops`` makes of it. Found
    again, searched and resumed as an embedding is (see `embed`).

    Raises:
        WeightsError, DataError, OtherRank: see `embed`.
    """
    from fnx.images.reference import reference_crops  # which knows the schema

    searching = dataclasses.replace(config, crops=reference_crops(config))
    name = f"strongest-{reference.name}-{config.model.name}"
    path, _, _ = _made(reference, searching, name, config.report.pictures_per_feature)
    return Strongest.open(path)


def _made(
    images: LabelledImages, config: Config, name: str, k: int | None = None
) -> tuple[Path, bool, Extraction | None]:
    """The folder of an embedding, or of the k strongest images; was it there; else how it went."""
    from fnx.backbones.weights import locate as weights

    located = weights.locate(config.model, config.seed)
    inputs = shaping_inputs(images, config, located.digest)
    is_whole, missing = _is_whole, missing_shards
    if k is not None:
        inputs["strongest"] = k
        is_whole, missing = strongest.is_whole, strongest.missing_shards
    mark = fingerprint(inputs)
    cache = Path(config.paths.cache)
    path = find(cache, mark) or cache / f"{name}-{mark}"
    with ExitStack() as stack:
        reused, extraction = False, None
        if launch.is_first():
            reused = is_whole(path)
            if not reused:
                _wait_for_others(path, lambda: _how_far(path, missing), stack)
                reused = is_whole(path)  # by now another run may have finished it
        if launch.started_elsewhere():
            from fnx.embedding import ranks

            reused = ranks.said_by_first(ranks.make_trainer(config.trainer), reused)
            if reused and not launch.is_first():
                raise launch.OtherRank
        if reused:
            log.info("%s reused: %s", "embedding" if k is None else "strongest images", path)
        else:
            from fnx.embedding.extraction import extract
            from fnx.embedding.targets import Peaks, Rows
            from fnx.images.crops import Crops

            target = Rows() if k is None else Peaks(k, Crops(**vars(config.crops)))
            extraction = extract(images, config, located, inputs, path, target)
    return path, reused, extraction


def _describe(embedding: Embedding, config: Config) -> None:
    """Put Table 1 beside an embedding that lacks it: a new one, or one of an older version."""
    file = embedding.path / "network.parquet"
    if file.is_file():  # timm, which takes seconds to import, is not needed
        return
    from fnx.backbones.network_table import network_table

    features = dict(embedding.feature_table.group_by("layer").len().iter_rows())
    try:
        table = network_table(config.model.timm_name, config.crops.size, features)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        table.write_parquet(temporary)
        temporary.replace(file)
    except Exception as error:  # any network's code; what was extracted is worth more than Table 1
        why = (str(error).splitlines() or [""])[0]
        log.warning("no Table 1 of %s: %s %s", config.model.name, type(error).__name__, why)


def _wait_for_others(path: Path, how_far: Callable[[], str], stack: ExitStack) -> None:
    """Have the right to extract into `path` until the stack is left.

    Raises:
        DataError: a folder that cannot be written.
    """
    try:
        stack.enter_context(sole(path, f"extracts {path.name}", how_far))
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


def _how_far(path: Path, missing: Callable[[Path, Manifest], list[int]]) -> str:
    try:
        manifest = Manifest.read(path)
    except DataError:  # not yet made
        return "it has not begun to write"
    done = manifest.n_shards - len(missing(path, manifest))
    return f"{done} of {manifest.n_shards} shards are there"

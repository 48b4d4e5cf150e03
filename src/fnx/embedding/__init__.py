"""Embeddings: images × features on disk, extracted once and found again by what shaped them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fnx.embedding.fingerprint import fingerprint, shaping_inputs
from fnx.embedding.store import Embedding, find

if TYPE_CHECKING:
    from fnx.images.labelled import LabelledImages
    from fnx.schema import Config

__all__ = ["Embedding", "embed"]

log = logging.getLogger(__name__)


def embed(images: LabelledImages, config: Config) -> tuple[Embedding, bool]:
    """The embedding of `images` by the configured backbone, and whether it was there already.

    It is looked for by its fingerprint below ``paths.cache``; only where it is missing, or not
    complete, a network is built and the missing shards are extracted.

    Raises:
        WeightsError: weights that are missing, damaged or made for another network.
    """
    from fnx.backbones import weights

    located = weights.locate(config.model, config.seed)
    inputs = shaping_inputs(images, config, located.digest)
    mark = fingerprint(inputs)
    cache = Path(config.paths.cache)
    path = find(cache, mark) or cache / f"{config.dataset.name}-{config.model.name}-{mark}"
    if Embedding.is_complete(path):
        log.info("embedding reused: %s", path)
        return Embedding.open(path), True

    from fnx.embedding.extraction import extract

    extract(images, config, located, inputs, path)
    return Embedding.open(path), False

"""The fingerprint of an embedding: a digest of all that shapes its numbers, and of nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fnx.config.schema import Config
    from fnx.images.dataset import LabelledImages

# Raised when the meaning of a stored number changes, so that no older store is taken for a new one.
FORMAT = 2


def shaping_inputs(images: LabelledImages, config: Config, weights_digest: str) -> dict[str, Any]:
    """Everything that shapes the embedding, as JSON would hold it.

    Of the images these are their contents and order, not their names and labels. Batch size,
    devices and workers change nothing but the time.
    """
    model = config.model
    return {
        "format": FORMAT,
        "images": images.digest(),
        "n_images": images.ok().height,
        "network": model.timm_name,
        "weights": weights_digest,
        "tap": model.tap,
        "layers": model.layers,
        **({"class_token": True} if model.class_token else {}),  # as older stores have it
        "preprocess": dataclasses.asdict(model.preprocess),
        "crops": dataclasses.asdict(config.crops),
        # What older versions did not know, or did in another way, where an image needs it.
        **({"decoding": dict(images.decoding)} if images.decoding else {}),
        "precision": config.trainer.precision,
        **({"compile": True} if config.trainer.compile else {}),  # rounds differently
    }


def recipe(inputs: dict[str, Any]) -> str:
    """Return the fingerprint of what shapes a row beside its image: the rest of `inputs`.

    The decoding is left out, which may shape the rows of a few images only (see
    `fnx.images.dataset.LabelledImages.special`).

    >>> recipe({"images": "0f", "n_images": 1, "tap": "post"}) == recipe({"tap": "post"})
    True
    """
    own = ("images", "n_images", "decoding")
    return fingerprint({key: value for key, value in inputs.items() if key not in own})


def fingerprint(inputs: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for `inputs`.

    >>> fingerprint({"tap": "post", "seed": 1}) == fingerprint({"seed": 1, "tap": "post"})
    True
    >>> fingerprint({"tap": "post"}) == fingerprint({"tap": "pre"})
    False
    """
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

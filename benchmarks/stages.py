"""What a run costs beside its network; prints one line of JSON.

``python stages.py stages FOLDER [IMAGES]``, at the size of Caltech101, writes IMAGES (8,677)
photographs of 300 × 200 pixels in 101 classes, and an embedding of them as EfficientNet-Lite0 has
it, 21,008 features and positions of made up numbers (1.1 GB), into FOLDER; what is there already is
used again. Runs then find the embedding: the seconds of each stage, and those of the processor.

``python stages.py pictures FOLDER IMAGES_FOLDER ROUNDS WORDS…`` runs ``python -m fnx`` on a folder
of photographs from nothing, with pictures and with ``report.pictures=none`` by turns, and compares
the seconds of the processor of the whole processes.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from extraction import photographs

CLASSES, WIDTH, HEIGHT, ROUNDS = 101, 300, 200, 3


def embedded(config: Any) -> tuple[Any, Any]:
    """The images and their embedding, of made-up numbers where there is none yet."""
    import polars as pl

    from fnx.backbones import layer_names
    from fnx.backbones.layers import Layer
    from fnx.backbones.weights.locate import locate
    from fnx.embedding import store
    from fnx.embedding.embed import embed
    from fnx.embedding.fingerprint import fingerprint, shaping_inputs
    from fnx.images import open_images

    cache = Path(config.paths.cache)
    images = open_images(config.dataset, cache)
    inputs = shaping_inputs(images, config, locate(config.model, config.seed).digest)
    path = store.find(cache, f"{images.name}-{config.model.name}", fingerprint(inputs))
    if not path.exists():
        layers: list[Layer] = layer_names(config.model, config.crops.size)
        rows = [(layer.name, unit, layer.kind) for layer in layers for unit in range(layer.units)]
        features = (
            pl.DataFrame(
                rows, {"layer": pl.String, "unit": pl.Int32, "kind": pl.String}, orient="row"
            )
            .with_row_index("feature_id")
            .cast({"feature_id": pl.Int64})
        )
        manifest = store.open_or_create(path, inputs, images.table, features, lambda: 2_048)
        rng, labels = np.random.default_rng(0), images.labels()
        shift = 0.5 * rng.standard_normal((len(images.class_names), features.height), np.float32)
        for shard in range(manifest.n_shards):
            part = manifest.shard_rows(shard)
            values = rng.standard_normal((len(part), features.height), np.float32)
            values += shift[labels[part.start : part.stop]]
            codes = rng.integers(0, 256, (*values.shape, 2), np.uint8)
            store.write_shard(path, manifest, shard, np.maximum(values, 0), codes)
        store.finish(path, manifest)
    return images, embed(images, config)[0]


def processor() -> float:
    """Seconds of the processor that this process and its children that ended have taken."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def pictures(folder: Path, images: Path, rounds: int, *words: str) -> dict[str, Any]:
    """Seconds of whole runs, with and without pictures."""
    seconds: dict[str, list[float]] = {"top": [], "none": []}
    for _ in range(rounds):
        for shown, taken in seconds.items():
            shutil.rmtree(folder / "outputs", ignore_errors=True)
            busy = processor()
            keys = (f"dataset.root={images}", f"paths.outputs={folder}/outputs")
            command = (sys.executable, "-m", "fnx", "dataset=folder", *keys, *words)
            subprocess.run([*command, f"report.pictures={shown}"], check=True, capture_output=True)
            taken.append(round(processor() - busy, 2))
    ratios = [one / other for one, other in zip(*seconds.values(), strict=True)]
    return {**seconds, "ratio": round(float(np.median(ratios)), 3), "ratios": ratios}


def stages(folder: Path, count: int) -> dict[str, Any]:
    """Seconds that runs say each of their stages took, which find the embedding."""
    from fnx import app
    from fnx.config.compose import compose

    folder.mkdir(parents=True, exist_ok=True)
    words = [
        "dataset=folder",
        f"dataset.root={photographs(folder, count, CLASSES, (WIDTH, HEIGHT))}",
        "crops=center",
    ]
    config = compose([*words, f"paths.cache={folder}/cache", "logger=none"])
    _, embedding = embedded(config)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        busy = processor()
        run = app.run(config, folder / "run")
        for stage, seconds in {**run.record.seconds, "processor": processor() - busy}.items():
            found.setdefault(stage, []).append(round(seconds, 2))
    return {"of": [count, embedding.manifest.features], "seconds": found}


if __name__ == "__main__":
    kind, place, *rest = sys.argv[1:]
    if kind == "stages":
        print(json.dumps(stages(Path(place), int((rest or ["8677"])[0]))))
    else:
        print(json.dumps(pictures(Path(place), Path(rest[0]), int(rest[1]), *rest[2:])))

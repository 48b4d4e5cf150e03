"""A million images through all that is not the network; prints a table of seconds and memory.

``python million.py FOLDER [FEATURES [IMAGES]]`` writes IMAGES × FEATURES × 4 bytes below FOLDER
(1,000,000 × 4,224: 16.9 GB) and removes them. The pixels are one tiny picture, and the numbers of
the embedding are made up; the check, the store, the statistic and the report are fnx's own.
Memory is the process's peak during a step, above what it was when everything had been imported.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagenet
import numpy as np
import polars as pl
from PIL import Image

import fnx
from fnx import app
from fnx.analysis.record import Stopwatch
from fnx.config.compose import compose
from fnx.embedding import Embedding, ranks, store
from fnx.embedding.manifest import Manifest
from fnx.images import LabelledImages, Listing, open_images
from fnx.images.crops import Crops
from fnx.images.torch_dataset import ImageDataset

CLASSES, ROWS = 1_000, 2_048


@dataclass(frozen=True)
class OnePicture:
    """Source of images that are all alike, each with a stamp of its own."""

    content: bytes

    def stream(self, path: str) -> io.BytesIO:
        return io.BytesIO(self.content)

    def stamp(self, path: str) -> tuple[int, int, int]:
        number = 1_700_000_000_000_000_000 + int(path[-12:-4])
        return len(self.content), number, number


class Table:
    """What was measured, a line at a time."""

    def __init__(self) -> None:
        self.start = imagenet.resident()
        print("| step | seconds | peak GB | |\n|---|--:|--:|---|", flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Measure what happens inside; the list takes remarks."""
        Path("/proc/self/clear_refs").write_text("5")
        remarks: list[str] = []
        start = time.perf_counter()
        yield remarks
        seconds = time.perf_counter() - start
        gigabytes = (imagenet.highest() - self.start) / 1e9
        print(f"| {name} | {seconds:.2f} | {gigabytes:.2f} | {'; '.join(remarks)} |", flush=True)


def checked(table: Table, folder: Path, images: int) -> LabelledImages:
    """The images' check: of files that nobody has seen, and of files that are remembered."""
    written = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(written, "png")
    each = -(-images // CLASSES)
    numbers = range(images)
    (folder / "images").mkdir(exist_ok=True)
    with table.step("listing in memory, as a reader leaves it"):
        listing = Listing(
            [f"n{n // each:08d}/n{n // each:08d}_{n:08d}.jpg" for n in numbers],
            [f"n{n // each:08d}" for n in numbers],
            [None] * images,
            OnePicture(written.getvalue()),
            folder / "images",
        )
    config = compose(["dataset=folder", f"dataset.root={folder}/images"]).dataset
    with table.step("check of all, bookkeeping (8 × 8 pixels)") as remarks:
        found = open_images(config, folder, listing)
        (file,) = (folder / "checked").glob("*.parquet")
        remarks.append(f"remembered in {file.stat().st_size / 1e6:.0f} MB")
    with table.step("check of all, remembered"):
        again = open_images(config, folder, listing)
    with table.step("digest of the labelled images"):
        assert again.digest() == found.digest()
    return found


def sampled(table: Table, images: LabelledImages, manifest: Manifest) -> None:
    """What a rank needs to find its rows."""
    with table.step("data set of the loader") as remarks:
        crops = Crops("center", resize=32, size=32, resize_mode="squash")
        dataset = ImageDataset(images, crops)
        assert dataset[manifest.rows - 1][0] == manifest.rows - 1
    with table.step("batches of all rows, of 8 ranks") as remarks:
        batches = 0
        for rank in range(8):
            shards = range(manifest.n_shards)
            for batch in ranks.ShardBatches(manifest, shards, 32, rank, 8):
                batches += 1
                assert len(batch) <= 32
        remarks.append(f"{batches:,} batches")


def stored(table: Table, path: Path, manifest: Manifest, images: LabelledImages) -> Embedding:
    """The store, written as an extraction does, with a break after half of it."""
    features = pl.DataFrame(
        {
            "feature_id": range(manifest.features),
            "layer": [f"conv{i // 512}" for i in range(manifest.features)],
            "unit": [i % 512 for i in range(manifest.features)],
            "kind": ["conv"] * manifest.features,
        }
    )
    with table.step("store: made, without a shard"):
        store.create(path, manifest, images.table, features)
    rng = np.random.default_rng(0)
    shift = 0.3 * rng.standard_normal((CLASSES, manifest.features), dtype=np.float32)
    shift[:, ::2] = 0  # half of the features tell no class from another
    labels = images.labels()
    half, gigabytes = manifest.n_shards // 2, manifest.rows * manifest.features * 4 / 1e9
    spent = 0.0
    with table.step("store: all shards written and made durable") as remarks:
        for shard in range(manifest.n_shards):
            if shard == half:
                start = time.perf_counter()
                left = store.missing_shards(path, manifest)
                remarks.append(f"missing shards listed in {time.perf_counter() - start:.3f} s")
                assert left == list(range(half, manifest.n_shards))
            rows = manifest.shard_rows(shard)
            block = rng.standard_normal((len(rows), manifest.features), np.float32)
            block += shift[labels[rows.start : rows.stop]]
            np.maximum(block, 0, out=block)
            start = time.perf_counter()
            store.write_shard(path, manifest, shard, block)
            spent += time.perf_counter() - start
        remarks.append(f"write_shard alone {spent:.1f} s, {gigabytes / spent:.2f} GB/s")
    with table.step("store: finished") as remarks:
        store.finish(path, manifest)
        remarks.append(f"manifest {(path / 'manifest.json').stat().st_size / 1e3:.0f} kB")
    with table.step("store: checksums of all") as remarks:
        start = time.perf_counter()
        assert not store.damaged_shards(path, Manifest.read(path))
        remarks.append(f"{gigabytes / (time.perf_counter() - start):.2f} GB/s")
    with table.step("store: opened, with images and labels"):
        embedding = Embedding.open(path)
        assert embedding.features.shape == (manifest.rows, manifest.features)
        assert len(embedding.labels) == manifest.rows
    return embedding


def reported(table: Table, folder: Path, images: LabelledImages, embedding: Embedding) -> None:
    """`fnx.app.run` itself, which finds the images and the embedding made."""

    class Measured(Stopwatch):
        @contextmanager
        def __call__(self, stage: str) -> Iterator[None]:
            with table.step(f"run: {stage}"), super().__call__(stage):
                yield

    patched: Any = app
    patched.Stopwatch = Measured
    patched.open_images = lambda *_: images
    patched.embed = lambda *_: (embedding, True)
    words = ["dataset=folder", f"dataset.root={folder}/images", "threshold.permutations=1"]
    app.run(compose([*words, "logger=none", f"paths.outputs={folder}"]), folder / "run")
    size = sum(file.stat().st_size for file in (folder / "run").rglob("*") if file.is_file())
    print(f"| run: all files | | | {size / 1e6:.0f} MB |", flush=True)


def main(folder: Path, features: int = 4_224, images: int = 1_000_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fnx.distances(np.random.default_rng(0).normal(size=(3_000, 64)), np.arange(3_000) % CLASSES)
    table = Table()
    try:
        found = checked(table, folder, images)
        manifest = Manifest("0" * 12, {"weights": "none"}, images, features, ROWS)
        sampled(table, found, manifest)
        embedding = stored(table, folder / "embedding", manifest, found)
        reported(table, folder, found, embedding)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))

"""Small runs of all shapes, whose figures and texts enter the branches of what is shown."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.report.pictures.paths import class_path, sprite_path

INF = float("inf")
KINDS = (("conv1_1", 6, "conv"), ("pool1", 4, "other"), ("conv2", 7, "conv"), ("fc3", 9, "fc"))
SIGNED = Synthetic(layers=KINDS, class_sizes=(20, 30, 25))
LONG = "a rather long name of a class that no axis has room for, (no. {})"


class Runs:
    """Small runs of all shapes, each written when it is first drawn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def written(self, name: str, spec: Synthetic) -> Run:
        return Run.open(write_run(self.folder / name, spec))

    @cached_property
    def signed(self) -> Run:
        return self.written("signed", SIGNED)

    @cached_property
    def calibrated(self) -> Run:
        return self.written("calibrated", SIGNED.but(calibrated=True))

    @cached_property
    def unsigned(self) -> Run:
        """Of an unbounded statistic; one distance is infinite."""
        spec = SIGNED.but(statistic="kl", unbounded=True, dataset="wood", seed=1)
        root = np.random.default_rng(1).random((2, 26, 3), np.float32)
        real, random = np.float32(4) * root * root * root  # a power differs between processors
        real[0, 0], real[9, 2] = INF, 12.0
        return self.written("unsigned", spec.but(arrays=(real, random[None])))

    @cached_property
    def farther(self) -> Run:
        """Its distances reach beyond those of `unsigned`; it was measured with other bins."""
        run, spec = self.unsigned, SIGNED.but(statistic="kl", unbounded=True, seed=7)
        arrays = (run.distances * 3, run.distances_random * 2)
        return self.binned(self.written("farther", spec.but(arrays=arrays)))

    @cached_property
    def half(self) -> Run:
        """Of a statistic that says 0.5 of a class like all others."""
        run, spec = self.signed, SIGNED.but(statistic="auroc", limits=(0.0, 1.0), neutral=0.5)
        arrays = (0.5 + run.distances / 2, 0.5 + run.distances_random / 2)
        return self.written("half", spec.but(arrays=arrays))

    @cached_property
    def coarse(self) -> Run:
        return self.binned(self.written("coarse", SIGNED.but(seed=8)))

    def binned(self, run: Run) -> Run:
        return Run(run.path, replace(run.record, statistic=run.record.statistic | {"bins": 7}))

    @cached_property
    def nothing(self) -> Run:
        """Its thresholds are infinite: nothing is kept."""
        run = self.written("nothing", SIGNED.but(seed=3))
        worst = pl.col("sign").replace_strict({"+": INF, "-": -INF})
        run.thresholds.with_columns(threshold=worst).write_parquet(run.path / "thresholds.parquet")
        return Run.open(run.path)

    @cached_property
    def one_layer(self) -> Run:
        return self.written("one", Synthetic(layers=KINDS[:1], class_sizes=(9, 8), seed=4))

    @cached_property
    def many_classes(self) -> Run:
        names = [LONG.format(i) for i in range(33)]
        spec = Synthetic(layers=KINDS[-1:], class_sizes=(4,) * 33, class_names=names, seed=5)
        return self.written("many", spec)

    @cached_property
    def deep(self) -> Run:
        """More layers than a page has room for."""
        names = tuple((f"features.{i}.convolution", 1, "conv") for i in range(60))
        return self.written("deep", Synthetic(layers=names, class_sizes=(6, 7), seed=6))

    @cached_property
    def pictured(self) -> Run:
        """With a picture of some features, and of each class but the last."""
        names = ["a class of a long name", "another class", "the last class"]
        run = self.written("pictured", SIGNED.but(class_names=names))
        rows = [(f, r) for f in range(0, 26, 3) for r in range(1, 2 + f % 5)]
        shown = pl.DataFrame(rows, schema=["feature_id", "rank"], orient="row")
        other = {"activation": 1.0, "class_name": "fog", "path": "fog/1.jpg", "dataset": "wood"}
        shown = shown.with_columns(pl.lit(value).alias(name) for name, value in other.items())
        shown.write_parquet(run.path / "top_images.parquet")
        rng = np.random.default_rng(0)
        places = run.features.filter(pl.col("feature_id") % 3 == 0).select("layer", "unit").rows()
        files = [sprite_path(run.path, *place) for place in places]
        for file in [*files, class_path(run.path, 0), class_path(run.path, 1)]:
            file.parent.mkdir(parents=True, exist_ok=True)
            tiles = rng.integers(0, 256, (2, 3, 3), np.uint8).repeat(96, 0).repeat(96, 1)
            Image.fromarray(tiles).save(file, quality=100, subsampling=0)
        return Run.open(run.path)

"""The fingerprint changes with what shapes the numbers, and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fnx.config.schema import Config
from fnx.embedding.fingerprint import fingerprint, shaping_inputs
from fnx.images.open import open_images


def mark(config: Config, weights: str = "digest") -> str:
    images = open_images(config.dataset, Path(config.paths.cache))
    return fingerprint(shaping_inputs(images, config, weights))


@pytest.mark.parametrize(
    "override",
    [
        "dataset.limit_per_class=3",
        "model.name=test_vit",
        "model.tap=pre",
        "model.layers=conv",
        "model.class_token=true",
        "model.preprocess.mean=[0,0,0]",
        "model.preprocess.channels=BGR",
        "crops=ten",
        "crops.size=24",
        "crops.resize_mode=squash",
        "trainer.precision=bf16-true",
    ],
)
def test_what_shapes_the_numbers_changes_it(tiny: Callable[..., Config], override: str) -> None:
    assert mark(tiny(override)) != mark(tiny())


def test_the_weights_change_it(tiny: Callable[..., Config]) -> None:
    assert mark(tiny(), "a") != mark(tiny(), "b")


@pytest.mark.parametrize(
    "override", ["trainer.batch_size=7", "trainer.num_workers=2", "statistic=ks_exact", "seed=5"]
)
def test_what_shapes_only_the_time_does_not(tiny: Callable[..., Config], override: str) -> None:
    assert mark(tiny(override)) == mark(tiny())


def test_a_changed_label_changes_it(tiny: Callable[..., Config]) -> None:
    config = tiny()
    images = open_images(config.dataset, Path(config.paths.cache))
    swapped = images.table.with_columns(
        class_name=pl.when(pl.col("image_id") == 0)
        .then(pl.lit("9"))
        .otherwise(pl.col("class_name"))
    )
    other = dataclasses.replace(images, table=swapped)
    before = shaping_inputs(images, config, "d")
    assert fingerprint(shaping_inputs(other, config, "d")) != fingerprint(before)

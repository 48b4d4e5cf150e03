"""The fingerprint changes with what shapes the numbers, and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import Config
from fnx.embedding.fingerprint import fingerprint, recipe, shaping_inputs
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


def test_contents_and_their_order_change_it_and_labels_and_names_do_not(
    tiny: Callable[..., Config],
) -> None:
    config = tiny()
    images = open_images(config.dataset, Path(config.paths.cache))
    before = fingerprint(shaping_inputs(images, config, "d"))

    def other(table: pl.DataFrame) -> str:
        return fingerprint(shaping_inputs(dataclasses.replace(images, table=table), config, "d"))

    labels = images.table.with_columns(
        class_name=pl.lit("z"), class_id=7, split=pl.lit("test"), path=pl.col("path") + "x"
    )
    assert other(labels) == before
    assert dataclasses.replace(images, class_names=("z",), name="other").digest() == images.digest()
    assert other(images.table.reverse()) != before
    one = images.table.with_columns(
        digest=pl.when(image_id=3).then(pl.lit("0")).otherwise("digest")
    )
    assert other(one) != before


def test_a_recipe_is_what_is_left_without_the_images(tiny: Callable[..., Config]) -> None:
    config = tiny()
    images = open_images(config.dataset, Path(config.paths.cache))
    inputs = shaping_inputs(images, config, "d")
    assert recipe(inputs) == recipe(inputs | {"images": "0", "n_images": 1, "decoding": {}})
    for key in set(inputs) - {"images", "n_images"}:
        assert recipe(inputs | {key: "another"}) != recipe(inputs), key


def of_folder(tiny: Callable[..., Config], root: Path) -> Config:
    return tiny("dataset=folder", f"dataset.root={root}", "dataset.limit_per_class=null")


def save(root: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), name.replace("a", "red").replace("b", "blue")).save(
            root / name / f"1.{ending}", exif=exif
        )


@pytest.mark.parametrize(
    ("orientation", "ending", "expected"),
    [(6, "tif", {"upright_tiff": True}), (1, "tif", None), (6, "png", None)],
)
def test_embeddings_of_older_versions_are_found_unless_they_turned_a_tiff_twice(
    tiny: Callable[..., Config],
    tmp_path: Path,
    orientation: int,
    ending: str,
    expected: dict[str, bool] | None,
) -> None:
    save(tmp_path / "own", orientation, ending)
    config = of_folder(tiny, tmp_path / "own")
    images = open_images(config.dataset, Path(config.paths.cache))
    inputs = shaping_inputs(images, config, "w")
    assert inputs.pop("decoding", None) == expected
    # The keys, and thus the fingerprint, that older versions gave every embedding.
    keys = "format images n_images network weights tap layers preprocess crops precision"
    assert set(inputs) == set(keys.split())


def test_the_range_changes_it_where_images_have_more_than_8_bits(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    save(tmp_path / "own", 1, "png")
    config = of_folder(tiny, tmp_path / "own")
    before = mark(config)
    config.dataset.intensity_range = [0, 9]
    assert mark(config) == before
    Image.new("I;16", (9, 7), 4000).save(tmp_path / "own/a/1.png")
    config.dataset.intensity_range = "auto"
    marks = [mark(config)]
    for chosen in ([0, 4095], [0, 4094], [1, 4095]):
        config.dataset.intensity_range = chosen
        marks.append(mark(config))
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3

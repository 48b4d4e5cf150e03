"""The authors' own annotation files: every label, as Table 2 counts them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from fnx.config.schema import DatasetConfig
from fnx.images.dataset import Listing
from fnx.images.layouts.common import read_lines
from fnx.images.layouts.readers import READERS
from fnx.images.official import OFFICIAL, Counts, count
from fnx.images.open import open_images


@pytest.fixture(scope="module")
def official(shared_data: Path) -> Path:
    if not (shared_data / "official").is_dir():
        pytest.skip("the authors' annotation files are not on this machine")
    return shared_data / "official"


def listing(name: str, root: Path) -> Listing:
    return READERS[name](DatasetConfig(name=name, layout=name, root=str(root)))


def touch(file: Path) -> None:
    """The readers open no image; one that is there shows that the folder is the right one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def published(name: str) -> Counts:
    return OFFICIAL[name].published


def test_cub200(official: Path, tmp_path: Path) -> None:
    shutil.copytree(official / "cub200_2011", tmp_path / "x")
    labels = [line.split() for line in read_lines(tmp_path / "x/image_class_labels.txt")]
    names = dict(line.split() for line in read_lines(tmp_path / "x/classes.txt"))
    images = [f"{image} {names[label]}/{image}.jpg" for image, label in labels]
    (tmp_path / "x/images.txt").write_text("\n".join(images))
    touch(tmp_path / "x/images" / images[0].split()[1])
    found = listing("cub200", tmp_path / "x")
    assert count(found.class_names) == published("cub200")
    assert list(dict.fromkeys(found.class_names))[1] == "Laysan Albatross"
    assert Counter(found.splits) == {"train": 5994, "test": 5794}


def test_flowers102(official: Path, tmp_path: Path) -> None:
    shutil.copytree(official / "flowers102", tmp_path / "x")
    touch(tmp_path / "x/jpg/image_00001.jpg")
    found = listing("flowers102", tmp_path / "x")
    assert count(found.class_names) == published("flowers102")
    assert Counter(found.splits) == {"train": 1020, "val": 1020, "test": 6149}
    names = dict(zip(found.paths, found.class_names, strict=True))
    assert names["jpg/image_00001.jpg"] == "passion flower"


def test_food101(official: Path, tmp_path: Path) -> None:
    shutil.copytree(official / "food101", tmp_path / "food-101")
    touch(tmp_path / "food-101/images/apple_pie/1011328.jpg")
    found = listing("food101", tmp_path)
    assert count(found.class_names) == published("food101")
    assert found.class_names[0] == "Apple pie"
    assert set(found.splits) == {"test"}


def test_mit67(official: Path, tmp_path: Path) -> None:
    shutil.copytree(official / "mit67", tmp_path / "x")
    touch(tmp_path / "x/Images" / read_lines(tmp_path / "x/TrainImages.txt")[0])
    found = listing("mit67", tmp_path / "x")
    assert count(found.class_names) == published("mit67")
    assert Counter(found.splits) == {"train": 5360, "test": 1340}


def test_imagenet(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "val/ILSVRC2012_val_00000293.JPEG")  # a tench, the first class
    names = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001)]
    monkeypatch.setattr(
        "fnx.images.layouts.imagenet.images_in",
        lambda folder, prefix: names if prefix == "val/" else [],
    )
    shutil.copy(official / "imagenet/validation_labels.txt", tmp_path)
    found = listing("imagenet", tmp_path)
    assert count(found.class_names) == published("imagenet")
    assert found.class_names[0] == "tench"
    classes = dict(zip(found.paths, found.class_names, strict=True))
    assert classes["val/ILSVRC2012_val_00000001.JPEG"] == "sea snake"


def test_pets_as_their_authors_publish_them(shared_data: Path, tmp_path: Path) -> None:
    """Three breeds, 60 images of each there, some GIF or PNG; one of them is in no list."""
    config = DatasetConfig(
        name="catsdogs", layout="catsdogs", root=str(shared_data / "pets3"), limit_per_class=60
    )
    images = open_images(config, tmp_path)
    assert len(images.class_names) == 3
    assert Counter(images.labels().tolist()) == {0: 59, 1: 60, 2: 60}
    assert set(images.ok()["split"]) == {"trainval", "test"}
    there = images.ok()["path"].to_list()
    assert "images/Abyssinian_5.jpg" in there, "an RGBA PNG"
    assert "images/Abyssinian_34.jpg" not in there, "a GIF that no list names"
    assert images.table.filter(status="failed")["error"].unique().to_list() == [
        "No such file or directory"
    ]

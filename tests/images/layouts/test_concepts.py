"""Images that have any number of concepts: CUB's attributes, several labels in a cell, columns."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fnx.analysis.labelling import class_names, labelling, memberships
from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images import list_images, open_images


def image(path: Path, number: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(path)
    return path.name


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    base = tmp_path / "CUB_200_2011"
    names = [image(base / f"images/001.A/{i}.png", i) for i in range(4)]
    (base / "attributes").mkdir()
    lines = {
        "images.txt": [f"{i + 1} 001.A/{name}" for i, name in enumerate(names)],
        "classes.txt": ["1 001.A"],
        "image_class_labels.txt": [f"{i} 1" for i in range(1, 5)],
        "train_test_split.txt": [f"{i} 1" for i in range(1, 5)],
        "../attributes.txt": ["1 has_bill::all-purpose", "2 has_wing_color::blue", "3 has_e::red"],
        # The third line has the words too many that some of the published file have.
        "attributes/image_attribute_labels.txt": [
            "1 1 1 4 1.2", "2 1 1 2 3", "3 2 1 3 0 1.509", "4 2 0 4 1", "1 2 1 3 1", "1 3 0 1 1",
        ],
    }  # fmt: skip
    for name, content in lines.items():
        (base / name).write_text("\n".join(content))
    return tmp_path


@pytest.mark.parametrize(("certainty", "bills"), [(1, [True, True]), (3, [True, False])])
def test_cubs_attributes(birds: Path, certainty: int, bills: list[bool]) -> None:
    known = {"root": str(birds), "labels": "attributes", "certainty": certainty}
    images = open_images(DatasetConfig("cub", "cub200", **known), birds / "cache")  # type: ignore[arg-type]
    assert images.class_names == ("has bill: all-purpose", "has wing color: blue")
    labels = labelling(images.table)
    assert labels.has(0).tolist() == [*bills, False, False]
    assert labels.has(1).tolist() == [True, False, True, False]
    assert class_names(images.table) == images.class_names
    assert memberships(images.table).filter(image_id=0)["class_id"].to_list() == [0, 1]


def test_cub_has_no_other_labels(birds: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.labels=parts: allowed for cub200 is"):
        list_images(DatasetConfig("cub", "cub200", root=str(birds), labels="parts"))
    marks = birds / "CUB_200_2011/attributes/image_attribute_labels.txt"
    marks.write_text("1 9 1 4 1")
    with pytest.raises(DataError, match="no image 1 or no attribute 9"):
        list_images(DatasetConfig("cub", "cub200", root=str(birds), labels="attributes"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pl.DataFrame(
        {
            "path": [image(tmp_path / f"{i}.png", i) for i in range(4)],
            "label": ["a|b", " b ", None, "b|a|a"],
            "has_x": ["true", "false", "1", "no"],
            "has_y": ["yes"] * 4,
            "site": ["u", "u", "v", "v"],
        }
    ).write_csv(tmp_path / "table.csv")
    return tmp_path / "table.csv"


def test_several_labels_in_a_cell_are_concepts(table: Path) -> None:
    config = DatasetConfig("t", "csv", file=str(table), label_separator="|", groups="site")
    images = open_images(config, table.parent / "cache")
    assert images.class_names == ("a", "b")
    labels = labelling(images.table)
    assert labels.has(0).tolist() == [True, False, False, True]
    assert labels.has(1).tolist() == [True, True, False, True]
    assert images.table["group"].to_list() == ["u", "u", "v", "v"]
    assert images.table["class_name"].to_list() == ["a | b", "b", None, "b | a"]


def test_a_limit_counts_the_images_of_each_concept(table: Path) -> None:
    config = DatasetConfig("t", "csv", file=str(table), label_separator="|", limit_per_class=1)
    images = open_images(config, table.parent / "cache")
    # The first has a and b, the third neither.
    assert images.table["path"].to_list() == ["0.png", "2.png"]


def test_columns_of_true_and_false_are_concepts_but_for_one_of_all(
    table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    config = DatasetConfig("t", "csv", file=str(table), concept_columns=["has_*"])
    images = open_images(config, table.parent / "cache")
    assert images.class_names == ("has_x",)
    assert labelling(images.table).has(0).tolist() == [True, False, True, False]
    assert caplog.messages == ["concepts that all images have are left out: 'has_y'"]


def test_an_image_without_a_group_is_named(table: Path) -> None:
    table.write_text(table.read_text().replace(",v", ","))
    with pytest.raises(DataError, match=r"row 3 has no site \(dataset\.groups\)"):
        list_images(DatasetConfig("t", "csv", file=str(table), label_separator="|", groups="site"))

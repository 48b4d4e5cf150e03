"""Reference images: the run's own, a data set's, or those of any folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fnx.config.schema import Config, DatasetConfig
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images
from fnx.images.reference import open_reference, reference_crops


@pytest.fixture
def own(root: Path) -> LabelledImages:
    (root / "cat/0.png").touch()
    config = DatasetConfig(name="own", layout="folder", root=str(root))
    return open_images(config, root.parent / "cache")


def test_the_runs_own_images_up_to_a_limit(
    own: LabelledImages, tiny: Callable[..., Config]
) -> None:
    assert open_reference(own, tiny("report.reference_limit_per_class=null"), None) is own
    limited = open_reference(own, tiny("report.reference_limit_per_class=2"), None)
    assert limited is not None
    assert limited.table["path"].to_list() == ["cat/1.png", "cat/2.jpg", "dog/a.png", "dog/b.bmp"]
    assert limited.table["image_id"].to_list() == [1, 2, 4, 5], "the numbers that they have"


def test_no_pictures_no_reference(own: LabelledImages, tiny: Callable[..., Config]) -> None:
    assert open_reference(own, tiny("report.pictures=none"), None) is None


def test_another_data_set_has_its_own_limit(
    own: LabelledImages, tiny: Callable[..., Config]
) -> None:
    digits = DatasetConfig(name="digits", layout="digits", limit_per_class=3)
    found = open_reference(own, tiny("report.reference_limit_per_class=2"), digits)
    assert found is not None
    assert found.table.height == 30


def test_a_folder_may_hold_images_beside_its_classes_which_have_no_limit(
    own: LabelledImages, root: Path, tiny: Callable[..., Config], write: Callable[..., Path]
) -> None:
    for name in ("beside.png", "aside.png", "too.png"):
        write(root / name)
    (root / "notes.txt").write_text("no image")
    (root / "empty").mkdir()
    (root / "empty/x.png").touch()
    config = DatasetConfig(name="mine", layout="folder", root=str(root), limit_per_class=2)
    found = open_reference(own, tiny(), config)
    assert found is not None
    assert found.name == "mine"
    assert found.class_names == ("cat", "dog")
    assert found.table.select("path", "class_id", "class_name", "status").rows() == [
        ("aside.png", None, None, "ok"),
        ("beside.png", None, None, "ok"),
        ("cat/0.png", 0, "cat", "failed"),
        ("cat/1.png", 0, "cat", "ok"),
        ("cat/2.jpg", 0, "cat", "ok"),
        ("dog/a.png", 1, "dog", "ok"),
        ("dog/b.bmp", 1, "dog", "ok"),
        ("empty/x.png", None, "empty", "failed"),
        ("notes.txt", None, None, "failed"),
        ("too.png", None, None, "ok"),
    ]


def test_a_folder_needs_no_classes_but_an_image(
    own: LabelledImages, tmp_path: Path, tiny: Callable[..., Config], write: Callable[..., Path]
) -> None:
    folder = tmp_path / "flat"
    config = DatasetConfig(name="flat", layout="folder", root=str(folder))
    write(folder / "a.png")
    found = open_reference(own, tiny(), config)
    assert found is not None
    assert (found.table.height, found.class_names) == (1, ())
    (folder / "a.png").write_bytes(b"")
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_reference(own, tiny(), config)
    assert str(caught.value) == f"report.reference_dataset={folder}: no images in 2 files"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, ("ten", 40, 32)),
        ("ten", ("ten", 40, 32)),
        ("center", ("center", 40, 32)),
        ("dense", ("dense", 32, 32)),
    ],
)
def test_the_views_of_a_reference_image_are_of_the_runs_size(
    tiny: Callable[..., Config], name: str | None, expected: tuple[str, int, int]
) -> None:
    config = tiny("crops=ten", "report.reference_dataset=digits")
    config = replace(config, report=replace(config.report, reference_crops=name))
    crops = reference_crops(config)
    assert (crops.name, crops.resize, crops.size) == expected


def test_the_runs_own_images_are_embedded_already_by_the_runs_crops(
    tiny: Callable[..., Config],
) -> None:
    config = tiny("crops=ten", "report.reference_crops=center")
    assert reference_crops(config) == config.crops

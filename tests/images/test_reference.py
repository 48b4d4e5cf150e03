"""Reference images: the run's own or others, as many of each class as are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fnx.config.schema import Config, CropsConfig
from fnx.images import LabelledImages, open_images
from fnx.images.reference import open_reference, reference_crops


def reference(config: Config) -> LabelledImages | None:
    return open_reference(open_images(config.dataset, Path(config.paths.cache)), config)


def test_the_run_s_own_images_keep_their_numbers(tiny: Callable[..., Config]) -> None:
    every = reference(tiny())
    assert every is not None
    assert every.ok().height == 40
    limited = reference(tiny("report.reference_limit_per_class=2"))
    assert limited is not None
    assert limited.ok()["class_id"].value_counts()["count"].to_list() == [2] * 10
    first = every.ok().group_by("class_id", maintain_order=True).head(2)["image_id"]
    assert sorted(limited.ok()["image_id"]) == sorted(first)


def test_another_data_set_is_taken_whole_unless_limited(tiny: Callable[..., Config]) -> None:
    for limit, count in (("null", 1797), ("3", 30)):
        words = ("report.reference_dataset=digits", f"report.reference_limit_per_class={limit}")
        named = reference(tiny(*words))
        assert named is not None
        assert named.ok().height == count


def test_in_a_folder_images_beside_the_classes_have_none(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    for path in ("a/1.png", "a/2.png", "a/3.png", "b/deep/1.png", "beside.png", "too.png"):
        (tmp_path / "mixed" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "mixed" / path)
    (tmp_path / "mixed/notes.txt").write_text("no image")
    words = (f"report.reference_dataset={tmp_path}/mixed", "report.reference_limit_per_class=2")
    folder = reference(tiny(*words))
    assert folder is not None
    assert folder.ok()["class_name"].to_list() == ["a", "a", "b", None, None]
    assert folder.table.filter(status="failed")["path"].to_list() == ["notes.txt"]


def test_there_are_none_where_no_pictures_are_wanted(tiny: Callable[..., Config]) -> None:
    assert reference(tiny("report.pictures=none")) is None


@pytest.mark.parametrize(
    ("words", "name", "resize"),
    [
        ((), "ten", 40),  # the run's own images are embedded already, by the run's crops
        (("report.reference_dataset=digits",), "center", 40),
        (("report.reference_dataset=digits", "report.reference_crops=null"), "ten", 40),
        (("report.reference_dataset=digits", "report.reference_crops=five"), "five", 40),
        (("report.reference_dataset=digits", "report.reference_crops=dense"), "dense", 32),
    ],
)
def test_views_are_those_of_the_run_unless_other_images_have_their_own(
    tiny: Callable[..., Config], words: tuple[str, ...], name: str, resize: int
) -> None:
    found = reference_crops(tiny("crops=ten", *words))
    assert found == CropsConfig(name=name, resize=resize, size=32, resize_mode="short_side")

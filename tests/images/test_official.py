"""Table 2 of the paper, and the comparison of what is found with it."""

from __future__ import annotations

import re

import pytest

from fnx.config.schema import DatasetConfig
from fnx.images.official import OFFICIAL, Counts, count, differences, how_to_fetch, overlap

# Images, classes, images of the smallest and of the largest class (the paper, Table 2), and the
# group by overlap with ImageNet (Section 6.2).
TABLE_2 = {
    "imagenet": (50_000, 1_000, 50, 50, "a"),
    "cub200": (11_788, 200, 41, 60, "b"),
    "wood": (438, 7, 14, 179, "c"),
    "flowers102": (8_189, 102, 40, 258, "b"),
    "caltech101": (9_146, 101, 31, 800, "a"),
    "mit67": (6_700, 67, 100, 100, "c"),
    "textures": (5_640, 47, 120, 120, "c"),
    "caltech256": (30_607, 256, 80, 800, "a"),
    "stanforddogs": (20_580, 120, 150, 200, "a"),
    "catsdogs": (7_349, 37, 184, 200, "a"),
    "food101": (25_250, 101, 250, 250, "b"),
}


def test_the_table_is_the_papers_in_its_order() -> None:
    assert list(OFFICIAL) == list(TABLE_2)
    for name, (images, classes, smallest, largest, group) in TABLE_2.items():
        assert OFFICIAL[name].published == Counts(images, classes, smallest, largest)
        assert overlap(name) == group
    assert overlap("digits") is None


def test_all_but_imagenet_are_public_and_checksums_are_md5() -> None:
    assert [name for name, data_set in OFFICIAL.items() if not data_set.public] == ["imagenet"]
    unchecked = set()
    for name, data_set in OFFICIAL.items():
        assert data_set.page.startswith("http")
        for archive in data_set.archives:
            assert archive.public == (name != "imagenet")
            assert "/" not in archive.name
            assert archive.url.endswith(archive.name)
            if archive.md5 is None:
                unchecked.add(name)
            else:
                assert re.fullmatch("[0-9a-f]{32}", archive.md5)
    assert unchecked == {"wood", "mit67", "stanforddogs"}


@pytest.mark.parametrize(
    ("class_names", "text"),
    [
        (["a"] * 1_000 + ["b"] * 2, "1,002 images in 2 classes of 2–1000"),
        (["a", "b", "a", "b"], "4 images in 2 classes of 2"),
        ([], "0 images in 0 classes of 0"),
    ],
)
def test_counts_are_those_of_the_images(class_names: list[str], text: str) -> None:
    assert str(count(class_names)) == text


def test_it_is_said_how_to_get_a_data_set() -> None:
    assert how_to_fetch("wood") == "fetch it with: python -m fnx dataset=wood dataset.download=true"
    assert how_to_fetch("imagenet") == (
        "its authors ask for an account at "
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php: put "
        "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into dataset.root, then unpack "
        "them with: python -m fnx dataset=imagenet dataset.download=true"
    )


def test_differences_are_said_with_both_numbers() -> None:
    wood = DatasetConfig(name="knots", layout="wood", root="here")
    found = [str(number % 7) for number in range(98)]
    first = "knots: 98 images in 7 classes of 14; Table 2 of the paper has 438 images in 7 classes "
    assert differences(wood, found) == (first + "of 14–179",)
    assert differences(wood, found, absent=1_340) == (
        first + "of 14–179",
        "knots: 1,340 images that its lists name are not in here; fetch it with: "
        "python -m fnx dataset=wood dataset.download=true",
    )
    caltech = DatasetConfig(name="caltech101", layout="caltech101")
    assert differences(caltech, ["x"]) == (
        "caltech101: 1 images in 1 classes of 1; Table 2 of the paper has 9,146 images in 101 "
        "classes of 31–800 (Table 2 counts the background's images but not its class)",
    )


def test_nothing_is_said_where_there_is_no_difference_or_nothing_to_compare() -> None:
    mit67 = [str(number % 67) for number in range(6_700)]
    assert differences(DatasetConfig(name="x", layout="mit67"), mit67) == ()
    assert differences(DatasetConfig(name="x", layout="folder"), ["a"], absent=1) == ()
    limited = DatasetConfig(name="x", layout="mit67", limit_per_class=2)
    assert differences(limited, ["a"], absent=1) == ()

"""Images of which nothing is known but where they are: each is a row, whatever it is."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import LabelledImages
from fnx.images.open import open_listing
from fnx.images.unlabelled import list_unlabelled

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def opened(images: Any, tmp_path: Path, **keys: Any) -> LabelledImages:
    config = DatasetConfig("new", "folder")
    return open_listing(config, tmp_path / "cache", list_unlabelled(images)[0], **keys)


def test_a_folder_of_any_shape(tmp_path: Path, write: Callable[..., Path]) -> None:
    root = tmp_path / "new"
    for number, name in enumerate(("10.png", "9.png", "one class/a.png", ".hidden.png")):
        write(root / name, seed=number)
    (root / "copy.png").symlink_to(root / "9.png")
    (root / "broken.jpg").write_bytes(b"nothing")
    listing, paths = list_unlabelled(root)
    assert paths == ["9.png", "10.png", "broken.jpg", "copy.png", "one class/a.png"]
    assert listing.classes == ()
    found = opened(root, tmp_path).table
    assert found["path"].to_list() == paths
    assert found["status"].to_list() == ["ok", "ok", "failed", "ok", "ok"]
    assert found["digest"][0] == found["digest"][3]
    assert found["error"][2]
    assert found["class_id"].null_count() == 5
    assert list_unlabelled([root / "9.png", str(root / "one class")])[1] == [
        f"{root}/9.png",
        f"{root}/one class/a.png",
    ]


def test_a_list_keeps_its_order_and_what_stands_twice(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    one, two = write(tmp_path / "1.png", seed=1), write(tmp_path / "2.png", seed=2)
    listing, paths = list_unlabelled([two, str(one), two])
    assert paths == [str(two), str(one), str(two)]
    assert listing.paths == paths[:2]
    assert list_unlabelled(one)[1] == [str(one)]


@pytest.mark.parametrize(
    ("mode", "pixels"),
    [
        ("RGB", PIXELS),
        ("L", PIXELS[..., 0]),
        ("RGBA", np.dstack([PIXELS, PIXELS[..., :1]])),
        ("I;16", PIXELS[..., 0].astype(np.uint16) * 200),
        ("F", PIXELS[..., 0].astype(np.float32) / 255),
    ],
)
def test_an_image_in_memory_is_as_its_file(tmp_path: Path, mode: str, pixels: Any) -> None:
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(tmp_path / "file.tif")
    images = opened([image], tmp_path)
    assert images.table["path"].to_list() == ["images[0]"]
    own = np.asarray(pickle.loads(pickle.dumps(images.open))("images[0]"))
    file = opened(tmp_path / "file.tif", tmp_path)
    np.testing.assert_array_equal(own, np.asarray(file.open(str(tmp_path / "file.tif"))))


def test_an_image_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "side.png", exif=exif)
    turned = opened([Image.open(tmp_path / "side.png")], tmp_path).open("images[0]")
    np.testing.assert_array_equal(np.asarray(turned), np.rot90(PIXELS, -1))


def test_arrays(tmp_path: Path) -> None:
    assert list_unlabelled(PIXELS)[1] == ["images[0]"]
    assert list_unlabelled(np.stack([PIXELS, PIXELS]))[1] == ["images[0]", "images[1]"]
    both = opened(np.stack([PIXELS, PIXELS[::-1]]), tmp_path)
    np.testing.assert_array_equal(np.asarray(both.open("images[1]")), PIXELS[::-1])


def test_a_broken_image_in_memory_is_a_row_with_its_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    broken = Image.open(io.BytesIO(buffer.getvalue()[:300]))
    found = opened((image for image in (broken, PIXELS)), tmp_path).table
    assert found["status"].to_list() == ["failed", "ok"]
    assert "truncated" in found["error"][0]


@pytest.mark.parametrize(
    ("images", "line"),
    [
        ("nowhere", "^no file or folder 'nowhere'$"),
        ([], "^no images are given$"),
        (3, "^images are int: must be a folder"),
        ([3], r"^images\[0\] is int: must be a path"),
        (PIXELS / 255, r"^images\[0\] is an array of float64, \(4, 6, 3\): must be uint8"),
        ([PIXELS[0, 0]], r"^images\[0\] is an array of uint8, \(3,\)"),
        (PIXELS.transpose(2, 0, 1), r"^images\[0\] is an array of uint8, \(3, 4, 6\)"),
    ],
)
def test_what_is_no_image_is_refused(images: Any, line: str) -> None:
    with pytest.raises(DataError, match=line):
        list_unlabelled(images)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it holds no files$"):
        list_unlabelled(tmp_path)


def test_images_of_more_than_8_bits_are_mapped_as_is_said(tmp_path: Path) -> None:
    dark = Image.fromarray(np.full((2, 2), 1000, np.uint16))
    own = opened([dark], tmp_path).open("images[0]")
    assert own.getpixel((0, 0)) == (249, 249, 249)  # of 1023, which it fits in
    ranges = {"integer": (0.0, 4000.0), "float": (0.0, 1.0)}
    as_said = opened([dark], tmp_path, ranges=ranges)
    assert as_said.open("images[0]").getpixel((0, 0)) == (64, 64, 64)
    assert as_said.decoding == {"intensity_range": {"integer": [0.0, 4000.0]}}

"""`open_images`: found, checked, limited, numbered."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images import LabelledImages, list_images, open_images
from fnx.images.crops import Crops
from fnx.images.dataset import TABLE_SCHEMA, Listing
from fnx.images.layouts.common import Row
from fnx.images.layouts.digits import Digits
from fnx.images.layouts.huggingface import Rows
from fnx.images.official import OFFICIAL
from fnx.images.paths import Files
from fnx.images.validate import Checked


def opened(root: Path, **options: Any) -> LabelledImages:
    config = DatasetConfig(name="own", layout="folder", root=str(root), **options)
    return open_images(config, root.parent / "cache")


def test_the_table(root: Path) -> None:
    images = opened(root)
    assert images.name == "own"
    assert dict(images.table.schema) == {
        "image_id": pl.Int64,
        "path": pl.String,
        "class_id": pl.Int32,
        "class_name": pl.String,
        "split": pl.String,
        "status": pl.String,
        "error": pl.String,
        "digest": pl.String,
    }
    for path, digest in images.table.select("path", "digest").iter_rows():
        content = (root / path).read_bytes()
        assert digest == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert images.table["image_id"].to_list() == list(range(6))
    assert images.table["path"].to_list() == [
        "cat/1.png",
        "cat/2.jpg",
        "cat/10.png",
        "dog/a.png",
        "dog/b.bmp",
        "dog/c.tif",
    ]
    assert images.class_names == ("cat", "dog")
    assert images.labels().tolist() == [0, 0, 0, 1, 1, 1]
    assert images.labels().dtype == np.int32
    assert images.table["status"].to_list() == ["ok"] * 6
    assert images.table["error"].null_count() == 6
    assert images.warnings == ()


def test_a_listing_is_taken_as_it_was_found(root: Path, write: Callable[..., Path]) -> None:
    config = DatasetConfig(name="own", layout="folder", root=str(root))
    listing = list_images(config)
    assert listing.classes == ("cat", "dog")
    write(root / "cat/late.png")
    images = open_images(config, root.parent / "cache", listing)
    assert images.table["path"].to_list() == opened_paths()


@pytest.mark.parametrize("parts", [(1, 2, 2), (2, 1, 2), (2, 2, 1)])
def test_a_listing_has_a_class_and_a_split_of_each_path(parts: tuple[int, int, int]) -> None:
    paths, names, splits = (["x"] * number for number in parts)
    with pytest.raises(ValueError, match="equally long"):
        Listing(paths, names, splits, Files(""))


def test_the_classes_of_a_listing_come_in_its_order_and_without_those_that_have_none() -> None:
    listing = Listing(["1", "2", "3", "4"], ["b", None, "a", "b"], [None] * 4, Files(""))
    assert listing.classes == ("b", "a")


def linked(root: Path, spelling: str) -> str:
    """Another name of `cat/1.png`, relative to `root` unless it is absolute."""
    if spelling == "hard link":
        (root / "dog/again.png").hardlink_to(root / "cat/1.png")
    elif spelling == "link":
        (root / "dog/again.png").symlink_to("../cat/1.png")
    elif spelling == "folder":
        (root / "dog/again").symlink_to(root / "cat")
        return "dog/again/1.png"
    else:
        return spelling.replace("ROOT", str(root))
    return "dog/again.png"


SPELLINGS = ["hard link", "link", "folder", "./cat/1.png", "cat//1.png", "dog/../cat/1.png"]


@pytest.mark.parametrize("spelling", [*SPELLINGS, "ROOT/cat/1.png"])
def test_a_file_of_two_classes_is_refused_however_it_is_spelt(root: Path, spelling: str) -> None:
    again = linked(root, spelling)
    table = root / "t.csv"
    table.write_text(f"path,label\ncat/2.jpg,x\ncat/1.png,x\ndog/a.png,y\n{again},y\n")
    config = DatasetConfig(name="own", layout="csv", file=str(table))
    with pytest.raises(DataError) as caught:
        open_images(config, root.parent / "cache")
    assert str(caught.value) == (
        f"1 images are listed under two classes, as 'cat/1.png' (x) and {again!r} (y), which are "
        "the same file: an image has one class; remove one of the two"
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_that_is_listed_twice_in_a_class_is_taken_once(
    root: Path, spelling: str, caplog: pytest.LogCaptureFixture
) -> None:
    again = linked(root, spelling)
    table = root / "t.csv"
    table.write_text(
        f"path,label,split\ncat/2.jpg,x,a\ncat/1.png,x,b\n{again},x,c\ndog/a.png,y,d\n"
        "gone.png,y,e\n./gone.png,y,f\n" + 300 * "x" + ",y,g\n"
    )
    images = open_images(DatasetConfig("own", "csv", file=str(table)), root.parent / "cache")
    assert images.ok()["path"].to_list() == ["cat/2.jpg", "cat/1.png", "dog/a.png"]
    assert images.table["split"].to_list() == ["a", "b", "d", "e", "f", "g"]
    assert images.labels().tolist() == [0, 0, 1]
    line = f"1 images are listed twice and taken once, as {again!r}, which is the file 'cat/1.png'"
    assert line in caplog.text


@pytest.mark.parametrize("path", ["gone.png", "null\0.png", "x" * 300, "cat/1.png/2.png"])
def test_what_leads_to_no_file_is_no_file_of_two_paths(root: Path, path: str) -> None:
    assert Files(str(root)).identity(path) is None
    assert Files(str(root)).identity("cat/1.png") is not None


def test_links_between_folders_of_classes_are_refused(root: Path) -> None:
    for name in ("1.png", "2.jpg"):
        (root / "dog" / name).hardlink_to(root / "cat" / name)
    with pytest.raises(DataError, match=r"^2 images .* as 'cat/1.png' \(cat\) and 'dog/1.png' \(d"):
        opened(root, limit_per_class=1)


def test_copies_in_two_classes_are_warned_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(root)
    shutil.copy(root / "cat/1.png", root / "cat/3.png")
    assert opened(root).ok().height == 7
    assert not caplog.text, "within a class they are no contradiction"
    shutil.copy(root / "cat/1.png", root / "dog/3.png")
    assert opened(root).ok().height == 8
    assert "3 images have copies in another class, as 'cat/1.png' and 'dog/3.png'" in caplog.text


def damage(root: Path) -> dict[str, str]:
    """Put files that are no images among the cats; path → a part of the expected reason."""
    cats = root / "cat"
    (cats / "empty.png").touch()
    (cats / "notes.txt").write_text("a cat")
    (cats / "page.jpg").write_text("<html>404</html>")
    (cats / "gone.png").symlink_to(root / "missing")
    (cats / "circle.png").symlink_to("circle.png")
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    expected = {
        "cat/empty.png": "the file is empty",
        "cat/notes.txt": "not an image",
        "cat/page.jpg": "not an image",
        "cat/gone.png": "No such file",
        "cat/circle.png": "Too many levels of symbolic links",
    }
    for name, options in {
        "cut.jpg": {},
        "cut_progressive.jpg": {"progressive": True},
        "cut.png": {},
        "cut.gif": {},
        "cut.bmp": {},
        "cut.tif": {"compression": "tiff_lzw"},
        "cut.webp": {},
    }.items():
        Image.fromarray(noise).save(cats / name, **options)
        whole = (cats / name).read_bytes()
        (cats / name).write_bytes(whole[: int(len(whole) * 0.9)])
        expected[f"cat/{name}"] = ""
    Image.new("1", (20_000, 9_500)).save(cats / "bomb.png")
    expected["cat/bomb.png"] = "190,000,000 pixels: more than dataset.max_pixels=178956970"
    Image.new("L", (5, 5001)).save(cats / "thread.png")
    expected["cat/thread.png"] = "5 × 5001 pixels: too long for its width"
    return expected


def test_what_is_no_image_is_a_row_with_its_reason(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = damage(root)
    images = opened(root)
    failed = images.table.filter(pl.col("status") == "failed")
    errors = dict(zip(failed["path"], failed["error"], strict=True))
    assert set(errors) == set(expected)
    for path, part in expected.items():
        assert part in errors[path]
        assert errors[path]
        assert "\n" not in errors[path]
    assert failed["digest"].null_count() == failed.height
    assert failed["class_id"].to_list() == [0] * failed.height
    assert images.ok()["path"].to_list() == opened_paths()
    assert images.labels().tolist() == [0, 0, 0, 1, 1, 1]
    first = failed["path"][0]
    assert (
        f"{len(expected)} images cannot be read and are left out; the first: {first!r} "
        f"({errors[first]})" in caplog.text
    )
    assert "classes without" not in caplog.text


def opened_paths() -> list[str]:
    return ["cat/1.png", "cat/2.jpg", "cat/10.png", "dog/a.png", "dog/b.bmp", "dog/c.tif"]


def test_on_error_raise_names_the_first_and_counts_the_others(root: Path) -> None:
    (root / "cat/3.png").touch()
    (root / "dog/x.txt").write_text("x")
    with pytest.raises(DataError) as caught:
        opened(root, on_error="raise")
    first = "dataset.on_error=raise: cannot read 'cat/3.png' (the file is empty)"
    assert str(caught.value) == f"{first} and 1 other images"
    (root / "dog/x.txt").unlink()
    with pytest.raises(DataError) as caught:
        opened(root, on_error="raise")
    assert str(caught.value) == first


def test_on_error_raise_takes_a_sound_folder(root: Path) -> None:
    assert opened(root, on_error="raise").ok().height == 6


def test_odd_but_sound_images_are_fine(root: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(root / "cat/moving.jpg", "GIF", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (9, 9)).save(root / "cat/alpha.jpg", "PNG")
    Image.new("RGB", (1, 1)).save(root / "cat/dot.png")
    Image.new("CMYK", (9, 9)).save(root / "cat/cmyk.jpg")
    Image.new("L", (3, 9)).save(root / "cat/slim.jpg")
    Image.new("L", (5, 5000)).save(root / "cat/long.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(root / "cat/deep.png")
    with io.BytesIO() as trailing:
        Image.new("RGB", (9, 9)).save(trailing, "JPEG")
        (root / "cat/trailing.jpg").write_bytes(trailing.getvalue() + b"more")
    assert opened(root).ok().height == 6 + 8


def test_only_the_first_readable_images_of_a_class_are_taken(root: Path) -> None:
    (root / "cat/0.png").touch()
    images = opened(root, limit_per_class=2)
    assert images.ok()["path"].to_list() == ["cat/1.png", "cat/2.jpg", "dog/a.png", "dog/b.bmp"]
    assert images.table["path"][0] == "cat/0.png"
    assert images.table["image_id"].to_list() == [0, 1, 2, 3, 4]
    assert opened(root, limit_per_class=99).ok().height == 6


def test_a_limit_checks_no_more_than_it_needs(root: Path, reads: Counter[str]) -> None:
    opened(root, limit_per_class=1)
    assert reads == {"cat/1.png": 1, "dog/a.png": 1}


def test_a_class_without_a_readable_image_is_left_out(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "bird").mkdir()
    (root / "bird/notes.txt").write_text("x")
    images = opened(root)
    assert images.class_names == ("cat", "dog")
    assert images.table["class_id"].to_list() == [None, 0, 0, 0, 1, 1, 1]
    assert images.table["class_name"][0] == "bird"
    assert "classes without a readable image are left out: 'bird'" in caplog.text


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_classes_left(root: Path, left: int) -> None:
    for file in root.glob("dog/*" if left else "*/*"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=f"own: {left} classes with readable images among 6 files"):
        opened(root)


def test_the_digest_is_that_of_contents(root: Path, write: Callable[..., Path]) -> None:
    digest = opened(root).digest()
    copy = Path(shutil.copytree(root, root.parent / "copy"))
    assert opened(copy).digest() == digest, "where the folder lies does not matter"
    (copy / "cat/notes.txt").write_text("x")
    assert opened(copy).digest() == digest, "what is no image does not matter"
    (copy / "dog").rename(copy / "wolf")
    assert opened(copy).digest() == digest, "labels do not matter"
    (copy / "wolf").rename(copy / "ape")
    assert opened(copy).digest() != digest, "the order matters"
    (copy / "ape").rename(copy / "dog")
    write(copy / "cat/1.png", seed=5)
    assert opened(copy).digest() != digest, "pixels matter"
    assert opened(root, limit_per_class=2).digest() != digest, "the choice matters"


def test_the_digest_is_of_these_bytes() -> None:
    """Embeddings are found by it, those of later versions too."""
    table = pl.DataFrame(
        {
            "image_id": [0, 1, 2],
            "path": ["a/1", "a/2", "b/é"],
            "class_id": [0, 0, 1],
            "class_name": ["a", "a", "b"],
            "split": ["train", None, None],
            "status": ["ok", "failed", "ok"],
            "error": [None, "no", None],
            "digest": ["0f", None, "f0"],
        },
        schema=TABLE_SCHEMA,
    )
    images = LabelledImages("x", table, ("a", "b"), Files(""))
    assert images.digest() == hashlib.blake2b(b"0f\nf0\n", digest_size=16).hexdigest()
    assert images.labels().tolist() == [0, 1]


def test_counts_are_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "cat/x").touch()
    with caplog.at_level(logging.INFO):
        opened(root)
    assert "own: 6 images in 2 classes, 1 failed" in caplog.text


def test_what_a_list_names_and_is_not_there_is_counted(root: Path) -> None:
    (root / "names.txt").write_text(
        "cat/1.png dry_knot\ndog/a.png leaf_knot\ncat/gone.png dry_knot\ncat/empty.png dry_knot\n"
    )
    (root / "cat/empty.png").touch()
    config = DatasetConfig(name="knots", layout="wood", root=str(root))
    first, second = open_images(config, root.parent / "cache").warnings
    assert first.startswith("knots: 2 images in 2 classes of 1; Table 2")
    assert second.startswith(f"knots: 1 images that its lists name are not in {root}")


def test_names_that_are_not_utf8_reach_the_table_and_lead_back(root: Path) -> None:
    file = os.path.join(os.fsencode(root), b"cat", b"caf\xe9\n.png")  # noqa: PTH118
    try:
        shutil.copy(os.fsencode(root / "cat/1.png"), file)
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    for images in (opened(root), opened(root)):
        (path,) = images.ok().filter(pl.col("path").str.contains("caf"))["path"]
        assert path == "cat/caf\\xe9\n.png"
        assert images.open(path).size == (12, 9)
        images.digest()


@pytest.mark.parametrize(
    "value",
    [
        Listing([], [], [], Files("")),
        LabelledImages("x", pl.DataFrame(), (), Files("")),
        Checked(None, None),
        Files(""),
        Digits(),
        Rows({}),
        Row("a.jpg", "a"),
        Crops("ten"),
        OFFICIAL["wood"],
        OFFICIAL["wood"].published,
        OFFICIAL["wood"].archives[0],
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_do_not_change_once_they_are_made(value: object) -> None:
    with pytest.raises((AttributeError, TypeError)):  # the latter from frozen slots
        value.name = "other"  # type: ignore[attr-defined]

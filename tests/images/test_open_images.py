"""`open_images`: found, checked, limited, numbered."""

from __future__ import annotations

import io
import itertools
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images
from fnx.images import validate as check
from fnx.images.dataset import TABLE_SCHEMA, Listing, Stream
from fnx.images.paths import Files
from fnx.images.validate import check_images, why_unreadable
from fnx.utils import lock


def opened(root: Path, **options: Any) -> LabelledImages:
    config = DatasetConfig(name="own", layout="folder", root=str(root), **options)
    return open_images(config, root.parent / "cache")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often each file's bytes are read."""
    counts: Counter[str] = Counter()
    stream = Files.stream

    def counted(self: Files, path: str) -> Stream:
        counts[path] += 1
        return stream(self, path)

    monkeypatch.setattr(Files, "stream", counted)
    return counts


def test_the_table(root: Path) -> None:
    images = opened(root)
    assert images.table.schema == TABLE_SCHEMA
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
    assert images.table["digest"].n_unique() == 6


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
    expected["cat/bomb.png"] = "exceeds limit"
    Image.new("L", (5, 5001)).save(cats / "thread.png")
    expected["cat/thread.png"] = "too long for its width"
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
    assert f"{len(expected)} images cannot be read" in caplog.text


def opened_paths() -> list[str]:
    return ["cat/1.png", "cat/2.jpg", "cat/10.png", "dog/a.png", "dog/b.bmp", "dog/c.tif"]


def test_on_error_raise_names_the_first_and_counts_the_others(root: Path) -> None:
    (root / "cat/3.png").touch()
    (root / "dog/x.txt").write_text("x")
    with pytest.raises(DataError) as caught:
        opened(root, on_error="raise")
    assert str(caught.value) == (
        "dataset.on_error=raise: cannot read 'cat/3.png' (ValueError: the file is empty) "
        "and 1 other images"
    )


def test_on_error_raise_takes_a_sound_folder(root: Path) -> None:
    assert opened(root, on_error="raise").ok().height == 6


def test_odd_but_sound_images_are_fine(root: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(root / "cat/moving.jpg", "GIF", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (9, 9)).save(root / "cat/alpha.jpg", "PNG")
    Image.new("RGB", (1, 1)).save(root / "cat/dot.png")
    Image.new("CMYK", (9, 9)).save(root / "cat/cmyk.jpg")
    Image.new("L", (3, 9)).save(root / "cat/slim.jpg")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(root / "cat/deep.png")
    with io.BytesIO() as trailing:
        Image.new("RGB", (9, 9)).save(trailing, "JPEG")
        (root / "cat/trailing.jpg").write_bytes(trailing.getvalue() + b"more")
    assert opened(root).ok().height == 6 + 7


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
    assert "'bird'" in caplog.text


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_classes_left(root: Path, left: int) -> None:
    for file in root.glob("dog/*" if left else "*/*"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=f"own: {left} classes with readable images among 6 files"):
        opened(root)


def test_a_second_run_reads_no_file_again(root: Path, reads: Counter[str]) -> None:
    (root / "cat/broken.png").write_text("x")
    first = opened(root)
    assert set(reads.values()) == {1}
    assert reads.total() == 7
    second = opened(root)
    assert reads.total() == 7
    assert second.table.equals(first.table)
    assert opened(root, limit_per_class=1).ok().height == 2
    assert reads.total() == 7


def test_a_changed_file_is_read_again(
    root: Path, reads: Counter[str], write: Callable[..., Path]
) -> None:
    before = opened(root)
    reads.clear()
    file = root / "dog/b.bmp"
    stat = file.stat()
    write(file, seed=77)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same mtime, new ctime
    after = opened(root)
    assert reads == {"dog/b.bmp": 1}
    assert after.digest() != before.digest()


def test_of_two_runs_at_once_one_checks_and_the_other_finds_it_remembered(
    root: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(lock, "_ASK_EVERY", 0.02)
    together = threading.Barrier(2)
    known = check._remembered

    def slow(root: Path, file: Path) -> Any:
        time.sleep(0.1)  # the other meets the lock
        return known(root, file)

    monkeypatch.setattr(check, "_remembered", slow)

    def run() -> LabelledImages:
        together.wait()
        return opened(root)

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as threads:
        one, two = (future.result() for future in [threads.submit(run) for _ in range(2)])
    assert set(reads.values()) == {1}
    assert one.table.equals(two.table)
    assert f"which checks the images of {root}" in caplog.text


def test_failures_of_the_system_are_not_remembered(root: Path) -> None:
    (root / "cat/late.png").symlink_to(root.parent / "late.png")
    assert opened(root).table.filter(pl.col("status") == "failed").height == 1
    shutil.copy(root / "cat/1.png", root.parent / "late.png")
    assert opened(root).ok().height == 7


def test_a_damaged_cache_is_made_anew(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = opened(root)
    (file,) = (root.parent / "cache/checked").glob("*.parquet")
    for content in (b"rubbish", b""):
        file.write_bytes(content)
        assert opened(root).table.equals(first.table)
        assert "checking anew" in caplog.text
    pl.DataFrame({"path": ["cat/1.png"]}).write_parquet(file)
    assert opened(root).table.equals(first.table)


def test_a_cache_that_cannot_be_written_is_a_warning(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root.parent / "cache").write_text("a file in the way")
    assert opened(root).ok().height == 6
    assert "the next run will check the images again" in caplog.text


def test_what_was_checked_before_an_interruption_is_kept(
    root: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnx.images.validate._AT_ONCE", 2)
    stamp = Files.stamp

    def interrupted(self: Files, path: str) -> Any:
        if path.startswith("dog"):
            raise KeyboardInterrupt
        return stamp(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "stamp", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(root)
    reads.clear()
    opened(root)
    assert set(reads) == {"dog/a.png", "dog/b.bmp", "dog/c.tif"}


def test_the_digest_is_that_of_content_and_labels(root: Path, write: Callable[..., Path]) -> None:
    digest = opened(root).digest()
    copy = Path(shutil.copytree(root, root.parent / "copy"))
    assert opened(copy).digest() == digest, "where the folder lies does not matter"
    (copy / "cat/notes.txt").write_text("x")
    assert opened(copy).digest() == digest, "what is no image does not matter"
    (copy / "dog").rename(copy / "wolf")
    assert opened(copy).digest() != digest, "labels matter"
    (copy / "wolf").rename(copy / "dog")
    write(copy / "cat/1.png", seed=5)
    assert opened(copy).digest() != digest, "pixels matter"
    assert opened(root, limit_per_class=2).digest() != digest, "the choice matters"


def test_a_bar_is_shown_for_long_checks_only(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(root)
    assert capsys.readouterr().err == ""
    clock = itertools.count(0, 20)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    listing = Listing(opened_paths(), ["x"] * 6, [None] * 6, Files(str(root)))
    check_images(listing, listing.paths, {})
    assert "checking images" in capsys.readouterr().err


@dataclass
class Unwilling:
    """A source whose files the system refuses."""

    error: Exception
    asked: list[str] = field(default_factory=list)

    def __call__(self, path: str) -> Image.Image:
        raise self.error

    def stream(self, path: str) -> Stream:
        raise self.error

    def stamp(self, path: str) -> tuple[int, int, int]:
        self.asked.append(path)
        return 1, 2, 3


@pytest.mark.parametrize(
    ("error", "expected", "remembered"),
    [
        (PermissionError(13, "Permission denied", "x"), "Permission denied", False),
        (MemoryError(), "MemoryError", False),
        (OSError("broken data stream\nwhen reading"), "broken data stream when reading", True),
        (SyntaxError("not a \udcff file"), "SyntaxError: not a \\udcff file", True),
    ],
)
def test_reasons_are_one_line_and_last_if_they_lie_in_the_file(
    error: Exception, expected: str, remembered: bool
) -> None:
    source = Unwilling(error)
    listing = Listing(["a"], ["x"], [None], source)
    found = check_images(listing, ["a"], {})
    assert found["a"].error == expected == why_unreadable(error)
    assert (found["a"].stamp is not None) == remembered
    assert source.asked == ["a"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_without_permission(root: Path) -> None:
    (root / "cat/1.png").chmod(0)
    table = opened(root).table
    assert table["error"][0] == "Permission denied"


def test_counts_are_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "cat/x").touch()
    with caplog.at_level(logging.INFO):
        opened(root)
    assert "own: 6 images in 2 classes, 1 failed" in caplog.text


def test_names_that_are_not_utf8_reach_the_table_and_lead_back(root: Path) -> None:
    file = os.path.join(os.fsencode(root), b"cat", b"caf\xe9\n.png")  # noqa: PTH118
    try:
        shutil.copy(os.fsencode(root / "cat/1.png"), file)
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    for images in (opened(root), opened(root)):
        (path,) = images.ok().filter(pl.col("path").str.contains("caf"))["path"]
        assert path == "cat/caf\\xe9\n.png"
        with images.open(path) as image:
            assert image.size == (12, 9)
        images.digest()

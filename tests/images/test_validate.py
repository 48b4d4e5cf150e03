"""The check of every image: read once, remembered, and its failures in one line each."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import polars as pl
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from tests.privileges import bound_by_permissions

from fnx.config.schema import DatasetConfig
from fnx.images import LabelledImages, list_images, open_images
from fnx.images import validate as check
from fnx.images.dataset import Listing, Stream
from fnx.images.decode import UnreadableImageError
from fnx.images.intensity import Extent
from fnx.images.paths import Files
from fnx.images.validate import Checked, check_images, known_checks, why_unreadable
from fnx.utils import forked, lock, memory
from fnx.utils.files import digest


@pytest.fixture(params=["threads", "processes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the images are checked: as on two cores, or as on many where they are many."""
    if request.param == "processes":
        if not forked.possible():
            pytest.skip("processes are copied on Linux alone")
        monkeypatch.setattr(check, "cores", lambda: 4)
        monkeypatch.setattr(check, "_MANY_IMAGES", 1)
        monkeypatch.setattr(memory, "cores", lambda: 2)
    return str(request.param)


def opened(root: Path, **options: Any) -> LabelledImages:
    config = DatasetConfig(name="own", layout="folder", root=str(root), **options)
    return open_images(config, root.parent / "cache")


def test_a_second_run_reads_no_file_again(root: Path, reads: Counter[str]) -> None:
    (root / "cat/broken.png").write_text("x")
    first = opened(root)
    assert set(reads.values()) == {1}
    assert reads.total() == 7
    (memory,) = (root.parent / "cache/checked").glob("*.parquet")
    written = memory.stat().st_ino
    second = opened(root)
    assert memory.stat().st_ino == written, "nothing new, nothing written"
    assert reads.total() == 7
    assert second.table.equals(first.table)
    assert opened(root, limit_per_class=1).ok().height == 2
    assert reads.total() == 7


def test_processes_find_what_threads_find_and_leave_them_the_rest(
    root: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "cat/broken.png").write_text("x")
    (root / "cat/gone.png").symlink_to(root / "nowhere")
    Image.new("RGB", (90, 80)).save(root / "dog/large.png")
    in_threads, left = check._in_threads, list[str]()

    def noted(how: Any, paths: Any, keep: Any) -> None:
        left.extend(paths)
        in_threads(how, paths, keep)

    monkeypatch.setattr(check, "_in_threads", noted)
    monkeypatch.setattr(check, "_SMALL", 90 * 80)
    monkeypatch.setattr(check, "_PORTION", 4)
    table = opened(root).table
    failed = table.filter(status="failed").select("path", "error").rows()
    assert [path for path, _ in failed] == ["cat/broken.png", "cat/gone.png"]
    assert failed[0][1].startswith("not an image")
    assert "No such file" in failed[1][1]
    files = {path: root / path for path in table.filter(status="ok")["path"]}
    assert len(files) == 7
    assert dict(table.filter(status="ok").select("path", "digest").rows()) == {
        path: digest([file.read_bytes()]) for path, file in files.items()
    }
    assert (left == ["cat/gone.png", "dog/large.png"]) == (way == "processes")
    assert len(set(left)) == len(left)


def test_processes_are_not_started_for_what_is_known(
    root: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(root).table
    shutil.copy(root / "cat/1.png", root / "cat/3.png")
    given, in_processes = list[str](), check._in_processes

    def noted(how: Any, paths: Any, keep: Any) -> list[str]:
        given.extend(paths)
        return in_processes(how, paths, keep)

    monkeypatch.setattr(check, "_in_processes", noted)
    table = opened(root).table
    assert (
        table.filter(pl.col("path") != "cat/3.png").drop("image_id").equals(first.drop("image_id"))
    )
    assert table.filter(path="cat/3.png", status="ok").height == 1
    assert given == (["cat/3.png"] if way == "processes" else [])
    assert opened(root).table.equals(table)
    assert len(given) <= 1


@pytest.mark.parametrize(("cores", "images"), [(3, 1), (4, 7)])
def test_processes_are_not_started_for_few_cores_or_images(
    cores: int, images: int, root: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "cores", lambda: cores)
    monkeypatch.setattr(check, "_MANY_IMAGES", images)
    monkeypatch.setattr(check, "_in_processes", lambda *_: pytest.fail("started"))
    assert opened(root).ok().height == 6


def test_checks_are_remembered_for_a_folder_and_a_version_of_pillow(root: Path) -> None:
    opened(root)
    key = b"\0".join([os.fsencode(root.resolve()), PIL.__version__.encode(), b"2", b"178956970"])
    name = hashlib.blake2b(key, digest_size=16).hexdigest()
    table = pl.read_parquet(root.parent / f"cache/checked/{name}.parquet")
    stat = (root / "dog/b.bmp").stat()
    row = table.row(by_predicate=pl.col("path") == "dog/b.bmp", named=True)
    assert (row["size"], row["mtime_ns"], row["ctime_ns"]) == (
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
    )


def test_what_an_image_holds_is_remembered_with_it(
    root: Path, reads: Counter[str], write: Callable[..., Path]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(root / "dog/turned.jpg", size=(30, 20))
    Image.new("RGB", (3, 5)).save(root / "dog/turned.png", exif=exif)
    for name, orientation in (("upright", 1), ("turned", 2), ("rotated", 8), ("odd", 9)):
        exif[0x0112] = orientation
        Image.new("RGB", (3, 5)).save(root / f"dog/{name}.tif", exif=exif)
    Image.fromarray(np.array([[3, 900]], np.uint16)).save(root / "dog/wide.png")
    Image.fromarray(np.array([[-0.5, 0.25]], np.float32)).save(root / "dog/float.tif")
    (root / "dog/none.png").write_bytes(b"no")
    listing = list_images(DatasetConfig("own", "folder", root=str(root)))
    for _ in range(2):
        with known_checks(root, root.parent) as known:
            found = check_images(listing, listing.paths, known)
        assert {path for path in found if found[path].turned_tiff} == {
            "dog/turned.tif",
            "dog/rotated.tif",
        }
        extents = {path: checked.extent for path, checked in found.items() if checked.extent}
        assert extents == {
            "dog/wide.png": Extent("integer", 3, 900),
            "dog/float.tif": Extent("float", -0.5, 0.25),
        }
        sizes = {path: checked.pixels for path, checked in found.items()}
        assert (sizes["dog/turned.jpg"], sizes["dog/wide.png"], sizes["dog/none.png"]) == (
            600,
            2,
            0,
        )
    assert set(reads.values()) == {1}


def test_an_image_may_have_max_pixels_and_no_more(root: Path, reads: Counter[str]) -> None:
    """A lower or a higher limit than before is asked of every image again."""
    Image.new("RGB", (10, 11)).save(root / "cat/110.png")
    for limit, failed in ((109, ["cat/110.png"]), (110, [])):
        table = opened(root, max_pixels=limit, limit_per_class=9).table.filter(status="failed")
        assert table["path"].to_list() == failed
        assert table["error"].to_list() == [
            f"110 pixels: more than dataset.max_pixels={limit}" for _ in failed
        ]
    assert set(reads.values()) == {2}


def test_an_image_too_large_for_the_memory_may_fit_the_next_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(memory, "_ALWAYS_THERE", 0)
        patch.setattr(memory, "available_memory", lambda: 12 * 9 * 4)
        Image.new("RGB", (12, 10)).save(root / "dog/large.png")
        failed = opened(root).table.filter(status="failed")
    assert failed.select("path", "error").rows() == [
        ("dog/large.png", "it needs 0 MB of memory, 0 are free")
    ]
    assert opened(root).ok().height == 7
    assert opened(root).largest == 120


def test_a_file_that_changes_while_it_is_checked_is_checked_again(
    root: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_of = check.file_digest

    def changing(stream: Stream) -> str:
        if getattr(stream, "name", "").endswith("cat/1.png"):
            os.utime(root / "cat/1.png")
        return digest_of(stream)

    with monkeypatch.context() as patch:
        patch.setattr(check, "file_digest", changing)
        opened(root)
    opened(root)
    assert reads.pop("cat/1.png") == 2
    assert set(reads.values()) == {1}


def test_a_jpeg_is_checked_at_its_smallest_scale(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(JpegImageFile, "draft", lambda *args: asked.append(args[1:]))
    opened(root)
    assert asked == [(None, (1, 1))], "one of the six is a JPEG"


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
    monkeypatch.setattr(lock, "_RETRY_EVERY", 0.02)
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


def test_a_cache_at_which_polars_panics_is_made_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(root)

    def panic(_: Path, **__: object) -> pl.DataFrame:
        raise pl.exceptions.PanicException("a panic is no Exception")

    monkeypatch.setattr(pl, "read_parquet", panic)
    assert opened(root).table.equals(first.table)
    assert "unreadable, checking anew: ValueError: it is damaged" in caplog.text


def test_a_cache_that_cannot_be_written_is_a_warning(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root.parent / "cache").write_text("a file in the way")
    assert opened(root).ok().height == 6
    assert "the next run will check the images again" in caplog.text


def test_what_was_checked_before_an_interruption_is_kept(
    root: Path, reads: Counter[str], way: str, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(check, "cores", lambda: 1)  # so that reads are counted here
    opened(root)
    assert set(reads) == {"dog/a.png", "dog/b.bmp", "dog/c.tif"}


def test_a_read_that_never_ends_keeps_nobody_from_ending_the_check(
    root: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever, stream, here = threading.Event(), Files.stream, os.getpid()

    def stuck(self: Files, path: str) -> Stream:
        if path == "dog/a.png":
            forever.wait(0.3)  # Python notes no signal on the very way into a lock
            if way == "processes":
                os.kill(here, signal.SIGINT)
            else:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            forever.wait(60)
        return stream(self, path)

    monkeypatch.setattr(Files, "stream", stuck)
    known: dict[str, Checked] = {}
    paths = list_images(DatasetConfig("own", "folder", root=str(root))).paths
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            check_images(Listing(paths, ["x"] * 6, [None] * 6, Files(str(root))), paths, known)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 30
    forever.set()
    assert "dog/a.png" not in known


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe"])
def test_what_is_no_regular_file_is_a_row_with_its_reason(root: Path, kind: str) -> None:
    """Reading it would wait for ever, or never come to an end."""
    odd = root / "odd.png"
    if kind == "socket":
        with contextlib.chdir(root), socket.socket(socket.AF_UNIX) as server:
            server.bind("odd.png")
    elif kind == "device":
        odd = Path("/dev/zero")
    else:
        os.mkfifo(root / "pipe")
        odd.symlink_to(root / "pipe")
        odd = odd if "link" in kind else root / "pipe"
    (root / "t.csv").write_text(f"path,label\ncat/1.png,x\n{odd},x\ndog/a.png,y\n")
    config = DatasetConfig("own", "csv", file=str(root / "t.csv"))
    table = open_images(config, root.parent / "cache").table
    assert table["error"].to_list() == [None, "not a regular file", None]
    with pytest.raises(OSError, match="not a regular file"):
        Files(str(root)).stream(str(odd))


def test_a_bar_is_shown_for_long_checks_only(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(root)
    assert capsys.readouterr().err == ""
    clock = itertools.count(0, 20)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    listing = Listing(opened(root).table["path"].to_list(), ["x"] * 6, [None] * 6, Files(str(root)))
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
        (UnreadableImageError("too long"), "too long", True),
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


def test_a_file_without_permission(root: Path) -> None:
    (root / "cat/1.png").chmod(0)
    with bound_by_permissions():
        table = opened(root).table
    assert table["error"][0] == "Permission denied"


def test_damage_of_a_png_that_decodes_is_found_by_its_checksums(root: Path, tmp_path: Path) -> None:
    """Where all rows are there, Pillow looks at no checksum."""
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(root / "cat/1.png")
    whole = (root / "cat/1.png").read_bytes()
    expected = np.asarray(Image.open(io.BytesIO(whole)))

    def decodes_otherwise(content: bytes) -> bool:
        try:
            return not np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
        except (OSError, SyntaxError):
            return False

    flipped = (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(50, 200))
    (root / "cat/1.png").write_bytes(next(filter(decodes_otherwise, flipped)))
    images = open_images(DatasetConfig("own", "folder", root=str(root)), tmp_path / "cache")
    failed = images.table.filter(status="failed")
    assert failed["path"].to_list() == ["cat/1.png"]
    assert "broken PNG file (bad header checksum in b'IDAT')" in failed["error"][0]

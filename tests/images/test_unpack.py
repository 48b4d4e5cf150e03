"""Archives: unpacked into their folder and nowhere else, whole or not at all."""

from __future__ import annotations

import errno
import random
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.images.archives import tar

from fnx.errors import DataError
from fnx.images import fetch
from fnx.images.fetch import is_archive, unpack


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_members_come_out_as_they_went_in(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/b.txt", b"content")
    else:
        tar(file, {"a/b.txt": b"content"})
    unpack(file, tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("name", "unpacked"),
    [
        ("A.TAR", True),
        ("a.tar.gz", True),
        ("a.tgz", True),
        ("a.Zip", True),
        ("a.gz", False),
        ("names.txt", False),
        ("setid.mat", False),
    ],
)
def test_what_is_unpacked_is_told_by_its_ending(name: str, unpacked: bool) -> None:
    assert is_archive(name) == unpacked


@pytest.mark.parametrize("ending", [".tar", ".ZIP"])
def test_a_bar_counts_the_archives_megabytes(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"a{ending}"
    content = random.Random(0).randbytes(1_600_000)
    if ending == ".tar":
        tar(file, {"./": b"", "./a": content, "b": content})
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", content)
            archive.writestr("b", content)
    bars: list[Any] = []
    bar = fetch.progress_bar
    monkeypatch.setattr(
        fetch, "progress_bar", lambda *args, **more: bars.append(bar(*args, **more)) or bars[0]
    )
    unpack(file, tmp_path / "out")
    assert (bars[0].desc, bars[0].total, bars[0].n) == (f"unpacking a{ending}", 3, 3)
    assert (tmp_path / "out/a").read_bytes() == (tmp_path / "out/b").read_bytes() == content


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../outside", "/outside", "..\\outside", "C:/outside", "a/c:\\outside"],
)
@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_a_member_that_leaves_the_folder_is_refused(name: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, b"evil")
    else:
        tar(file, {name: b"evil"})
    with pytest.raises(DataError, match=f"^a{ending} is refused: its member .* leaves the folder$"):
        unpack(file, tmp_path / "out/deeper")
    assert not list(tmp_path.rglob("*outside*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"S"])
def test_what_is_neither_file_nor_folder_is_refused(kind: bytes, tmp_path: Path) -> None:
    """A link, even one that stays inside, a FIFO, a file with holes: none can do any good."""
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        link = tarfile.TarInfo("images")
        link.type, link.linkname = kind, "inside"
        archive.addfile(link)
    with pytest.raises(DataError) as caught:
        unpack(file, tmp_path / "out")
    message = "a.{} is refused: its member 'images' is a link or another special file"
    assert str(caught.value) == message.format("tar")
    zipped = tmp_path / "a.zip"
    for mode in (0o120777, 0o010777, 0o060777):  # a link, a FIFO, a device
        with zipfile.ZipFile(zipped, "w") as archive_:
            member = zipfile.ZipInfo("images")
            member.external_attr = mode << 16
            archive_.writestr(member, "inside")
        with pytest.raises(DataError) as caught:
            unpack(zipped, tmp_path / "out")
        assert str(caught.value) == message.format("zip")
    assert not (tmp_path / "out/images").exists()


@pytest.mark.parametrize("ending", [".tar", ".zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_occurs_twice_is_refused(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    names = ["b/", "b/c", "./b/", "b//c"]
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, b"content")
    else:
        with tarfile.open(file, "w") as tarred:
            for name in names:
                member = tarfile.TarInfo(name)
                member.type = tarfile.DIRTYPE if name[-1] == "/" else tarfile.REGTYPE
                tarred.addfile(member)
    with pytest.raises(DataError, match=rf"^a{ending} is refused: it holds 'b//c' twice$"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("ending", [".tgz", ".zip"])
def test_what_unpacks_to_far_more_than_it_can_hold_is_refused(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"a{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(3_000_000))
    else:
        tar(file, {"a": bytes(3_000_000)})
    room = 3_000_000 - 100 * file.stat().st_size
    monkeypatch.setattr(fetch, "_LARGEST", room)
    unpack(file, tmp_path / "fits")
    monkeypatch.setattr(fetch, "_LARGEST", room - 1)
    with pytest.raises(DataError, match=r"is refused: it unpacks to more than 100 times its size$"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".zip"])
def test_what_is_no_archive_or_cut_off_is_one_line(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    for content in (b"<html>404</html>", b"", b"\x1f\x8b", b"PK\x03\x04", bytes(range(256)) * 9):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"^cannot unpack a{ending}: ") as caught:
            unpack(file, tmp_path / "out")
        assert "\n" not in str(caught.value)
    whole = small(file)
    end = 3 * (512 + 1024) + 512 if ending == ".tar" else len(whole)  # more zeros follow in tar
    for cut in (*range(0, end, 97), end - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=f"cannot unpack a{ending}: "):
            unpack(file, tmp_path / "out")


def small(file: Path) -> bytes:
    """An archive of three small files, written to `file`, and its bytes."""
    content = {f"{n}.txt": random.Random(n).randbytes(700) for n in range(3)}
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, value in content.items():
                archive.writestr(name, value)
    else:
        tar(file, content)
    return file.read_bytes()


@pytest.mark.parametrize("ending", [".tgz", ".zip"])
def test_a_flipped_bit_is_found_or_harmless(ending: str, tmp_path: Path) -> None:
    """In tar without compression no checksum covers the content: its address has TLS, or one."""
    file, out = tmp_path / f"a{ending}", tmp_path / "out"
    whole = small(file)
    unpack(file, out)
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    refused = 0
    for place in random.Random(1).sample(range(len(whole)), 200):
        shutil.rmtree(out, ignore_errors=True)
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            unpack(file, out)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either is right
            refused += 1
        else:
            assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
    assert refused > 150


def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    damaged = bytearray(small(file))
    damaged[512 + 1024] ^= 1  # the second member's name
    file.write_bytes(damaged)
    with pytest.raises(DataError, match=r"^cannot unpack a.tar: it is damaged or cut short$"):
        unpack(file, tmp_path / "out")


def test_a_disk_that_cannot_be_written_is_not_the_archive_s_fault(tmp_path: Path) -> None:
    small(tmp_path / "a.tar")
    (tmp_path / "out").touch()
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_zip_that_points_before_its_start_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seek(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    small(tmp_path / "a.zip")
    monkeypatch.setattr(zipfile.ZipFile, "open", seek)
    with pytest.raises(DataError, match=r"^cannot unpack a.zip: Invalid argument$"):
        unpack(tmp_path / "a.zip", tmp_path / "out")

"""Archives: fetched whole, verified, and unpacked into their folder and nowhere else."""

from __future__ import annotations

import random
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.images.archives import BUILDERS, tar
from tests.images.publishing import Server, dataset, md5, opened, publish

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images import fetch, list_images, open_images
from fnx.images.fetch import is_archive, unpack
from fnx.images.official import OFFICIAL
from fnx.images.paths import FETCHED


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


def test_every_archive_has_a_checksum_or_an_address_with_tls() -> None:
    for name, data_set in OFFICIAL.items():
        for archive in data_set.archives:
            fetched = archive.checksum or archive.url.startswith("https://")
            assert fetched or not archive.public, name


def test_an_interrupted_download_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cub200", server, monkeypatch)
    root = tmp_path / "data/cub200"
    root.mkdir(parents=True)
    whole = (server.folder / "CUB_200_2011.tgz").read_bytes()
    (root / "CUB_200_2011.tgz.part").write_bytes(whole[:1000])
    assert len(opened("cub200", tmp_path).table) == 4
    assert server.asked == [("CUB_200_2011.tgz", "bytes=1000-")]


def test_an_interruption_while_unpacking_is_not_taken_for_data(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("textures", server, monkeypatch)

    def interrupted(archive: Path, folder: Path) -> None:
        (folder / "dtd/labels").mkdir(parents=True)
        (folder / "dtd/images").mkdir()
        for name in ("train1", "val1", "test1"):
            (folder / f"dtd/labels/{name}.txt").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fnx.images.fetch.unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened("textures", tmp_path)
    with pytest.raises(DataError, match="Describable Textures is not complete"):
        list_images(replace(dataset("textures", tmp_path), download=False))
    assert len(opened("textures", tmp_path).table) == 4
    assert len(server.asked) == 1, "the archive was there already"


def test_what_is_incomplete_is_fetched_and_kept_aside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    publish("mit67", server, monkeypatch)
    opened("mit67", tmp_path)
    root = tmp_path / "data/mit67"
    (root / "Images/bar/c_3.jpg").unlink()
    (root / "Images/bar/mine.txt").write_text("kept")
    found = open_images(replace(dataset("mit67", tmp_path), download=False), tmp_path / "cache")
    assert found.table.filter(status="failed")["error"].to_list() == ["No such file or directory"]
    assert "1 images that its lists name are not in" in found.warnings[1]
    assert "python -m fnx dataset=mit67 dataset.download=true" in found.warnings[1]
    assert len(opened("mit67", tmp_path).ok()) == 4
    assert (root / "Images.incomplete-1/bar/mine.txt").read_text() == "kept"
    assert f"{root}/Images was not complete and is now called Images.incomplete-1" in caplog.text
    assert (root / "TestImages.txt").is_file()
    assert not (root / "TestImages.txt.incomplete-1").exists()
    (root / "Images/bar/c_3.jpg").unlink()
    assert len(opened("mit67", tmp_path).ok()) == 4
    assert (root / "Images.incomplete-2/bar/d_4.jpg").exists()
    assert {path.name for path in root.iterdir()} == {
        "Images",
        "Images.incomplete-1",
        "Images.incomplete-2",
        "TrainImages.txt",
        "TestImages.txt",
        FETCHED,
    }


def test_another_checksum_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("caltech256", server, monkeypatch)
    tar(server.folder / "256_ObjectCategories.tar", {"x": b"another"})
    with pytest.raises(DataError, match=r"256_ObjectCategories.tar is another file than expected"):
        opened("caltech256", tmp_path)
    assert [item.name for item in (tmp_path / "data/caltech256").iterdir()] == [FETCHED]


def test_a_brought_archive_with_another_checksum_is_refused_and_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("imagenet", server, monkeypatch)
    root = tmp_path / "data/imagenet"
    shutil.copytree(server.folder, root)
    tar(root / "ILSVRC2012_img_val.tar", {"x": b"another"})
    with pytest.raises(DataError) as caught:
        opened("imagenet", tmp_path)
    archive = root / "ILSVRC2012_img_val.tar"
    assert str(caught.value) == (
        f"'{archive}' is not what its authors published: its md5 is {md5(archive)} where "
        f"{md5(server.folder / archive.name)} is expected; remove it"
    )
    shutil.copy(server.folder / archive.name, archive)
    assert len(opened("imagenet", tmp_path).ok()) == 4
    assert archive.exists(), "it is the user's"


def test_a_brought_archive_without_published_checksum_is_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BUILDERS["mit67"](server.folder)
    shutil.copytree(server.folder, tmp_path / "data/mit67")
    assert len(opened("mit67", tmp_path).ok()) == 4
    assert (tmp_path / "data/mit67/indoorCVPR_09.tar").exists()


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"^cannot write Food-101 \(test\) to '.*/x': Not a dir"):
        fetch.fetch("food101", tmp_path / "file/x")


def test_a_damaged_archive_without_published_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cub200", server, monkeypatch)
    file = server.folder / "CUB_200_2011.tgz"
    file.write_bytes(file.read_bytes()[:-3000])
    archive = replace(OFFICIAL["cub200"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "cub200", replace(OFFICIAL["cub200"], archives=(archive,)))
    with pytest.raises(DataError, match=r"cannot unpack CUB_200_2011.tgz: .* to fetch it anew"):
        opened("cub200", tmp_path)
    assert not (tmp_path / "data/cub200/CUB_200_2011").exists()


def test_a_list_that_names_files_elsewhere_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("wood", server, monkeypatch)
    (server.folder / "names.txt").write_text("../../outside.ppm dry_knot\nb.ppm sound_knot\n")
    archive = replace(OFFICIAL["wood"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "wood", replace(OFFICIAL["wood"], archives=(archive,)))
    with pytest.raises(DataError, match=r"names.txt is refused: its file '../../outside.ppm'"):
        opened("wood", tmp_path)
    for name in ("..", "a\\b.ppm", "a/b.ppm"):
        shutil.rmtree(tmp_path / "data")
        (server.folder / "names.txt").write_text(f"{name} dry_knot\n")
        with pytest.raises(DataError, match="leaves the folder"):
            opened("wood", tmp_path)


def test_a_list_may_name_a_file_twice_and_have_empty_lines(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("wood", server, monkeypatch)
    lines = (server.folder / "names.txt").read_text().splitlines()
    (server.folder / "names.txt").write_text("\n\n".join([*lines, lines[0]]))
    archive = replace(OFFICIAL["wood"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "wood", replace(OFFICIAL["wood"], archives=(archive,)))
    fetch.fetch("wood", tmp_path / "wood")
    asked = [name for name, _ in server.asked]
    assert asked == ["names.txt", "st1005.ppm", "st1009.ppm", "st1010.ppm", "st1012.ppm"]
    names = sorted(file.name for file in (tmp_path / "wood/KNOTS").iterdir())
    assert names == sorted(asked)
    assert {item.name for item in (tmp_path / "wood").iterdir()} == {FETCHED, "KNOTS"}


def test_an_archive_without_the_one_inside_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("caltech101", server, monkeypatch)
    with zipfile.ZipFile(server.folder / "caltech-101.zip", "w") as archive:
        archive.writestr("caltech-101/other", b"")
    only = replace(OFFICIAL["caltech101"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "caltech101", replace(OFFICIAL["caltech101"], archives=(only,)))
    with pytest.raises(DataError) as caught:
        opened("caltech101", tmp_path)
    file = tmp_path / "data/caltech101/caltech-101.zip"
    assert str(caught.value) == (
        f"caltech-101.zip holds no caltech-101/101_ObjectCategories.tar.gz; remove '{file}' to "
        "fetch it anew"
    )


def test_an_address_that_is_gone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("food101", server, monkeypatch)
    (server.folder / "food-101.tar.gz").unlink()
    with pytest.raises(DataError, match=r"food-101.tar.gz cannot be fetched.*404"):
        opened("food101", tmp_path)


def test_an_account_is_asked_for_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"^ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz not found in "
        r"'.*imagenet' \(dataset.root\): its authors ask for an account at https://image-net",
    ):
        opened("imagenet", tmp_path)
    (tmp_path / "data/imagenet").mkdir(parents=True)
    (tmp_path / "data/imagenet/ILSVRC2012_img_val.tar").touch()
    with pytest.raises(DataError, match=r"^ILSVRC2012_devkit_t12.tar.gz not found"):
        opened("imagenet", tmp_path)


def test_only_published_data_sets_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no archive is known for folder; allowed for imagenet"):
        list_images(DatasetConfig(name="x", layout="folder", root=str(tmp_path), download=True))

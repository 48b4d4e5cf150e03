"""Data sets of Table 2: fetched whole, verified, and put into their place."""

from __future__ import annotations

import shutil
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
from fnx.images.official import OFFICIAL
from fnx.images.paths import FETCHED


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

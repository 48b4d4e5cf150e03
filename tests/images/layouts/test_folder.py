"""`layout=folder`: folders name classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images.dataset import Listing
from fnx.images.layouts import folder
from fnx.images.layouts.readers import list_images
from fnx.images.paths import from_text, to_text


def listing(root: Path | None, depth: int | None = 1) -> Listing:
    where = None if root is None else str(root)
    return list_images(DatasetConfig(name="own", layout="folder", root=where, depth=depth))


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_a_folder_is_a_class_and_names_sort_naturally(tmp_path: Path) -> None:
    make(tmp_path, "k10/a.png", "k2/img10.png", "k2/img2.png", "k2/IMG3.png", "k2/img02.png")
    found = listing(tmp_path)
    assert found.paths == [
        "k2/img02.png",
        "k2/img2.png",
        "k2/IMG3.png",
        "k2/img10.png",
        "k10/a.png",
    ]
    assert found.class_names == ["k2"] * 4 + ["k10"]
    assert found.splits == [None] * 5


def test_images_deeper_down_belong_to_the_class_above(tmp_path: Path) -> None:
    make(tmp_path, "a/x/y/1.png", "a/2.png", "b/z/3.png")
    found = listing(tmp_path)
    assert dict(zip(found.paths, found.class_names, strict=True)) == {
        "a/2.png": "a",
        "a/x/y/1.png": "a",
        "b/z/3.png": "b",
    }


def test_two_levels_name_a_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "cat/black/1.png", "cat/white/s/2.png", "dog/black/3.png", "dog/4.png")
    found = listing(tmp_path, depth=2)
    assert found.class_names == ["cat/black", "cat/white", "dog/black"]
    assert found.paths == ["cat/black/1.png", "cat/white/s/2.png", "dog/black/3.png"]
    assert found.splits == [None] * 3
    assert found.root == tmp_path
    assert f"1 files in '{tmp_path}' ignored: not in a class's folder" in caplog.text


def test_without_depth_every_folder_with_files_is_a_class(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/b/2.png", "a/b/c/d/3.png", "a/4.png")
    found = listing(tmp_path, depth=None)
    assert found.class_names == ["a", "a", "a/b", "a/b/c/d"]
    assert found.paths == ["a/1.png", "a/4.png", "a/b/2.png", "a/b/c/d/3.png"]


def test_files_outside_of_the_classes_are_listed_without_one_on_demand(tmp_path: Path) -> None:
    make(tmp_path, "9.png", "a/1.png", "10.png", "a/b/2.png", ".hidden")
    config = DatasetConfig(name="own", layout="folder", root=str(tmp_path))
    found = folder.read_all(config)
    assert found.paths == ["9.png", "10.png", "a/1.png", "a/b/2.png"]
    assert found.class_names == [None, None, "a", "a"]
    assert found.classes == ("a",)
    assert found.root == tmp_path
    with found.open.stream("9.png") as file:
        assert file.read() == b"x"


def test_hidden_names_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png", "a/.DS_Store", ".git/x.png", "b/.thumbs/3.png", ".x")
    assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]


def test_a_hidden_root_is_a_root(tmp_path: Path) -> None:
    make(tmp_path / ".cache", "a/1.png", "b/2.png")
    assert len(listing(tmp_path / ".cache").paths) == 2


def test_files_beside_the_classes_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "README.md", "list.txt", "a/1.png", "b/2.png")
    assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]
    assert "2 files" in caplog.text
    caplog.clear()
    (tmp_path / "README.md").unlink()
    (tmp_path / "list.txt").unlink()
    listing(tmp_path)
    assert caplog.text == ""


def test_links_are_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1.png", "deep/2.png")
    make(tmp_path / "root", "b/3.png")
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/b/4.png").symlink_to(tmp_path / "elsewhere/1.png")
    found = listing(tmp_path / "root")
    assert found.paths == ["a/1.png", "a/deep/2.png", "b/3.png", "b/4.png"]


def test_circles_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "b/relative").symlink_to("../b")
    assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]


def test_two_folders_that_link_to_each_other(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    assert listing(tmp_path).paths == ["a/1.png", "a/b/2.png", "b/2.png", "b/a/1.png"]


def test_links_that_lead_nowhere_are_candidates(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/gone.png").symlink_to(tmp_path / "missing")
    (tmp_path / "a/self.png").symlink_to("self.png")
    assert listing(tmp_path).paths == ["a/1.png", "a/gone.png", "a/self.png", "b/2.png"]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    os.mkfifo(tmp_path / "a/pipe")
    (tmp_path / "a/link").symlink_to(tmp_path / "a/pipe")
    assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", b"new\nline.png", b"tab\t'\".png", b"\\xe9.png", b"\\\xff.png"]
)
def test_any_name_that_the_file_system_takes(tmp_path: Path, name: bytes) -> None:
    """Also those that are not UTF-8: their path in the table is valid text and leads back."""
    make(tmp_path, "a/1.png", "b/2.png")
    file = os.path.join(os.fsencode(tmp_path), b"a", name)  # noqa: PTH118
    try:
        Image.new("L", (3, 2)).save(open(file, "wb"), "PNG")  # noqa: PTH123, SIM115
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    found = listing(tmp_path)
    (path,) = set(found.paths) - {"a/1.png", "b/2.png"}
    path.encode()
    with Image.open(found.open.stream(path)) as image:
        assert image.size == (3, 2)


def test_text_of_names_can_be_undone() -> None:
    names = [
        "a",
        "\udcff",
        "\udc80",
        "\\x80",
        "\udc800",
        "\\xff",
        "\\\udcff",
        "\\x5cxff",
        "\\x4\udcaa1",
        "é\\x",
        "\\\\x00",
    ]
    texts = [to_text(name) for name in names]
    assert [from_text(text) for text in texts] == names
    assert len(set(texts)) == len(names)


def test_a_class_name_with_digits_only_and_with_a_dot(tmp_path: Path) -> None:
    make(tmp_path, "010.a b/1.png", "9/1.png", "²/1.png")
    assert listing(tmp_path).class_names == ["9", "010.a b", "²"]


def test_the_home_folder_may_be_abbreviated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "pets", "a/1.png", "b/2.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(listing(Path("~/pets")).paths) == 2


NONE = "no images of any class in ROOT: expected LAYOUT, found"
ONE = "only one class, '{}', in ROOT: expected LAYOUT, with at least two classes"
EXPECTED = {
    1: "<class>/<image> (dataset.depth=1)",
    2: "<folder>/<folder>/<image> (dataset.depth=2)",
    None: "<class>/<image>, every folder with images being a class (dataset.depth=null)",
}


@pytest.mark.parametrize(
    ("files", "depth", "message"),
    [
        ([], 1, f"{NONE} no files"),
        ([".a/1.png", ".b/1.png"], 1, f"{NONE} no files"),
        (["1.png", "2.png"], 1, f"{NONE} 2 files outside of such folders"),
        (["a/1.png", "b/2.png"], 2, f"{NONE} 2 files outside of such folders"),
        (["1.png"], None, f"{NONE} 1 files outside of such folders"),
        (["a/1.png", "a/2.png"], 1, ONE.format("a")),
        (["a/1.png"], None, ONE.format("a")),
        (["i/a/1.png", "i/2.png"], 1, ONE.format("i")),
        (
            ["i/a/1.png", "i/b/2.png", "i/3.png"],
            1,
            ONE.format("i") + "; dataset.depth=2 would find 2",
        ),
    ],
)
def test_what_is_no_data_set_is_said_in_one_line(
    tmp_path: Path, files: list[str], depth: int | None, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        listing(make(tmp_path, *files), depth)
    expected = message.replace("ROOT", repr(str(tmp_path))).replace("LAYOUT", EXPECTED[depth])
    assert str(caught.value) == expected


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        listing(tmp_path / "no\nwhere")
    assert str(caught.value) == (
        f"no folder '{tmp_path}/no\\nwhere' (dataset.root): expected a folder with "
        "<class>/<image> (dataset.depth=1)"
    )


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.zip' \(dataset\.root\) is no folder: expected one"):
        listing(make(tmp_path, "x.zip") / "x.zip")


def test_no_root() -> None:
    with pytest.raises(
        ConfigError, match=r"dataset\.root is not set: give dataset.root=PATH, a folder with <cl"
    ):
        listing(None)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cannot list the folder .*Permission denied"):
            listing(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


def test_an_unknown_layout() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown dataset\.layout 'foldr' .did you mean 'folder'"
    ):
        list_images(DatasetConfig(name="x", layout="foldr"))

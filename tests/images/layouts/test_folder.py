"""`layout=folder`: folders name classes."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from tests.privileges import bound_by_permissions

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images.dataset import Listing
from fnx.images.layouts import folder
from fnx.images.layouts.readers import list_images
from fnx.images.paths import from_text, natural_key, to_text


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


def test_numbers_sort_by_value_however_long(tmp_path: Path) -> None:
    """Python reads only 4,300 digits as one number."""
    names = ["0", "00", "01", "1", "2", "9" * 4999, "1" + "0" * 4999, "2" + "0" * 4999]
    assert sorted(sorted(names), key=natural_key) == names
    make(tmp_path, f"{'7' * 255}/1.png", f"8{'0' * 254}/2.png", "99/3.png")
    assert [len(name) for name in listing(tmp_path).classes] == [2, 255, 255]


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


def test_circles_of_links_are_not_followed_and_the_first_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    line = f"links in '{tmp_path}' are not followed, for they lead to a folder that they lie in: "
    targets = {"a/self": tmp_path / "a", "a/up": tmp_path, "b/relative": "../b"}
    for number, (link, target) in enumerate(targets.items(), start=1):
        (tmp_path / link).symlink_to(target)
        assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]
        dots = " …" if number > 1 else ""
        assert f"{number} {line}'a/self'{dots}\n" in caplog.text


@pytest.mark.parametrize(
    ("links", "depth", "refused"),
    [
        ({"a/b": "b", "b/a": "a"}, 1, "'a/b' and 'b'"),
        ({"c": "a"}, 1, "'c' and 'a'"),
        ({"a/x": "elsewhere", "b/x": "elsewhere"}, 1, "'b/x' and 'a/x'"),
        ({"a/again": "a/deep"}, None, "'a/again' and 'a/deep'"),
        ({"a/again": "a/deep", "a/deep/more": "empty", "b/more": "empty"}, 1, None),
    ],
)
def test_a_folder_that_links_make_a_part_of_two_classes_is_refused_by_name(
    tmp_path: Path, links: dict[str, str], depth: int | None, refused: str | None
) -> None:
    """Within one class its images count once."""
    root = tmp_path / "root"
    make(root, "a/1.png", "a/deep/2.png", "b/3.png")
    make(tmp_path, "elsewhere/4.png")
    (tmp_path / "empty").mkdir()
    for link, target in links.items():
        (root / link).symlink_to((root if (root / target).exists() else tmp_path) / target)
    if refused is None:
        assert listing(root, depth).paths == ["a/1.png", "a/deep/2.png", "b/3.png"]
        return
    with pytest.raises(DataError) as caught:
        listing(root, depth)
    assert str(caught.value) == (
        f"{refused} in '{root}' are the same folder, by a link: its images would be of two "
        "classes; remove one of the two"
    )


@pytest.mark.parametrize("levels", [24, 200])
def test_links_that_multiply_are_followed_once(tmp_path: Path, levels: int) -> None:
    """Two links in each folder to the next: 2²⁴ paths lead to the last image of 24 levels."""
    make(tmp_path, "b/2.png", *(f"a/{level}/image.png" for level in range(levels + 1)))
    for level in range(levels):
        for name in "xy":
            (tmp_path / f"a/{level}/{name}").symlink_to(f"../{level + 1}")
    assert len(listing(tmp_path).paths) == levels + 2
    with pytest.raises(DataError, match=r"'a/0/y' and 'a/0/x'|'a/0/x' and 'a/1' in .* same folder"):
        listing(tmp_path, depth=None)


def test_folders_as_deep_as_the_system_takes_paths(tmp_path: Path) -> None:
    make(tmp_path, "b/2.png")
    place = os.getcwd()  # noqa: PTH109
    os.chdir(make(tmp_path, "a/1.png") / "a")
    try:
        for _ in range(1100):  # more than Python's own recursion takes
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
        Path("deep.png").write_bytes(b"x")
        found = listing(tmp_path)
        assert found.paths == ["a/1.png", "a/" + "d/" * 1100 + "deep.png", "b/2.png"]
        assert found.class_names == ["a", "a", "b"]
        for _ in range(20):
            os.mkdir("d" * 200)  # noqa: PTH102
            os.chdir("d" * 200)
        with pytest.raises(DataError, match=r"cannot list the folder .{203}: File name too lo"):
            listing(tmp_path)
    finally:
        os.chdir(place)
        subprocess.run(["rm", "-r", tmp_path / "a"], check=True)  # Python's own has no such depth


SPLITS = ["test/a/1.png", "test/b/2.png", "train/a/10.png", "train/a/9.png", "train/c/deep/1.png"]


@pytest.mark.parametrize(
    ("names", "depth", "expected"),
    [
        (SPLITS, 1, {"a": ["test", "train", "train"], "b": ["test"], "c": ["train"]}),
        # Whoever counts the split as a level means the same.
        (SPLITS, None, {"a": ["test", "train", "train"], "b": ["test"], "c/deep": ["train"]}),
        (SPLITS[:-1], 2, {"a": ["test", "train", "train"], "b": ["test"]}),
        (["Training Set/a/x/1", "VALID/b/y/2", "dev/b/3"], 2, {"a/x": ["Training Set"]}),
        (["train /a/1", "holdout-images/b/2"], 1, {"a": ["train"], "b": ["holdout-images"]}),
        (["test/1", "train/a/1", "train/b/2", "list.csv"], 1, {"a": ["train"], "b": ["train"]}),
        (["val/a/1", "val/b/2"], 1, {"a": ["val"], "b": ["val"]}),
        # In the only folder there, beside others without images.
        (["data/train/a/1", "data/test/b/2"], 1, {"a": ["train"], "b": ["test"]}),
        (["x/y/train/a/1", "x/y/test/b/2", "x/3"], 4, {"a": ["train"], "b": ["test"]}),
        (["train/a/1.jpg", "test/b/2.PNG", "notes/c/1.xml"], 1, {"a": ["train"], "b": ["test"]}),
        # Classes, for there are no folders below, or another one beside them.
        (["test/1", "train/2"], 1, {"test": [None], "train": [None]}),
        (["train/a/1", "bus/b/2"], 1, {"train": [None], "bus": [None]}),
        (["test1/a/1", "test2/b/2"], 1, {"test1": [None], "test2": [None]}),
        (["a/train/x/1", "b/test/y/2"], 1, {"a": [None], "b": [None]}),
        (["data/train/1", "data/test/2"], 2, {"data/train": [None], "data/test": [None]}),
    ],
)
def test_splits_above_the_classes_are_no_classes(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    names: list[str],
    depth: int | None,
    expected: dict[str, list[str | None]],
) -> None:
    make(tmp_path, *names)
    with caplog.at_level(logging.INFO):
        found = listing(tmp_path, depth)
    for name, splits in expected.items():
        rows = [row for row, other in enumerate(found.class_names) if other == name]
        assert [found.splits[row] for row in rows] == splits
    line = "are taken for splits, not for classes; dataset.depth counts the folders in them"
    assert (line in caplog.text) == (set(found.splits) != {None})


def test_splits_are_named_once_and_merged_class_by_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = listing(make(tmp_path, *SPLITS))
    assert found.paths == [
        "test/a/1.png",
        "train/a/9.png",
        "train/a/10.png",
        "test/b/2.png",
        "train/c/deep/1.png",
    ]
    assert found.class_names == ["a", "a", "a", "b", "c"]
    assert caplog.text.count(f"test, train in '{tmp_path}' are taken for splits") == 1
    make(tmp_path, "test/9.png", "list.csv")
    everything = folder.read_all(DatasetConfig("own", "folder", root=str(tmp_path)))
    assert everything.splits == [None, "test", "test", "test", "train", "train", "train"]
    assert everything.class_names == [None, None, "a", "b", "a", "a", "c"]


RUN = ["run.json", "distances.npy", "figures/layers.png", "pictures/l/1.jpg", "report/x.js"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (RUN, []),
        ([".hydra/config.yaml", "run.log", "figures/1.png", "more/2.png"], []),
        ([".hydra/config.yaml", "1.png"], ["1.png"]),
        (["run.log", "1.png", "other.log", "w.caffemodel", "x.part"], ["1.png"]),
        ([".fetched-by-fnx", "CUB_200_2011/images/1.png"], []),
        (["distances.npy", "distances_random.npy", "figures/1.png"], []),
        (["multirun.yaml", "0-digits/figures/1.png"], []),
        (["features.zarr/c/0"], []),
        (["table3.parquet", "fits.parquet", "figures/1.png"], []),
        (["fits.parquet", "figures/1.png"], ["fits.parquet", "figures/1.png"]),
        (["wandb/run-20261125_185702-1a2b3c4d/files/media/1.png", "wandb/latest"], []),
        (["wandb/offline-run-20261125_185702-1a2b3c4d/files/1.png"], []),
        (["wandb/run-1.png"], ["wandb/run-1.png"]),
        (["wb/run-20261125_185702-1a2b3c4d/1.png"], ["wb/run-20261125_185702-1a2b3c4d/1.png"]),
        (["checked/0123456789abcdef0123456789abcdef.parquet"], []),
        (["checked/0123456789abcdef.parquet"], ["checked/0123456789abcdef.parquet"]),
        (["seen/0123456789abcdef0123456789abcdef.parquet"],) * 2,
        (["run.json", "1.png"], ["1.png", "run.json"]),
        (["distances.npy", "1.png"], ["1.png", "distances.npy"]),
        # Of a folder that is a user's too, only what fnx wrote.
        ([*RUN, "1.PNG", "more/2.png", "x.html", "x.csv"], ["1.PNG", "more/2.png"]),
        ([".hydra/config.yaml", "run.log", "1.png", "tables/2.png"], ["1.png"]),
    ],
)
@pytest.mark.parametrize("place", ["a", "a/outputs/runs/2026-11-25/18-57-02-x", "outputs"])
def test_what_fnx_wrote_is_not_listed(
    tmp_path: Path, place: str, written: list[str], kept: list[str]
) -> None:
    """Whatever its folder is called and whoever's run it was: it is known by what lies in it."""
    make(tmp_path, "b/2.png", "c/3.png")
    make(tmp_path / place, *written)
    expected = [f"{place}/{path}" for path in kept] + ["b/2.png", "c/3.png"]
    assert sorted(listing(tmp_path).paths) == sorted(expected)


def test_what_fnx_wrote_is_said_in_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "b/2.png", "c/3.png", *(f"outputs/{run}/{name}" for run in "12" for name in RUN))
    with caplog.at_level(logging.INFO):
        listing(tmp_path)
    line = f"folders in '{tmp_path}' left out, which fnx wrote: 'outputs/1'"
    assert f"2 {line} …\n" in caplog.text
    shutil.rmtree(tmp_path / "outputs/2")
    with caplog.at_level(logging.INFO):
        listing(tmp_path)
    assert f"1 {line}\n" in caplog.text


def test_a_run_in_the_folder_of_the_images_itself(tmp_path: Path) -> None:
    """With hydra.run.dir=. its folders lie beside the classes."""
    names = ["figures/1.png", "pictures/2.png", "report/3.png", "tables/4.png", "wandb/5.png"]
    make(tmp_path, "a/1.png", "b/2.png", *names, "tensorboard/6.png")
    assert len(listing(tmp_path).classes) == 8, "classes may be called so"
    make(tmp_path, "run.json", "distances.npy", "run.log", "images.parquet", "metrics.csv")
    everything = folder.read_all(DatasetConfig("own", "folder", root=str(tmp_path)))
    assert everything.paths == ["a/1.png", "b/2.png"]
    assert listing(tmp_path).paths == ["a/1.png", "b/2.png"]


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
        with open(file, "wb") as opened:  # noqa: PTH123
            Image.new("L", (3, 2)).save(opened, "PNG")
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    found = listing(tmp_path)
    (path,) = set(found.paths) - {"a/1.png", "b/2.png"}
    path.encode()
    with found.open.stream(path) as stream, Image.open(stream) as image:
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


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a").chmod(0)
    refused = pytest.raises(DataError, match=r"cannot list the folder .*Permission denied")
    try:
        with bound_by_permissions(), refused:
            listing(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


def test_an_unknown_layout() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown dataset\.layout 'foldr' .did you mean 'folder'"
    ):
        list_images(DatasetConfig(name="x", layout="foldr"))

"""Images listed in tables, `layout=csv`: text as people save it, and Parquet."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import Config, DatasetConfig
from fnx.errors import ConfigError, DataError, FnxError
from fnx.images import LabelledImages, open_images
from fnx.images.layouts.readers import list_images
from fnx.images.paths import Files


def opened(file: Path, **options: Any) -> LabelledImages:
    config = DatasetConfig(name="own", layout="csv", file=str(file), **options)
    return open_images(config, file.parent / "cache")


def written(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text)
    return root / name


def test_a_table_of_paths_and_labels(root: Path) -> None:
    file = written(
        root, "path,label,split\ndog/a.png,10,test\ncat/2.jpg,9,\ncat/1.png,9,train\ngone.png,9,\n"
    )
    images = opened(file)
    assert images.class_names == ("9", "10")
    assert images.table["path"].to_list() == ["cat/2.jpg", "cat/1.png", "gone.png", "dog/a.png"]
    assert images.table["split"].to_list() == [None, "train", None, "test"]
    assert images.table["status"].to_list() == ["ok", "ok", "failed", "ok"]
    assert images.labels().tolist() == [0, 0, 1]


def test_labels_keep_their_zeros_and_quotes(root: Path) -> None:
    file = written(root, 'path,label\ncat/1.png,007\n"cat/2.jpg","a, b"\n')
    assert set(opened(file).class_names) == {"007", "a, b"}


def test_columns_root_and_parquet(root: Path, tmp_path: Path) -> None:
    table = pl.DataFrame({"file": ["1.png", "2.jpg"], "kind": [3, 4], "fold": [0, 1]})
    table.write_parquet(tmp_path / "t.parquet")
    images = opened(
        tmp_path / "t.parquet",
        root=str(root / "cat"),
        path_column="file",
        label_column="kind",
        split_column="fold",
    )
    assert images.ok()["class_name"].to_list() == ["3", "4"]
    assert images.ok()["split"].to_list() == ["0", "1"]
    absolute = pl.DataFrame({"path": [str(root / "cat/1.png"), str(root / "dog/a.png")]})
    absolute.with_columns(label=pl.Series(["x", "y"])).write_csv(tmp_path / "t.tsv", separator="\t")
    assert len(opened(tmp_path / "t.tsv").ok()) == 2


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("path,label\na,x\nb,y\n", {"label_column": "lable"}, "dataset.label_column 'lable' (did"),
        (
            "image,label\na,x\nb,y\n",
            {},
            "unknown dataset.path_column 'path'; allowed: image, label",
        ),
        ("path,label\na,x\n", {"split_column": "fold"}, "unknown dataset.split_column 'fold'; al"),
        ("path,label\na,x\nb,\nc,\n", {}, "2 rows without a label, the first is row 2"),
        ('path,label\n,x\nb,x\n"",y\n', {}, "2 rows without a path, the first is row 1"),
        ('path,label\na,x\nb,""\n', {}, "1 rows without a label, the first is row 2"),
        ("path,label\nb,x\na,x\na,y\na,y\nb,x\n", {}, "2 paths occur more than once, as 'b'; an "),
        ("path,label\na,x\nb,x\n", {}, "2 images of fewer than two classes"),
        ("", {}, "labels.csv': its first line must name the columns, as path,label"),
        (" ,,\na,b,c\n", {}, "its first line must name the columns"),
        ("path,path\na,b\n", {}, "labels.csv' has several columns 'path'"),
        ("label,path,label\na,b,c\n", {}, "has several columns 'label'"),
        ("a.PNG,x\nb.png,y\n", {}, "(the table's first line must name its columns, as: path,"),
        ("path label\na x\n", {}, "allowed: path label (is it separated by something else than"),
        ('path,label\na,x\n"b,y\n', {}, "unexpected end of data (a quote that is not closed?)"),
        (
            "path,label\na,x\n\nb,x,,z\n",
            {},
            "labels.csv': row 3 has 4 values where the first line names 2 columns: "
            "['b', 'x', '', 'z'] (a value that holds ',' must stand between quotes)",
        ),
    ],
)
def test_mistakes_take_one_line(
    tmp_path: Path, text: str, options: dict[str, Any], expected: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(FnxError) as error:
        opened(file, **options)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_whose_name_is_not_utf8(root: Path) -> None:
    file = root / "caf\udce9.parquet"
    try:
        with file.open("wb") as opened:
            pl.DataFrame({"path": ["cat/1.png", "dog/a.png"], "label": ["x", "y"]}).write_parquet(
                opened
            )
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    assert list_images(DatasetConfig("own", "csv", file=str(file))).class_names == ["x", "y"]


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no table '[^']*/t.csv' \(dataset.file\): expected .csv"):
        opened(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"no table 't.csv' and '.*/t.csv' \(dataset.file\)"):
        list_images(DatasetConfig("own", "csv", file="t.csv", root=str(tmp_path)))
    (tmp_path / "t.csv").write_text("path,label\na,x\nb,y\n")
    found = list_images(DatasetConfig("own", "csv", file="t.csv", root=str(tmp_path)))
    assert found.paths == ["a", "b"]
    assert found.splits == [None, None]
    assert found.root == tmp_path
    assert found.open == Files(str(tmp_path))
    with pytest.raises(ConfigError, match=r"dataset.file is missing"):
        list_images(DatasetConfig(name="x", layout="csv"))


def test_it_is_called_after_its_file_or_source(compose: Callable[..., Config]) -> None:
    assert compose("dataset=csv", "dataset.file=a/birds.csv").dataset.name == "birds.csv"
    config = compose("dataset=huggingface", "dataset.source=someone/some-birds")
    assert config.dataset.name == "some-birds"


def test_splits_are_chosen_in_every_layout(root: Path) -> None:
    file = written(root, "path,label,split\ncat/1.png,x,a\ncat/2.jpg,y,b\ndog/a.png,y,\nz,x,a\n")
    found = list_images(DatasetConfig("own", "csv", file=str(file), splits=["a", "a"]))
    assert (found.paths, found.class_names) == (["cat/1.png", "z"], ["x", "x"])
    assert found.splits == ["a", "a"]
    with pytest.raises(ConfigError, match=r"split in dataset.splits 'c'; allowed: a, b$"):
        list_images(DatasetConfig("own", "csv", file=str(file), splits=["a", "c"]))


WORDS = "path,label\ncat/1.png,Vögel\ncat/2.jpg,x\n"


@pytest.mark.parametrize(
    "content",
    [
        WORDS.encode("utf-8-sig"),
        WORDS.encode("cp1252"),
        WORDS.encode("utf-16"),
        b"\xfe\xff" + WORDS.encode("utf-16-be"),
        WORDS.encode("utf-16-le"),
        WORDS.encode("utf-16-be"),
        WORDS.encode("utf-32"),
        WORDS.replace("\n", "\r\n").encode() + b"\r\n\r\n",
        WORDS.replace("\n", "\r").encode(),
        b"\n,,\n" + WORDS.encode(),
        WORDS.encode() + b",\n , \n".replace(b" ", b"") + b"\n",
        WORDS.replace(",", ";").encode() + b";;\n",
        WORDS.replace(",", "\t").encode("utf-16"),
        WORDS.replace(",", "|").encode(),
        b"sep=;\r\n" + WORDS.replace(",", ";").encode(),
        b'"sep=\t"\n' + WORDS.replace(",", "\t").encode(),
        b"\xef\xbb\xbfsep=:\n" + WORDS.replace(",", ":").encode(),
        WORDS.replace("path,label", " Path , LABEL ,").encode(),
        WORDS.replace("path,label", "id,path,label").replace("\nc", "\n7,c").encode(),
        WORDS.replace("path,label", "a;b,path,label").replace("\nc", "\n7,c").encode(),
        WORDS.replace("cat/", "cat\\").encode(),
        WORDS.replace("cat/1.png,", " cat/1.png ,").encode(),
        WORDS.replace("cat/1.png", '"cat/1.png"').replace("Vögel", '"Vögel"').encode(),
    ],
)
def test_text_as_people_save_it(root: Path, content: bytes) -> None:
    (root / "labels.csv").write_bytes(content)
    found = list_images(DatasetConfig("own", "csv", file=str(root / "labels.csv")))
    assert list(zip(found.paths, found.class_names, strict=True)) == [
        ("cat/1.png", "Vögel"),
        ("cat/2.jpg", "x"),
    ]


def test_what_was_guessed_of_a_text_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "t.csv").write_bytes(WORDS.encode("cp1252"))
    list_images(DatasetConfig("own", "csv", file=str(root / "t.csv")))
    assert caplog.messages == [
        f"'{root}/t.csv' is not UTF-8: read as Windows' cp1252, as in 'at/1.png,Vögel'"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04xl/workbook.xml", "is not text but an Excel workbook or another archive"),
        (b"\xd0\xcf\x11\xe0", "is not text but an old Excel workbook: save the sheet as CSV"),
        (b"\x1f\x8b\x08", "is not text but compressed: unpack it first"),
        (WORDS.encode() + b"\x81", "is neither UTF-8 nor UTF-16 nor Windows' cp1252: save it as"),
        (WORDS.encode("utf-16") + b"a", "is not the UTF-16 that it begins as: save it as UTF-8"),
        (b"PAR1 and no more", "cannot read the table"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        opened(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_a_line_break_between_quotes_is_part_of_a_name(root: Path) -> None:
    file = written(root, 'path,label\ncat/1.png,"of two\nlines"\ncat/2.jpg,"a ""b"", c"\n')
    assert set(opened(file).class_names) == {"of two\nlines", 'a "b", c'}


def test_backslashes_of_real_names_are_kept(root: Path, write: Callable[..., Path]) -> None:
    write(root / "a\\b.png")
    file = written(root, "path,label\na\\b.png,x\ncat\\1.png,y\ncat/2.jpg,y\n")
    assert opened(file).table["status"].to_list() == ["ok", "failed", "ok"]
    long = "x" * 300
    file = written(root, f"path,label\n{long}\\b.png,x\ncat\\1.png,y\ncat/2.jpg,x\n")
    assert opened(file).table["status"].to_list() == ["failed", "ok", "ok"]


@pytest.mark.parametrize("kind", ["hub", "bytes", "paths"])
def test_images_in_the_cells_of_parquet(root: Path, kind: str) -> None:
    files = ["cat/1.png", "cat/2.jpg", "dog/a.png", None]
    cells: list[Any] = [file and (root / file).read_bytes() for file in files]
    if kind != "bytes":
        cells = [
            {"bytes": cell if kind == "hub" else None, "path": file}
            for cell, file in zip(cells, files, strict=True)
        ]
    table = pl.DataFrame({"image": cells, "label": ["10", "9", "9", "9"]})
    table.write_parquet(root / "t.parquet")
    images = opened(root / "t.parquet")
    assert images.table["path"].to_list() == ["1", "2", "3", "0"]
    assert images.table["error"].to_list() == [None, None, "ValueError: the row has no image", None]
    opener = pickle.loads(pickle.dumps(images.open))
    with opener("1") as found, Image.open(root / "cat/2.jpg") as expected:
        assert found.convert("RGB").tobytes() == expected.convert("RGB").tobytes()
    listing = list_images(DatasetConfig("own", "csv", file=str(root / "t.parquet")))
    assert listing.root is None
    assert listing.open.stamp("0") is None


def test_parquet_of_the_hub_has_names_of_its_class_ids(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["wren", "robin"])}
    )
    rows = {"image": [Image.new("L", (9, 9))] * 3, "label": [1, 0, 1]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "t.parquet")
    images = opened(tmp_path / "t.parquet")
    assert images.table["class_name"].to_list() == ["robin", "robin", "wren"]
    assert images.table["path"].to_list() == ["0", "2", "1"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ([["a"], ["b"]], "column 'label' holds List(String), expected texts or numbers: each im"),
        ([{"a": 1}, {"a": 2}], "column 'label' holds Struct({'a': Int64}), expected texts or num"),
        ([b"\xff", b"a"], "column 'label' holds Binary, expected texts"),
        ([1.5, float("nan")], "1 rows without a label, the first is row 2"),
        ([None, True], "1 rows without a label, the first is row 1"),
    ],
)
def test_labels_of_parquet_that_are_no_classes(tmp_path: Path, label: list[Any], said: str) -> None:
    pl.DataFrame({"path": ["a", "b"], "label": label}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "t.parquet")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_panic_of_polars_in_a_damaged_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(_: Path) -> pl.DataFrame:
        raise pl.exceptions.PanicException("out of\nspec")

    (tmp_path / "t.parquet").touch()
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(DataError, match=r"^cannot read the table '.*t.parquet': Panic.* out of sp"):
        opened(tmp_path / "t.parquet")


def test_a_list_of_paths_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": [["a"], ["b"]], "label": ["x", "y"]})
    table.write_parquet(tmp_path / "t.csv")  # whatever its ending
    with pytest.raises(DataError, match=r"column 'path' holds List\(String\)"):
        opened(tmp_path / "t.csv")

"""Images listed in tables: `layout=csv` and `layout=huggingface`."""

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
from fnx.images.layouts import huggingface
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
        (",,\na,b,c\n", {}, "its first line must name the columns"),
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two splits as `datasets` saves it, images of several modes in it."""
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"img": datasets.Image(), "kind": datasets.ClassLabel(names=["wren", "robin"])}
    )
    modes = ["RGB", "L", "RGBA"]
    pictures = [Image.new(mode, (12, 10), 60 * place) for place, mode in enumerate(modes)]
    made = datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_dict({"img": pictures, "kind": [1, 0, 1]}, features),
            "test": datasets.Dataset.from_dict({"img": pictures[:1], "kind": [0]}, features),
        }
    )
    folder = tmp_path_factory.mktemp("hub") / "birds"
    made.save_to_disk(str(folder))
    return folder


def hub(source: Path | str, **options: Any) -> DatasetConfig:
    return DatasetConfig(name="birds", layout="huggingface", source=str(source), **options)


def test_a_saved_data_set(saved: Path, tmp_path: Path) -> None:
    images = open_images(hub(saved), tmp_path)
    assert images.class_names == ("wren", "robin")
    assert images.ok()["path"].to_list() == [
        "train/000001",
        "test/000000",
        "train/000000",
        "train/000002",
    ]
    assert images.ok()["split"].to_list() == ["train", "test", "train", "train"]
    opener = pickle.loads(pickle.dumps(images.open))
    assert opener("train/000002").size == (12, 10)
    assert open_images(hub(saved), tmp_path).digest() == images.digest()


def test_a_folder_that_datasets_can_load(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    images = open_images(hub(root), tmp_path)
    assert images.class_names == ("cat", "dog")
    assert len(images.ok()) == 6


def test_a_folder_that_holds_a_run_of_fnx_is_refused(root: Path) -> None:
    (root / "outputs/1/.hydra").mkdir(parents=True)
    (root / "outputs/1/run.log").touch()
    with pytest.raises(DataError) as caught:
        list_images(hub(root))
    assert str(caught.value) == (
        f"dataset.source={root} holds what fnx wrote, 'outputs/1', which would be images of a "
        "class: use dataset=folder, which leaves it out, or move it elsewhere"
    )


def dataset_of(tmp_path: Path, columns: dict[str, tuple[str, list[Any]]]) -> DatasetConfig:
    """Columns, each with its type and values, saved as `datasets` does it."""
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    kinds = {
        "image": datasets.Image(),
        "class": datasets.ClassLabel(names=["b", "a"]),
        "text": datasets.Value("string"),
        "number": datasets.Value("float64"),
        "classes": datasets.List(datasets.ClassLabel(names=["b", "a"])),
    }
    features = datasets.Features({name: kinds[kind] for name, (kind, _) in columns.items()})
    values = {name: values for name, (_, values) in columns.items()}
    datasets.Dataset.from_dict(values, features).save_to_disk(str(tmp_path / "saved"))
    return hub(tmp_path / "saved")


def test_classes_that_are_texts_come_in_natural_order(tmp_path: Path) -> None:
    pictures = [Image.new("L", (9, 9), value) for value in range(4)]
    label = ("text", ["10", "9", "10", "x"])
    found = list_images(dataset_of(tmp_path, {"image": ("image", pictures), "label": label}))
    assert found.class_names == ["9", "10", "10", "x"]
    assert found.paths == ["all/000001", "all/000000", "all/000002", "all/000003"]
    assert found.splits == ["all"] * 4
    assert found.root is None
    assert found.open.stamp("all/000000") is None


@pytest.mark.parametrize(
    ("kind", "values", "classes"),
    [
        ("class", [1, 0, -1, None], ["b", "a"]),
        ("text", ["x", "", None, "9"], ["9", "x"]),
        ("number", [2.5, float("nan"), 0.0, None], ["0.0", "2.5"]),
    ],
)
def test_rows_without_a_class_are_left_out_and_counted(
    tmp_path: Path,
    kind: str,
    values: list[Any],
    classes: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures = [Image.new("L", (9, 9))] * 4
    config = dataset_of(tmp_path, {"image": ("image", pictures), "label": (kind, values)})
    listing = list_images(config)
    assert list(listing.classes) == classes
    assert len(listing.paths) == 2
    assert f"{config.source}: rows without a class are left out: 2 of all" in caplog.messages


def test_a_data_set_without_any_class(tmp_path: Path) -> None:
    columns = {"image": ("image", [Image.new("L", (9, 9))]), "label": ("class", [-1])}
    with pytest.raises(DataError, match=r"saved: no row has a class \(1 of all have none\)$"):
        list_images(dataset_of(tmp_path, columns))


def test_a_class_id_beyond_the_names_is_refused(tmp_path: Path) -> None:
    """As `datasets` itself refuses to write one, the split is made of plain objects."""
    features = {"image": Picture(), "label": ClassLabel()}
    features["label"].names = ["a", "b"]
    rows = FakeSplit(features, {"label": [1, 2]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface, "_load", lambda _: {"all": rows})
        with pytest.raises(DataError, match=r"row 1 of all has no class \(2\)$"):
            list_images(hub("x"))


class FakeSplit(dict[str, list[Any]]):
    def __init__(self, features: dict[str, Any], columns: dict[str, list[Any]]) -> None:
        super().__init__(columns)
        self.features = features


def test_the_last_class_is_a_class_and_a_row_may_have_no_image(tmp_path: Path) -> None:
    pictures = [Image.new("L", (9, 9)), None, Image.new("L", (9, 9))]
    config = dataset_of(tmp_path, {"image": ("image", pictures), "label": ("class", [1, 0, 0])})
    images = open_images(config, tmp_path)
    assert images.class_names == ("b", "a")
    assert images.table["error"].to_list() == ["ValueError: the row has no image", None, None]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"x": "image", "y": "class"}, ("x", "y")),
        ({"x": "image", "image": "image", "label": "class", "y": "class"}, ("image", "label")),
        ({"x": "image", "image": "text", "label": "text", "y": "class"}, ("x", "y")),
        ({"x": "image", "label": "text", "y": "text"}, ("x", "label")),
        (
            {"x": "image", "y": "image", "label": "class"},
            "^dataset.image_column is missing: choose one of x, y$",
        ),
        (
            {"image": "image", "fine": "class", "coarse": "class", "label": "text"},
            "^dataset.label_column is missing: choose one of fine, coarse$",
        ),
        ({"image": "image", "x": "text"}, ("image", None)),
    ],
)
def test_columns_are_found_by_their_kind_and_their_usual_name(
    columns: dict[str, str], found: tuple[str, str | None] | str
) -> None:
    features = {
        name: {"image": Picture, "class": ClassLabel, "text": str}[kind]()
        for name, kind in columns.items()
    }
    if isinstance(found, str):
        with pytest.raises(ConfigError, match=found):
            columns_of(features)
    else:
        assert columns_of(features) == found


def columns_of(features: dict[str, Any]) -> tuple[str | None, str | None]:
    return (
        huggingface._column(None, features, "Image", "image", "dataset.image_column"),
        huggingface._column(None, features, "ClassLabel", "label", "dataset.label_column"),
    )


class ClassLabel:
    """Named as the column of classes in `datasets`."""


Picture = type("Image", (), {})


def test_columns_are_chosen_by_name(saved: Path) -> None:
    list_images(hub(saved, image_column="img", label_column="kind"))
    with pytest.raises(
        ConfigError, match=r"unknown dataset.label_column 'sort'; allowed: img, kind"
    ):
        list_images(hub(saved, label_column="sort"))
    with pytest.raises(DataError, match=r"dataset.image_column=kind holds no images"):
        next(iter(list_images(hub(saved, image_column="kind")).open.splits.values()))[0]


def test_class_ids_are_read_with_the_names_of_their_own_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The test set lacks a class, a third split orders them otherwise, a fourth has texts."""
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    pictures = [Image.new("L", (9, 9), value) for value in range(3)]

    def split(ids: list[Any], names: list[str] | None, column: str = "label") -> Any:
        kind = datasets.ClassLabel(names=names) if names else datasets.Value("string")
        features = datasets.Features({"img": datasets.Image(), column: kind})
        return datasets.Dataset.from_dict({"img": pictures, column: ids}, features)

    made = {
        "train": split([0, 1, 2], ["wren", "robin", "crow"]),
        "test": split([0, 1, 1], ["wren", "crow"]),
        "more": split([0, 1, 2], ["jay", "wren", "crow"]),
        "texts": split(["wren", "10", "9"], None),
        "bare": split([0, 0, 0], ["wren"], "other").remove_columns("other"),
    }
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "birds"))
    found = list_images(hub(tmp_path / "birds"))
    assert list(found.classes) == ["wren", "robin", "crow", "jay", "9", "10"]
    truth = dict(zip(found.paths, found.class_names, strict=True))
    assert truth == {
        **{"train/000000": "wren", "train/000001": "robin", "train/000002": "crow"},
        **{"test/000000": "wren", "test/000001": "crow", "test/000002": "crow"},
        **{"more/000000": "jay", "more/000001": "wren", "more/000002": "crow"},
        **{"texts/000000": "wren", "texts/000001": "10", "texts/000002": "9"},
    }
    assert "rows without a class are left out: 3 of bare" in caplog.text
    chosen = list_images(hub(tmp_path / "birds", splits=["test", "more"]))
    assert list(chosen.classes) == ["wren", "crow", "jay"]
    assert set(chosen.splits) == {"test", "more"}
    with pytest.raises(ConfigError, match=r"unknown split in dataset.splits 'tset' \(did you mean"):
        list_images(hub(tmp_path / "birds", splits=["test", "tset"]))
    with pytest.raises(ConfigError, match=r"dataset.label_column is missing: the columns are img$"):
        list_images(hub(tmp_path / "birds", splits=["bare"]))
    made = {"train": made["train"], "test": made["test"].remove_columns("img")}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(
        ConfigError,
        match=r"the split test has no column of images: its columns are label \(dataset.splits "
        r"chooses among train, test\)",
    ):
        list_images(hub(tmp_path / "other"))


def test_several_labels_per_image_are_refused(tmp_path: Path) -> None:
    columns = {
        "image": ("image", [Image.new("L", (9, 9))] * 2),
        "label": ("classes", [[0], [0, 1]]),
    }
    with pytest.raises(ConfigError) as caught:
        list_images(dataset_of(tmp_path, columns))
    assert str(caught.value) == (
        "dataset.label_column=label holds List: each image needs one class; several labels per "
        "image (concepts) are not read yet"
    )


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


def test_a_source_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    with pytest.raises(DataError, match=r"no folder '.*nothing here' \(dataset.source\)"):
        list_images(hub(tmp_path / "nothing here"))
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot load dataset.source=.*: .*expected a name on"):
        list_images(hub(tmp_path))

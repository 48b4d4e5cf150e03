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
        ("", {}, "cannot read the table"),
        ("path,label\na,x,z,z\n", {}, "cannot read the table"),
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
    assert opener("train/000002").mode == "RGBA"
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


@pytest.mark.parametrize("value", [None, -1])
def test_a_row_without_a_class_is_named(tmp_path: Path, value: int | None) -> None:
    pictures = [Image.new("L", (9, 9))] * 2
    config = dataset_of(tmp_path, {"image": ("image", pictures), "label": ("class", [0, value])})
    with pytest.raises(DataError, match=rf"saved: row 1 of all has no class \({value}\)$"):
        list_images(config)


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
        ({"x": "image", "y": "image", "label": "class"}, None),
        ({"image": "image", "x": "text"}, None),
    ],
)
def test_columns_are_found_by_their_kind_and_their_usual_name(
    columns: dict[str, str], found: tuple[str, str] | None, tmp_path: Path
) -> None:
    features = {
        name: {"image": Picture, "class": ClassLabel, "text": str}[kind]()
        for name, kind in columns.items()
    }
    if found is None:
        kinds = "image" if "y" in columns else "label"
        message = f"dataset.{kinds}_column is missing: the columns are {', '.join(columns)}"
        with pytest.raises(ConfigError, match=message):
            columns_of(features)
    else:
        assert columns_of(features) == found


def columns_of(features: dict[str, Any]) -> tuple[str, str]:
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


def test_a_source_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    with pytest.raises(DataError, match=r"no folder '.*nothing here' \(dataset.source\)"):
        list_images(hub(tmp_path / "nothing here"))
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot load dataset.source=.*: .*expected a name on"):
        list_images(hub(tmp_path))

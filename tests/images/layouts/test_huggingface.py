"""Hugging Face's data sets: their splits, columns, class ids and rows without a class."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError
from fnx.images import open_images
from fnx.images.layouts import huggingface
from fnx.images.layouts.readers import list_images


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
        "bare": split([0, 0, 0], ["wren"], "other").remove_columns("other"),
        "test": split([0, 1, 1], ["wren", "crow"]),
        "more": split([0, 1, 2], ["jay", "wren", "crow"]),
        "texts": split(["wren", "10", "9"], None),
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
    with pytest.raises(ConfigError, match=r" 'tset' \(did you mean 'test'\?\); allowed: bare, m"):
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


def test_an_image_may_have_several_labels_or_none(tmp_path: Path) -> None:
    columns = {
        "image": ("image", [Image.new("L", (9, 9))] * 3),
        "label": ("classes", [[1], [], [0, 1]]),
    }
    found = list_images(dataset_of(tmp_path, columns))
    assert found.concepts is not None
    assert [len(own) for own in found.concepts] == [1, 0, 2]
    assert found.concepts[2] == list(found.classes)
    assert set(found.class_names) == {None}


def test_a_source_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    with pytest.raises(DataError, match=r"no folder '.*nothing here' \(dataset.source\)"):
        list_images(hub(tmp_path / "nothing here"))
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot load dataset.source=.*: .*expected a name on"):
        list_images(hub(tmp_path))

"""Names of classes: tidied, warned of where they look alike, refused where they are several."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.labels import tidied
from fnx.images.layouts.readers import list_images
from fnx.images.paths import Files


def listing(*class_names: str | None) -> Listing:
    paths = [f"{row}.png" for row in range(len(class_names))]
    return Listing(paths, class_names, [name and f"of {name}" for name in class_names], Files(""))


NAMES = {
    "caf\u00e9": "café",
    "cafe\u0301": "café",
    " tern": "tern",
    "tern\u00a0": "tern",
    "tern\t\n": "tern",
    "a  b": "a  b",
    "Tern": "Tern",
    "caf\udce9": "caf\\udce9",
    "x" * 1000: "x" * 1000,
}


@pytest.mark.parametrize(("name", "tidy"), NAMES.items())
def test_names_are_composed_and_without_blanks_around_them(name: str, tidy: str) -> None:
    assert tidied(listing(name, None, "other")).class_names == [tidy, None, "other"]


def test_images_whose_classes_become_one_stand_together_in_their_order() -> None:
    found = tidied(listing("a ", "b", "a", None, "b ", "c", "a "))
    assert found.class_names == [None, "a", "a", "a", "b", "b", "c"]
    assert found.paths == [f"{row}.png" for row in (3, 0, 2, 6, 1, 4, 5)]
    assert found.splits == [None, "of a", "of a", "of a", "of b", "of b", "of c"]
    assert found.classes == ("a", "b", "c")


def test_images_stay_in_their_order_where_no_classes_become_one() -> None:
    found = tidied(listing("b ", "a", "b ", None))
    assert found.paths == ["0.png", "1.png", "2.png", "3.png"]
    assert found.class_names == ["b", "a", "b", None]
    assert found.splits == ["of b", "of a", "of b", None]


ALIKE = "classes whose names differ only in letter case or by what cannot be seen: "


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Tern", "tern", "TERN", "gull"], "'Tern', 'tern', 'TERN'"),
        (["a b", "a  b", "a\u00a0b", "ab"], "'a b', 'a  b', 'a\\xa0b'"),
        (["tern", "te\u200brn"], "'tern', 'te\\u200brn'"),
        (["tern", "\ufefftern"], "'tern', '\\ufefftern'"),
        (["te\x07rn", "tern"], "'te\\x07rn', 'tern'"),
        (["tern", "tern\ufe0f"], "'tern', 'tern\\ufe0f'"),
        (["É", "e\u0301"], "'\\xc9', '\\xe9'"),
        (["x", "X", "y", "Y"], "'x', 'X'; 'y', 'Y'\n"),
        ([f"{c}{n}" for n in range(10) for c in "xX"], "'x0', 'X0'; 'x1', 'X1'; 'x2', 'X2'; "),
        ([f"{c}{n}" for n in range(11) for c in "xX"], "'x9', 'X9' …\n"),
        (["m2", "m²", "a b", "ab", "e", "é", "कि", "का"], None),
    ],
)
def test_names_that_look_alike_are_warned_of(
    names: list[str], expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = tidied(listing(*names))
    assert len(found.classes) == len(names)
    if expected is None:
        assert not caplog.text
    else:
        assert ALIKE in caplog.text
        assert expected in caplog.text
        assert caplog.text.count(ALIKE) == 1


@pytest.mark.parametrize(
    ("names", "separator", "first", "number"),
    [
        (["a", "a;b", "b"], ";", "a;b", 1),
        (["a", "b | a", "b", "a|b"], "|", "b | a", 2),
        (["a;b", "b;a"], ";", "a;b", 2),
        (["a\nb", "b", "a"], "\n", "a\nb", 1),
        (["a\tb", "b", "a"], "\t", "a\tb", 1),
        (["a;b", "b;c", "c;a", "d"], ";", "a;b", 3),
        (["['a', 'b']", "['a']", "['b']"], ",", "['a', 'b']", 1),
        (["[0]", "[0, 1]", "1"], ",", "[0, 1]", 1),
        (['{"a","b"}', "(a)", "b"], ",", '{"a","b"}', 1),
    ],
)
def test_several_labels_in_one_cell_are_refused(
    names: list[str], separator: str, first: str, number: int
) -> None:
    with pytest.raises(DataError) as caught:
        tidied(listing(*names))
    assert str(caught.value) == (
        f"{number} labels hold several classes, separated by {separator!r}, as {first!r}: each "
        "image must have one class (dataset.label_separator=… takes them apart)"
    )


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["red;green", "c"], "1 names of classes hold ';', as 'red;green'"),
        (["red|green", "red|blue", "red"], "2 names of classes hold '|', as 'red|green'"),
        (["black & white", "black", "white"], "1 names of classes hold '&', as 'black & white'"),
        (["a+b", "a", "b"], "1 names of classes hold '+', as 'a+b'"),
        (["crane, bird", "crane", "bird"], "1 names of classes hold ',', as 'crane, bird'"),
        (["crane, bird", "crane, machine", "crane"], None),
        (["black & white", "white & red", "c++", "c"], None),
        (["a;", ";b", "[c]", "d/e", "f g", "f", "g"], None),
        (["a;a", "a"], None),
    ],
)
def test_names_that_may_be_several_labels_are_classes_and_warned_of(
    names: list[str], warned: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert tidied(listing(*names)).class_names == names
    if warned is None:
        assert not caplog.text
    else:
        assert f"{warned}: each is taken for one class (dataset.label_sep" in caplog.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" \u00a0", "the class of '1.png' has no name: it is empty or blank"),
        ("7" * 1001, "the class of '1.png' has a name of 1,001 characters, at most 1,000 are "),
        ("x" * 5000, f"allowed: '{100 * 'x'}…{100 * 'x'}'"),
    ],
)
def test_names_that_no_table_can_show_are_refused(name: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        tidied(listing("a", name, "b"))
    assert expected in str(caught.value)


def of_folders(root: Path, names: list[str], picture: Callable[..., Path]) -> DatasetConfig:
    for row, name in enumerate(names):
        picture(root / name / f"{row}.png")
    return DatasetConfig("own", "folder", root=str(root))


def of_a_table(root: Path, names: list[str], picture: Callable[..., Path]) -> DatasetConfig:
    paths = [str(picture(root / f"{row}.png")) for row in range(len(names))]
    pl.DataFrame({"path": paths, "label": names}).write_csv(root / "t.csv")
    return DatasetConfig("own", "csv", file=str(root / "t.csv"))


def of_the_hub(root: Path, names: list[str], picture: Callable[..., Path]) -> DatasetConfig:
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    columns = {"image": [Image.new("L", (9, 9))] * len(names), "label": names}
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(root / "saved"))
    return DatasetConfig("own", "huggingface", source=str(root / "saved"))


@pytest.mark.parametrize("layout", [of_folders, of_a_table, of_the_hub])
def test_all_layouts_name_their_classes_in_one_way(
    layout: Callable[..., DatasetConfig],
    tmp_path: Path,
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = ["cafe\u0301", "zoo", "caf\u00e9 ", "Zoo", "cafe\u0301"]
    config = layout(tmp_path, names, write)
    with caplog.at_level(logging.WARNING):
        found = list_images(config)
    assert found.class_names == ["café", "café", "café", *sorted(["zoo", "Zoo"])]
    assert ALIKE + "'Zoo', 'zoo'" in caplog.text
    with pytest.raises(DataError, match="each image must have one class"):
        list_images(layout(tmp_path / "second", ["a;b", "b", "a"], write))

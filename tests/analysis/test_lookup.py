from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.analysis import runs

from fnx.analysis import Run
from fnx.analysis.lookup import find_class, find_feature, find_layer
from fnx.errors import DataError

NAMES = ["tiger", "Tiger", "tiger cat", "3", "crane", "crane", "Zebra", "owl"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.run(tmp_path, classes=pl.DataFrame({"class_name": NAMES}))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tiger", 0),
        ("Tiger", 1),
        ("zebra", 6),
        ("ZEB", 6),
        ("tiger c", 2),
        ("3", 3),  # a name goes before an id
        ("7", 7),
        ("0", 0),
        ("o", 7),
    ],
)
def test_a_class_is_found_by_name_id_or_beginning(run: Run, word: str, expected: int) -> None:
    assert find_class(run, word) == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("crane", "class 'crane' may be crane, crane"),
        ("TIGER", "class 'TIGER' may be tiger, Tiger"),
        ("ti", "class 'ti' may be tiger, Tiger, tiger cat"),
        ("ebr", "no class 'ebr'; near: Zebra"),
        ("zibra", "no class 'zibra'; near: Zebra"),
        ("cat", "no class 'cat'; near: tiger cat"),
        ("8", "no class '8'; there are tiger, Tiger, tiger cat, 3, crane and 3 more"),
        ("", "no class ''; there are tiger, Tiger, tiger cat, 3, crane and 3 more"),
    ],
)
def test_what_is_no_class_names_what_is_near(run: Run, word: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        find_class(run, word)
    assert str(caught.value) == said


def test_five_names_are_named_whole(tmp_path: Path) -> None:
    for count, rest in ((5, ""), (6, " and 1 more")):
        names = [f"c{i}" for i in range(count)]
        run = runs.run(tmp_path, classes=pl.DataFrame({"class_name": names}))
        with pytest.raises(DataError) as caught:
            find_class(run, "c")
        assert str(caught.value) == f"class 'c' may be c0, c1, c2, c3, c4{rest}"


def test_a_layer_is_found_by_its_beginning(tmp_path: Path) -> None:
    run = runs.run(tmp_path)
    assert [find_layer(run, word) for word in ("conv", "FC", "f")] == ["conv", "fc", "fc"]
    with pytest.raises(DataError, match=r"^no layer 'pool'; there are conv, fc$"):
        find_layer(run, "pool")


def test_a_feature_is_found_by_its_unit(tmp_path: Path) -> None:
    run = runs.run(tmp_path)
    assert [find_feature(run, word) for word in ("conv/1", "fc/7", "f/5")] == [1, 4, 3]
    for word in ("conv", "conv/", "conv/x", "conv/-1"):
        with pytest.raises(DataError) as caught:
            find_feature(run, word)
        assert str(caught.value) == f"'{word}' is not a feature: LAYER/UNIT, as conv4_3/458"
    with pytest.raises(DataError, match=r"^no unit 6 in fc: it has the units 5 to 7$"):
        find_feature(run, "fc/6")

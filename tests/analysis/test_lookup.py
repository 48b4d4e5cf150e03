from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.analysis import runs

from fnx.analysis import Run
from fnx.analysis.lookup import find_class, find_feature, find_layer, whole
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


def test_a_number_has_nine_digits_at_most() -> None:
    assert [whole(text) for text in ("0", "007", "9" * 9, "٣")] == [0, 7, 999_999_999, 3]
    assert [whole(text) for text in ("", "-1", "1.0", "²", "x", "9" * 10, "9" * 5000)] == [None] * 7


def test_names_of_thousands_of_digits_are_names_as_others_and_cut_in_messages(
    tmp_path: Path,
) -> None:
    """Python refuses to make a number of more than 4,300 digits."""
    names = ["7" * 5000, "8" * 5000, "eight", "7" * 80]
    run = runs.run(tmp_path, classes=pl.DataFrame({"class_name": names}))
    assert [find_class(run, word) for word in (names[0], names[3], "8" * 4999)] == [0, 3, 1]
    for word, said in (
        (
            "9" * 5000,
            f"no class '{'9' * 80}…'; there are {'7' * 80}…, {'8' * 80}…, eight, {'7' * 80}",
        ),
        ("7" * 80 + "9", f"no class '{'7' * 80}…'; near: {'7' * 80}"),
        ("7" * 79, f"class '{'7' * 79}' may be {'7' * 80}…, {'7' * 80}"),
    ):
        with pytest.raises(DataError) as caught:
            find_class(run, word)
        assert str(caught.value) == said
    with pytest.raises(DataError, match=r"^'conv/9{75}…' is not a feature: LAYER/UNIT"):
        find_feature(run, f"conv/{'9' * 5000}")
    with pytest.raises(DataError, match=r"^no unit 999999999 in conv: it has the units 0 to 2$"):
        find_feature(run, "conv/999999999")
    with pytest.raises(DataError, match=r"^no layer '9{80}…'; there are conv, fc$"):
        find_layer(run, "9" * 5000)


def test_names_of_more_than_two_hundred_characters_are_never_near(tmp_path: Path) -> None:
    for length, near in ((200, True), (201, False)):
        names = ["q" * length, "short"]
        run = runs.run(tmp_path, classes=pl.DataFrame({"class_name": names}))
        with pytest.raises(DataError, match="; near: q" if near else "; there are q"):
            find_class(run, "q" * 198 + "x")
    run = runs.run(tmp_path, classes=pl.DataFrame({"class_name": ["q" * 200, "r"]}))
    with pytest.raises(DataError, match="; near: q"):
        find_class(run, "q" * 200 + "x" * 5000)

"""What two runs share, and what a reader of their comparison is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs

from fnx.analysis import Run
from fnx.analysis.comparison.shared import Shared, same_data, same_weights, shared

SAME = {"weights_digest": "abc"}


def of(folder: Path, *, record: dict[str, Any] | None = None, **held: Any) -> Run:
    return runs.run(folder, record=SAME | (record or {}), **held)


def features(*layers: tuple[str, list[int]]) -> pl.DataFrame:
    rows = [(name, unit, "conv") for name, units in layers for unit in units]
    return pl.DataFrame(rows, schema=["layer", "unit", "kind"], orient="row")


def classes(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"class_name": list(names), "n_images": [3] * len(names)})


def test_two_runs_of_one_network_and_data_set_share_everything(tmp_path: Path) -> None:
    found = shared(of(tmp_path), of(tmp_path))
    assert (found.by_unit, found.same_scale, found.magnitudes) == (True, True, False)
    assert found.class_names == runs.CLASSES
    assert found.classes_a.tolist() == found.classes_b.tolist() == [0, 1, 2]
    assert [(layer.name, layer.kind) for layer in found.layers] == [("conv", "conv"), ("fc", "fc")]
    assert [layer.rows_a.tolist() for layer in found.layers] == [[0, 1, 2], [3, 4]]
    assert [layer.rows_b.tolist() for layer in found.layers] == [[0, 1, 2], [3, 4]]
    assert found.notes == ()


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    found = shared(of(tmp_path), of(tmp_path, classes=classes("bird", "cow", "cat")))
    assert found.class_names == ("cat", "bird")
    assert (found.classes_a.tolist(), found.classes_b.tolist()) == ([0, 2], [2, 0])
    assert found.notes == (
        "2 classes shared, of 3 and 3: only they are compared. D sets a class against all others of"
        " its run, so it differs with them, too.",
    )


def test_a_class_less_on_either_side_is_told(tmp_path: Path) -> None:
    fewer = of(tmp_path, classes=classes("cat", "dog"))
    assert shared(of(tmp_path), fewer).notes[0].startswith("2 classes shared, of 3 and 2:")
    assert shared(fewer, of(tmp_path)).notes[0].startswith("2 classes shared, of 2 and 3:")


def test_classes_of_one_name_are_matched_in_order(tmp_path: Path) -> None:
    found = shared(
        of(tmp_path, classes=classes("crane", "dog", "crane")),
        of(tmp_path, classes=classes("dog", "crane", "crane")),
    )
    assert found.class_names == ("crane", "dog", "crane")
    assert found.classes_b.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("record", "n_images", "note"),
    [
        ({"dataset": "zoo"}, [3, 3, 3], "The classes have the same names, the data sets have not."),
        ({}, [1000, 200, 34], "Images used: 9 and 1,234."),
    ],
)
def test_other_images_are_told(
    tmp_path: Path, record: dict[str, Any], n_images: list[int], note: str
) -> None:
    table = pl.DataFrame({"class_name": runs.CLASSES, "n_images": n_images})
    assert shared(of(tmp_path), of(tmp_path, record=record, classes=table)).notes == (note,)


def test_nothing_is_compared_without_a_class_or_layer(tmp_path: Path) -> None:
    found = shared(
        of(tmp_path), of(tmp_path, classes=classes("cow"), features=features(("x", [0])))
    )
    assert (found.class_names, found.layers) == ((), ())
    assert found.notes == (
        "No class has the same name in both: nothing is compared.",
        "No layer has the same name in both: here only the thresholds are compared. Where the runs"
        " have images in common, layers and units of other names are compared by CKA and by"
        " their D.",
    )


def test_units_are_matched_by_number(tmp_path: Path) -> None:
    a = of(tmp_path, features=features(("a", [0, 1, 2]), ("b", [5, 7])))
    b = of(tmp_path, features=features(("b", [7, 9]), ("a", [2, 1, 0])))
    found = shared(a, b)
    assert [layer.name for layer in found.layers] == ["a", "b"]
    assert [layer.rows_a.tolist() for layer in found.layers] == [[0, 1, 2], [4]]
    assert [layer.rows_b.tolist() for layer in found.layers] == [[4, 3, 2], [0]]
    assert found.notes == ("Only the shared units are compared in: b.",)


def test_a_layer_whose_units_differ_is_not_shared(tmp_path: Path) -> None:
    a, b = (of(tmp_path, features=features(("a", units), ("b", [0]))) for units in ([0], [1]))
    assert [layer.name for layer in shared(a, b).layers] == ["b"]


@pytest.mark.parametrize("more", [False, True])
def test_units_that_only_one_run_has_are_told(tmp_path: Path, more: bool) -> None:
    few, many = (of(tmp_path, features=features(("a", units))) for units in ([0, 1], [0, 1, 2]))
    found = shared(many, few) if more else shared(few, many)
    assert found.notes == ("Only the shared units are compared in: a.",)


def test_at_most_three_layers_are_named(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    several = [
        of(tmp_path, features=features(*((name, [0, 1]) for name in [*names[:count], "z"])))
        for count in (5, 3, 1, 0)
    ]

    def note(i: int, j: int) -> str:
        return " ".join(shared(several[i], several[j]).notes)

    assert note(0, 3) == "5 layers of the first run alone, not compared: a, b, c, …."
    assert note(3, 1) == "3 layers of the second run alone, not compared: a, b, c."
    assert note(2, 3) == "1 layer of the first run alone, not compared: a."
    partly = of(tmp_path, features=features(*((name, [0]) for name in [*names, "z"])))
    found = shared(several[0], partly)
    assert found.notes == ("Only the shared units are compared in: a, b, c.",)


def test_networks_trained_apart_share_layers_but_no_units(tmp_path: Path) -> None:
    b = of(tmp_path, record={"weights_digest": "other"}, features=features(("fc", [0, 1, 2, 3])))
    found = shared(of(tmp_path), b)
    assert not found.by_unit
    (layer,) = found.layers
    assert (layer.rows_a.tolist(), layer.rows_b.tolist()) == ([3, 4], [0, 1, 2, 3])
    assert [note[:26] for note in found.notes] == [
        "The weights differ (by the",
        "1 layer of the first run a",
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("abc", "x"), ("abc", "y"), True),
        (("abc", "x"), ("abd", "x"), False),
        (("", "x"), ("", "x"), False),
        (("random-0", "x"), ("random-0", "x"), True),
        (("random-0", "x"), ("random-0", "y"), False),
    ],
)
def test_weights_are_the_same_by_their_digest(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str], expected: bool
) -> None:
    a, b = (
        runs.run(tmp_path, record={"weights_digest": digest, "model": model})
        for digest, model in (first, second)
    )
    assert same_weights(a, b) is expected


def test_data_are_the_same_by_name_or_by_all_classes(tmp_path: Path) -> None:
    a = of(tmp_path)
    assert same_data(a, of(tmp_path, classes=classes("other")))
    renamed = {"record": {"dataset": "zoo"}}
    assert same_data(a, of(tmp_path, **renamed, classes=classes("bird", "dog", "cat")))
    assert not same_data(a, of(tmp_path, **renamed, classes=classes("bird", "dog")))
    assert not same_data(a, of(tmp_path, **renamed, classes=classes("bird", "dog", "cat", "cat")))


def statistics(tmp_path: Path, *pairs: tuple[dict[str, Any], bool]) -> Shared:
    a, b = (of(tmp_path, record={"statistic": told}, signed=signed) for told, signed in pairs)
    return shared(a, b)


def test_statistics_of_one_scale_are_subtracted(tmp_path: Path) -> None:
    binned, exact = {"name": "ks", "bins": 100}, {"name": "ks_exact"}
    found = statistics(tmp_path, (binned, True), (exact, True))
    assert (found.same_scale, found.magnitudes) == (True, False)
    assert found.notes == ("The two statistics measure on the same scale.",)
    assert statistics(tmp_path, (binned, True), (binned, True)).notes == ()
    coarse = statistics(tmp_path, (binned, True), (binned | {"bins": 10}, True))
    assert coarse.notes == ("The two statistics measure on the same scale.",)


@pytest.mark.parametrize("signed_first", [True, False])
def test_without_a_sign_sizes_are_compared(tmp_path: Path, signed_first: bool) -> None:
    pairs = [({"name": "ks"}, True), ({"name": "kl"}, False)]
    found = statistics(tmp_path, *(pairs if signed_first else pairs[::-1]))
    names = ("ks and kl", "kl and ks")
    assert (found.same_scale, found.magnitudes) == (False, True)
    assert found.notes == (
        f"{names[0 if signed_first else 1]} have no common scale: only ranks and what is kept are"
        " compared.",
        "kl does not tell presence from absence: |D| of ks is taken.",
    )
    both = statistics(tmp_path, ({"name": "kl"}, False), ({"name": "kl"}, False))
    assert (both.same_scale, both.magnitudes, both.notes) == (True, False, ())


def test_rows_are_whole_numbers(tmp_path: Path) -> None:
    (layer, _) = shared(of(tmp_path), of(tmp_path)).layers
    assert layer.rows_a.dtype == np.int64

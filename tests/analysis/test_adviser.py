"""The adviser: what it recommends, and that held-out rows have no part in what judges them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import binom
from sklearn.feature_selection import f_classif

import fnx
from fnx.analysis.advice import Advice
from fnx.analysis.adviser import Layer, Probing, advise
from fnx.analysis.folds import row_kinds, sample_rows
from fnx.analysis.judging import Task, make_task
from fnx.analysis.recommending import Entry, recommend
from fnx.analysis.selection import f_values, selection_curve
from fnx.errors import ConfigError, DataError
from fnx.statistics.columns import open_columns
from fnx.statistics.labels import Labels

WIDTH = 8  # of a layer


def embedded(features: Any, labels: Any, layers: str = "abc", **images: Any) -> SimpleNamespace:
    """Return an embedding of layers of `WIDTH` units, with a table of images if it has columns."""
    names = [layer for layer in layers for _ in range(features.shape[1] // len(layers))]
    units = list(range(features.shape[1] // len(layers))) * len(layers)
    table = pl.DataFrame({"layer": names, "unit": units})
    labels = np.asarray(labels)
    count = labels.shape[1] if labels.ndim == 2 else labels.max() + 1
    found = SimpleNamespace(
        features=features,
        labels=labels,
        class_names=[f"class {number}" for number in range(count)],
        feature_table=table,
    )
    if images:
        found.images = pl.DataFrame(images).with_columns(status=pl.lit("ok"))
    return found


def planted(
    per_class: int = 20, classes: int = 3, layer: int = 1, shift: float = 2.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return noise in three layers, one of which knows the classes, and the classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    features = rng.normal(size=(labels.size, 3 * WIDTH))
    for number in range(classes):
        features[labels == number, layer * WIDTH + number] += shift
    return features.astype(np.float32), labels


@pytest.fixture(scope="module")
def advice() -> Advice:
    return advise(embedded(*planted()))


def test_a_planted_layer_is_found(advice: Advice) -> None:
    assert advice.recommended == "b"
    assert advice.table["entry"].to_list() == [
        *"abc",
        "all layers",
        "full-network embedding",
    ]
    assert advice.table["kind"].to_list() == ["layer"] * 3 + ["all", "full_network"]
    assert advice.table["depth"].to_list() == [0, 1, 2, None, None]
    assert advice.table["features"].to_list() == [8, 8, 8, 24, 24]
    assert advice.table["recommended"].to_list() == [False, True, False, False, False]
    best = advice.table.row(1, named=True)
    assert best["accuracy"] > 0.7 > 0.5 > advice.table["accuracy"][0]
    assert best["knn_accuracy"] > 0.6 > 0.5 > advice.table["knn_accuracy"][2]
    assert advice.table["logme"].arg_max() == 1
    assert advice.chance == pytest.approx(1 / 3)
    assert (advice.measure, advice.rows, advice.untrained) == ("accuracy", 60, None)
    assert advice.best["entry"] == "b"
    assert advice.reason.startswith(f"b has {100 * best['accuracy']:.1f} % accuracy, the highest")


def test_it_says_why(advice: Advice) -> None:
    assert advice.detectors["feature_id"].sort().to_list() == [8, 9, 10]
    assert set(advice.detectors["layer"]) == {"b"}
    assert advice.detectors["unit"].sort().to_list() == [0, 1, 2]
    judged = advice.detectors["j_heldout"].to_list()
    assert judged == sorted(judged, reverse=True)
    errors = 60 * (1 - advice.advised["accuracy"])  # type: ignore[index]
    assert 20 * advice.confusions["share"].sum() == pytest.approx(errors)


def test_of_shuffled_labels_no_layer_is_recommended() -> None:
    features, labels = planted()
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(labels)
        found = advise(embedded(features, shuffled), seed=seed)
        assert found.recommended is None
        assert found.advised is None
        assert not found.table["recommended"].any()
        np.testing.assert_allclose(found.table["accuracy"], 1 / 3, atol=0.2)
        assert found.reason.startswith("No layer tells the classes apart better than chance")
        assert found.detectors.height == found.confusions.height == 0


def test_copied_units_and_a_stretched_layer_score_the_same(advice: Advice) -> None:
    features, labels = planted()
    layers = np.split(features, 3, axis=1)
    copied = np.concatenate([np.tile(layer, 2) for layer in layers], axis=1)
    found = advise(embedded(copied * np.float32(4), labels))
    for column in ("accuracy", "knn_accuracy", "standard_error"):
        np.testing.assert_allclose(found.table[column], advice.table[column])
    np.testing.assert_allclose(found.table["logme"], advice.table["logme"], atol=1e-3)
    assert found.table["features"].to_list() == [16, 16, 16, 48, 48]


def test_a_sparse_embedding_gives_the_same(advice: Advice) -> None:
    features, labels = planted()
    found = advise(embedded(csr_matrix(features), labels))
    np.testing.assert_allclose(found.table["accuracy"], advice.table["accuracy"])
    assert found.curve.equals(advice.curve)
    assert found.detectors.equals(advice.detectors)


@pytest.mark.parametrize("width", [WIDTH, 40])  # fewer features than rows, and more
def test_a_held_out_row_moves_no_other_rows_decision(width: int) -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 12)
    features = rng.normal(size=(24, width)).astype(np.float32)
    features[:, 0] += labels
    task = make_task(embedded(features, labels, "a"), 100, 3, None, 0)
    row = int(task.folds[0].held_out[0])
    changed = features.copy()
    changed[row] = 1e3 * rng.normal(size=width)

    def decisions(values: NDArray[np.float32]) -> list[list[NDArray[Any]]]:
        probing = Probing(task, open_columns(values))
        entry, cosines = probing.layer(Layer("a", 0, 0, width))
        kernels = [cosines] * len(probing.ternary)
        together = probing.kernels("all layers", "all", width, kernels)
        ternary = probing.kernels("full", "full_network", width, probing.ternary)
        return [one.decisions + one.neighbours for one in (entry, together, ternary)]

    before, after = decisions(features), decisions(changed)
    judged = [*task.folds, *task.folds]
    others = 0
    for old, new in zip(before, after, strict=True):
        for split, one, two in zip(judged, old, new, strict=True):
            if row in split.held_out:
                apart = split.held_out != row
                assert (one[apart] == two[apart]).all()
            else:
                others += int((one != two).sum())
    assert others  # where it is trained on, it matters


def test_the_data_sets_own_test_rows_judge_and_choose_nothing() -> None:
    features, labels = planted()
    split = np.where(np.arange(60) % 4 == 3, "test", "train")
    found = advise(embedded(features, labels, split=split, path=np.arange(60).astype(str)))
    assert found.rows == 45
    assert found.table["test_accuracy"][1] > 0.6
    changed = features.copy()
    changed[split == "test"] *= -1
    other = advise(embedded(changed, labels, split=split, path=np.arange(60).astype(str)))
    assert other.table.drop("test_accuracy").equals(found.table.drop("test_accuracy"))
    assert other.curve.equals(found.curve)
    assert other.table["test_accuracy"][1] < 0.5


def test_a_split_without_some_class_is_no_split() -> None:
    features, labels = planted()
    split = np.where(labels == 2, "test", "train")
    task = make_task(
        embedded(features, labels, split=split, path=labels.astype(str)), 100, 5, None, 0
    )
    assert task.test is None
    assert task.judged.size == 60


def test_groups_are_never_divided_and_count_once() -> None:
    features, labels = planted(per_class=10)
    twice = embedded(np.repeat(features, 2, axis=0), np.repeat(labels, 2))
    pairs = np.repeat(np.arange(30), 2)
    task = make_task(twice, 100, 5, pairs, 0)
    for split in task.folds:
        assert not set(pairs[split.train]) & set(pairs[split.held_out])
    parts = np.random.default_rng(0).normal(size=30)
    one = make_task(embedded(features, labels), 100, 5, None, 0)
    expected = np.sqrt(np.square(parts).sum() / 29 / 30)
    assert one.standard_error(parts) == pytest.approx(expected)
    assert task.standard_error(np.repeat(parts, 2)) == pytest.approx(expected)
    of_images = embedded(features, labels, group=np.arange(30) // 2, path=labels.astype(str))
    own = make_task(of_images, 100, 5, None, 0)
    assert own.units.tolist() == (np.arange(30) // 2).tolist()
    with pytest.raises(DataError, match=r"groups have shape \(3,\)"):
        make_task(twice, 100, 5, [1, 2, 3], 0)


def test_concepts_that_overlap_are_judged_by_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    concepts = rng.random((80, 2)) < [0.5, 0.15]
    features = rng.normal(size=(80, 3 * WIDTH)).astype(np.float32)
    features[:, WIDTH : WIDTH + 2] += 3 * concepts
    found = advise(embedded(features, concepts))
    assert (found.measure, found.chance, found.recommended) == ("balanced accuracy", 0.5, "b")
    assert found.table["accuracy"][1] > 0.85
    np.testing.assert_allclose(found.table["accuracy"][0], 0.5, atol=0.15)
    assert set(found.confusions["taken_for"]) <= {None}
    missed = 1 - found.confusions["share"].max()  # type: ignore[operator]
    assert missed > 0.5


def test_the_balanced_accuracy_of_rows_and_its_standard_error_by_hand() -> None:
    owned = np.array([[1], [1], [0], [0], [0], [0]], bool)
    rows = np.arange(6)
    task = Task(rows, owned, ("a",), False, [], None, rows, rows, rows)
    hits = np.array([[1], [0], [1], [1], [1], [0]], float)
    value, parts = task.measure(hits, rows)
    assert value == (1 / 2 + 3 / 4) / 2
    recall, specificity = 0.5, 0.75
    expected = [*(hits[:2, 0] - recall) / 4, *(hits[2:, 0] - specificity) / 8]
    np.testing.assert_allclose(parts, 6 * np.array(expected))
    assert parts.mean() == pytest.approx(0)


def entry(
    name: str, features: int, decided: list[int], neighbours: list[int] | None = None
) -> Entry:
    """Return what has some of 40 rows wrong by the ridge, and some, or the same, by neighbours."""
    wrong, far = np.zeros((2, 40), np.int64)
    wrong[decided] = 1
    far[decided if neighbours is None else neighbours] = 1
    return Entry(name, "layer", 0, features, [wrong], [far], 0.0)


def judged_task(rows: int = 40) -> Task:
    """Return a task all of whose rows are of class 0, held out once."""
    every = np.arange(rows)
    owned = np.tile(np.eye(1, 4, dtype=bool), (rows, 1))
    owned[:0] = False
    task = Task(every, owned, ("a", "b", "c", "d"), True, [], None, every, every, every)
    task.folds.append(SimpleNamespace(train=every, held_out=every))  # type: ignore[arg-type]
    vars(task)["chance"] = 0.25
    return task


def test_of_those_within_one_standard_error_both_probes_choose() -> None:
    task = judged_task()
    wide = entry("wide", 100, [0, 1], neighbours=list(range(10)))
    # One mistake more is one standard error; three more of five are beyond theirs.
    near = entry("near", 50, [0, 1, 2], neighbours=[0])
    narrow = entry("narrow", 10, [0, 1, 3], neighbours=list(range(12)))
    worse = entry("worse", 5, [0, 1, 2, 3, 4], neighbours=[])
    found = recommend(task, [worse, narrow, near, wide])
    assert found.table["behind"].to_list() == pytest.approx([3 / 40, 1 / 40, 1 / 40, 0])
    spread = np.sqrt(1 / 40 * (1 - 1 / 40) / 39)
    assert found.table["behind_error"][1] == pytest.approx(spread)
    assert found.table["knn_accuracy"].to_list() == [1, 28 / 40, 39 / 40, 30 / 40]
    assert found.recommended == "near"
    assert found.reason == (
        "near has 92.5 % accuracy, within one standard error of the best (wide, 95.0 %), and is the"
        " best of those by two kinds of probe. The narrowest within one standard error, narrow, has"
        " 92.5 % with 10 features. The last layer, wide, is as good: 95.0 %, a difference of"
        f" -2.5 ± {100 * spread:.1f} points."
    )
    assert recommend(task, [worse, wide]).recommended == "wide"


def test_of_equal_ones_the_narrowest_is_recommended() -> None:
    entries = [entry("a", 30, [0, 1]), entry("b", 10, [2, 3]), entry("c", 20, [4, 5])]
    assert recommend(judged_task(), entries).recommended == "b"


def test_all_layers_together_are_recommended_only_where_no_layer_comes_near() -> None:
    task = judged_task()
    together = dataclasses.replace(entry("all layers", 900, []), kind="all")
    near, far = entry("near", 10, [0]), entry("far", 20, [0, 1, 2, 3])
    found = recommend(task, [near, together])
    assert found.recommended == "near"
    assert found.reason.startswith("near has 97.5 % accuracy, the highest of a single layer.")
    assert recommend(task, [far, together]).recommended == "all layers"


def test_of_equally_wide_ones_the_better_is_recommended() -> None:
    found = recommend(judged_task(), [entry("a", 10, [0, 1, 2]), entry("b", 10, [0, 1])])
    assert found.recommended == "b"
    assert found.reason.endswith("It is the last layer.")


def test_a_better_layer_than_the_last_is_said_to_be_better() -> None:
    found = recommend(judged_task(), [entry("a", 10, [0]), entry("b", 10, list(range(9)))])
    assert found.recommended == "a"
    assert found.reason.endswith("The last layer, b, has 77.5 %.")


def test_confusions_and_which_layer_tells_them_apart() -> None:
    task = judged_task()
    found = recommend(task, [entry("a", 10, [0, 1, 2, 3]), entry("b", 90, [0, 1])])
    assert found.recommended == "b"
    assert found.confusions.to_dicts() == [
        {"class_name": "a", "taken_for": "b", "share": 2 / 40, "told_apart_by": None}
    ]
    helped = recommend(task, [entry("a", 10, [0, 1], neighbours=[]), entry("b", 90, [0])])
    assert helped.recommended == "a"
    assert helped.confusions["told_apart_by"].to_list() == ["b"]
    # One that takes the rows for something else again does not tell them apart.
    lost = entry("c", 95, list(range(40)))
    lost.decisions[0][:] = 2
    still = recommend(task, [entry("a", 10, [0, 1]), lost])
    assert still.recommended == "a"
    assert still.confusions["told_apart_by"].to_list() == [None]


def test_chance_is_that_of_as_many_right_answers_by_luck() -> None:
    task = judged_task()
    assert task.chance_of(0.5) == pytest.approx(binom.sf(19, 40, 0.25))
    assert task.chance_of(20.4 / 40) == pytest.approx(binom.sf(20, 40, 0.25))


def test_the_curve_chooses_features_that_matter_on_training_rows() -> None:
    features, labels = planted(per_class=15, shift=2.5)
    task = make_task(embedded(features, labels), 100, 5, None, 0, most_repeats=1)
    found = selection_curve(task, features)
    assert found.columns == ["features", "chosen_by", "accuracy", "standard_error"]
    at_ten = {row["chosen_by"]: row["accuracy"] for row in found.filter(features=10).to_dicts()}
    assert min(at_ten["D"], at_ten["F-test"]) > at_ten["random"] + 0.1
    assert found.filter(features=24)["accuracy"].n_unique() == 1  # all of them, however chosen
    noise = np.random.default_rng(1).normal(size=(45, 400)).astype(np.float32)
    lucky = selection_curve(make_task(embedded(noise, labels, "a"), 100, 5, None, 0, 1), noise)
    assert lucky["accuracy"].max() < 0.6  # type: ignore[operator]  # if it saw the held-out: 1


def test_f_values_are_those_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    features[:, 2] = 3
    owned = np.eye(4, dtype=bool)[labels]  # with a class that no row has
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(f_classif(np.delete(features, 2, axis=1), labels)[0])
    for given in (features, csr_matrix(features)):
        found = f_values(given, owned)
        assert found[2] == 0
        np.testing.assert_allclose(np.delete(found, 2), expected)
    concepts = rng.random((40, 3)) < 0.4
    each = [f_classif(np.delete(features, 2, axis=1), own)[0] for own in concepts.T]
    np.testing.assert_allclose(np.delete(f_values(features, concepts), 2), np.mean(each, axis=0))


def test_a_sample_keeps_the_shares_of_the_classes() -> None:
    kinds = np.repeat([0, 1, 2], [60, 30, 2])
    rows = sample_rows(kinds, 46, seed=1)
    assert (np.diff(rows) > 0).all()
    assert np.abs(np.bincount(kinds[rows]) - [30, 15, 1]).max() <= 1
    assert sorted(kinds[sample_rows(kinds, 3, seed=2)]) == [0, 1, 2]
    assert (sample_rows(kinds, 46, seed=2) != rows).any()
    assert sample_rows(kinds, 92).tolist() == list(range(92))
    task = make_task(embedded(*planted()), 12, 3, None, 0)
    assert task.rows.size == 12
    assert task.owned.sum(axis=0).tolist() == [4, 4, 4]


def test_the_kind_of_a_row_with_several_concepts_is_the_rarest() -> None:
    labels = Labels.of_concepts([[0], [0, 1], [0, 2], [1], []], 3)
    assert row_kinds(labels).tolist() == [0, 1, 2, 1, 3]


def test_few_rows_are_dealt_several_times() -> None:
    features, labels = planted(per_class=50)
    assert len(make_task(embedded(features, labels), 100, 5, None, 0).folds) == 25
    assert len(make_task(embedded(features, labels), 200, 5, None, 0).folds) == 20
    assert len(make_task(embedded(features, labels), 200, 5, None, 0, 1).folds) == 5


def test_what_cannot_be_advised_on_is_refused() -> None:
    features, labels = planted()
    for name, value in (("images", 1), ("folds", 1), ("folds", True), ("images", 2.5)):
        with pytest.raises(ConfigError, match=f"{name}={value}: must be an integer of 2 or more"):
            advise(embedded(features, labels), **{name: value})
    with pytest.raises(DataError, match="could be held out"):
        advise(embedded(features[:2], [0, 1]))


def test_advice_is_kept_as_files(advice: Advice, tmp_path: Path) -> None:
    advice.write(tmp_path)
    found = Advice.read(tmp_path)
    assert found.table.equals(advice.table)
    assert found.told() == advice.told()
    assert found.curve.schema == advice.curve.schema
    assert found.confusions.schema == advice.confusions.schema
    (tmp_path / "advice.json").write_text("{")
    with pytest.raises(DataError, match=r"advice\.json: cannot be read"):
        Advice.read(tmp_path)


def test_it_is_part_of_the_public_api() -> None:
    assert fnx.advise is advise

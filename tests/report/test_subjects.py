"""What of a run can be shown: its name, its JSON, its picture, and a feature's values."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from tests.report.synthetic import write_run

from fnx.analysis import Run
from fnx.report import subjects, values
from fnx.report.subjects import Subject, subject
from fnx.statistics.labels import Labels


def embedded(features: Any, labels: Any) -> SimpleNamespace:
    """What is asked of an embedding."""
    return SimpleNamespace(column=features.T.__getitem__, labelling=Labels(labels, 5))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(write_run(tmp_path_factory.mktemp("subjects") / "run"))


def test_each_subject_has_a_name_of_its_own(run: Run) -> None:
    source = "shapes-tinynet-ks"
    assert subject(run).name == source
    assert subject(run, class_name="class 3").name == f"{source}-class 3"
    assert subject(run, layer="fc6", class_name="class 3").name == f"{source}-fc6"
    assert subject(run, feature="fc6/7", layer="fc6").name == f"{source}-fc6-7"
    assert subject(run, class_name="class 3").file_name == f"fnx-{source}-class_3"
    long = Subject("a/b: " + "c" * 100, (), None, Figure).file_name
    assert (long[:10], len(long)) == ("fnx-a_b_cc", 100)


def test_ten_features_or_pairs_of_each_sign_are_told_unless_others_are_asked_for(run: Run) -> None:
    for words, key in (({"class_name": "class 3"}, "strongest"), ({"layer": "conv1_2"}, "pairs")):
        for top, count in ((None, 20), (3, 6)):
            given = words if top is None else words | {"top": top}
            assert len(subject(run, **given).told[key]) == count  # type: ignore[arg-type]


def test_a_feature_is_set_beside_the_class_of_its_largest_distance(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = np.random.default_rng(0).random((150, 48), np.float32)
    labels = np.repeat(range(5), (20, 24, 30, 36, 40))
    opened = embedded(features, labels)
    monkeypatch.setattr(values, "open_embedding", lambda _: opened)
    for feature in (12, 30, 41):
        layer, unit = run.features.select("layer", "unit").row(feature)
        told = subject(run, feature=f"{layer}/{unit}").told["values"]
        assert told["class_id"] == np.abs(run.distances[feature]).argmax()
        assert len(told["edges"]) == 17
    asked = subject(run, feature="fc6/2", class_name="class 1").told["values"]
    assert (asked["class_name"], asked["n_inner"], asked["n_outer"]) == ("class 1", 24, 126)
    assert subject(run, feature="fc6/2").told["feature_id"] == 30


def test_values_are_counted_in_bins_from_the_smallest_to_the_largest(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = np.array([1.0, 2.0, 2.5, 5.0, 3.0])
    features = np.stack([column, np.full(5, 7.0)], axis=1)
    opened = embedded(features, np.array([0, 0, 1, 1, 1]))
    monkeypatch.setattr(values, "open_embedding", lambda _: opened)
    found = values.feature_values(run, 0, 0, bins=4)
    assert found.edges.tolist() == [1, 2, 3, 4, 5]
    assert found.inner.tolist() == [50, 50, 0, 0]
    assert found.outer.tolist() == pytest.approx([0, 100 / 3, 100 / 3, 100 / 3])
    assert (found.class_id, found.class_name, found.n_inner, found.n_outer) == (0, "class 0", 2, 3)
    constant = values.feature_values(run, 1, 4)  # of a class without images
    assert constant.edges.tolist() == np.linspace(7, 8, 17).tolist()
    assert constant.outer.tolist() == [100] + [0] * 15
    assert constant.inner.tolist() == [0] * 16


def test_a_picture_has_the_format_of_its_name(tmp_path: Path) -> None:
    Subject("x", (), None, Figure).save_picture(tmp_path / "a.b.PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.b.png"]


def test_json_has_rows_lists_and_words_for_what_it_cannot_hold() -> None:
    told = {
        "table": pl.DataFrame({"x": [math.inf, None], "y": ["a", "b"]}),
        "array": np.array([[1.5, -math.inf]]),
        "nested": ({"nan": math.nan}, 3, None, True),
    }
    assert subjects._jsonable(told) == {
        "table": [{"x": "inf", "y": "a"}, {"x": None, "y": "b"}],
        "array": [[1.5, "-inf"]],
        "nested": [{"nan": None}, 3, None, True],
    }

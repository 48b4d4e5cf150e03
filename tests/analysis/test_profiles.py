"""What is said about one class, one feature and one layer, on numbers that count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs

from fnx.analysis import Run
from fnx.analysis.profiles import class_profile, feature_profile, layer_profile


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.run(tmp_path)


def test_a_class_has_its_features_and_what_random_labels_keep(run: Run) -> None:
    found = class_profile(run, 0)
    assert (found.class_id, found.name, found.n_images, found.n_failed) == (0, "cat", 4, 0)
    assert found.kept.rows() == [("+", 0.25, 2, 2.5), ("-", -0.25, 1, 0.0)]
    assert found.kept.columns == ["sign", "threshold", "kept", "kept_random"]
    assert found.strongest.rows() == [
        ("+", 1, 3, 1.0, None, "fc", 5),
        ("+", 2, 0, 0.5, None, "conv", 0),
        ("+", 3, 4, 0.25, None, "fc", 7),
        ("-", 1, 1, -0.75, None, "conv", 1),
    ]
    columns = ["sign", "rank", "feature_id", "distance", "calibrated_distance", "layer", "unit"]
    assert found.strongest.columns == columns
    assert found.layers.rows() == [("conv", 3, 1, 1), ("fc", 2, 1, 0)]
    assert found.layers.columns == ["layer", "features", "kept_plus", "kept_minus"]
    assert class_profile(run, 2).n_failed == 2
    assert class_profile(run, 0, top=1).strongest["rank"].to_list() == [1, 1]


def test_a_class_has_its_own_thresholds(tmp_path: Path) -> None:
    run = runs.run(tmp_path, by_class=(0.75, 0.5, np.inf))
    kept = [class_profile(run, i).kept.row(0)[1:3] for i in range(3)]
    assert kept == [(0.75, 1), (0.5, 1), (np.inf, 0)]


def test_of_an_unsigned_statistic_nothing_is_absent(tmp_path: Path) -> None:
    run = runs.run(tmp_path, signed=False)
    found = class_profile(run, 1)
    assert found.kept.rows() == [("+", 0.25, 3, 0.5)]
    assert found.layers.rows() == [("conv", 3, 2, 0), ("fc", 2, 1, 0)]
    assert feature_profile(run, 3).spoken == {"+": 2, "-": 0}


def test_ten_features_and_pairs_are_listed_unless_told(tmp_path: Path) -> None:
    from tests.report.synthetic import write_run

    run = Run.open(write_run(tmp_path / "run"))
    assert class_profile(run, 0).strongest.height == 20
    assert layer_profile(run, "fc6").pairs.height == 20


def test_a_feature_has_a_distance_to_each_class(run: Run) -> None:
    found = feature_profile(run, 1)
    assert (found.feature_id, found.layer, found.unit, found.kind) == (1, "conv", 1, "conv")
    assert found.classes.rows() == [
        (1, "dog", 2, 0.75, None, "+", 0.25, -0.25),
        (2, "bird", 3, 0.0, None, None, 0.25, -0.25),
        (0, "cat", 4, -0.75, None, "-", 0.25, -0.25),
    ]
    names = ["class_id", "class_name", "n_images", "distance", "calibrated_distance", "sign"]
    assert found.classes.columns == [*names, "t_plus", "t_minus"]
    assert found.spoken == {"+": 1, "-": 1}
    assert (found.random_low, found.random_high) == (-0.5, 0.5)
    assert (found.constant, feature_profile(run, 2).constant) == (False, True)
    assert found.images is None
    edge = feature_profile(run, 3).classes
    assert edge["sign"].to_list() == ["+", "+", None]  # −0.25 is not below t⁻
    tied = feature_profile(run, 2).classes
    assert tied["class_id"].to_list() == [0, 1, 2]


def test_calibrated_distances_stand_beside_the_raw_ones(tmp_path: Path) -> None:
    run = runs.run(tmp_path, null_second_moment=np.array([0.5, 0.0, 0.0, 0.25, 1.5]))
    n_e = np.array([20, 14, 18]) / 9
    fc_5 = (1 - 0.25 / n_e[0]) ** 0.5
    of_class = class_profile(run, 0).strongest["calibrated_distance"]
    assert of_class.to_list() == pytest.approx([fc_5, (0.25 - 0.5 / n_e[0]) ** 0.5, 0, -0.75])
    of_feature = feature_profile(run, 3).classes
    expected = [fc_5, (0.5625 - 0.25 / n_e[2]) ** 0.5, 0]
    assert of_feature["class_name"].to_list() == ["cat", "bird", "dog"]
    assert of_feature["calibrated_distance"].to_list() == pytest.approx(expected)
    of_layer = layer_profile(run, "fc", top=1).pairs["calibrated_distance"]
    assert of_layer.to_list() == pytest.approx([fc_5, -((1 - 1.5 / n_e[2]) ** 0.5)])


def test_a_feature_has_the_images_that_activate_it_most(tmp_path: Path) -> None:
    top = pl.DataFrame(
        {
            "feature_id": [1, 0, 1],
            "rank": [2, 1, 1],
            "image_id": [7, 7, 9],
            "activation": [1.5, 4.0, 2.5],
        }
    )
    told = pl.DataFrame({"image_id": [7], "path": ["cat/7.jpg"], "class_name": ["cat"]})
    run = runs.run(tmp_path, top_images=top.join(told, on="image_id", how="left"))
    found = feature_profile(run, 1).images
    assert found is not None
    assert found.columns == ["rank", "activation", "class_name", "path"]
    assert found.rows() == [(1, 2.5, None, None), (2, 1.5, "cat", "cat/7.jpg")]
    # Older runs have two tables, without the second of which the first says nothing.
    assert feature_profile(runs.run(tmp_path), 1).images is None
    top.write_parquet(tmp_path / "strongest.parquet")
    assert feature_profile(runs.run(tmp_path), 1).images is None
    told.write_parquet(tmp_path / "strongest_images.parquet")
    older = feature_profile(runs.run(tmp_path), 1).images
    assert older is not None
    assert older.rows() == found.rows()


def test_a_layer_has_its_pairs_and_its_distribution(run: Run) -> None:
    found = layer_profile(run, "fc")
    assert (found.layer, found.kind, found.number, found.features) == ("fc", "fc", 2, 2)
    assert (found.constant, layer_profile(run, "conv").constant) == (0, 1)
    assert found.shares.equals(run.layers.filter(layer="fc"), null_equal=True)
    assert found.pairs.drop("calibrated_distance").rows() == [
        ("+", 1, 3, 5, 0, "cat", 1.0),
        ("+", 2, 3, 5, 2, "bird", 0.75),
        ("+", 3, 4, 7, 1, "dog", 0.5),
        ("+", 4, 4, 7, 0, "cat", 0.25),
        ("-", 1, 4, 7, 2, "bird", -1.0),
        ("-", 2, 3, 5, 1, "dog", -0.25),
    ]
    names = ["sign", "rank", "feature_id", "unit", "class_id", "class_name", "distance"]
    assert found.pairs.columns == [*names, "calibrated_distance"]
    assert layer_profile(run, "fc", top=1).pairs["distance"].to_list() == [1.0, -1.0]
    assert found.edges.tolist() == np.linspace(-1, 1, 41).tolist()
    expected = np.histogram(runs.REAL[3:], found.edges)[0]
    assert found.real.tolist() == (100 * expected / 6).tolist()
    expected = np.histogram(runs.RANDOM[:, 3:], found.edges)[0]
    assert found.random.tolist() == (100 * expected / 12).tolist()


def test_a_layer_has_its_stage_of_the_network(tmp_path: Path) -> None:
    network = pl.DataFrame({"name": ["input", "conv"], "height": [32, 16]})
    run = runs.run(tmp_path, network=network)
    assert layer_profile(run, "conv").stage == {"name": "conv", "height": 16}
    assert layer_profile(run, "fc").stage is None
    assert layer_profile(runs.run(tmp_path), "conv").stage is None

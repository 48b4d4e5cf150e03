from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.analysis import runs
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.record import Kept, noise_share
from fnx.analysis.summary import Summary, kept_by_class, summarize


def test_the_answer_is_the_sum_over_both_signs(tmp_path: Path) -> None:
    found = summarize(runs.run(tmp_path))
    assert found.n_features == 5
    assert list(found.kept) == ["+", "-"]
    assert found.kept_per_class == 4.0
    assert found.kept_random_per_class == 1.25
    assert found.noise_share == 31.25
    assert found.pct_below == pytest.approx(20)
    assert found.signal == pytest.approx(55)


def test_shares_stay_within_0_and_100() -> None:
    kept = Kept(0.5, -1.0, 2.0, 3.0)
    found = Summary(1, {"+": kept}, pl.DataFrame())
    assert (kept.noise_share, found.noise_share) == (100, 100)
    assert found.pct_below == 0
    assert found.signal == -100
    nothing = Summary(4, {"+": Kept(0.5, 0.0, 0.0, 0.0)}, pl.DataFrame())
    assert (nothing.noise_share, nothing.pct_below, nothing.signal) == (0, 100, 0)
    assert Kept(0.5, 0.0, 4.0, 1.0).noise_share == noise_share(4, 1) == 25


def test_layers_add_up_both_signs_in_the_order_of_the_network(tmp_path: Path) -> None:
    layers = pl.DataFrame(
        {
            "layer": ["conv", "conv", "fc", "fc"],
            "sign": ["+", "-", "+", "-"],
            "pct_kept": [10.0, 5.0, 30.0, 2.0],
            "pct_kept_random": [1.0, 8.0, 4.0, 3.0],
        }
    )
    found = summarize(runs.run(tmp_path, layers=layers))
    assert found.layers.rows() == [("conv", "conv", 3, 15, 9, 6), ("fc", "fc", 2, 32, 7, 25)]
    names = ["layer", "kind", "features", "pct_kept", "pct_kept_random", "excess"]
    assert found.layers.columns == names
    assert found.layers.schema["features"] == pl.Int64


def test_many_layers_keep_the_order_of_the_network(tmp_path: Path) -> None:
    names = [f"layer {(7 * i) % 40}" for i in range(40)]
    kinds = ["conv"] * 39 + ["fc"]
    features = pl.DataFrame({"layer": names, "kind": kinds})
    layers = pl.DataFrame(
        {"layer": names[::-1], "sign": ["+"] * 40, "pct_kept": range(40), "pct_kept_random": 0}
    )
    run = Run(tmp_path, runs.run(tmp_path).record, {"features": features, "layers": layers})
    run = Run(tmp_path, run.record, vars(run) | {"kept": {}})
    found = summarize(run).layers
    assert found["layer"].to_list() == names
    assert found["kind"].to_list() == kinds
    assert found["pct_kept"].to_list() == list(range(40))[::-1]


def test_layers_are_ranked_by_what_they_keep_beyond_random_labels() -> None:
    layers = pl.DataFrame({"layer": list("abcdef"), "excess": [1.0, 3.0, -2.0, 3.0, -2.0, 0.0]})
    found = Summary(1, {}, layers)
    assert found.top_layers()["layer"].to_list() == ["b", "d", "a"]
    assert found.top_layers(1)["layer"].to_list() == ["b"]
    assert found.bottom_layer() == {"layer": "c", "excess": -2.0}


def test_features_kept_per_class(tmp_path: Path) -> None:
    found = kept_by_class(runs.run(tmp_path, by_class=(0.5, 0.25, 0.75)))
    assert found.rows() == [(0, 1, 1), (1, 2, 1), (2, 0, 1)]
    unsigned = kept_by_class(runs.run(tmp_path, signed=False))
    assert unsigned.rows() == [(0, 3, None), (1, 3, None), (2, 2, None)]
    assert unsigned.schema == {
        "class_id": pl.Int32,
        "kept_plus": pl.Int64,
        "kept_minus": pl.Int64,
    }


def test_noise_alone_says_hardly_more_than_chance(tmp_path: Path) -> None:
    layers = (("conv1", 400, "conv"), ("fc", 400, "fc"))
    spec = Synthetic(layers=layers, strength=0.0, permutations=4)
    assert abs(summarize(Run.open(write_run(tmp_path / "run", spec))).signal) < 5

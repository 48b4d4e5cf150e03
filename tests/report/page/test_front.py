from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.report.page import front
from fnx.report.pictures.paths import sprite_path


def entry(name: str, kind: str, accuracy: float, *, recommended: bool = False) -> dict[str, Any]:
    error = 0.05
    return {"entry": name, "kind": kind, "accuracy": accuracy, "standard_error": error} | {
        "recommended": recommended
    }


def advised(run: Run, **more: Any) -> Run:
    rows = [
        entry("conv1_1", "layer", 0.31),
        entry("conv1_2", "layer", 0.8, recommended=True),
        entry("fc6", "layer", 0.72),
        entry("all layers", "all", 0.82),
        entry("full-network embedding", "full_network", 0.79),
    ]
    given = {"table": pl.DataFrame(rows), "chance": 0.2, "untrained": None}
    vars(run)["advice"] = SimpleNamespace(**given | more)
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.open(write_run(tmp_path / "run"))


def test_accuracies_stand_over_the_depth_of_their_layers(run: Run) -> None:
    depth = front.depth(advised(run, untrained=0.5))
    # Three layers share 88 % of the width, what is no layer stands behind them.
    assert depth.layers == pytest.approx([88 / 6, 44, 88 * 5 / 6], abs=1e-3)
    assert [point["x"] for point in depth.points] == [*depth.layers, 92, 98]
    assert [point["mark"] for point in depth.points] == ["", "", "", "◆", "■"]
    # From 20 to 90 % on 190 pixels, the highest at the top.
    ys = [round(190 * (0.9 - share) / 0.7, 1) for share in (0.31, 0.8, 0.72, 0.82, 0.79)]
    assert [point["y"] for point in depth.points] == ys
    assert depth.points[1]["low"] - ys[1] == pytest.approx(190 * 0.05 / 0.7, abs=0.11)
    assert ys[1] - depth.points[1]["high"] == pytest.approx(190 * 0.05 / 0.7, abs=0.11)
    assert depth.ringed is depth.points[1]
    assert depth.lines == [(190, "chance", "chance"), (108.6, "untrained", "untrained network")]
    assert [percent for _, percent in depth.ticks] == [20, 40, 60, 80]


def test_without_advice_the_layers_have_the_whole_width(run: Run) -> None:
    depth = front.depth(run)
    assert depth.layers == pytest.approx([100 / 6, 50, 500 / 6], abs=1e-3)
    assert (depth.points, depth.ticks, depth.lines, depth.ringed) == ([], [], [], None)


def test_nothing_is_ringed_where_nothing_is_recommended(run: Run) -> None:
    table = pl.DataFrame([entry("conv1_1", "layer", 0.2), entry("gone", "layer", 0.2)])
    depth = front.depth(advised(run, table=table))
    assert depth.ringed is None
    assert len(depth.points) == 1  # a layer that the run does not have
    assert [percent for _, percent in depth.ticks] == [20, 30]


def test_portraits_are_the_classes_with_the_highest_d_that_have_a_picture(run: Run) -> None:
    top = run.top_features.join(run.features, on="feature_id").filter(sign="+")
    assert front.portraits(run) == []
    first = top.sort("distance", descending=True)
    drawn = first.filter(pl.col("feature_id") != first["feature_id"][0])
    for layer, unit in drawn.select("layer", "unit").iter_rows():
        file = sprite_path(run.path, layer, unit)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = front.portraits(run)
    distances = [row["distance"] for row in found]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] == drawn["distance"][0]
    assert len({row["class_id"] for row in found}) == len(found) <= 5
    assert len({row["feature_id"] for row in found}) == len(found)
    assert found[0]["picture"] == f"pictures/{drawn['layer'][0]}/{drawn['unit'][0]}.jpg"


def test_of_many_classes_six_have_a_portrait(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(class_sizes=(20,) * 9)))
    for layer, unit in run.features.select("layer", "unit").iter_rows():
        file = sprite_path(run.path, layer, unit)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert len(front.portraits(run)) == front.PORTRAITS == 6


def test_a_run_of_an_array_quotes_its_top_rows(run: Run) -> None:
    best = run.top_features.filter(sign="+").sort("distance", descending=True).row(0, named=True)
    rows = {"feature_id": [best["feature_id"]] * 3, "rank": [2, 1, 3], "path": ["b", "a", "c"]}
    vars(run)["top_images"] = pl.DataFrame(rows)
    assert front.portraits(run) == []  # of images
    run.record.config["dataset"]["layout"] = "array"
    (found,) = front.portraits(run)
    assert (found["class_id"], found["picture"], found["texts"]) == (
        best["class_id"],
        None,
        ["a", "b"],
    )

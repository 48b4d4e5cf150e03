"""Which pairs are shown, and the distributions behind a distance, on a run of a few numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.pairs import (
    Pair,
    check_pair,
    find_pair,
    pair_table,
    shown_pairs,
    top_pair,
    widest,
)
from fnx.errors import ConfigError

UNITS, NAMES = {"conv1": 3, "a/b": 1}, ["cat", "dog: big"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("conv1/2:cat", ("conv1", 2, "cat")),
        ("a/b/0:dog: big", ("a/b", 0, "dog: big")),
    ],
)
def test_a_pair_is_layer_unit_and_class(text: str, parts: tuple[str, int, str]) -> None:
    assert check_pair(text) == check_pair(text, UNITS, NAMES) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(
            (text, f"report.pair={text}: must be LAYER/UNIT:CLASS, as conv4_3/458:daisy")
            for text in ("conv1", "conv1/2", "conv1/2:", "/2:cat", "conv1/-2:cat", "conv1/²:cat")
        ),
        (
            f"conv1/{'9' * 5000}:cat",
            f"report.pair=conv1/{'9' * 74}…: must be LAYER/UNIT:CLASS, as conv4_3/458:daisy",
        ),
        (
            f"conv1/2:{'9' * 5000}",
            f"report.pair: unknown class '{'9' * 80}…'; allowed: cat, dog: big",
        ),
        ("fc/0:cat", "report.pair: unknown layer 'fc'; allowed: a/b, conv1"),
        ("conv1/3:cat", "report.pair: conv1 has units 0 to 2, not 3"),
        ("conv1/2:bird", "report.pair: unknown class 'bird'; allowed: cat, dog: big"),
    ],
)
def test_what_is_no_pair_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_pair(text, UNITS, NAMES)
    assert str(caught.value) == reason


def test_what_is_not_known_yet_is_not_checked() -> None:
    assert check_pair("fc/9:cat", class_names=NAMES) == ("fc", 9, "cat")
    assert check_pair("conv1/2:bird", UNITS) == ("conv1", 2, "bird")
    with pytest.raises(ConfigError, match=r"^report\.pairs: conv1 has units"):
        check_pair("conv1/3:cat", UNITS, key="report.pairs")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Twelve layers of two features and three classes; in the last one nothing speaks."""
    layers = [(f"l{i}", 2, "conv") for i in range(12)]
    spec = Synthetic(layers=layers, class_sizes=(8, 9, 10), class_names=("a", "b", "c"))
    opened = Run.open(write_run(tmp_path / "run", spec))
    real = np.zeros((24, 3), np.float32)
    for layer in range(11):
        real[2 * layer] = (0.25, 0.5, -0.25)
        real[2 * layer + 1] = (-0.5, 0.5, 0.125)
    held = {name: getattr(opened, name) for name in ("features", "classes", "thresholds")}
    random = np.zeros((1, 24, 3), np.float32)
    top = pl.DataFrame(
        [(0, "+", 1, 8, 0.25), (0, "+", 2, 3, 0.75), (1, "+", 1, 5, 0.5), (2, "+", 1, 4, 0.5)],
        schema=["class_id", "sign", "rank", "feature_id", "distance"],
        orient="row",
    )
    arrays = {"distances": real, "distances_random": random, "top_features": top}
    return Run(opened.path, opened.record, held | arrays)


def test_the_top_pair_is_the_first_of_the_highest(run: Run) -> None:
    assert top_pair(run) == Pair(5, "l2", 1, 1, "b")
    none = Run(run.path, run.record, vars(run) | {"top_features": run.top_features.clear()})
    assert top_pair(none) is None


def test_a_unit_that_a_layer_lacks_is_no_pair(tmp_path: Path) -> None:
    run = runs.run(tmp_path)  # its layer fc has the units 5 and 7
    with pytest.raises(ConfigError, match=r"^report\.pair: fc has no unit 1$"):
        find_pair(run, "fc/1:cat")


def test_a_pair_is_found_by_what_it_is_called(run: Run) -> None:
    assert find_pair(run, "l3/1:c") == Pair(7, "l3", 1, 2, "c")
    assert find_pair(run, "l3/1:c").feature == "l3/1"
    with pytest.raises(ConfigError, match=r"^report\.pairs: l3 has units 0 to 1, not 2$"):
        find_pair(run, "l3/2:c", "report.pairs")


def test_the_farthest_of_eight_layers_are_shown(run: Run) -> None:
    shown = shown_pairs(run)
    layers = [0, 2, 3, 5, 6, 8, 9, 11]  # spread over 12
    plus = [(f"l{i}", 0, 2 * i, 1, "b", 0.5) for i in layers[:-1]]
    minus = [(f"l{i}", 1, 2 * i + 1, 0, "a", -0.5) for i in layers[:-1]]
    nothing = ("l11", 0, 22, 0, "a", 0.0)
    columns = ["sign", "layer", "unit", "feature_id", "class_id", "class_name", "distance"]
    assert shown.columns == columns
    assert shown.filter(sign="+").drop("sign").rows() == [*plus, nothing]
    assert shown.filter(sign="-").drop("sign").rows() == [*minus, nothing]
    assert shown["sign"].to_list() == ["+"] * 8 + ["-"] * 8


def test_pairs_that_were_asked_for_are_shown(run: Run) -> None:
    config = {"report": {"pairs": ["l1/0:c", "l0/1:b", "l11/0:a"]}}
    record = replace(run.record, config=config)
    shown = shown_pairs(Run(run.path, record, vars(run) | {"record": record}))
    assert shown.rows() == [
        ("+", "l0", 1, 1, 1, "b", 0.5),
        ("+", "l11", 0, 22, 0, "a", 0.0),
        ("-", "l1", 0, 2, 2, "c", -0.25),
    ]
    unsigned = {"thresholds": run.thresholds.filter(sign="+"), "record": record}
    shown = shown_pairs(Run(run.path, record, vars(run) | unsigned))
    assert shown["sign"].to_list() == ["+"] * 3


VALUES = np.array([0.0, 1.0, 1.0, 4.0, 2.0])
INSIDE = np.array([False, False, False, True, True])


def test_densities_and_distributions_over_the_bins_of_the_statistic() -> None:
    table = pair_table(VALUES, INSIDE, 4)
    density = table.filter(curve="density").drop("curve")
    assert density.rows() == [
        (0.0, 1.0, 0.0, pytest.approx(1 / 3)),
        (1.0, 2.0, 0.0, pytest.approx(2 / 3)),
        (2.0, 3.0, 0.5, 0.0),
        (3.0, 4.0, 0.5, 0.0),
    ]
    cumulative = table.filter(curve="cumulative")
    assert cumulative["x"].to_list() == [0, 1, 2, 3, 4]
    assert cumulative["x_end"].null_count() == 5
    assert cumulative["inner"].to_list() == [0, 0, 0, 0.5, 1]
    assert cumulative["outer"].to_list() == pytest.approx([0, 1 / 3, 1, 1, 1])
    wide = pair_table(2 * VALUES, INSIDE, 4).filter(curve="density")
    assert wide["inner"].to_list() == [0, 0, 0.25, 0.25]  # a density, not a share


def test_an_exact_statistic_has_a_step_at_each_value() -> None:
    table = pair_table(VALUES, INSIDE, None)
    assert table.filter(curve="density").height == 100
    cumulative = table.filter(curve="cumulative")
    assert cumulative["x"].to_list() == [0, 1, 2, 4]
    assert cumulative["inner"].to_list() == [0, 0, 0.5, 1]
    assert cumulative["outer"].to_list() == pytest.approx([1 / 3, 1, 1, 1])
    assert widest(table) == (1.0, 0.0, 1.0)


def test_a_side_without_images_has_no_share() -> None:
    table = pair_table(VALUES, np.zeros(5, bool), 4)
    assert table["inner"].to_list() == [0] * 9


@pytest.mark.parametrize(
    ("inner", "outer", "at"),
    [
        ([0.0, 0.5, 1.0], [0.5, 1.0, 1.0], 0),  # the class has the higher values; the first of two
        ([0.25, 1.0, 1.0], [0.0, 0.5, 1.0], 1),  # the class has the lower values
        ([0.5, 0.5, 1.0], [0.0, 1.0, 1.0], 1),  # tied: where the class has the higher values
        ([0.5 + 1e-13, 0.5, 1.0], [0.0, 1.0, 1.0], 1),  # tied but for rounding
        ([0.5 + 1e-9, 0.5, 1.0], [0.0, 1.0, 1.0], 0),
    ],
)
def test_the_curves_are_widest_apart_on_the_side_of_the_distance(
    inner: list[float], outer: list[float], at: int
) -> None:
    x = [0.0, 1.0, 2.0]
    table = pl.DataFrame(
        {
            "curve": ["density", *["cumulative"] * 3],
            "x": [7.0, *x],
            "inner": [0.0, *inner],
            "outer": [9.0, *outer],
        }
    )
    assert widest(table) == (x[at], inner[at], outer[at])

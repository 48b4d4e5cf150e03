from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.analysis import runs
from tests.analysis.comparison.advices import advice

from fnx.analysis import Run
from fnx.analysis.advice import FULL_NETWORK, Advice
from fnx.analysis.comparison.probes import DEPTH_COLUMNS, PROBE_COLUMNS, best_networks, probes


def of(folder: Path, found: Advice | None, dataset: str = "pets", model: str = "tiny") -> Run:
    classes = pl.DataFrame({"class_name": [f"{dataset} {i}" for i in range(3)]})
    told = {"dataset": dataset, "model": model}
    return runs.run(folder, record=told, advice=found, classes=classes)


def test_a_run_has_the_entry_that_is_recommended(tmp_path: Path) -> None:
    run = of(tmp_path, advice([0.2, 0.6, 0.61, 0.5], 1, untrained=0.3))
    table, depths = probes([run], ["A"])
    assert table.row(0, named=True) == {
        **{"run": "A", "dataset": "pets", "model": "tiny", "entry": "l1", "recommended": True},
        **{"features": 20, "accuracy": 0.6, "standard_error": 0.02, "chance": 0.1},
        **{"untrained": 0.3, "measure": "accuracy", "rows": 99, "group": 0, "note": ""},
    }
    assert depths.columns == list(DEPTH_COLUMNS)
    assert depths["entry"].to_list() == ["l0", "l1", "l2", FULL_NETWORK]
    assert depths["relative_depth"].to_list() == [0, 0.5, 1, None]
    assert depths["accuracy"].to_list() == [0.2, 0.6, 0.61, 0.5]
    assert depths["recommended"].to_list() == [False, True, False, False]
    assert depths["chance"].to_list() == [0.1] * 4


def test_where_none_is_recommended_the_most_accurate_stands(tmp_path: Path) -> None:
    table, _ = probes([of(tmp_path, advice([0.1, 0.12, 0.11]))], ["A"])
    assert table.select("entry", "recommended", "accuracy").row(0) == ("l1", False, 0.12)


def test_a_single_layer_is_the_last_one(tmp_path: Path) -> None:
    _, depths = probes([of(tmp_path, advice([0.4, 0.5], 0))], ["A"])
    assert depths["relative_depth"].to_list() == [1, None]


def test_a_run_without_advice_says_what_makes_it(tmp_path: Path) -> None:
    table, depths = probes([of(tmp_path, None)], ["A"])
    assert table.columns == list(PROBE_COLUMNS)
    assert table["note"].item() == f"no advice: python -m fnx advise {tmp_path}"
    assert table["accuracy"].item() is None
    assert depths.is_empty()


def test_damaged_advice_is_told(tmp_path: Path) -> None:
    run = runs.run(tmp_path)
    (tmp_path / "advice.json").write_text("{")
    table, _ = probes([run], ["A"])
    assert "advice.json: cannot be read" in table["note"].item()


def test_the_best_network_of_a_data_set_and_those_as_good(tmp_path: Path) -> None:
    found = [
        of(tmp_path, advice([0.30, 0.70, 0.2], 1), model="a"),
        of(tmp_path, advice([0.20, 0.75, 0.4], 1, error=0.05), model="b"),
        of(tmp_path, advice([0.69, 0.60, 0.1], 0), model="c"),
        of(tmp_path, advice([0.99, 0.60, 0.1], 0), dataset="cars", model="a"),  # alone of its kind
        of(tmp_path, advice([0.8, 0.60, 0.1]), model="d"),  # none beats chance
        of(tmp_path, None, model="e"),
    ]
    table, _ = probes(found, list("ABCDEF"))
    assert table["group"].to_list() == [0, 0, 0, 3, 0, 0]
    ((best, as_good),) = best_networks(table)
    assert (best["run"], best["entry"]) == ("B", "l1")
    assert [row["run"] for row in as_good] == ["A"]  # 0.70 is 0.05 below, 0.69 more
    exact, _ = probes([of(tmp_path, advice([0.75, 0.1], 0, error=0.25)),
                       of(tmp_path, advice([0.5, 0.1], 0))], ["A", "B"])  # fmt: skip
    assert len(best_networks(exact)[0][1]) == 1


def test_accuracies_of_another_measure_are_not_compared(tmp_path: Path) -> None:
    table, _ = probes(
        [
            of(tmp_path, advice([0.7, 0.1], 0)),
            of(tmp_path, advice([0.9, 0.1], 0, measure="balanced accuracy")),
        ],
        ["A", "B"],
    )
    assert [(best["run"], others) for best, others in best_networks(table)] == []


@pytest.mark.parametrize("advised", [[], [0]])
def test_one_run_alone_is_not_the_best(tmp_path: Path, advised: list[int]) -> None:
    found = [of(tmp_path, advice([0.7, 0.1], 0) if i in advised else None) for i in range(2)]
    assert best_networks(probes(found, ["A", "B"])[0]) == []

"""``python -m fnx advise``: what it prints, what it leaves in the run's folder, and its page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fnx
from fnx import app
from fnx.analysis.advice import Advice
from fnx.cli import command
from fnx.config.schema import Config
from fnx.embedding import Embedding
from fnx.report.page import advice as page
from fnx.report.page.html import address


@pytest.fixture(autouse=True)
def no_plugins_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would stay in the process, for other tests."""
    monkeypatch.setenv("FNX_PLUGINS", "")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_at: Callable[..., Config]) -> fnx.Run:
    """A run of images without advice, whose network is an untrained one already."""
    folder = tmp_path_factory.mktemp("advise")
    words = ("report=tables", "report.advice=0", "threshold.permutations=1")
    return app.run(tiny_at(folder, *words), folder / "run")


def test_a_run_is_advised_on(
    run: fnx.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # where names are whole, and the rows no wider
    assert fnx.Run.open(run.path).advice is None
    command("advise", [str(run.path), "--images", "30", "--folds", "3"])
    printed = capsys.readouterr().out
    advice = fnx.Run.open(run.path).advice
    assert advice is not None
    assert " ".join(advice.reason.split()) in " ".join(printed.split())
    for entry in advice.table["entry"]:
        assert entry in printed
    assert max(len(line) for line in printed.splitlines()[:-1]) <= 80
    assert printed.endswith(f"page: {run.path / 'advice.html'}\n")
    assert advice.rows <= 30
    written = pl.read_parquet(run.path / "advice.parquet")
    assert written.equals(advice.table)
    command("advise", [str(run.path), "--images", "30", "--folds", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((run.path / "advice.json").read_text()) == advice.told()


def test_the_untrained_network_is_compared(
    run: fnx.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command("advise", [str(run.path), "--untrained", "--json"])
    told = json.loads(capsys.readouterr().out)
    # The run's network is as untrained, and all its images are taken.
    assert told["untrained"] == max(row["accuracy"] for row in told["table"])
    assert f"{100 * told['untrained']:.1f} %" in (run.path / "advice.html").read_text()
    command("advise", [str(run.path), "--json"])
    assert json.loads(capsys.readouterr().out)["untrained"] == told["untrained"]


def test_where_no_untrained_network_can_be_had_it_is_said(
    run: fnx.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run.path / "run.json").read_text())
    record["config"]["dataset"] |= {"layout": "folder", "root": str(tmp_path / "gone")}
    before = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(json.dumps(record))
    try:
        command("advise", [str(run.path), "--untrained", "--json"])
    finally:
        (run.path / "run.json").write_text(before)
    told = capsys.readouterr()
    assert json.loads(told.out)["untrained"] is None
    assert "no untrained network: " in told.err
    assert "gone" in told.err


def test_the_page_escapes_names_and_marks_what_is_recommended(run: fnx.Run) -> None:
    name = "<b>&\"'"
    layers = run.features["layer"].unique(maintain_order=True).to_list()
    rows = [
        {
            **{"entry": layer, "kind": "layer", "depth": depth, "features": 10},
            **{"accuracy": 0.8, "standard_error": 0.02, "knn_accuracy": 0.5, "logme": -0.1},
            **{"recommended": depth == 1, "behind": 0.0, "behind_error": 0.0},
            "test_accuracy": 0.777,
        }
        for depth, layer in enumerate(layers)
    ]
    curve = [
        {"features": count, "chosen_by": by, "accuracy": 0.5, "standard_error": 0.1}
        for count in (10, 30)
        for by in ("D", "F-test", "random")
    ]
    told = {"class_name": name, "taken_for": name, "share": 0.25, "told_apart_by": layers[0]}
    detector = {
        **{"class_name": name, "layer": layers[1], "unit": 3, "sign": "+", "cut": 1.5},
        **{"recall": 0.9, "false_positive_rate": 0.1},
    }
    advice = Advice(
        pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("depth").cast(pl.Int32)),
        layers[1],
        f"Because of {name}.",
        0.1,
        "accuracy",
        40,
        curve=pl.DataFrame(curve),
        confusions=pl.DataFrame([told]),
        detectors=pl.DataFrame([detector]),
        untrained=0.31,
    )
    text = page.render(run, advice)
    assert name not in text
    assert "Because of &lt;b&gt;&amp;&#34;&#39;." in text
    assert re.findall(r'class="advised"><code>([^<]+)', text) == [layers[1]]
    assert "77.7" in text
    assert "31.0 %" in text
    assert "finds 90 %, false alarms 10 %" in text
    assert f"{layers[1]}/3 &gt; 1.5" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"https?:", text)
    assert (f'href="report.html{address((layers[1], 3))}"' in text) == (
        run.path / "report.html"
    ).is_file()


def test_the_curve_has_its_points_in_the_order_of_features() -> None:
    table = pl.DataFrame(
        {
            "features": [10, 100, 1000] * 3,
            "chosen_by": ["D"] * 3 + ["F-test"] * 3 + ["random"] * 3,
            "accuracy": [0.5, 0.7, 0.9, 0.6, 0.8, 0.9, 0.2, 0.4, 0.9],
            "standard_error": [0.1] * 9,
        }
    )
    found = page.curve(table)
    assert found is not None
    points = found["lines"][0]["points"]
    assert [point["x"] for point in points] == [2, 50, 98]
    assert points[0]["y"] > points[1]["y"] > points[2]["y"] == 0
    assert [count for _, count in found["counts"]] == [10, 100, 1000]
    assert found["ticks"][0][1] == 20
    assert page.curve(table.clear()) is None


def test_a_run_without_classes_to_hold_out_has_no_advice(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedding = Embedding.from_array(np.eye(3), ["a", "b", "c"])
    (tmp_path / "advice.json").write_text("{}")
    found = app.give_advice(embedding, tiny("report.advice=10"), tmp_path)
    assert found is None
    assert "no advice: " in caplog.text
    assert not (tmp_path / "advice.json").exists()
    assert app.give_advice(embedding, tiny("report.advice=0"), tmp_path) is None

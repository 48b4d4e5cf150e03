from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.report.synthetic import write_run

from fnx.analysis import Run
from fnx.errors import ConfigError
from fnx.report import open_tracker, track
from fnx.schema import LoggerConfig


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(finished, tmp_path / "run"))


def test_csv_holds_the_scalars_and_tables(run: Run) -> None:
    track(run, LoggerConfig(name="csv"))
    with (run.path / "metrics.csv").open(newline="") as file:
        values = {row["name"]: row["value"] for row in csv.DictReader(file)}
    plus = run.threshold("+")
    assert plus is not None
    assert float(values["t_plus"]) == plus["threshold"]
    assert values["images"] == "150"
    assert float(values["seconds/embedding"]) == 61.2
    header = (run.path / "tables/top_features.csv").read_text().splitlines()[0]
    assert header == "class_id,sign,rank,feature_id,distance,class_name,layer,unit"


def test_none_leaves_nothing(run: Run) -> None:
    before = set(run.path.rglob("*"))
    track(run, LoggerConfig(name="none"))
    assert set(run.path.rglob("*")) == before


def test_tensorboard_reads_it_back(run: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(run, LoggerConfig(name="tensorboard"))
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert events.Scalars("features")[0].value == 48
    assert "fig06_distribution" in events.Tags()["images"]
    assert "layers/text_summary" in events.Tags()["tensors"]


def test_an_unknown_tracker_is_refused_by_name(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"unknown logger 'wandbb'.*did you mean 'wandb'"):
        track(run, LoggerConfig(name="wandbb"))


def test_a_tracker_that_fails_takes_nothing_from_a_finished_run(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (run.path / "metrics.csv").mkdir()
    with caplog.at_level(logging.WARNING):
        track(run, LoggerConfig(name="csv"))
    assert "logger=csv failed, the run's folder is complete" in caplog.text


def inspect(folder: Path, *options: str) -> str:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    environment = os.environ | {"WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [*command, *options, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment,
    )
    return done.stdout


def test_wandb_offline_keeps_all_and_asks_nothing(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    track(run, LoggerConfig(name="wandb", tags=["mine"]), sweep="sweep-7")
    assert [record for record in caplog.records if record.name.startswith("fnx")] == []
    assert "wandb" not in capfd.readouterr().err
    told: Any = json.loads(inspect(run.path, "--summary"))
    text = json.dumps(told)
    assert told["config"]["dataset"]["name"] == "shapes"
    records = inspect(run.path)
    plus = run.threshold("+")
    assert plus is not None
    for expected in (
        "sweep-7",
        '"mine"',
        '"tinynet"',
        "table-file",
        "image-file",
        "fig09_absence",
        "top_features",
        "seconds/embedding",
    ):
        assert expected in records, expected
    assert str(plus["threshold"]) in text
    (table,) = run.path.glob("wandb/offline-run-*/files/media/table/layers_*.table.json")
    held = json.loads(table.read_text())
    assert held["columns"] == run.layers.columns
    assert len(held["data"]) == run.layers.height


def test_wandb_gives_each_run_of_a_sweep_its_own(finished: Path, tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        folder = write_run(tmp_path / name)
        tracker = open_tracker(
            LoggerConfig(name="wandb"), folder, run_config={"which": name}, name=name, group="s"
        )
        try:
            tracker.log_summary({"which": name})
        finally:
            tracker.close()
        files += list(folder.glob("wandb/offline-run-*/*.wandb"))
        assert f'"{name}"' in inspect(folder)
    assert len({file.stem for file in files}) == 2

from __future__ import annotations

import csv
import dataclasses
import logging
import os
import shutil
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.record import Extraction
from fnx.config.schema import LoggerConfig
from fnx.report import track
from fnx.report.trackers import track as tracking
from fnx.report.trackers.csv import CsvTracker
from fnx.report.trackers.open import open_tracker
from fnx.report.trackers.track import metrics, stored_embedding, tracked_tables
from fnx.report.trackers.tracker import Tracker


@pytest.fixture
def run(tracked_run: Run) -> Run:
    return tracked_run


def test_csv_holds_the_scalars_and_tables(run: Run) -> None:
    track(run, LoggerConfig(name="csv"))
    with (run.path / "metrics.csv").open(newline="") as file:
        values = {row["name"]: row["value"] for row in csv.DictReader(file)}
    plus = run.threshold("+")
    assert plus is not None
    assert float(values["t_plus"]) == plus["threshold"]
    assert values["images"] == "150"
    assert float(values["seconds/embedding"]) == 61.2
    assert float(values["seconds/all"]) == pytest.approx(sum(run.record.seconds.values()))
    assert float(values["images_per_second"]) == 2.5
    assert values["fingerprint"] == run.record.fingerprint
    assert values["embedding"] == str(run.embedding_path)
    with (run.path / "tables/top_features.csv").open(newline="") as file:
        top = list(csv.DictReader(file))
    expected = ["class_id", "sign", "rank", "feature_id", "distance", "class_name", "layer", "unit"]
    assert list(top[0]) == [*expected, "picture"]
    assert top[0]["picture"] == f"pictures/{top[0]['layer']}/{top[0]['unit']}.jpg"


def test_layers_shares_are_those_of_the_distances(run: Run) -> None:
    track(run, LoggerConfig(name="csv"))
    with (run.path / "metrics.csv").open(newline="") as file:
        values = {row["name"]: row["value"] for row in csv.DictReader(file)}
    limits = {sign: np.float32(run.threshold(sign)["threshold"]) for sign in "+-"}  # type: ignore[index]
    for layer in ("conv1_1", "conv1_2", "fc6"):
        rows = (run.features["layer"] == layer).to_numpy()
        for name, kept in (
            ("pct_kept_plus", run.distances[rows] > limits["+"]),
            ("pct_kept_minus", run.distances[rows] < limits["-"]),
            ("pct_kept_random_plus", run.distances_random[:, rows] > limits["+"]),
            ("pct_kept_random_minus", run.distances_random[:, rows] < limits["-"]),
        ):
            assert float(values[f"layers/{layer}/{name}"]) == pytest.approx(100 * kept.mean())


def test_calibrated_modes_stand_beside_the_raw_ones(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(calibrated=True)))
    found = metrics(run)
    for row in run.layers.rows(named=True):
        sign = {"+": "plus", "-": "minus"}[row["sign"]]
        assert found[f"layers/{row['layer']}/mode_{sign}"] == row["mode"]
        assert found[f"layers/{row['layer']}/calibrated_mode_{sign}"] == row["calibrated_mode"]
    assert run.calibrated is not None
    top = tracked_tables(run)["top_features"].row(0, named=True)
    at = top["feature_id"], top["class_id"]
    assert top["calibrated_distance"] == run.calibrated[at]
    plain = Run.open(write_run(tmp_path / "plain"))
    assert not [name for name in metrics(plain) if "calibrated" in name]


def test_every_class_has_its_first_features_in_a_table_of_limited_size(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tracked_tables(run)["top_features"]
    assert top.height == run.top_features.height
    assert top["picture"].null_count() == 0
    monkeypatch.setattr(tracking, "MAX_ROWS", 29)  # two ranks of 5 classes and 2 signs are 20
    monkeypatch.setattr(tracking, "MAX_PICTURES", 6)
    top = tracked_tables(run)["top_features"]
    assert top.drop("picture", "class_name", "layer", "unit").equals(
        run.top_features.filter(pl.col("rank") <= 2)
    )
    first = top.filter(rank=1)["feature_id"].unique(maintain_order=True).to_list()
    second = top.filter(rank=2)["feature_id"].unique(maintain_order=True).to_list()
    order = list(dict.fromkeys(first + second))
    assert set(top.drop_nulls("picture")["feature_id"]) == set(order[:6])
    monkeypatch.setattr(tracking, "MAX_ROWS", 3)
    assert tracked_tables(run)["top_features"]["rank"].to_list() == [1, 1, 1]


def test_a_table_has_ten_thousand_rows_and_two_hundred_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def top(classes: int) -> pl.DataFrame:
        ranks = range(1, 11)
        names = ("class_id", "sign", "rank")
        every = pl.DataFrame(product(range(classes), "+-", ranks), schema=names, orient="row")
        ids = pl.int_range(pl.len()) % 300
        rows = every.with_columns(feature_id=ids, layer=pl.lit("a"), unit=ids)
        monkeypatch.setattr(tracking, "named_top_features", lambda _: rows)
        run: Any = SimpleNamespace(path=tmp_path, classes=SimpleNamespace(height=classes))
        return tracking._top_features(run)

    monkeypatch.setattr(tracking, "sprite_path", lambda *_: tmp_path / "a.jpg")
    (tmp_path / "a.jpg").touch()
    few = top(600)  # of 1,200 lists eight each
    assert (few.height, few["rank"].max()) == (9600, 8)
    assert few.drop_nulls("picture")["feature_id"].n_unique() == 200
    many = top(6000)
    assert (many.height, many["rank"].max()) == (10_000, 1)


def test_a_speed_is_told_where_the_run_itself_extracted(run: Run) -> None:
    told = metrics(run)
    assert told["images_per_second"] == 150 / 60
    assert (told["failed"], told["constant"], told["embedding_reused"]) == (1, 0, False)
    for images, seconds in ((0, 60.0), (150, 0.0), (None, None)):
        extraction = None if images is None else Extraction(images, seconds)
        record = dataclasses.replace(run.record, extraction=extraction, embedding_reused=True)
        again = metrics(dataclasses.replace(run, record=record, held=None))
        assert "images_per_second" not in again
        assert again["embedding_reused"]


def test_an_embedding_that_is_gone_is_not_referred_to(run: Run) -> None:
    stored = stored_embedding(run)
    assert stored is not None
    assert stored.path == run.embedding_path.resolve()  # type: ignore[union-attr]
    assert stored.metadata == {
        "dataset": "shapes",
        "model": "tinynet",
        "rows": 150,
        "features": 48,
        "format": 2,
        "inputs": {"tap": "post"},
    }
    assert (stored.fingerprint, stored.reused) == (run.record.fingerprint, False)
    shutil.rmtree(stored.path)
    assert stored_embedding(run) is None


def test_none_leaves_nothing(run: Run) -> None:
    before = set(run.path.rglob("*"))
    track(run, LoggerConfig(name="none"))
    assert set(run.path.rglob("*")) == before


def test_tensorboard_reads_it_back(run: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    track(run, LoggerConfig(name="tensorboard"))
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert events.Scalars("features")[0].value == 48
    assert "figures/fig06_distribution" in events.Tags()["images"]
    assert "layers/text_summary" in events.Tags()["tensors"]
    (first,) = run.top_features.filter(class_id=0, sign="+", rank=1)["feature_id"]
    layer, unit = run.features.row(first, named=True)["layer"], run.features["unit"][first]
    shown = events.Images(f"pictures/{layer}/{unit}")[0]
    assert (shown.width, shown.height) == (12, 12)
    # What its HPARAMS dashboard compares: the options, and the names of the scalars.
    start = HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info.hparams
    assert start["statistic"].string_value == "ks"
    assert start["settings.seed"].number_value == 0
    told = HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    ).experiment.metric_infos
    assert {info.name.tag for info in told} >= {"t_plus", "kept_minus", "seconds/distances"}


def test_tensorboard_has_the_first_rows_of_a_table_as_text(run: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fnx.report.trackers.tensorboard import TensorBoardTracker, flat

    tracker = TensorBoardTracker(run.path, {"seed": 3, "dataset": "Käfer"})
    tracker.log_table("long", pl.DataFrame({"a|b": range(201), "c": ["x"] * 201}))
    tracker.log_summary({"model": "tinynet", "kept": 2})
    tracker.close()
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()

    def text(name: str) -> str:
        (event,) = events.Tensors(f"{name}/text_summary")
        held: bytes = event.tensor_proto.string_val[0]
        return held.decode()

    lines = text("long").splitlines()
    assert lines[:3] == ["| a\\|b | c |", "| --- | --- |", "| 0 | x |"]
    assert (len(lines), lines[-1]) == (202, "| 199 | x |")
    assert text("config") == '    {\n      "seed": 3,\n      "dataset": "Käfer"\n    }'
    assert text("model") == "tinynet"
    assert [event.value for event in events.Scalars("kept")] == [2]
    assert flat({"a": {"b": (1, None)}, "c": True}) == {"a.b": "[1,None]", "c": True}


def test_a_tracker_that_fails_takes_nothing_from_a_finished_run(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    (run.path / "metrics.csv").mkdir()
    with caplog.at_level(logging.WARNING):
        track(run, LoggerConfig(name="csv"))
    assert "logger=csv failed, the run's folder is complete" in caplog.text


def test_a_tracker_is_told_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_PAT", "hidden-" + 70 * "x")
    secret = f"a-{os.environ['GH_PAT']}"
    told: dict[str, Any] = {}
    fake = SimpleNamespace(WandbTracker=lambda *_, **options: told.update(options) or Tracker())
    monkeypatch.setitem(sys.modules, "fnx.report.trackers.wandb", fake)
    config = LoggerConfig("wandb", project=secret, group=secret, tags=[secret, "b"])
    open_tracker(
        config, run.path, run_config={"x": secret}, name=secret, job_type="c", tags=[secret]
    )
    assert told == {
        "project": "a-[secret]",
        "name": "a-[secret]",
        "job_type": "c",
        "group": "a-[secret]",
        "tags": ["a-[secret]", "b"],
        "mode": "offline",
    }


def test_the_values_of_metrics_csv_are_no_formulas(run: Run) -> None:
    tracker = CsvTracker(run.path)
    tracker.log_summary({"dataset": "=1+1", "t_minus": -0.5})
    assert (run.path / "metrics.csv").read_text() == "name,value\ndataset,'=1+1\nt_minus,-0.5\n"

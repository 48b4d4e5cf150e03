from __future__ import annotations

import csv
import logging

import numpy as np
import pytest

from fnx.analysis import Run
from fnx.config.schema import LoggerConfig
from fnx.errors import ConfigError
from fnx.report import track


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

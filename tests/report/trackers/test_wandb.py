"""W&B's offline run, read back by W&B's own reader and compared with the run's arrays."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb
from tests.report.synthetic import write_run

from fnx.analysis import Run
from fnx.config.schema import LoggerConfig
from fnx.report import open_tracker, track
from fnx.report.trackers.track import stored_embedding
from fnx.report.trackers.wandb import WandbTracker

ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


def inspect(folder: Path, *options: str) -> str:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    done = subprocess.run(
        [*command, *options, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | ENVIRONMENT,
    )
    return done.stdout


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in inspect(folder).splitlines()]
    return [record[kind] for record in found if record["type"] == kind]


def summary(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(inspect(folder, "--summary"))
    return told


@pytest.fixture
def tracked(
    tracked_run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    track(tracked_run, LoggerConfig(name="wandb", tags=["mine"]), sweep="sweep-7")
    assert [record for record in caplog.records if record.name.startswith("fnx")] == []
    assert "wandb" not in capfd.readouterr().err
    return tracked_run


def test_offline_it_holds_the_numbers_of_the_arrays(tracked: Run) -> None:
    (run,) = records(tracked.path, "run")
    assert run["run_group"] == "sweep-7"
    assert run["job_type"] == "embedding"
    assert run["display_name"] == "shapes-tinynet-ks"
    assert run["tags"] == ["shapes", "tinynet", "ks", "mine"]
    told = summary(tracked.path)
    assert told["config"]["dataset"] == told["config"]["settings"]["dataset"]["name"] == "shapes"
    assert told["config"]["statistic"] == "ks"
    assert told["config"]["fingerprint"] == tracked.record.fingerprint
    held = told["summary"]
    real, random = np.array(tracked.distances), np.array(tracked.distances_random)
    for name, sign in (("plus", 1), ("minus", -1)):
        limit = np.float32(held[f"t_{name}"])
        kept = (sign * real > sign * limit).sum(0).mean()
        kept_random = (sign * random > sign * limit).sum(1).mean()
        assert held[f"kept_{name}"] == pytest.approx(kept)
        assert held[f"kept_random_{name}"] == pytest.approx(kept_random)
        assert held[f"davg_{name}"] == pytest.approx(kept - kept_random)
        rows = (tracked.features["layer"] == "conv1_2").to_numpy()
        share = 100 * (sign * real[rows] > sign * limit).mean()
        assert held["layers/conv1_2/pct_kept_" + name] == pytest.approx(share)
    assert held["images_per_second"] == 2.5
    assert held["seconds/embedding"] == 61.2
    assert held["figures/fig09_absence"]["_type"] == "image-file"


def test_its_tables_are_those_of_the_run(tracked: Run) -> None:
    held = table(tracked.path, "layers")
    assert held["columns"] == tracked.layers.columns
    assert held["data"] == [list(row) for row in tracked.layers.rows()]
    (artifact,) = (
        record
        for record in records(tracked.path, "artifact")
        if record["name"].endswith("top_features")
    )
    files = {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}
    assert all(file.is_relative_to(tracked.path / "wandb") for file in files.values())
    top = json.loads(files["top_features.table.json"].read_text())
    place = {name: i for i, name in enumerate(top["columns"])}
    assert len(top["data"]) == tracked.top_features.height
    real = np.array(tracked.distances)
    for row in top["data"]:
        assert row[place["distance"]] == pytest.approx(
            real[row[place["feature_id"]], row[place["class_id"]]]
        )
        # Every feature has its picture, and it is its own.
        own = tracked.path / "pictures" / row[place["layer"]] / f"{row[place['unit']]}.jpg"
        assert files[row[place["picture"]]["path"]].read_bytes() == own.read_bytes()


def table(folder: Path, name: str) -> dict[str, Any]:
    (file,) = folder.glob(f"wandb/offline-run-*/files/media/table/{name}_*.table.json")
    held: dict[str, Any] = json.loads(file.read_text())
    return held


def test_the_embedding_is_a_reference_that_is_not_read_again(tracked: Run) -> None:
    artifacts = {record["type"]: record for record in records(tracked.path, "artifact")}
    found = artifacts["embedding"]
    assert found["name"] == "shapes-tinynet-0123456789abcdef"
    assert set(found["aliases"]) == {"latest", "0123456789abcdef"}
    contents = {entry["path"]: entry for entry in found["manifest"]["contents"]}
    folder = tracked.embedding_path
    assert folder is not None
    assert contents["features.zarr/c/0/0"]["ref"] == (folder / "features.zarr/c/0/0").as_uri()
    content = base64.b64encode(hashlib.md5(b"not read").digest()).decode()
    assert contents["features.zarr/c/0/0"]["digest"] != content
    manifest = base64.b64encode(hashlib.md5((folder / "manifest.json").read_bytes()).digest())
    assert contents["manifest.json"]["digest"] == manifest.decode()
    assert json.loads(found["metadata"])["inputs"] == {"tap": "post"}


def test_runs_that_share_an_embedding_share_its_version(tracked: Run, tmp_path: Path) -> None:
    second = Run.open(write_run(tmp_path / "second"))
    second = Run(second.path, replace(second.record, embedding_reused=True))
    track(second, LoggerConfig(name="wandb"), sweep="sweep-7")
    (run,) = records(second.path, "run")
    assert run["job_type"] == "distances"
    digests = {
        record["digest"]
        for folder in (tracked.path, second.path)
        for record in records(folder, "artifact")
        if record["type"] == "embedding"
    }
    assert len(digests) == 1


def test_each_run_of_a_sweep_is_its_own(tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        folder = write_run(tmp_path / name)
        tracker = open_tracker(
            LoggerConfig(name="wandb"),
            folder,
            run_config={"which": name},
            name=name,
            job_type="embedding",
            group="s",
        )
        try:
            tracker.log_summary({"which": name})
        finally:
            tracker.close()
        files += list(folder.glob("wandb/offline-run-*/*.wandb"))
        assert summary(folder)["summary"]["which"] == name
    assert len({file.stem for file in files}) == 2


def test_an_agents_run_is_the_one_that_it_announced(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    parameters = tmp_path / "config.yaml"
    parameters.write_text("wandb_version: 1\nstatistic:\n  value: ks\nseed:\n  value: 3\n")
    agent = {
        "WANDB_SWEEP_ID": "sweep7",
        "WANDB_RUN_ID": "trial1",
        "WANDB_PROJECT": "theirs",
        "WANDB_ENTITY": "us",
        "WANDB_SWEEP_PARAM_PATH": str(parameters),
        "WANDB_MODE": "offline",
    }
    code = (
        "import sys; from fnx.analysis import Run; from fnx.report import track;"
        "from fnx.config.schema import LoggerConfig;"
        "track(Run.open(sys.argv[1]), LoggerConfig(name='wandb', project='ours'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=os.environ | ENVIRONMENT | agent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "W&B sweep sweep7 will not see this run without logger.mode=online" in done.stderr
    (run,) = records(folder, "run")
    assert (run["run_id"], run["sweep_id"], run["project"]) == ("trial1", "sweep7", "theirs")
    assert run["run_group"] == "sweep7"
    config = summary(folder)["config"]
    # The sweep's parameters and fnx's options have one name, so all runs have one column.
    assert config["statistic"] == "ks"
    assert config["seed"] == 3
    assert config["settings"]["dataset"]["name"] == "shapes"


@pytest.mark.parametrize("sweep", [None, "sweep7"])
@pytest.mark.parametrize(("mode", "group"), [("online", "mine"), ("offline", None)])
def test_wandb_is_told_where_a_run_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: str | None, mode: str, group: str | None
) -> None:
    told: dict[str, Any] = {}
    ended: list[int] = []

    def init(**given: Any) -> Any:
        told.update(given)
        return SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    if sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
    tracker = open_tracker(
        LoggerConfig(name="wandb", project="ours", mode=mode, group=group, tags=["a", "x" * 65]),
        tmp_path,
        run_config={"seed": 3},
        name="shapes",
        job_type="distances",
        group="multirun",
        tags=["ks", "a", ""],
    )
    assert told["tags"] == ["ks", "a", "x" * 64]
    assert (told["project"], told["mode"]) == (None if sweep else "ours", mode)
    assert told["group"] == (group or "multirun")
    assert (told["name"], told["job_type"], told["config"]) == ("shapes", "distances", {"seed": 3})
    assert (told["dir"], told["reinit"]) == (tmp_path, "create_new")
    settings = told["settings"]
    assert settings.silent
    assert settings.x_disable_stats
    assert settings.x_disable_meta
    assert settings.disable_git
    assert settings.disable_code
    assert (settings.console, settings.login_timeout) == ("off", 60)
    assert os.environ["WANDB_DATA_DIR"] == str((tmp_path / "wandb").resolve())
    tracker.close(failed=sweep is not None)
    assert ended == [1 if sweep else 0]
    assert "WANDB_DATA_DIR" not in os.environ


def test_an_embeddings_name_is_one_that_wandb_takes(
    tracked_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = stored_embedding(tracked_run)
    assert embedding is not None
    path = embedding.path.parent / f"é {'n' * 130}"
    embedding.path.rename(path)
    told: list[wandb.Artifact] = []
    tracker = WandbTracker.__new__(WandbTracker)
    run = SimpleNamespace(
        offline=True, log_artifact=lambda artifact, aliases: told.append(artifact)
    )
    monkeypatch.setattr(tracker, "_run", run, raising=False)
    tracker.log_embedding(dataclasses.replace(embedding, path=path, reused=True))
    assert told[0].name.partition(":")[0] == "n" * 128
    assert dict(told[0].metadata)["rows"] == 150
    assert {"manifest.json", "features.parquet", "images.parquet"} <= set(told[0].manifest.entries)


def test_no_secret_of_the_command_line_gets_there(
    tracked_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = "model.weights.url=https://me:hushhush@host/x?token=hushhush"
    monkeypatch.setattr(sys, "argv", ["fnx", word])
    monkeypatch.setenv("SOME_TOKEN", "hushhush")
    tracked_run.record.config["model"] = {"name": "tinynet", "weights": {"url": word}}
    track(tracked_run, LoggerConfig(name="wandb"))
    url = summary(tracked_run.path)["config"]["settings"]["model"]["weights"]["url"]
    assert url == "model.weights.url=https://[secret]@host/x?token=[secret]"
    for file in tracked_run.path.glob("wandb/**/*"):
        assert file.is_dir() or b"hushhush" not in file.read_bytes(), file


def test_what_the_server_does_not_take_is_kept_offline(
    tracked_run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    init = wandb.init

    def offline_only(**arguments: Any) -> Any:
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return init(**arguments)

    monkeypatch.setattr(wandb, "init", offline_only)
    with caplog.at_level(logging.WARNING):
        track(tracked_run, LoggerConfig(name="wandb", mode="online"))
    assert "the run's folder is complete: no route to host" in caplog.text
    assert "kept offline instead; later: wandb sync" in caplog.text
    assert summary(tracked_run.path)["summary"]["features"] == 48


@pytest.mark.parametrize("reused", [False, True])
def test_online_a_run_that_found_the_embedding_uses_it(
    tracked_run: Run, monkeypatch: pytest.MonkeyPatch, reused: bool
) -> None:
    told = []

    class Online:
        offline = False

        def use_artifact(self, artifact: wandb.Artifact, aliases: list[str]) -> None:
            told.append(("used", artifact.type, aliases))

        def log_artifact(self, artifact: wandb.Artifact, aliases: list[str]) -> None:
            told.append(("made", artifact.type, aliases))

    record = replace(tracked_run.record, embedding_reused=reused)
    embedding = stored_embedding(Run(tracked_run.path, record))
    assert embedding is not None
    tracker = WandbTracker.__new__(WandbTracker)
    monkeypatch.setattr(tracker, "_run", Online(), raising=False)
    tracker.log_embedding(embedding)
    mark = record.fingerprint
    expected = ("used", [mark]) if reused else ("made", ["latest", mark])
    assert told == [(expected[0], "embedding", expected[1])]

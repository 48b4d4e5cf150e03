from __future__ import annotations

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fnx.analysis.record import Counts, Extraction, Kept, KeptBySign, RunRecord, Stopwatch, versions
from fnx.errors import DataError

FIRST = {"dataset": "shapes", "model": "tinynet", "statistic": {"name": "ks"}}
WHOLE = RunRecord(
    fnx_version="0.1.0",
    versions={"python": "3.11"},
    command=["python", "-m", "fnx", "seed=3"],
    started="2024-01-31T12:00:00+00:00",
    seed=3,
    dataset="shapes",
    model="tinynet",
    tap="post",
    crops={"name": "ten", "size": 224},
    statistic={"name": "ks", "bins": None},
    threshold={"name": "fixed", "t_plus": 0.5},
    fingerprint="0123",
    embedding="outputs/embeddings/x",
    embedding_reused=True,
    extraction=Extraction(150, 2.5),
    weights_digest="random-0",
    counts=Counts(150, 1, 5, 48, 2),
    thresholds=KeptBySign(Kept(0.5, 2.0, 3.0, 1.0, 0.25), Kept(-0.25, 1.0, 2.0, 1.0)),
    seconds={"images": 0.4, "report": 2.0},
    warnings=["100 images, the paper has 150"],
    config={"seed": 3, "dataset": {"layout": "folder", "root": None}},
)


def write(folder: Path, values: object) -> Path:
    (folder / "run.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    "record",
    [
        WHOLE,
        replace(WHOLE, extraction=None, embedding_reused=False),
        replace(WHOLE, thresholds=KeptBySign(WHOLE.thresholds.plus, None)),
    ],
)
def test_a_record_reads_back_as_it_was_written(tmp_path: Path, record: RunRecord) -> None:
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_the_layout_of_the_file_is_that_of_the_fields(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    text = (tmp_path / "run.json").read_text()
    assert text.endswith("}\n")
    assert text.startswith('{\n  "fnx_version": "0.1.0",\n  "versions": {\n    "python"')
    found = json.loads(text)
    assert list(found)[-3:] == ["seconds", "warnings", "config"]
    assert found["thresholds"]["minus"] == {
        "threshold": -0.25,
        "davg": 1.0,
        "kept": 2.0,
        "kept_random": 1.0,
        "spread_random": None,
    }
    assert found["counts"] == {
        "images": 150,
        "failed": 1,
        "classes": 5,
        "features": 48,
        "constant": 2,
    }


def test_no_secret_is_written(tmp_path: Path) -> None:
    url = "https://me:hushhush@host/x"
    replace(WHOLE, config={"model": {"url": url}}).write(tmp_path)
    assert RunRecord.read(tmp_path).setting("model.url") == "https://[secret]@host/x"


def test_names_are_written_as_they_are(tmp_path: Path) -> None:
    replace(WHOLE, dataset="caffè").write(tmp_path)
    assert "caffè" in (tmp_path / "run.json").read_text(encoding="utf-8")


def test_a_record_of_an_older_version_is_read_with_defaults(tmp_path: Path) -> None:
    old = FIRST | {"weights_digest": None, "config": None, "extraction": None, "counts": {}}
    record = RunRecord.read(write(tmp_path, old | {"of_a_later_version": [1]}))
    assert record == RunRecord(dataset="shapes", model="tinynet", statistic={"name": "ks"})
    assert (record.weights_digest, record.config, record.seed) == ("", {}, None)
    assert record.counts == Counts(0, 0, 0, 0, 0)


def test_whole_numbers_are_seconds_too(tmp_path: Path) -> None:
    record = RunRecord.read(write(tmp_path, FIRST | {"seconds": {"images": 3}}))
    assert record.seconds == {"images": 3.0}
    assert isinstance(record.seconds["images"], float)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([FIRST], "the record must be dict, not list"),
        (None, "the record must be dict, not NoneType"),
        ({"dataset": "shapes", "statistic": {"name": "ks"}}, "model is missing"),
        (FIRST | {"model": None}, "model is missing"),
        (FIRST | {"statistic": {"bins": 100}}, "statistic.name is missing"),
        (FIRST | {"statistic": "ks"}, "statistic must be dict, not str"),
        (FIRST | {"seed": True}, "seed must be int, not bool"),
        (FIRST | {"seed": 0.5}, "seed must be int, not float"),
        (FIRST | {"counts": {"images": "many"}}, "images must be int, not str"),
        (FIRST | {"seconds": {"images": "3"}}, "seconds.images must be float, not str"),
        (FIRST | {"command": ["fnx", 1]}, "command must be str, not int"),
        (FIRST | {"thresholds": {"plus": {"davg": 1.0}}}, "threshold is missing"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(
    tmp_path: Path, values: object, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        RunRecord.read(write(tmp_path, values))
    assert str(caught.value) == f"{tmp_path}/run.json: cannot be read ({reason})"


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_what_is_not_json_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.json: cannot be read \([^\n]+\)$"):
        RunRecord.read(tmp_path)


def test_a_folder_without_a_record_is_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        RunRecord.read(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a finished run of fnx (run.json is missing)"


def test_each_stage_is_timed_also_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1.0, 3.23456, 10.0, 10.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    stage = Stopwatch()
    with stage("images"):
        pass
    with pytest.raises(KeyError), stage("report"):
        raise KeyError
    assert stage.seconds == {"images": 2.235, "report": 0.5}
    assert stage.started.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - stage.started < timedelta(minutes=1)


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnx.analysis.record.LIBRARIES", ("not-there", "numpy"))
    assert versions() == {"python": platform.python_version(), "numpy": np.__version__}


def test_a_setting_that_is_not_there_is_none() -> None:
    assert WHOLE.setting("dataset.layout") == "folder"
    assert WHOLE.setting("dataset.root") is None
    assert WHOLE.setting("dataset.layout.deeper") is None
    assert WHOLE.setting("report") is None
    assert WHOLE.setting("seed") == 3

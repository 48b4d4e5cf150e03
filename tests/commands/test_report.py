"""``python -m fnx report``: a finished run drawn in other forms, in place, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis.record import RunRecord
from fnx.cli import command
from fnx.commands import report
from fnx.commands.report import redraw
from fnx.config.compose import compose, recorded
from fnx.config.schema import ReportConfig
from fnx.errors import ConfigError, DataError, FnxError
from fnx.report.figures import layers
from fnx.report.notebook import Run
from fnx.utils.lock import sole_use


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with pictures of before, whose embedding is gone."""
    monkeypatch.chdir(tmp_path)
    folder = write_run(tmp_path / "outputs/runs/today/one", Synthetic(calibrated=True))
    record = json.loads((folder / "run.json").read_text())
    record["config"] |= {"report": asdict(ReportConfig()), "debug": True}
    (folder / "run.json").write_text(json.dumps(record))
    for name in ("figures/old.png", "pictures/conv1_1/3.jpg"):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (96, 96)).save(folder / name)
    top = {"feature_id": [3], "rank": [1], "image_id": [7], "activation": [1.5], "dataset": ["a"]}
    pl.DataFrame(top | {"path": ["a/7.jpg"], "class_name": ["class 0"]}).write_parquet(
        folder / "top_images.parquet"
    )
    (folder / "report.html").write_text("of before")
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run, ReportConfig]]:
    """What is drawn, without its drawing."""
    calls = []

    def write_report(run: Run, config: ReportConfig) -> None:
        calls.append((run, config))
        (run.path / "figures").mkdir(exist_ok=True)
        (run.path / "report.html").write_text("anew")

    monkeypatch.setattr(report, "write_report", write_report)
    return calls


def files(folder: Path) -> dict[str, str]:
    """The content of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_figures_page_and_record_follow_and_all_else_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(folder)
    command("report", ["report.mode=lognormal", "report.formats=[svg]"])
    assert capsys.readouterr().out.startswith("outputs/runs/today/one/report.html drawn in ")
    after = files(folder)
    table = layers.table([Run.open(folder)], ["shapes"], "lognormal", "raw").drop("run")
    assert pl.read_parquet(folder / "figures/fig05_layers.parquet").equals(table)
    assert (folder / "figures/fig05_layers.svg").is_file()
    assert not list(folder.glob("figures/*.png"))
    anew = {name for name in after if name.split("/")[0] in ("figures", "report", "report.html")}
    assert {"report/plotly.min.js", "report.html"} < anew
    changed = {name for name in {*before, *after} - anew if before.get(name) != after.get(name)}
    assert changed == {"run.json", "README.txt", "figures/old.png"}
    record = RunRecord.read(folder)
    assert record.config["report"] == asdict(ReportConfig(mode="lognormal", formats=["svg"]))
    assert record.config["debug"] is True
    assert set(record.redrawn) == {"command", "started", "fnx_version"}
    assert not list(folder.glob(".*"))


def test_what_was_changed_before_stays_until_it_is_changed(folder: Path, drawn: Any) -> None:
    chosen = "conv1_2/5:class 3"
    assert redraw(folder, pair=chosen).record.config["report"]["pair"] == chosen
    redraw(Run.open(folder), distance="calibrated")
    redraw(folder, pair=None)
    wanted = [(chosen, "raw"), (chosen, "calibrated"), (None, "calibrated")]
    assert [(config.pair, config.distance) for _, config in drawn] == wanted
    assert [run.record.config["report"]["distance"] for run, _ in drawn] == [d for _, d in wanted]


def test_a_run_of_tables_only_gets_a_page(folder: Path, drawn: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["config"]["report"] |= {"figures": False, "pictures": "none"}
    (folder / "run.json").write_text(json.dumps(record))
    assert redraw(folder).record.config["report"]["figures"] is True
    assert drawn[0][1].figures


def test_pictures_stay_where_the_embedding_is_gone(
    folder: Path, drawn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = files(folder)
    run = redraw(folder, pictures_per_feature=3, mode="lognormal")
    assert "pictures stay as they are: the embedding is gone" in caplog.text
    assert run.record.config["report"]["pictures_per_feature"] == 9
    assert run.record.config["report"]["mode"] == "lognormal"
    for name in ("pictures/conv1_1/3.jpg", "top_images.parquet"):
        assert files(folder)[name] == before[name]
    assert (drawn[0][0].path / "pictures").exists() is False  # the folder of the drawing is gone


def test_pictures_can_be_dropped(folder: Path, drawn: Any) -> None:
    assert redraw(folder, pictures="none").top_images is None
    assert not (folder / "pictures").exists()
    assert not (folder / "top_images.parquet").exists()


@pytest.mark.parametrize("failing", ["write_report", "contents.write"])
def test_what_was_there_stays_if_anything_fails(
    folder: Path, drawn: Any, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(folder)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"fnx.commands.report.{failing}", fail)
    with pytest.raises(DataError, match=r"one cannot be drawn anew \(No space left on device\)"):
        redraw(folder, pictures="none")
    assert files(folder) == before


def test_only_one_draws_and_remains_of_a_killed_one_are_removed(folder: Path, drawn: Any) -> None:
    with sole_use(folder), pytest.raises(DataError, match="another run is writing there"):
        redraw(folder)
    (folder / ".report-killed/drawn").mkdir(parents=True)
    redraw(folder)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("seed=1", "seed=1: a finished run takes report.KEY=VALUE only"),
        ("report=tables", "report=tables: a finished run takes report.KEY=VALUE only"),
        ("report.top_k=3", "report.top_k: the tables of the run have it; run again"),
        ("report.figures=false", "report.figures: a report has figures"),
        ("report.advice=10", "report.advice: python -m fnx advise RUN gives other advice"),
        ("report.mod=lognormal", r"unknown key 'report.mod' \(did you mean 'report.mode'\?\)"),
        ("report.mode=x", "report.mode=x: allowed are empirical, lognormal"),
        ("report.pictures_per_feature=0", "report.pictures_per_feature=0: must be at least 1"),
        ("report.pictures_per_feature=x", "report.pictures_per_feature"),
        ("report.pair=conv9/1:class 1", "report.pair: unknown layer 'conv9'"),
        ("report.pairs=[fc6/20:class 1]", "report.pairs: fc6 has units 0 to 19, not 20"),
    ],
)
def test_other_keys_and_values_are_refused(
    folder: Path, word: str, told: str, drawn: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(folder)
    with pytest.raises(FnxError, match=told):
        report.main([str(folder), word])
    assert files(folder) == before


def test_raw_distances_are_not_drawn_as_calibrated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"report.distance=calibrated: .* are raw only"):
        redraw(write_run(tmp_path / "run"), distance="calibrated")


def test_the_config_of_a_record_is_that_of_the_run(tiny: Callable[..., Any]) -> None:
    config = tiny("report.pair=a/3:${b}", "dataset.root=/x", "report.formats=[pdf]")
    values = asdict(config) | {"novel": 1}
    values["crops"]["novel"] = 1
    found = recorded(values)
    for group in ("dataset", "model", "crops", "trainer", "report", "paths"):
        assert getattr(found, group) == getattr(config, group)
    older = recorded({"crops": {"size": 99}})
    assert older.report == compose().report
    assert older.crops.size == 99
    with pytest.raises(ConfigError, match="pictures_per_feature"):
        recorded({"report": {"pictures_per_feature": "many"}})


def test_runs_share_plotly_and_a_readme_says_how_large_all_is(
    tmp_path: Path, drawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fnx.report.page import library

    cache = tmp_path / "cache"
    cache.mkdir()
    for name, shared in (("a", cache), ("b", cache), ("c", None), ("d", tmp_path / "none")):
        (tmp_path / name).mkdir()
        library.put(tmp_path / name, shared and str(shared))
    file = {name: (tmp_path / name / library.FILE).stat() for name in "abcd"}
    assert file["a"].st_ino == file["b"].st_ino
    assert (file["a"].st_nlink, file["c"].st_nlink, file["d"].st_nlink) == (3, 1, 1)
    assert not (tmp_path / "none").exists()
    whole = (tmp_path / "c" / library.FILE).read_bytes()
    (shared,) = cache.glob("page/*.js")
    shared.write_text("damaged")
    library.put(tmp_path / "b", str(cache))
    assert shared.read_bytes() == (tmp_path / "b" / library.FILE).read_bytes() == whole

    def refused(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    library.put(tmp_path / "b", str(cache))
    assert (tmp_path / "b" / library.FILE).read_bytes() == whole
    assert shared.stat().st_nlink == 1


def test_the_readme_of_a_run_lists_its_parts_by_size(folder: Path, drawn: Any) -> None:
    (folder / "pictures/conv1_1/4.jpg").write_bytes(bytes(2_500_000))
    shutil.copy(folder / "distances.npy", folder / "own & else")
    os.link(folder / "pictures/conv1_1/4.jpg", folder.parent / "linked")
    redraw(folder)
    lines = (folder / "README.txt").read_text().splitlines()
    assert lines[0] == "A run of fnx: shapes, tinynet, ks"
    assert lines[2].startswith("    2.5 MB *pictures              what activates each feature")
    size = (folder / "distances.npy").stat().st_size
    assert f"{size / 1000:>7.1f} kB  own & else" in lines
    tables = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    assert any(line.startswith(f"{tables / 1000:>7.1f} kB  tables") for line in lines)
    assert any("together, 2.5 MB of it shared with other runs" in line for line in lines)

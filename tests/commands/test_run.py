"""``fnx.run``: the command line from Python."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fnx
from fnx.commands import run as runs
from fnx.errors import ConfigError

QUICK = {
    "dataset": "digits",
    "dataset.limit_per_class": 4,
    "model": "timm",
    "model.name": "test_resnet",
    "model.weights.source": "random",
    "resize": 40,
    "size": 32,
    "trainer": "cpu",
    "num_workers": 0,
    "logger": "none",
    "report": "tables",
}


def test_it_runs_as_the_command_line_does(tmp_path: Path) -> None:
    run = fnx.run(**QUICK, outputs=tmp_path / "out")
    assert isinstance(run, fnx.Run)
    assert run.path.parents[2] == tmp_path / "out"
    assert re.fullmatch(r"\d\d-\d\d-\d\d-digits-test_resnet", run.path.name)
    assert run.images.height == 40
    again = fnx.Run.open(run.path)
    np.testing.assert_array_equal(again.distances, run.distances)
    assert again.record == run.record


def test_a_run_of_the_same_second_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: Any, folder: Path, **_: Any) -> Path:
        assert not list(folder.iterdir())
        (folder / "run.json").touch()
        return folder

    monkeypatch.setattr(runs, "app", SimpleNamespace(run=run))
    config = SimpleNamespace()
    monkeypatch.setattr(runs, "compose_keywords", lambda keywords: (config, tmp_path / "a/b"))
    names = [fnx.run().name for _ in range(3)]  # type: ignore[attr-defined]
    assert names == ["b", "b-2", "b-3"]
    (tmp_path / "file").touch()
    monkeypatch.setattr(runs, "compose_keywords", lambda _: (config, tmp_path / "file/runs/b"))
    line = (
        r"file/runs/b cannot be written \((Not a directory|File exists)\): choose .* paths.outputs$"
    )
    with pytest.raises(ConfigError, match=line):
        fnx.run()


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^statistic.bins=0: must lie in 1 … 65,536$"):
        fnx.run(bins=0, outputs=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []

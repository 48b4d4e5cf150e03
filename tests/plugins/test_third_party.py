"""A package of somebody else, really built and installed, used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "their-measures"
version = "1.2"

[project.entry-points."fnx.plugins"]
theirs = "their_measures"

[tool.hatch.build.targets.wheel]
packages = ["src/their_measures"]
"""

MODULE = '''
"""Somebody's statistic."""

import numpy as np
from fnx import statistic


@statistic("minkowski", range=(0, 1))
def minkowski(inner, outer, parameter: int = 2, scale: float = 1.0):
    """Minkowski distance of the histograms, halved."""
    return scale * 0.5 * (np.abs(inner - outer) ** parameter).sum() ** (1 / parameter)
'''

RECIPE = """
# @package _global_
defaults:
  - override /statistic: minkowski
statistic:
  parameter: 7
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package was installed into."""
    pytest.importorskip("hatchling", reason="hatchling builds the package (extra dev)")
    root = tmp_path_factory.mktemp("third")
    package = root / "their-measures" / "src" / "their_measures"
    (package / "conf" / "experiment").mkdir(parents=True)
    (package / "__init__.py").write_text(MODULE)
    (package / "conf" / "experiment" / "seventh.yaml").write_text(RECIPE)
    (root / "their-measures" / "pyproject.toml").write_text(PYPROJECT)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    install = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    target = ["--target", str(root / "site"), str(root / "their-measures")]
    python = ["--python", sys.executable] if uv else []
    done = subprocess.run(
        [*install, "install", *python, "--no-deps", "--no-build-isolation", *target],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root / "their-measures")  # what is installed stands by itself
    return root / "site"


def call(installed: Path, cwd: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **more}
    environment.pop("FNX_PLUGINS", None) if "FNX_PLUGINS" not in more else None
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["minkowski", "their_measures/minkowski"])
def test_its_name_and_parameters_are_options(name: str, installed: Path, tmp_path: Path) -> None:
    words = ("-m", "fnx", "--cfg", "job", f"statistic={name}", "statistic.parameter=3")
    done = call(installed, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "name: minkowski\n  bins: 100\n  parameter: 3\n  scale: 1.0" in done.stdout


def test_a_value_of_another_type_is_refused_by_name(installed: Path, tmp_path: Path) -> None:
    words = ("-m", "fnx", "statistic=minkowski", "statistic.parameter=three")
    done = call(installed, tmp_path, *words)
    assert done.returncode == 2
    assert "statistic.parameter" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_recipe_it_brings_along_is_found(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, "-m", "fnx", "--cfg", "job", "experiment=seventh")
    assert done.returncode == 0, done.stderr
    assert "parameter: 7" in done.stdout


def test_help_lists_it(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, "-m", "fnx", "--help")
    assert "minkowski" in done.stdout
    assert "Minkowski distance of the histograms, halved." in done.stdout
    assert "statistic.parameter" in done.stdout


def test_distances_are_computed_with_it(installed: Path, tmp_path: Path) -> None:
    code = (
        "import fnx, json; print(json.dumps(fnx.distances([[0.], [.1], [.9], [1.]], [0, 0, 1, 1],"
        " statistic='minkowski', bins=2, parameter=3).tolist()))"
    )
    done = call(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), [[0.5 * 2 ** (1 / 3)] * 2])


@pytest.mark.slow
def test_a_whole_run_with_it(installed: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", np.random.default_rng(0).normal(size=(20, 9)))
    np.save(tmp_path / "labels.npy", np.repeat(["a", "b"], 10))
    # No network takes part, so that torch and the like need not be imported.
    words = ("dataset=array", "dataset.file=values.npy", "dataset.labels=labels.npy", "logger=none")
    words += ("statistic=minkowski", "statistic.parameter=3", "report=tables")
    done = call(installed, tmp_path, "-m", "fnx", *words)
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob("outputs/runs/*/*/run.json")
    statistic = json.loads(record.read_text())["statistic"]
    assert statistic == {"name": "minkowski", "bins": 100, "parameter": 3, "scale": 1.0}
    distances = np.load(record.parent / "distances.npy")
    assert 0 < distances.max() <= 1


def test_the_same_name_in_the_plugins_folder_is_refused_with_both_places(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(MODULE)
    words = ("-m", "fnx", "--cfg", "job", "statistic=minkowski")
    done = call(installed, tmp_path, *words, FNX_PLUGINS="plugins")
    assert done.returncode == 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "mine.py was not loaded: PluginError: two plugins use the name" in done.stderr
    assert "statistic=minkowski: their_measures.minkowski (" in done.stderr


def test_the_first_party_plugins_work_beside_a_checkout_without_being_installed(
    tmp_path: Path,
) -> None:
    folder = Path(__file__).parents[2] / "plugins"
    code = (
        "from fnx.registry import load_folder, statistics, thresholds; from pathlib import Path;"
        f"load_folder(Path({str(folder)!r})); print(statistics.names(), thresholds.names())"
    )
    done = call(tmp_path, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    for name in ("wasserstein", "energy", "cliffs_delta", "cramer_von_mises", "max_statistic"):
        assert name in done.stdout
    done = call(tmp_path, tmp_path, "-m", "fnx", "--cfg", "job", "experiment=fdr",
                FNX_PLUGINS=str(folder))  # fmt: skip
    assert "name: benjamini_hochberg" in done.stdout, done.stderr

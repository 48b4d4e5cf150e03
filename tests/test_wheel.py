"""The wheel: it holds all that a run needs, and runs outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_it_holds_conf_and_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(configs) > 10
    assert names >= {f"fnx/{name}" for name in configs}
    templates = (ROOT / "src/fnx/report/page/templates").iterdir()
    assert names >= {f"fnx/report/page/templates/{path.name}" for path in templates}
    assert "fnx/py.typed" in names


def test_unpacked_elsewhere_it_runs_a_job(
    wheel: Path, tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site)}

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert str(site) in run("-c", "import fnx; print(fnx.__file__)")
    assert "digits" in run("-m", "fnx", "--help")
    run("-m", "fnx", *tiny_words)
    assert len(list(tmp_path.glob("outputs/runs/*/*/report.html"))) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_in_an_empty_environment_it_runs_the_default(wheel: Path, tmp_path: Path) -> None:
    """Needs the package registry, and some minutes for torch and the default's extraction."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["VIRTUAL_ENV"] = str(tmp_path / "venv")

    def run(*command: str | Path) -> str:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run(python, "-m", "pip", "install", "--quiet", "uv")
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "uv", "pip", "install", "--quiet", "--constraint", constraints]
    run(*install, f"fnx-features[demo] @ {wheel.as_uri()}")
    assert "efficientnet_lite0" in run(python, "-m", "fnx", "--help")
    said = run(python, "-m", "fnx")
    assert "1,797 used" in said
    assert len(list(tmp_path.glob("outputs/runs/*/*/report.html"))) == 1

"""Wheels and source distributions: complete, reproducible, and running outside the repository."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from contextlib import chdir
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.build import build_sdist, build_wheel

ROOT = Path(__file__).parents[1]
PROJECTS = {
    "fnx_features": ROOT,
    **{f"fnx_features_{p.name[4:]}": p for p in ROOT.glob("plugins/*")},
}
# Quick: the default's network and data, but few images, one crop of each and one figure format.
SHORT = "dataset.limit_per_class=2 crops=center threshold.permutations=1 logger=none trainer=cpu "
SHORT += "trainer.num_workers=0 report.formats=[] report.pictures=none"


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project."""
    with chdir(project):
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {name: built(project, folder) for name, project in PROJECTS.items()}


def settings(project: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    return found


def test_it_holds_conf_templates_and_licence_and_nothing_else(wheels: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(wheels["fnx_features"]).namelist())
    version = settings(ROOT)["version"]
    conf = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(conf) > 10
    assert names >= {f"fnx/{name}" for name in conf}
    inside = {path for path in (ROOT / "src/fnx").rglob("*") if path.is_file()}
    expected = {path.relative_to(ROOT / "src").as_posix() for path in inside
                if "__pycache__" not in path.parts}  # fmt: skip
    assert "fnx/report/page/templates/report.html.j2" in expected
    assert "fnx/py.typed" in expected
    assert {name for name in names if not re.match(r"fnx_features-|fnx/conf/", name)} == expected
    assert f"fnx_features-{version}.dist-info/licenses/LICENSE" in names


def contents(wheel: Path) -> dict[str, bytes]:
    archive = zipfile.ZipFile(wheel)
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_source_distribution_builds_the_same_wheel(
    name: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    with chdir(PROJECTS[name]):
        sdist = tmp_path / build_sdist(str(tmp_path))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "again").mkdir()
    again = built(sdist.with_name(sdist.name.removesuffix(".tar.gz")), tmp_path / "again")
    assert again.name == wheels[name].name
    assert contents(again) == contents(wheels[name])
    assert any(re.search("licenses/LICENSE$", inside) for inside in contents(again))


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_imported_is_declared(name: str) -> None:
    """The environment of the tests has more, and another's dependencies may change."""
    project = PROJECTS[name]
    declared = settings(project)
    extras = declared.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    assert isinstance(declared["dependencies"], list)
    ours = [value for key, value in extras.items() if key not in ("dev", "docs")]
    known = {normal(word) for words in (declared["dependencies"], *ours) for word in words}
    providers = packages_distributions()
    own = {path.name for path in (project / "src").iterdir()}
    for module in imported(project / "src") - own - sys.stdlib_module_names - {"_typeshed"}:
        found = {normal(name) for name in providers.get(module, [])}
        assert found & known or (module == "fnx" and "fnx-features" in known), module


def normal(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def imported(folder: Path) -> set[str]:
    """Names of the modules at the top that the files below a folder import."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


@pytest.fixture(scope="module")
def python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with these wheels, and what they need lent by the environment of the tests.

    A path in a `.pth` file lends the packages, but not this checkout, which a `.pth` there names.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    install = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    command = [*install, "install", "--python", python, "--no-deps", "--no-index", *wheels.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Numba knows what it has compiled by the source's name, time and size.
    for file in (ROOT / "src/fnx/statistics").rglob("*.py"):
        stamp, installed = file.stat(), site / file.relative_to(ROOT / "src")
        os.utime(installed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        for kept in file.parent.glob(f"__pycache__/{file.stem}.*.nb?"):
            (installed.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(kept, installed.parent / "__pycache__")
    return python


def call(python: Path, cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    leaky = ("PYTHONPATH", "VIRTUAL_ENV", "FNX_PLUGINS", "FNX_CACHE", "FNX_DATA")
    environment = {key: value for key, value in os.environ.items() if key not in leaky}
    done = subprocess.run(
        [python, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_installed_it_knows_its_version_and_finds_the_plugin_packages(
    python: Path, tmp_path: Path
) -> None:
    code = """
import sys, fnx
from importlib.metadata import version
from fnx.registry import load_installed, registry, statistics, thresholds
load_installed()
print(fnx.__file__, fnx.__version__, version("fnx-features"), registry.failures)
for entry in (*statistics, *thresholds):
    print(entry.name, entry.package)
"""
    first, *lines = call(python, tmp_path, "-c", code).stdout.splitlines()
    version = settings(ROOT)["version"]
    assert first.startswith(str(python.parents[1]))
    assert first.endswith(f"fnx/__init__.py {version} {version} {{}}")
    found = set(lines)
    assert found >= {"wasserstein fnx_transport", "energy fnx_transport", "ks fnx"}
    assert found >= {"cliffs_delta fnx_rank", "cramer_von_mises fnx_rank"}
    assert found >= {"benjamini_hochberg fnx_fdr", "max_statistic fnx_fdr"}
    assert call(python.with_name("fnx"), tmp_path, "--version").stdout == f"fnx {version}\n"


def test_installed_it_runs_the_default_in_short_form(python: Path, tmp_path: Path) -> None:
    done = call(python.with_name("fnx"), tmp_path, *SHORT.split())
    assert "20 used" in done.stdout
    assert "Warning" not in done.stderr
    (page,) = tmp_path.glob("outputs/runs/*/*/report.html")
    assert (page.parent / "run.json").is_file()
    assert (page.parent / "report/plotly.min.js").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_in_an_empty_environment_it_runs_the_default(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    """Needs the package registry, and some minutes for torch and the default's extraction."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    call(python, tmp_path, "-m", "pip", "install", "--quiet", "uv")
    install = ["-m", "uv", "pip", "install", "--quiet", "--python", python]
    install += ["--constraint", ROOT / "constraints.txt"]
    call(python, tmp_path, *install, f"fnx-features[demo] @ {wheels['fnx_features'].as_uri()}")
    assert "efficientnet_lite0" in call(python, tmp_path, "-m", "fnx", "--help").stdout
    assert "1,797 used" in call(python, tmp_path, "-m", "fnx").stdout
    assert len(list(tmp_path.glob("outputs/runs/*/*/report.html"))) == 1

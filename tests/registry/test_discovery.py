"""How plugins are found and loaded, and what becomes of those that fail."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fnx
from fnx.errors import ConfigError
from fnx.registry import discovery, load_folder, load_installed, registry, statistics

pytestmark = pytest.mark.usefixtures("restored_registry")

STATISTIC = """
from __future__ import annotations
import numpy as np
from fnx import statistic

@statistic("{name}", range=(0, 1))
def {name}(inner, outer, power: float = 1.0, sides: int | None = None, title: str = "x"):
    '''A test distance.'''
    return 0.5 * np.abs(inner - outer).sum() ** power
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def install(site: Path, module: str, text: str, point: str = "x") -> None:
    """Make a package that is installed below `site`, with an entry point."""
    write(site / f"{module}/__init__.py", text)
    write(site / f"{module}-1.0.dist-info/METADATA", f"Name: {module}\nVersion: 1.0\n")
    points = f"[fnx.plugins]\n{point} = {module}\n[console_scripts]\nx = no_such_module:main\n"
    write(site / f"{module}-1.0.dist-info/entry_points.txt", points)


def failed() -> dict[str, str]:
    return {Path(name).name: reason for name, reason in registry.failures.items()}


def test_files_and_packages_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "one_file.py", STATISTIC.format(name="from_file"))
    write(tmp_path / "third-party/src/third_party/__init__.py", "")
    write(tmp_path / "third-party/src/third_party/inside.py", STATISTIC.format(name="from_src"))
    write(tmp_path / "third-party/src/third_undeclared/__init__.py", "raise RuntimeError")
    write(tmp_path / "third-party/conf/experiment/third.yaml", "")
    write(
        tmp_path / "third-party/pyproject.toml",
        '[project.entry-points."fnx.plugins"]\nx = "third_party.inside:attribute"\n',
    )
    write(tmp_path / "flat/flat_package/__init__.py", STATISTIC.format(name="from_flat"))
    write(tmp_path / "flat/tests/__init__.py", "raise RuntimeError")
    write(tmp_path / "flat_bare/__init__.py", STATISTIC.format(name="from_bare"))
    write(tmp_path / "flat_bare/conf/experiment/bare.yaml", "")
    write(tmp_path / "conf/experiment/nobodys.yaml", "")
    for hidden in ("_hidden.py", ".hidden.py", "notes.txt"):
        write(tmp_path / hidden, "raise RuntimeError")
    load_folder(tmp_path)
    assert registry.failures == {}
    assert {"from_file", "from_src", "from_flat", "from_bare"} <= set(statistics.names())
    entry = statistics.get("from_file")
    assert entry.parameters["sides"].type == int | None
    assert (entry.package, statistics.get("from_src").package) == (
        "fnx_plugin_one_file",
        "third_party",
    )
    assert discovery.conf_folders() == [
        tmp_path / "flat_bare/conf",
        tmp_path / "third-party/conf",
    ]


def test_a_second_time_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "once.py", STATISTIC.format(name="once"))
    write(tmp_path / "never.py", "raise RuntimeError('once')")
    load_folder(tmp_path)
    entry, modules = statistics.get("once"), sys.modules["fnx_plugin_once"]
    caplog.clear()
    load_folder(tmp_path)
    assert statistics.get("once") is entry
    assert sys.modules["fnx_plugin_once"] is modules
    assert caplog.text == ""


def test_a_folder_that_is_not_there_has_no_plugins(tmp_path: Path) -> None:
    before = statistics.names()
    load_folder(tmp_path / "none")
    assert statistics.names() == before
    message = f"^FNX_PLUGINS={re.escape(str(tmp_path / 'none'))}: no such folder$"
    with pytest.raises(ConfigError, match=message):
        load_folder(tmp_path / "none", asked_for="FNX_PLUGINS")


@pytest.mark.parametrize("name", ["statistics", "test", "numpy", "colorsys"])
@pytest.mark.parametrize("where", ["{name}", "project-{name}/src/{name}"])
def test_a_package_may_have_the_name_of_another_module(
    name: str, where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is loaded by another name, and what else uses that module goes on using it."""
    folder = tmp_path / where.format(name=name)
    write(folder / "__init__.py", "from .inside import shadowed")
    write(folder / "inside.py", STATISTIC.format(name="shadowed"))
    load_folder(tmp_path)
    assert registry.failures == {}
    assert caplog.text == ""
    assert statistics.get("shadowed").package == f"fnx_plugin_{name}"
    assert fnx.distances([[0.0], [1.0]], [0, 1], statistic="shadowed").tolist() == [[1, 1]]
    assert not str(importlib.import_module(name).__file__).startswith(str(tmp_path))


def test_modules_of_one_name_in_several_projects_are_all_loaded(tmp_path: Path) -> None:
    for project in ("a", "b", "c"):
        text = STATISTIC.format(name="same" if project != "a" else "of_a")
        write(tmp_path / f"{project}/src/third_twin/__init__.py", text.replace("same", project * 2))
    load_folder(tmp_path)
    assert registry.failures == {}
    assert statistics.get("of_a").package == "third_twin"
    assert statistics.get("bb").package == "fnx_plugin_third_twin"
    assert statistics.get("cc").package == "fnx_plugin_third_twin_"


def test_a_package_that_goes_by_another_name_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    text = STATISTIC.format(name="half_shadowed") + "raise RuntimeError('half')"
    write(tmp_path / "numpy/__init__.py", text)
    load_folder(tmp_path)
    assert list(failed().values()) == ["RuntimeError: half"]
    assert "half_shadowed" not in statistics.names()
    assert "fnx_plugin_numpy" not in sys.modules


def test_an_installed_plugin_is_not_loaded_again_from_the_folder(tmp_path: Path) -> None:
    install(tmp_path / "site", "third_both", STATISTIC.format(name="both"))
    sys.path.append(str(tmp_path / "site"))
    write(tmp_path / "plugins/x/src/third_both/__init__.py", STATISTIC.format(name="both"))
    load_installed()
    load_folder(tmp_path / "plugins")
    assert registry.failures == {}
    assert statistics.get("both").package == "third_both"
    assert str(tmp_path / "site") in statistics.get("both").origin


@pytest.mark.parametrize("file", ["mine/measure.py", "mine/src/measure.py", "mine/src/a/b.py"])
def test_a_folder_of_python_files_that_is_no_package_is_named(
    file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / file, STATISTIC.format(name="unreached"))
    write(tmp_path / "data/table.csv", "a,b")
    write(tmp_path / "tests/test_mine.py", "raise RuntimeError")
    load_folder(tmp_path)
    load_folder(tmp_path)
    assert failed() == {"mine": "it has no __init__.py: add one that imports its modules"}
    assert caplog.text.count(f"plugin {tmp_path / 'mine'} was not loaded: it has no __init__") == 1
    with pytest.raises(ConfigError, match=r"plugins that failed to load: .*mine"):
        statistics.get("unreached")


def test_a_module_that_is_declared_and_has_the_name_of_another_is_named(tmp_path: Path) -> None:
    write(tmp_path / "p/src/colorsys.py", STATISTIC.format(name="hidden_module"))
    points = '[project.entry-points."fnx.plugins"]\nx = "colorsys"\n'
    write(tmp_path / "p/pyproject.toml", points)
    load_folder(tmp_path)
    (reason,) = failed().values()
    assert reason == ("PluginError: its module colorsys has the name of another one: rename it")


def test_a_broken_plugin_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "bad.py", "import no_such_module_anywhere")
    write(tmp_path / "worse.py", "import sys; sys.exit(3)")
    write(tmp_path / "lines.py", "raise ValueError('one\\n  two')")
    write(tmp_path / "project/pyproject.toml", "not = [toml")
    write(tmp_path / "project/flat_in_it/__init__.py", STATISTIC.format(name="in_it"))
    write(tmp_path / "zgood.py", STATISTIC.format(name="good"))
    load_folder(tmp_path)
    assert failed() == {
        "bad.py": "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        "worse.py": "SystemExit: 3",
        "lines.py": "ValueError: one two",
    }
    assert f"plugin {tmp_path / 'bad.py'} was not loaded: ModuleNotFoundError" in caplog.text
    assert "project: pyproject.toml cannot be read" in caplog.text
    assert {"good", "in_it"} <= set(statistics.names())
    assert "fnx_plugin_bad" not in sys.modules
    with pytest.raises(ConfigError, match=r"plugins that failed to load: .*bad.py"):
        statistics.get("wanted_from_bad")


def test_a_plugin_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    threshold = "\n@fnx.threshold('half_strategy')\ndef s(real, random): ...\n"
    text = STATISTIC.format(name="half_there") + "import fnx" + threshold + "raise RuntimeError"
    write(tmp_path / "half.py", text)
    load_folder(tmp_path)
    assert failed() == {"half.py": "RuntimeError: "}
    assert "half_there" not in statistics.names()
    assert "half_strategy" not in registry.thresholds.names()


def test_of_two_plugins_with_one_name_the_second_is_refused_with_both_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "first.py", STATISTIC.format(name="same"))
    _, _, body = STATISTIC.format(name="same").partition("from fnx import statistic")
    write(tmp_path / "second.py", STATISTIC.format(name="another") + body)
    write(tmp_path / "third.py", STATISTIC.format(name="third"))
    load_folder(tmp_path)
    (reason,) = failed().values()
    assert "two plugins use the name statistic=same: fnx_plugin_first.same (" in reason
    assert f"first.py) and fnx_plugin_second.same ({tmp_path / 'second.py'})" in reason
    assert reason in caplog.text
    assert {"same", "third", "another"} & set(statistics.names()) == {"same", "third"}
    assert fnx.distances([[0.0], [1.0]], [0, 1], statistic="same").tolist() == [[1, 1]]


def test_a_default_of_another_type_names_its_plugin_and_not_the_command_line(
    tmp_path: Path,
) -> None:
    text = STATISTIC.format(name="wrong_default").replace("power: float = 1.0", "power: int = 1.5")
    write(tmp_path / "wrong.py", text)
    load_folder(tmp_path)
    assert failed()["wrong.py"] == (
        "PluginError: statistic 'wrong_default': default power=1.5: must be int"
    )


def test_installed_packages_are_found_by_their_entry_points(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "third_a", STATISTIC.format(name="from_a"))
    install(tmp_path, "third_b", STATISTIC.format(name="from_b"))
    install(tmp_path, "third_c", STATISTIC.format(name="from_c") + "raise RuntimeError('no')")
    write(tmp_path / "third_a/conf/experiment/a.yaml", "")
    sys.path.append(str(tmp_path))
    load_installed()
    assert {"from_a", "from_b", "from_c"} & set(statistics.names()) == {"from_a", "from_b"}
    assert discovery.conf_folders() == [tmp_path / "third_a/conf"]
    assert registry.failures == {"entry point x (third_c)": "RuntimeError: no"}
    assert caplog.text.count("was not loaded") == 1
    load_installed()
    assert caplog.text.count("was not loaded") == 1


def test_the_api_executes_no_file_of_the_working_directory(tmp_path: Path) -> None:
    evil = "raise SystemExit('executed')"
    write(tmp_path / "plugins/evil.py", evil)
    write(tmp_path / "plugins/evil_package/__init__.py", evil)
    install(tmp_path, "evil_installed", evil)
    code = (
        "import fnx; fnx.distances([[0.], [1.]], [0, 1]);"
        "import numpy as np; fnx.find_thresholds(np.ones((1, 2)), np.zeros((1, 1, 2)));"
        "fnx.statistic('mine', range=(0, 1))(lambda inner, outer: 0.5);"
        "fnx.distances([[0.], [1.]], [0, 1], statistic='mine')"
    )
    command = f"import sys; sys.path[:0] = ['', {str(tmp_path)!r}]; {code}"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_fnx_and_loading_plugins_is_cheap() -> None:
    code = (
        "import sys, fnx; fnx.statistic; from fnx.registry import load_installed; load_installed();"
        "print([m for m in ('numba', 'torch', 'lightning', 'hydra', 'scipy', 'polars',"
        " 'matplotlib', 'timm') if m in sys.modules], fnx.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fnx.nothing

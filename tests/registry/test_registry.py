"""Plugins: how they are found, what becomes of their parameters, and how they fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fnx
from fnx.errors import ConfigError, PluginError
from fnx.registry import discovery as plugin_loading
from fnx.registry import registry

STATISTIC = """
from __future__ import annotations
import numpy as np
from fnx import statistic

@statistic("{name}", range=(0, 1))
def {name}(inner, outer, power: float = 1.0, sides: int | None = None, title: str = "x"):
    '''A test distance.'''
    return 0.5 * np.abs(inner - outer).sum() ** power
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a registry of its own."""
    registry.discover()
    monkeypatch.setattr(registry, "_ENTRIES", {k: dict(v) for k, v in registry._ENTRIES.items()})
    monkeypatch.setattr(registry, "_CONFLICTS", [])
    for name in ("_LOADED", "_FAILED", "_FOLDERS"):
        monkeypatch.setattr(plugin_loading, name, dict(getattr(plugin_loading, name)))
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("fnx_plugin_", "third_", "flat_")):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_built_ins_are_there() -> None:
    assert {"ks", "ks_exact"} <= registry.statistics().keys()
    assert "randomized_labels" in registry.thresholds()
    assert registry.get_statistic("ks").signed
    assert registry.summary(registry.get_statistic("ks")).startswith("Signed Kolmogorov")


def test_parameters_become_a_schema() -> None:
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import ValidationError

    ks = OmegaConf.structured(registry.config_class(registry.get_statistic("ks")))
    assert ks == {"name": "ks", "bins": 100}
    ks.bins = None
    with pytest.raises(ValidationError):
        ks.bins = "abc"
    threshold = registry.config_class(registry.get_threshold("randomized_labels"))
    assert OmegaConf.structured(threshold) == {
        "name": "randomized_labels", "permutations": 5, "step": 0.001
    }  # fmt: skip
    store = ConfigStore()
    registry.register_configs(store)
    assert {"ks.yaml", "ks_exact.yaml"} <= set(store.list("statistic"))


def test_files_and_packages_of_the_plugins_folder(tmp_path: Path) -> None:
    write(tmp_path / "one_file.py", STATISTIC.format(name="from_file"))
    write(tmp_path / "third-party/src/third_party/__init__.py", "")
    write(tmp_path / "third-party/src/third_party/inside.py", STATISTIC.format(name="from_src"))
    write(tmp_path / "third-party/conf/experiment/third.yaml", "")
    write(
        tmp_path / "third-party/pyproject.toml",
        '[project.entry-points."fnx.plugins"]\nx = "third_party.inside"\n',
    )
    write(tmp_path / "flat/flat_package/__init__.py", STATISTIC.format(name="from_flat"))
    write(tmp_path / "flat_bare/__init__.py", STATISTIC.format(name="from_bare"))
    write(tmp_path / "_hidden.py", "raise RuntimeError")
    assert registry.discover(tmp_path) == {}
    found = registry.statistics()
    assert {"from_file", "from_src", "from_flat", "from_bare"} <= found.keys()
    assert found["from_file"].parameters["sides"].type == int | None
    assert f"file://{tmp_path}/third-party/conf" in registry.search_paths()
    assert registry.discover(tmp_path) == {}  # a second time changes nothing


def test_the_folder_is_beside_the_working_directory_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a/plugins/p.py", STATISTIC.format(name="beside"))
    write(tmp_path / "b/q.py", STATISTIC.format(name="elsewhere"))
    monkeypatch.chdir(tmp_path / "a")
    monkeypatch.delenv("FNX_PLUGINS", raising=False)
    assert registry.get_statistic("beside").name == "beside"
    monkeypatch.setenv("FNX_PLUGINS", str(tmp_path / "b"))
    assert registry.get_statistic("elsewhere").name == "elsewhere"


def test_a_broken_plugin_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "bad.py", "import no_such_module_anywhere")
    write(tmp_path / "worse.py", "import sys; sys.exit(3)")
    write(tmp_path / "good.py", STATISTIC.format(name="good"))
    failed = registry.discover(tmp_path)
    assert {Path(name).name for name in failed} == {"bad.py", "worse.py"}
    assert "ModuleNotFoundError: No module named" in failed[str(tmp_path / "bad.py")]
    assert "bad.py was not loaded" in caplog.text
    assert "good" in registry.statistics()
    with pytest.raises(ConfigError, match=r"plugins that failed to load: .*bad.py"):
        registry.get_statistic("wanted_from_bad")


def test_two_plugins_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path / "first.py", STATISTIC.format(name="same"))
    write(tmp_path / "second.py", STATISTIC.format(name="same"))
    with pytest.raises(PluginError, match=r"statistic=same: .*first\.py.* and .*second\.py"):
        registry.discover(tmp_path)


def test_a_function_defined_again_in_its_place_replaces_itself() -> None:
    for default in (1, 2):

        @fnx.statistic("again", range=(0, 1))
        def again(inner: Any, outer: Any, k: int = default) -> float:
            return 0.0

    assert registry.get_statistic("again").parameters["k"].default == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(inner): ...", "must take 2 arrays"),
        ("def f(inner, outer, k): ...", "'k' needs a default"),
        ("def f(inner, outer, **k): ...", "has no name, type or default"),
        ("def f(inner, outer, bins: int = 3): ...", "'bins' is fnx's own"),
        ("def f(inner, outer, k: bytes = b''): ...", "'k' has type"),
    ],
)
def test_signatures_that_cannot_become_a_schema(body: str, message: str) -> None:
    scope: dict[str, Any] = {}
    exec(body, scope)
    with pytest.raises(PluginError, match=message):
        fnx.statistic("f", range=(0, 1))(scope["f"])


def test_a_plugin_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    write(tmp_path / "half.py", STATISTIC.format(name="half_there") + "\nraise RuntimeError('x')")
    (failed,) = registry.discover(tmp_path).items()
    assert failed[0].endswith("half.py")
    assert "half_there" not in registry.statistics()


def test_a_default_of_another_type_names_its_plugin_and_not_the_command_line(
    tmp_path: Path,
) -> None:
    text = STATISTIC.format(name="wrong_default").replace("power: float = 1.0", "power: int = 1.5")
    write(tmp_path / "wrong.py", text)
    (reason,) = registry.discover(tmp_path).values()
    assert "'wrong_default': default power=1.5: must be int" in reason


def test_values_are_checked_before_any_work() -> None:
    with pytest.raises(ConfigError, match=r"statistic\.epsilon=2"):
        registry.bind(registry.get_statistic("kl"), {"epsilon": 2.0})
    with pytest.raises(ConfigError, match=r"threshold\.q=1: must lie between 0 and 1"):
        registry.bind(registry.get_threshold("quantile"), {"q": 1.0})


def test_declarations_that_cannot_work() -> None:
    with pytest.raises(PluginError, match="'a b': a name is made of"):
        fnx.statistic("a b", range=(0, 1))
    with pytest.raises(PluginError, match="constant=2 is outside"):
        fnx.statistic("f", range=(0, 1), constant=2)
    with pytest.raises(PluginError, match="is empty"):
        fnx.statistic("f", range=(1, 1))
    with pytest.raises(PluginError, match="on='bins'; allowed"):
        fnx.statistic("f", range=(0, 1), on="bins")


def test_parameters_are_checked_when_bound() -> None:
    ks = registry.get_statistic("ks")
    assert registry.bind(ks, {"name": "ks"}) == {"bins": 100}
    assert registry.bind(ks, {"bins": None}) == {"bins": None}
    with pytest.raises(ConfigError, match="must be int or null"):
        registry.bind(ks, {"bins": 2.5})
    with pytest.raises(ConfigError, match="must be int or null"):
        registry.bind(ks, {"bins": True})


def test_importing_fnx_and_discovering_is_cheap() -> None:
    code = (
        "import sys, fnx; fnx.statistic; from fnx import registry; registry.discover();"
        "print([m for m in ('numba', 'torch', 'lightning', 'hydra', 'scipy', 'polars')"
        " if m in sys.modules], fnx.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fnx.nothing

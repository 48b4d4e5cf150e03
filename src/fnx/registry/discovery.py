"""Finds and imports plugins: installed packages, and the files and packages of a folder."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from fnx.errors import ConfigError, PluginError
from fnx.registry.backbones import backbones
from fnx.registry.registry import Registry, failures, load_built_in, statistics, thresholds

log = logging.getLogger(__name__)

GROUP = "fnx.plugins"
_REGISTRIES: tuple[Registry[Any], ...] = (statistics, thresholds, backbones)

_loaded: dict[str, list[Path]] = {}  # plugin -> folders that may have a conf/ of it


def load_installed() -> None:
    """Load fnx's own statistics and strategies and the installed plugins, each of them once.

    An installed plugin is a package with an entry point ``fnx.plugins``. The working directory is
    not looked at, wherever it stands in ``sys.path``. A plugin that cannot be loaded is a warning
    with the reason, and the others go on working.
    """
    load_built_in()
    for point in _entry_points(_path()):
        plugin = f"entry point {point.name} ({point.value})"
        _load(plugin, point.module, partial(importlib.import_module, point.module))


def load_folder(folder: Path, *, asked_for: str | None = None) -> None:
    """Load the files and packages of a plugins folder, if there is one; for the command line.

    A ``.py`` file is a plugin; so is a package, and a project (a folder with ``src/`` or
    ``pyproject.toml``), which need not be installed. As in `load_installed`, a plugin that fails
    is a warning; so is a folder of Python files that is none of these. `asked_for` is the variable
    that names the folder.

    Raises:
        ConfigError: a folder that is asked for is not there.
    """
    if not folder.is_dir():
        if asked_for is not None:
            raise ConfigError(f"{asked_for}={folder}: no such folder")
        return
    for path in sorted(folder.resolve().iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_file() and path.suffix == ".py":
            name = f"fnx_plugin_{path.stem}"
            _load(str(path), name, partial(_import_file, name, path))
        elif path.is_dir():
            modules = list(_modules_of(path))
            for name, root in modules:
                _load(f"{path} ({name})", name, partial(_import_from, name, root), path)
            code = any(path.glob("*.py")) or any(path.glob("src/**/*.py"))
            if code and not modules and path.name != "tests":
                _fail(str(path), "it has no __init__.py: add one that imports its modules")


def number_loaded() -> int:
    """Return how many plugins are loaded, those that are installed included."""
    return len(_loaded)


def conf_folders() -> list[Path]:
    """Return the ``conf`` folders of loaded plugins: in the package, or in its project."""
    folders = [place / "conf" for places in _loaded.values() for place in places]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _path() -> tuple[str, ...]:
    """Return where modules are looked for, without the working directory."""
    return tuple(p for p in sys.path if not (Path(p).exists() and Path(p).samefile(".")))


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of what is installed on `path`: reading them takes a while."""
    found = (point for one in distributions(path=list(path)) for point in one.entry_points)
    return tuple(sorted({point for point in found if point.group == GROUP}))


def _load(plugin: str, name: str, load: Callable[[], ModuleType], *places: Path) -> None:
    """Import a plugin once, whole or not at all."""
    if plugin in _loaded or plugin in failures:
        return
    try:
        module = load()
    # A plugin is anybody's code: whatever it raises must not take the others down.
    except (Exception, SystemExit) as error:
        for registry in _REGISTRIES:
            registry.discard(name.partition(".")[0])
        _fail(plugin, f"{type(error).__name__}: {' '.join(str(error).split())}")
        return
    # Of a package, not of a file that lies beside others.
    inside = [Path(path) for path in getattr(module, "__path__", ())]
    _loaded[plugin] = [*inside, *places]


def _fail(plugin: str, why: str) -> None:
    if plugin not in failures:  # told once
        failures[plugin] = why
        log.warning("plugin %s was not loaded: %s", plugin, why)


def _modules_of(project: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules to import from a plugin's folder, each with the folder that holds it."""
    if (project / "__init__.py").is_file():
        yield project.name, project.parent
        return
    root = project / "src" if (project / "src").is_dir() else project
    packages = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    for name in _declared_modules(project) or [one for one in packages if one != "tests"]:
        yield name, root


def _declared_modules(project: Path) -> list[str]:
    """Return the modules that ``pyproject.toml`` declares as entry points ``fnx.plugins``."""
    path = project / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text()) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        log.warning("plugin %s: %s cannot be read: %s", project, path.name, error)
        return []
    points = table.get("project", {}).get("entry-points", {}).get(GROUP, {})
    return list(dict.fromkeys(str(value).partition(":")[0] for value in points.values()))


def _import_file(name: str, path: Path) -> ModuleType:
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: typing.get_type_hints looks modules up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        for registry in _REGISTRIES:
            registry.discard(name)
        raise
    return module


def _import_from(name: str, root: Path) -> ModuleType:
    # Appended, not put first: an installed plugin of that name wins, and is then the same plugin.
    if str(root) not in sys.path:
        sys.path.append(str(root))
        importlib.invalidate_caches()
    top = name.partition(".")[0]
    if not _is_elsewhere(top, root):
        return importlib.import_module(name)
    if not (root / top / "__init__.py").is_file():
        raise PluginError(f"its module {name} has the name of another one: rename it")
    # The name is that of a module of Python's or of a library: the plugin goes by another one.
    other = f"fnx_plugin_{top}"
    while other in sys.modules:
        other += "_"
    _import_file(other, root / top / "__init__.py")
    return importlib.import_module(other + name.removeprefix(top))


def _is_elsewhere(top: str, root: Path) -> bool:
    """Return whether a module of that name, other than an installed plugin, is not of `root`."""
    if any(point.module.partition(".")[0] == top for point in _entry_points(_path())):
        return False
    module = sys.modules.get(top)
    spec = importlib.util.find_spec(top) if module is None else getattr(module, "__spec__", None)
    if spec is None:
        return False
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return not any(Path(place).resolve().is_relative_to(root.resolve()) for place in places)

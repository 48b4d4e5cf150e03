"""Finds and imports plugins: fnx's own, entry points and the files and packages of a folder."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from fnx.registry import registry

log = logging.getLogger(__name__)

BUILT_IN = (
    "fnx.statistics.definitions",
    "fnx.statistics.definitions_histogram",
    "fnx.statistics.definitions_samples",
    "fnx.thresholds.strategies",
)
GROUP = "fnx.plugins"

_LOADED: dict[str, ModuleType] = {}  # what was asked for -> its module
_FAILED: dict[str, str] = {}
_FOLDERS: dict[str, Path] = {}  # project folder of a plugin that came from the plugins folder


def load_all(folder: Path | None = None) -> None:
    """Import the built-ins and all plugins that are not imported yet."""
    for name in BUILT_IN:
        importlib.import_module(name)
    for point in _entry_points(tuple(sys.path)):
        _load(f"entry point {point.name}", partial(_entry_point, point))
    if folder is None:
        folder = Path(os.environ.get("FNX_PLUGINS") or "plugins")
    if folder.is_dir():
        _load_folder(folder.resolve())


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of what is installed on `path`: reading them takes tens of milliseconds."""
    return tuple(entry_points(group=GROUP))


def failures() -> dict[str, str]:
    """Plugins that could not be loaded, with the reason in one line."""
    return _FAILED


def conf_folders() -> list[Path]:
    """``conf`` folders of loaded plugins: in the package, or beside it in its project."""
    places = [Path(m.__file__).parent for m in _LOADED.values() if m.__file__ and _is_package(m)]
    folders = [place / "conf" for place in [*places, *_FOLDERS.values()]]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _load_folder(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_file() and path.suffix == ".py":
            _load(str(path), partial(_import_file, path))
        elif path.is_dir():
            for name, root in _modules_of(path):
                key = f"{path} ({name})"
                if _load(key, partial(_import_from, name, root)):
                    _FOLDERS[key] = path


def _load(key: str, load: Callable[[], ModuleType]) -> bool:
    """Import once; a plugin that fails is remembered by name and the others go on."""
    if key in _LOADED:
        return True
    if key in _FAILED:
        return False
    try:
        with registry.undone_if_it_fails():
            _LOADED[key] = load()
    # A plugin is anybody's code: whatever it raises must not take the others down.
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        _FAILED[key] = f"{type(error).__name__}: {reason}"
        log.warning("plugin %s was not loaded: %s", key, _FAILED[key])
        return False
    return True


def _modules_of(project: Path) -> Iterator[tuple[str, Path]]:
    """Names of the modules to import from a plugin's folder, each with the folder that holds it."""
    if (project / "__init__.py").is_file():
        yield project.name, project.parent
        return
    root = project / "src" if (project / "src").is_dir() else project
    declared = _declared_modules(project)
    for name in declared or _packages(root):
        yield name, root


def _declared_modules(project: Path) -> list[str]:
    """Modules that ``pyproject.toml`` declares as entry points of group ``fnx.plugins``."""
    path = project / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text()) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        log.warning("plugin %s: %s cannot be read: %s", project, path.name, error)
        return []
    points = table.get("project", {}).get("entry-points", {}).get(GROUP, {})
    return list(dict.fromkeys(str(value).partition(":")[0] for value in points.values()))


def _packages(root: Path) -> list[str]:
    return [p.parent.name for p in sorted(root.glob("*/__init__.py")) if p.parent.name != "tests"]


def _import_file(path: Path) -> ModuleType:
    name = f"fnx_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: typing.get_type_hints looks modules up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_from(name: str, root: Path) -> ModuleType:
    # Appended, not put first: an installed package of that name wins, and is then the same plugin.
    if str(root) not in sys.path:
        sys.path.append(str(root))
        importlib.invalidate_caches()
    return importlib.import_module(name)


def _entry_point(point: EntryPoint) -> ModuleType:
    loaded = point.load()
    if isinstance(loaded, ModuleType):
        return loaded
    return sys.modules[str(getattr(loaded, "__module__", __name__))]


def _is_package(module: ModuleType) -> bool:
    return hasattr(module, "__path__")

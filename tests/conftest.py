"""Fixtures of the whole suite."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from fnx.config.schema import Config

pytest_plugins = ["tests.strict_skips"]

# A busy machine is no failure: no test is timed.
settings.register_profile("fnx", parent=settings.default, deadline=None, print_blob=True)
settings.load_profile("fnx")

# Untrained, tiny and quick: what most tests of the machinery run through.
TINY = (
    "dataset=digits",
    "dataset.limit_per_class=4",
    "model=timm",
    "model.name=test_resnet",
    "model.weights.source=random",
    "crops.resize=40",
    "crops.size=32",
    "trainer=cpu",
    "trainer.num_workers=0",
    "logger=none",
    "report.advice=0",
)
PLACE = Path("/the/outputs")


@pytest.fixture(scope="session", autouse=True)
def quiet_trackers() -> None:
    """No test may reach a tracker's server, whoever's key lies on the machine."""
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_SILENT"] = "true"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights that lies beside some checkouts (or FNX_SHARED)."""
    shared = Path(os.environ.get("FNX_SHARED", Path(__file__).parents[2] / "shared"))
    if not (shared / "data").is_dir():
        pytest.skip("real images and weights (FNX_SHARED or ../shared) are not on this machine")
    return shared / "data"


@pytest.fixture
def restored_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers or fails to load is forgotten after it."""
    from fnx.registry import backbones, discovery, load_installed, registry

    load_installed()
    for kind in (registry.statistics, registry.thresholds, backbones):
        monkeypatch.setattr(kind, "_entries", dict(kind._entries))
    monkeypatch.setattr(discovery, "_loaded", dict(discovery._loaded))
    failures, path, modules = dict(registry.failures), list(sys.path), set(sys.modules)
    yield
    registry.failures.clear()
    registry.failures.update(failures)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("fnx_plugin_", "third_", "flat_")):
            del sys.modules[name]


def _compose(outputs: Path, *overrides: str) -> Config:
    from fnx.config.compose import compose

    return compose([f"paths.outputs={outputs}", *overrides])


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., Config]:
    """Compose a config as the command line does, with its outputs below `tmp_path`."""
    return partial(_compose, tmp_path / "outputs")


_composed: dict[tuple[object, ...], tuple[list[object], Config]] = {}


def _tiny(outputs: Path, *overrides: str) -> Config:
    """Return a copy of what was composed once, which takes Hydra a third of a second."""
    from fnx.registry import backbones, registry

    kinds = (registry.statistics, registry.thresholds, backbones)
    entries = [entry for kind in kinds for entry in kind._entries.values()]
    key = (*map(id, entries), *map(os.environ.get, ("FNX_CACHE", "FNX_DATA")), *overrides)
    if key not in _composed:
        _composed[key] = entries, _compose(PLACE, *TINY, *overrides)
    config = deepcopy(_composed[key][1])
    for name, path in vars(config.paths).items():
        setattr(config.paths, name, path.replace(str(PLACE), str(outputs)))
    return config


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """The config of a run that takes seconds; more words override it."""
    return partial(_tiny, tmp_path / "outputs")


@pytest.fixture(scope="session")
def tiny_words() -> tuple[str, ...]:
    """The words of that config, for a command line."""
    return TINY


@pytest.fixture(scope="session")
def tiny_at() -> Callable[..., Config]:
    """The same with the folder of the outputs given, for runs that several tests look at."""
    return _tiny


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """``python -m fnx WORDS…`` in this process and an empty folder, without the 13 s of imports."""
    from fnx import cli

    def start(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["fnx", *words])
        cli.main()

    for name in ("_refused", "_told_to_end"):
        monkeypatch.setattr(cli, name, None)
    # It would end the tests seconds after one that raises a signal.
    monkeypatch.setattr(cli, "ended_when_told", lambda _: nullcontext())
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield start
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.setLevel(level)
    root.handlers[:] = handlers

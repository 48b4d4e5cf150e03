"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fnx.config.schema import Config

pytest_plugins = ["tests.strict_skips"]

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


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """The config of a run that takes seconds; more words override it."""
    return partial(_compose, tmp_path / "outputs", *TINY)


@pytest.fixture(scope="session")
def tiny_words() -> tuple[str, ...]:
    """The words of that config, for a command line."""
    return TINY


@pytest.fixture(scope="session")
def tiny_at() -> Callable[..., Config]:
    """The same with the folder of the outputs given, for runs that several tests look at."""
    return lambda outputs, *overrides: _compose(outputs, *TINY, *overrides)

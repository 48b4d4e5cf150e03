"""The data of the benchmarks, and the table that a whole run leaves in ``README.md``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# Of flowers102 through VGG16: conv features, then those of fc6 and fc7.
IMAGES, CONV, FC, CLASSES = 8_189, 4_224, 8_192, 102
FEATURES = CONV + FC

HERE = Path(__file__).parent
MEASURED = pytest.StashKey[dict[str, Any]]()


def synthetic(n: int, features: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    """Features (N, F) float32 with a little of the class in each, and labels in order of class.

    The last two thirds are as after a ReLU, with half of the values 0; the first third, as pooled
    conv features, has hardly two values alike (which costs the sorts most).
    """
    rng = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % classes).astype(np.int32)
    values = np.empty((n, features), dtype=np.float32)
    shift = 0.5 * rng.standard_normal((classes, features), dtype=np.float32)
    for start in range(0, n, 1024):
        rows = slice(start, min(start + 1024, n))
        rng.standard_normal(out=values[rows], dtype=np.float32)
        values[rows] += shift[labels[rows]]
    values[:, features // 3 :] = np.maximum(values[:, features // 3 :], 0)
    return values, labels


@pytest.fixture(scope="session")
def embedding() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Of the size of flowers102: 8,189 × 12,416, 102 classes."""
    return synthetic(IMAGES, FEATURES, CLASSES)


@pytest.fixture(scope="session")
def activations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, str]:
    """Real ones, and what they are; FNX_BENCH keeps them."""
    kept = os.environ.get("FNX_BENCH")
    folder = Path(kept) / "activations" if kept else tmp_path_factory.mktemp("activations")
    found: tuple[Any, Any, str] = _module(HERE / "activations.py").real_activations(folder)
    return found


@pytest.fixture(scope="session")
def scipy_loop() -> Any:
    """What a user would write: the exact KS, signed, of the first classes for each feature."""
    from scipy.stats import ks_2samp

    def loop(values: Any, labels: Any, classes: int, method: str) -> Any:
        found = np.empty((values.shape[1], classes))
        for f in range(values.shape[1]):
            for c in range(classes):
                inside = labels == c
                result = ks_2samp(values[inside, f], values[~inside, f], method=method)
                found[f, c] = -result.statistic_sign * result.statistic
        return found

    return loop


@pytest.fixture(scope="session")
def make_embedding() -> Any:
    """The function that makes them."""
    return synthetic


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What is measured beside seconds: peak memory, costs by size."""
    return request.config.stash.setdefault(MEASURED, {})


@pytest.fixture
def measure(benchmark: Any) -> Any:
    """Run a function several times; notes how many (feature, class) pairs it computes."""

    def run(title: str, pairs: int, function: Any, *, scale: str, rounds: int = 5) -> Any:
        result = benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
        benchmark.extra_info.update(title=title, pairs=pairs, scale=scale)
        return result

    return run


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table if everything was measured."""
    benchmarks = getattr(session.config, "_benchmarksession", None)
    if benchmarks is None or not benchmarks.benchmarks:
        return
    seconds = {
        bench.name: (bench.extra_info, bench.stats.min)
        for bench in benchmarks.benchmarks
        if "title" in bench.extra_info
    }
    measured = session.config.stash.get(MEASURED, {})
    table = _module(HERE / "table.py")
    table.write(HERE / "README.md", seconds, measured)
    _module(HERE / "extraction_table.py").write(HERE / "extraction.md", measured, table.machine)


def _module(path: Path) -> Any:
    """A module that lies beside this one, which is no package."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

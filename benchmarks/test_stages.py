"""Stages beside the network of a large run, and what pictures cost a whole run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
IMAGES, ROUNDS = 480, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where photographs, embedding and runs lie; FNX_BENCH keeps them."""
    kept = os.environ.get("FNX_BENCH")
    return Path(kept) / "stages" if kept else tmp_path_factory.mktemp("stages")


def result_of(*words: str | Path) -> dict[str, Any]:
    """What the script prints."""
    command = [sys.executable, HERE / "stages.py", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_stages_beside_the_network(benchmark: Any, folder: Path) -> None:
    benchmark.extra_info.update(benchmark.pedantic(result_of, ("stages", folder), rounds=1))


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_what_pictures_cost(benchmark: Any, folder: Path) -> None:
    """Photographs of FNX_SHARED where they lie there, else made ones."""
    real = Path(os.environ.get("FNX_SHARED", HERE.parents[1] / "shared")) / "data/flowers12"
    sys.path.insert(0, str(HERE))
    try:
        from stages import CLASSES, HEIGHT, WIDTH, photographs
    finally:
        sys.path.pop(0)
    images = real if real.is_dir() else photographs(folder, IMAGES, CLASSES, (WIDTH, HEIGHT))
    words = ("pictures", folder, images, str(ROUNDS), "crops=center", "logger=none")
    words += (f"dataset.limit_per_class={IMAGES // 12}",) if images == real else ()
    benchmark.extra_info.update(benchmark.pedantic(result_of, words, rounds=1))

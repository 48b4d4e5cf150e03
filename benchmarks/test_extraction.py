"""Extraction beside the bare forward pass, torchvision and thingsvision; its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
IMAGES, ROUNDS = 48, 2
PEER_IMAGES, PEER_ROUNDS = 64, 3
SIZES = (100, 1_000, 10_000)
# Views and images of each; a store's fixed costs count for less the more images there are.
NETWORKS = {
    "tf_efficientnet_lite0 center": 256,
    "tf_efficientnet_lite0 ten": 40,
    "mobilenetv3_large_100 center": 256,
    "resnet50 center": 96,
    "vit_small_patch16_224 center": 96,
}
NETWORK_ROUNDS = 3


def result_of(*words: str | Path) -> str:
    """The last line that a script prints."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the photographs, the weights and the stores lie; FNX_BENCH keeps them."""
    kept = os.environ.get("FNX_BENCH")
    return Path(kept) if kept else tmp_path_factory.mktemp("extraction")


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_speed(benchmark: Any, measured: Any, folder: Path, precision: str) -> None:
    def run() -> Any:
        words = ("speed", folder, precision, str(IMAGES), str(ROUNDS))
        return json.loads(result_of(sys.executable, HERE / "extraction.py", *words))

    measured[f"speed {precision}"] = benchmark.pedantic(run, rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("case", NETWORKS)
def test_networks(benchmark: Any, measured: Any, folder: Path, case: str) -> None:
    name, views = case.split()

    def run() -> Any:
        words = (name, views, "32-true", str(NETWORKS[case]), str(NETWORK_ROUNDS))
        script = HERE / "extraction.py"
        return json.loads(result_of(sys.executable, script, "network", folder, "cpu", *words))

    found = benchmark.pedantic(run, rounds=1)
    measured.setdefault("networks", {})[case] = found | {"images": NETWORKS[case]}


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_peers(benchmark: Any, measured: Any, folder: Path) -> None:
    """By turns: each of them, then all again."""
    sys.path.insert(0, str(HERE))
    try:
        from extraction import photographs, weights
    finally:
        sys.path.pop(0)
    root, file, count = photographs(folder, PEER_IMAGES), weights(folder), str(PEER_IMAGES)
    commands: dict[str, tuple[Any, ...]] = {
        f"fnx {precision}": (
            sys.executable,
            HERE / "extraction.py",
            "center",
            folder,
            precision,
            count,
        )
        for precision in ("32-true", "bf16-true")
    }
    commands["torchvision"] = (sys.executable, HERE / "peer_torchvision.py", root, file, count)
    other = os.environ.get("FNX_THINGSVISION")  # python of an environment that has it
    if other:
        commands["thingsvision"] = (
            other,
            HERE / "peer_thingsvision.py",
            root,
            count,
            folder / "thingsvision",
        )
    found: dict[str, list[float]] = {name: [] for name in commands}

    def run() -> None:
        for name, command in commands.items():
            found[name].append(float(result_of(*command)))

    benchmark.pedantic(run, rounds=PEER_ROUNDS)
    measured["peers"] = {name: float(np.median(seconds)) for name, seconds in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_memory_does_not_grow_with_the_number_of_images(
    benchmark: Any, measured: Any, folder: Path
) -> None:
    def run() -> dict[int, Any]:
        script = HERE / "extraction.py"
        return {
            size: json.loads(result_of(sys.executable, script, "memory", folder, str(size)))
            for size in SIZES
        }

    found = benchmark.pedantic(run, rounds=1)
    measured["memory"] = found
    assert found[SIZES[-1]]["gib"] < 1.5 * found[SIZES[0]]["gib"]

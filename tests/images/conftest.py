"""Image files as people have them, written by the tests themselves."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.images.publishing import Server, publish, serving

from fnx.images.dataset import Stream
from fnx.images.paths import Files

Write = Callable[..., Path]


@pytest.fixture
def write() -> Write:
    """write(path, size=(w, h), seed=0): a random RGB image in the format of the name's ending."""

    def write(path: Path, size: tuple[int, int] = (12, 9), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def root(tmp_path: Path, write: Write) -> Path:
    """A data set of two classes of three images each."""
    folder = tmp_path / "data"
    for place, name in enumerate(
        ["cat/1.png", "cat/2.jpg", "cat/10.png", "dog/a.png", "dog/b.bmp"]
    ):
        write(folder / name, seed=place)
    write(folder / "dog/c.tif", seed=9)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "server") as server:
        yield server


@pytest.fixture
def published(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    name: str = request.param
    publish(name, server, monkeypatch)
    if name == "imagenet":  # the account's holder brings the archives
        shutil.copytree(server.folder, tmp_path / "data" / name)
    return name


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often each file's bytes are read."""
    counts: Counter[str] = Counter()
    stream = Files.stream

    def counted(self: Files, path: str) -> Stream:
        counts[path] += 1
        return stream(self, path)

    monkeypatch.setattr(Files, "stream", counted)
    return counts

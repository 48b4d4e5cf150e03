"""Real activations for the statistic's benchmark: of photographs where some lie, else of digits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ENDINGS = {".jpg", ".jpeg", ".png"}
PER_CLASS = 17  # photographs, of five windows each: about as many classes as flowers102
SHARE = 0.72  # of a photograph's short side: that of a window
EVERY = 5  # of the features that are used
KEYS = (
    *("model=efficientnet_lite0", "crops=center", "report=tables", "report.pictures=none"),
    *("logger=none", "threshold=fixed", "threshold.t_plus=0.3", "threshold.t_minus=-0.3"),
)


def real_activations(folder: Path) -> tuple[Any, Any, str]:
    """Features (N, F) float32, labels (N,) in order of class, and what they are.

    `folder` keeps windows and embedding: given again, nothing is made again.
    """
    photographs = Path(os.environ.get("FNX_SHARED", HERE.parents[1] / "shared")) / "data"
    if photographs.is_dir():
        windows = folder / "windows"
        if not windows.is_dir():
            cut_windows(photographs, windows)
        dataset = ("dataset=folder", f"dataset.root={windows}")
    else:
        dataset = ("dataset=digits",)
    paths = (f"paths.cache={folder / 'cache'}", f"paths.outputs={folder / 'outputs'}")
    words = [sys.executable, "-m", "fnx", *dataset, *KEYS, *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    import fnx

    (found,) = (folder / "cache").glob("*/features.zarr")
    embedding = fnx.Embedding.open(found.parent)
    values = np.concatenate(  # by blocks of rows: no more than what is used is held
        [
            np.asarray(embedding.features[start : start + 1024])[:, ::EVERY]
            for start in range(0, embedding.features.shape[0], 1024)
        ]
    )
    labels = np.asarray(embedding.labels)
    order = np.argsort(labels, kind="stable")
    what = (
        "five windows of each of some photographs" if len(dataset) > 1 else "scikit-learn's digits"
    )
    told = (
        f"{len(values):,} images ({what}) × {values.shape[1]:,} features (one in {EVERY}) × "
        f"{labels.max() + 1} classes, EfficientNet-Lite0"
    )
    return values[order], labels[order], told


def cut_windows(photographs: Path, windows: Path) -> None:
    """Write each photograph's corners and middle as images; a class is some of one folder's."""
    from PIL import Image

    folders = defaultdict(list)
    for path in sorted(photographs.rglob("*")):
        if path.suffix.lower() in ENDINGS:
            folders[path.parent].append(path)
    groups = [
        paths[start : start + PER_CLASS]
        for paths in folders.values()
        for start in range(0, len(paths) - PER_CLASS // 2, PER_CLASS)
    ]
    unfinished = windows.with_name("unfinished")
    for number, group in enumerate(groups):
        kept = unfinished / f"class{number:03d}"
        kept.mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(group):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            right, bottom = (side - int(SHARE * min(image.size)) for side in image.size)
            corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
            for k, (x, y) in enumerate(corners):
                side = int(SHARE * min(image.size))
                image.crop((x, y, x + side, y + side)).save(kept / f"{i:02d}_{k}.jpg", quality=95)
    unfinished.rename(windows)

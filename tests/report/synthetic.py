"""Makes a run's folder out of thin air: planted signal over the noise of random labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis import tables
from fnx.statistics.calibration import second_moment
from fnx.thresholds import Side, Thresholds, find_thresholds

SMALL = (("conv1_1", 12, "conv"), ("conv1_2", 16, "conv"), ("fc6", 20, "fc"))
_VGG16_BLOCKS = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
VGG16 = (
    *(
        (f"conv{block}_{number}", units, "conv")
        for block, (count, units) in enumerate(_VGG16_BLOCKS, 1)
        for number in range(1, count + 1)
    ),
    ("fc6", 4096, "fc"),
    ("fc7", 4096, "fc"),
)


@dataclass(frozen=True)
class Synthetic:
    """What a made-up run looks like."""

    dataset: str = "shapes"
    model: str = "tinynet"
    statistic: str = "ks"
    layers: Sequence[tuple[str, int, str]] = SMALL
    class_sizes: Sequence[int] = (20, 24, 30, 36, 40)
    class_names: Sequence[str] | None = None
    permutations: int = 2
    strength: float = 1.0
    failed: Sequence[tuple[str, str]] = (("b/broken.jpg", "image file is truncated"),)
    unbounded: bool = False
    limits: tuple[float, float] | None = None
    neutral: float = 0.0
    constant: Sequence[int] = ()
    calibrated: bool = False
    """Whether it has the second moments of D under random labels."""
    arrays: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    """Real and random distances that are given, not drawn."""
    seed: int = 0

    def but(self, **changes: Any) -> Synthetic:
        return replace(self, **changes)


def noise(rng: np.random.Generator, sizes: NDArray[Any], n_features: int) -> NDArray[np.float32]:
    """Signed KS distances of random labels: Kolmogorov's law, scaled by the samples' sizes."""
    total = sizes.sum()
    scale = np.sqrt(sizes * (total - sizes) / total)
    x, k = np.linspace(0.25, 2.5, 500), np.arange(1, 40)[:, None]
    cdf = 1 - 2 * ((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)).sum(axis=0)
    law = np.interp((np.arange(4096) + 0.5) / 4096, cdf, x)
    size = law[rng.integers(0, len(law), (n_features, len(sizes)))] / scale
    sign = rng.choice([-1.0, 1.0], size.shape)
    return np.clip(size * sign, -1, 1).astype(np.float32)


def distances(spec: Synthetic) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Real and random distances; deeper convolutional layers hold more signal."""
    rng = np.random.default_rng(spec.seed)
    sizes = np.asarray(spec.class_sizes)
    total = sum(units for _, units, _ in spec.layers)
    real, row = noise(rng, sizes, total), 0
    for depth, (_, units, kind) in enumerate(spec.layers):
        rise = (depth + 1) / len(spec.layers)
        sigma = 0.08 + (0.30 * rise if kind == "conv" else 0.16)
        of_class = rng.lognormal(0, 0.25, len(sizes))
        of_unit = rng.lognormal(0, 0.3, (units, 1))
        signal = spec.strength * sigma * of_class * of_unit * rng.standard_t(5, (units, len(sizes)))
        part = real[row : row + units]
        pushed = part + np.where(signal > 0, signal, 0.8 * signal)
        # As with real data, hardly any distance is near 0: its size is at least that of noise.
        real[row : row + units] = np.tanh(np.sign(pushed) * np.hypot(part, signal))
        row += units
    random = np.stack([noise(rng, sizes, total) for _ in range(spec.permutations)])
    if spec.unbounded:
        # In float64: a logarithm's last bit, which differs between processors, is rounded away.
        real, random = (-2 * np.log1p(-np.abs(a.astype(np.float64))) for a in (real, random))
        real[0, 0] = np.inf
    return real.astype(np.float32), random.astype(np.float32)


def write_run(folder: Path, spec: Synthetic | None = None) -> Path:
    """Write every file that a run leaves; its figures and page are left to the report."""
    spec = spec or Synthetic()
    folder.mkdir(parents=True, exist_ok=True)
    real, random = spec.arrays or distances(spec)
    names = spec.class_names or [f"class {i}" for i in range(len(spec.class_sizes))]
    paths = [
        (f"{name}/{i:04d}.jpg", index)
        for index, name in enumerate(names)
        for i in range(spec.class_sizes[index])
    ]
    n_ok, n_failed = len(paths), len(spec.failed)
    images = pl.DataFrame(
        {
            "image_id": pl.Series(range(n_ok + n_failed), dtype=pl.Int64),
            "path": [p for p, _ in paths] + [p for p, _ in spec.failed],
            "class_id": pl.Series([c for _, c in paths] + [0] * n_failed, dtype=pl.Int32),
            "class_name": [names[c] for _, c in paths] + [names[0]] * n_failed,
            "split": pl.Series([None] * (n_ok + n_failed), dtype=pl.String),
            "status": ["ok"] * n_ok + ["failed"] * n_failed,
            "error": pl.Series([None] * n_ok + [e for _, e in spec.failed], dtype=pl.String),
        }
    )
    layers = [(name, unit, kind) for name, units, kind in spec.layers for unit in range(units)]
    features = pl.DataFrame(
        {
            "feature_id": pl.Series(range(len(layers)), dtype=pl.Int64),
            "layer": [layer for layer, _, _ in layers],
            "unit": pl.Series([unit for _, unit, _ in layers], dtype=pl.Int32),
            "kind": [kind for _, _, kind in layers],
            "constant": [i in spec.constant for i in range(len(layers))],
        }
    )
    limits = spec.limits or ((0.0, np.inf) if spec.unbounded else (-1.0, 1.0))
    thresholds = find_thresholds(real, random, range=limits, neutral=spec.neutral)
    np.save(folder / "distances.npy", real)
    np.save(folder / "distances_random.npy", random)
    moments = second_moment(random, np.array(spec.class_sizes), neutral=spec.neutral)
    found = tables.analyse(
        *(images, names, features, real, random, thresholds, 10, spec.neutral),
        null_second_moment=moments if spec.calibrated else None,
    )
    written = {name: value for name, value in found.items() if isinstance(value, pl.DataFrame)}
    for name, table in written.items():
        table.write_parquet(folder / f"{name}.parquet")
    made = record(spec, written, thresholds)
    made["counts"]["constant"] = len(spec.constant)
    (folder / "run.json").write_text(json.dumps(made, indent=1))
    return folder


def record(spec: Synthetic, written: dict[str, pl.DataFrame], found: Thresholds) -> dict[str, Any]:
    """The run's record, with the keys that the app writes."""

    def numbers(side: Side) -> dict[str, float]:
        return {key: getattr(side, key) for key in ("threshold", "davg", "kept", "kept_random")}

    return {
        "fnx_version": "0.1.0",
        "versions": {"python": "3.11", "numpy": np.__version__},
        "command": ["python", "-m", "fnx", f"dataset={spec.dataset}", f"model={spec.model}"],
        "started": "2024-01-31T12:00:00+00:00",
        "seed": 0,
        "dataset": spec.dataset,
        "model": spec.model,
        "tap": "post",
        "crops": {"name": "ten", "resize": 256, "size": 224, "resize_mode": "short_side"},
        "statistic": {"name": spec.statistic, "bins": 100},
        "neutral": spec.neutral,
        "threshold": {
            "name": "randomized_labels",
            "permutations": spec.permutations,
            "step": 0.001,
        },
        "fingerprint": "0123456789abcdef",
        "embedding": "outputs/embeddings/shapes-tinynet-0123456789abcdef",
        "embedding_reused": False,
        "weights_digest": "5ca1ab1e" * 8,
        "counts": {
            "images": int(written["classes"]["n_images"].sum()),
            "failed": len(spec.failed),
            "classes": written["classes"].height,
            "features": written["features"].height,
            "constant": 0,
        },
        "thresholds": {
            "plus": numbers(found.plus),
            "minus": None if found.minus is None else numbers(found.minus),
        },
        "seconds": {
            "images": 0.4,
            "embedding": 61.2,
            "distances": 3.25,
            "thresholds": 0.2,
            "analysis": 0.3,
        },
        "warnings": [],
        "config": {"seed": 0, "dataset": {"name": spec.dataset}, "model": {"name": spec.model}},
    }

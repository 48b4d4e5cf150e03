"""How far distances and thresholds move with precision and crops; prints Markdown tables.

``python parity.py ROOT WEIGHTS OUTPUTS [VARIANT …]`` extracts the images below ROOT (a folder for
each class) through VGG16's conv layers, once for each variant, and compares each with the first.
Nothing is timed against another program here; what is extracted already is used again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fnx
from fnx.config.compose import compose
from fnx.embedding.embed import embed
from fnx.images.open import open_images
from fnx.registry import load_installed
from fnx.statistics.permutations import permutations

VARIANTS = {
    "32-true": ("trainer.precision=32-true",),
    "bf16-true": ("trainer.precision=bf16-true",),
    "bf16-mixed": ("trainer.precision=bf16-mixed",),
    "tf32": ("trainer.precision=tf32", "trainer=gpu"),
    "16-true": ("trainer.precision=16-true", "trainer=gpu"),
    "dense": ("crops=dense",),
    "center": ("crops=center",),
    "squash": ("crops.resize_mode=squash",),
}
STATISTICS = ("ks", "ks_exact")
PERMUTATIONS = 5


def extracted(root: Path, weights: Path, outputs: Path, variant: str) -> fnx.Embedding:
    """The embedding of a variant."""
    config = compose(
        [
            "dataset=folder",
            f"dataset.root={root}",
            "model=vgg16",
            "model.layers=conv",
            f"model.weights.path={weights}",
            f"paths.cache={outputs}",
            *VARIANTS[variant],
        ]
    )
    return embed(open_images(config.dataset, outputs), config)[0]


def measured(embedding: fnx.Embedding, statistic: str) -> tuple[np.ndarray, Any]:
    """Distances under the real labels, and the thresholds."""
    labels = embedding.labels
    real = fnx.distances(embedding.features, labels, statistic=statistic)
    shuffled = np.stack(
        [
            fnx.distances(embedding.features, row, statistic=statistic)
            for row in permutations(labels, PERMUTATIONS, seed=0)
        ]
    )
    return real, fnx.find_thresholds(real, shuffled)


def compared(base: fnx.Embedding, other: fnx.Embedding, statistic: str) -> dict[str, float]:
    """How far `other` is from `base`."""
    d0, t0 = measured(base, statistic)
    d1, t1 = measured(other, statistic)
    moved = np.abs(d1 - d0)
    kept0, kept1 = d0 > t0.plus.threshold, d1 > t1.plus.threshold
    assert t0.minus is not None
    assert t1.minus is not None
    return {
        "mean": float(moved.mean()),
        "p99": float(np.quantile(moved, 0.99)),
        "max": float(moved.max()),
        "correlation": float(np.corrcoef(d0.ravel(), d1.ravel())[0, 1]),
        "t_plus": t1.plus.threshold - t0.plus.threshold,
        "t_minus": t1.minus.threshold - t0.minus.threshold,
        "same_kept": float((kept0 & kept1).sum() / max(1, (kept0 | kept1).sum())),
    }


def main() -> None:
    """Compare and print."""
    load_installed()
    root, weights, outputs = (Path(word) for word in sys.argv[1:4])
    names = sys.argv[4:] or ["32-true", "bf16-true", "bf16-mixed", "dense"]
    base = extracted(root, weights, outputs, names[0])
    print(
        f"{base.manifest.rows} images × {base.manifest.features} features, {names[0]} is the base"
    )
    print("| | statistic | mean abs. ΔD | 99 % | max | correlation | Δt⁺ | Δt⁻ | kept by both |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names[1:]:
        other = extracted(root, weights, outputs, name)
        for statistic in STATISTICS:
            row = compared(base, other, statistic)
            print(
                f"| {name} | {statistic} | {row['mean']:.5f} | {row['p99']:.4f} | {row['max']:.4f} "
                f"| {row['correlation']:.5f} | {row['t_plus']:+.3f} | {row['t_minus']:+.3f} "
                f"| {100 * row['same_kept']:.1f} % |"
            )
            print(json.dumps({"variant": name, "statistic": statistic, **row}), file=sys.stderr)


if __name__ == "__main__":
    main()

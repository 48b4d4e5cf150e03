"""Whether calibrated distances mean the same for classes of any size; prints what it measures.

``python calibration.py EMBEDDING [IMAGES]`` takes the folder of an embedding, one of those in
``outputs/embeddings``, and compares IMAGES (10) of each class, drawn five times, with all of them:
the median of all |D| and of all |D_cal|, and their mean in each layer. Then thresholds: t⁺ and t⁻
of ten single permutations, of all ten, and of as many distances drawn from the bridge's null. Then
the seconds of the processor that each part takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fnx
from fnx.registry import load_installed, statistics
from fnx.statistics.calibration import second_moment
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations

DRAWN, PERMUTATIONS = 5, 10


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    seconds[name] = seconds.get(name, 0) + time.process_time() - start


def measure(features: Any, labels: Any, seed: int = 0) -> tuple[Any, Any, Any]:
    """D (F, C), D under random labels (R, F, C), and the sizes of the classes."""
    sizes = np.bincount(labels)
    labellings = np.vstack([labels, permutations(labels, PERMUTATIONS, seed)])
    found = all_distances(features, labellings, sizes.size, statistics.get("ks")).values
    return found[0], found[1:], sizes


def few_images(labels: Any, count: int, seed: int) -> Any:
    """Rows of `count` images of each class, ascending."""
    order = np.random.default_rng(seed).permutation(labels.size)
    return np.sort(np.concatenate([order[labels[order] == c][:count] for c in np.unique(labels)]))


def main(folder: str, images: int = 10) -> None:
    load_installed()
    embedding = fnx.Embedding.open(folder)
    features, labels = np.asarray(embedding.features), embedding.labels
    layers = embedding.feature_table["layer"].to_numpy()
    edges = np.append(np.flatnonzero(np.append(True, layers[1:] != layers[:-1])), layers.size)
    seconds: dict[str, float] = {}

    with timed(seconds, "distances and ten permutations"):
        real, random, sizes = measure(features, labels)
    with timed(seconds, "null of permutations"):
        moments = second_moment(random, sizes)
    with timed(seconds, "null of 2,000 bridges"):
        bridge = fnx.null(features, labels, method="bridge")

    print(f"{folder}: {labels.size} images, {sizes.size} classes, {layers.size} features")
    print(f"\n{images} images per class → all: median over all pairs, and mean of a layer")
    for name, null in (("raw", None), ("permutation", moments), ("bridge", bridge.second_moment)):
        change, by_layer, few = [], [], []
        reference = np.abs(real if null is None else fnx.calibrate(real, null, sizes))
        for seed in range(DRAWN):
            rows = few_images(labels, images, seed)
            part, noise, n = measure(features[rows], labels[rows], seed)
            if name == "permutation":
                part = fnx.calibrate(part, second_moment(noise, n), n)
            elif name == "bridge":
                own = fnx.null(features[rows], labels[rows], method="bridge", draws=500, seed=seed)
                part = fnx.calibrate(part, own, n)
            part = np.abs(part)
            few.append(np.median(part))
            change.append(np.median(part) / np.median(reference) - 1)
            by_layer.append(
                [part[a:b].mean() / reference[a:b].mean() - 1 for a, b in layered(edges)]
            )
        mean = np.mean(by_layer, axis=0)
        print(
            f"  {name:12} {np.mean(few):.3f} → {np.median(reference):.3f} "
            f"({np.mean(change):+.1%}); layers {mean.min():+.1%} … {mean.max():+.1%}, "
            f"mean {mean.mean():+.1%}"
        )

    ratio = np.sqrt(moments / np.where(bridge.second_moment > 0, bridge.second_moment, np.nan))
    low, middle, high = np.nanquantile(ratio, [0.05, 0.5, 0.95])
    print(f"\n√ of second moments, permuted / bridge: {middle:.3f} (5–95 %: {low:.3f}–{high:.3f})")

    def thresholds(noise: Any) -> tuple[float, float]:
        found = fnx.find_thresholds(real, noise, statistic="ks")
        assert found.minus is not None
        return found.plus.threshold, found.minus.threshold

    single = np.array([thresholds(one[None]) for one in random])
    print("\nthresholds                  t⁺                t⁻")
    for name, values in (("least of ten", single.min(0)), ("largest of ten", single.max(0))):
        print(f"  {name:22} {values[0]:10.3f} {values[1]:17.3f}")
    print("  ten pooled             {:10.3f} {:17.3f}".format(*thresholds(random)))
    drawn = bridge.sample(sizes, PERMUTATIONS)
    print("  bridge                 {:10.3f} {:17.3f}".format(*thresholds(drawn)))

    print("\nprocessor seconds")
    for name, value in seconds.items():
        print(f"  {name:32} {value:8.2f}")


def layered(edges: Any) -> list[tuple[int, int]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

"""Measures the adviser: regret, and rank correlation with accuracy on images that nobody saw.

``python benchmarks/adviser.py RUN…`` takes runs or embeddings of fnx; without any it makes one of
the digits. Of each, `DRAWS` times `IMAGES` images are drawn. All scores see these alone; the truth
is the accuracy of a logistic regression of z-scores that is fitted to them and judged on the rest.
Regret is the best layer's accuracy less that of the layer that a score puts first, in points. It
writes ``benchmarks/adviser.md``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fnx
from fnx.analysis.advice import ALL, FULL_NETWORK
from fnx.analysis.adviser import discretise
from fnx.analysis.folds import sample_rows
from fnx.analysis.probes import standardise

IMAGES = 200
JUDGED = 600  # of the images that were not drawn, at most
SCORES = {
    "ridge probe (the advice)": "accuracy",
    "5 nearest neighbours": "knn_accuracy",
    "LogME": "logme",
    "depth: the last layer": "depth",
    "share kept": "kept",
}


def truth(train: Any, labels: Any, unseen: Any, expected: Any) -> float:
    """Return the accuracy on unseen rows of a logistic regression of z-scores."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float((model.fit(train, labels).predict(unseen) == expected).mean())


def together(name: str, train: Any, unseen: Any, layers: list[slice]) -> tuple[Any, Any]:
    """Return what all layers together are, or the full-network embedding, of both kinds of rows."""
    if name == ALL:
        lengths = [
            [np.linalg.norm(rows[:, own], axis=1, keepdims=True) for own in layers]
            for rows in (train, unseen)
        ]
        scaled = [
            np.hstack(
                [rows[:, own] / np.maximum(n, 1e-9) for own, n in zip(layers, of, strict=True)]
            )
            for rows, of in zip((train, unseen), lengths, strict=True)
        ]
        return scaled[0], scaled[1]
    scores = standardise(np.vstack([train, unseen]), np.arange(len(train)))
    signs = discretise(scores)
    return signs[: len(train)], signs[len(train) :]


def shares_kept(features: Any, labels: Any, layers: list[slice]) -> list[float]:
    """Return the share of each layer's (feature, class) pairs beyond the thresholds."""
    rng = np.random.default_rng(0)
    real = fnx.distances(features, labels)
    random = np.stack([fnx.distances(features, rng.permutation(labels)) for _ in range(5)])
    found = fnx.find_thresholds(real, random, statistic="ks")
    assert found.minus is not None
    kept = (real > found.plus.threshold) | (real < found.minus.threshold)
    noise = (random > found.plus.threshold) | (random < found.minus.threshold)
    return [float(kept[layer].mean() - noise[:, layer].mean()) for layer in layers]


def measure(embedding: Any, draws: int) -> tuple[dict[str, list[tuple[float, float]]], list[Any]]:
    """Return regret and Kendall's tau of each score and draw, and what was advised."""
    features, labels = np.asarray(embedding.features[:]), np.asarray(embedding.labels)
    table, names = embedding.feature_table, list(embedding.layers)
    columns = [np.flatnonzero((table["layer"] == name).to_numpy()) for name in names]
    layers = [slice(int(own[0]), int(own[-1]) + 1) for own in columns]
    found: dict[str, list[tuple[float, float]]] = {score: [] for score in SCORES}
    advised = []
    for draw in range(draws):
        rows = sample_rows(labels.astype(np.int64), IMAGES, seed=draw)
        rest = np.setdiff1d(np.arange(labels.size), rows)
        rest = np.random.default_rng(draw).permutation(rest)[:JUDGED]
        drawn = SimpleNamespace(
            features=features[rows],
            labels=labels[rows],
            class_names=embedding.class_names,
            feature_table=table,
        )
        start = time.process_time()
        advice = fnx.advise(drawn, seed=draw, progress=False)
        seconds = time.process_time() - start
        accuracies = np.array(
            [
                truth(features[rows, own], labels[rows], features[rest, own], labels[rest])
                for own in layers
            ]
        )
        by_layer = advice.table.filter(kind="layer")
        values = {name: by_layer[name].to_numpy() for name in ("accuracy", "knn_accuracy", "logme")}
        values["depth"] = np.arange(len(names))
        values["kept"] = np.array(shares_kept(features[rows], labels[rows], layers))
        own = advice.recommended
        reached = accuracies[names.index(own)] if own in names else np.nan
        if own in (ALL, FULL_NETWORK):
            both = together(own, features[rows], features[rest], layers)
            reached = truth(both[0], labels[rows], both[1], labels[rest])
        for score, column in SCORES.items():
            of_score = accuracies[int(values[column].argmax())]
            regret = 100 * (accuracies.max() - (reached if column == "accuracy" else of_score))
            found[score].append((regret, float(kendalltau(values[column], accuracies)[0])))
        gain = reached - accuracies[-1]
        advised.append((own, 100 * gain, seconds))
        print(draw, own, f"{100 * gain:+.1f}", f"{seconds:.1f} s")
    return found, advised


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "runs", nargs="*", help="folders of runs or embeddings; default: the digits"
    )
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", default=str(Path(__file__).with_suffix(".md")))
    options = parser.parse_args()
    runs = options.runs or [fnx.run(dataset="digits", crops="center", logger="none").path]
    lines = [
        "# The adviser: which layer to use",
        "",
        f"`python benchmarks/adviser.py RUN…`: {options.draws} draws of {IMAGES} images each; the"
        " truth is the accuracy of a logistic regression of z-scores fitted to them, on up to"
        f" {JUDGED} other images. Regret: points of accuracy below the best layer, which is best"
        " partly by luck of those images; mean and (largest) over the draws. τ: Kendall's rank"
        " correlation of a score with the truth over all layers. Where all layers together are"
        " advised, their accuracy counts, and regret may be below 0. Seconds are of the processor,"
        " beside the embedding.",
        "",
    ]
    for run in runs:
        embedding = fnx.Embedding.open(run)
        print(run)
        found, advised = measure(embedding, options.draws)
        name = Path(run).name
        rows, classes = len(embedding.labels), len(embedding.class_names)
        lines += [
            f"## {name}: {rows:,} images, {classes} classes, {len(embedding.layers)} layers",
            "",
            "| score | regret, points | τ |",
            "|---|---|---|",
        ]
        for score, pairs in found.items():
            regrets, taus = np.array(pairs).T
            lines.append(
                f"| {score} | {regrets.mean():.1f} ({regrets.max():.1f}) | {np.nanmean(taus):.2f} |"
            )
        gains = [gain for _, gain, _ in advised]
        names = ", ".join(f"{name}" for name, _, _ in advised)
        lines += [
            "",
            f"Advised: {names}. Against the last layer: {np.nanmin(gains):+.1f} to"
            f" {np.nanmax(gains):+.1f} points. {np.mean([one for *_, one in advised]):.1f} s each.",
            "",
        ]
        Path(options.out).write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

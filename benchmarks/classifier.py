"""What a linear classifier gets from one layer, all layers, and features chosen in several ways.

    python benchmarks/classifier.py RUN

RUN is the folder of a run, or of an embedding. Five stratified folds; everything, also the choice
of features, is fitted on four of them and judged on the fifth. Prints a table in Markdown.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fnx
from fnx.sklearn import DistanceSelector, FullNetworkEmbedding, distance_scores

CHOSEN = 100  # features that the selectors choose


def at_random(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).random(X.shape[1])


def pipelines(classes: int) -> dict[str, tuple[str, object]]:
    """The name of each row: which layers it is of, and what is fitted."""
    ridge = RidgeClassifierCV(alphas=np.logspace(-1, 6, 15))
    scaled = partial(make_pipeline, StandardScaler())
    best = {
        "F-test": SelectKBest(f_classif, k=CHOSEN),
        "max |D|": SelectKBest(distance_scores, k=CHOSEN),
        "max |D| of ks_exact": DistanceSelector("ks_exact", k=CHOSEN),
        "best of each class by D": DistanceSelector(k=max(1, CHOSEN // classes), per_class=True),
        "at random": SelectKBest(at_random, k=CHOSEN),
    }
    return {
        "last layer": ("last", scaled(ridge)),
        "all layers": ("all", scaled(ridge)),
        "all layers, full-network embedding": (
            "all", make_pipeline(FullNetworkEmbedding(), ridge)),
        "all layers, those kept by D": ("all", scaled(DistanceSelector(), ridge)),
        **{
            f"{where} layer{'s' * (where == 'all')}, {CHOSEN} features: {name}": (
                where, make_pipeline(VarianceThreshold(), chosen, StandardScaler(), ridge))
            for where in ("last", "all") for name, chosen in best.items()
        },
    }  # fmt: skip


def main(folder: str) -> None:
    embedding = fnx.Embedding.open(folder)
    y = np.asarray(embedding.class_names)[embedding.labels]
    tables = {
        "last": embedding.to_polars(embedding.layers[-1]).to_numpy(),
        "all": embedding.to_polars().to_numpy(),
    }
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(y, y))
    classes = len(embedding.class_names)
    print(f"{y.size} images, {classes} classes, {len(embedding.layers)} layers\n")
    print("| features | how many | accuracy, % |\n|---|---:|---:|")
    for name, (where, pipeline) in pipelines(classes).items():
        X, right, counts = tables[where], [], []
        for train, test in folds:
            fitted = clone(pipeline).fit(X[train], y[train])
            right.append(fitted.score(X[test], y[test]))
            counts.append(fitted[-1].n_features_in_)
        error = np.std(right, ddof=1) / np.sqrt(len(right))
        print(
            f"| {name} | {np.mean(counts):,.0f} | {100 * np.mean(right):.1f} ± {100 * error:.1f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1])

"""What a run says about one class, one feature or one layer, from its tables and distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import Sign, beyond, domain, histogram, layer_rows
from fnx.analysis.run import Run

BINS = 40
"""Bins of the distribution of D: over −1…1, 0.05 each."""


@dataclass(frozen=True)
class ClassPortrait:
    """Which features speak about a class, and of which layers."""

    class_id: int
    name: str
    n_images: int
    n_failed: int
    kept: pl.DataFrame
    """``sign``, ``threshold``, ``kept``, ``kept_random`` (mean over the permutations)."""
    strongest: pl.DataFrame
    """``sign``, ``rank``, ``feature_id``, ``layer``, ``unit``, ``distance``."""
    layers: pl.DataFrame
    """``layer``, ``features``, ``kept_plus``, ``kept_minus``."""


@dataclass(frozen=True)
class FeaturePortrait:
    """What a feature says about each class."""

    feature_id: int
    layer: str
    unit: int
    kind: str
    constant: bool
    classes: pl.DataFrame
    """``class_id``, ``class_name``, ``n_images``, ``distance``, ``sign`` ("+", "-", or null for no
    more than noise), ``t_plus``, ``t_minus``; the largest distance first."""
    random_low: float | None
    random_high: float | None
    """The range of D over all classes and permutations."""
    images: pl.DataFrame | None
    """``rank``, ``activation``, ``class_name``, ``path`` of what activates it most; None where the
    run did not look."""

    @property
    def spoken(self) -> dict[str, int]:
        """Number of classes by "+" and "-"."""
        return {sign: int((self.classes["sign"] == sign).sum()) for sign in ("+", "-")}


@dataclass(frozen=True)
class LayerPortrait:
    """How a layer's distances are distributed, and its strongest pairs."""

    layer: str
    kind: str
    number: int
    """Place among the run's layers, from 1."""
    features: int
    constant: int
    shares: pl.DataFrame
    """The layer's rows of the run's ``layers`` table."""
    pairs: pl.DataFrame
    """``sign``, ``rank``, ``feature_id``, ``unit``, ``class_id``, ``class_name``, ``distance``."""
    edges: NDArray[np.float64]
    real: NDArray[np.float64]
    random: NDArray[np.float64]
    """Percent of the layer's pairs in each bin, under real and random labels."""
    stage: dict[str, Any] | None
    """The layer's row of the run's ``network`` table; None where it has none."""


def _limits(run: Run, class_id: int) -> dict[Sign, float]:
    """The thresholds of a class."""
    row = run.classes.row(class_id, named=True)
    both: list[tuple[Sign, float | None]] = [("+", row["t_plus"]), ("-", row["t_minus"])]
    return {sign: limit for sign, limit in both if limit is not None}


def class_portrait(run: Run, class_id: int, top: int = 10) -> ClassPortrait:
    """What speaks about a class; `top` features by presence and by absence."""
    row = run.classes.row(class_id, named=True)
    real = np.asarray(run.distances[:, class_id])
    kept, layers = [], run.features.select("layer")
    limits = _limits(run, class_id)
    columns: list[tuple[str, Sign]] = [("kept_plus", "+"), ("kept_minus", "-")]
    for name, sign in columns:
        limit = limits.get(sign)
        if limit is None:
            layers = layers.with_columns(pl.lit(None, pl.Int64).alias(name))
            continue
        passed = beyond(real, limit, sign)
        random = beyond(run.distances_random[:, :, class_id], limit, sign)
        chance = float(random.sum(axis=1).mean()) if len(random) else None
        kept.append((sign, limit, int(passed.sum()), chance))
        layers = layers.with_columns(pl.Series(name, passed.astype(np.int64)))
    return ClassPortrait(
        class_id,
        str(row["class_name"]),
        int(row["n_images"]),
        run.failed.filter(pl.col("class_id") == class_id).height,
        pl.DataFrame(
            kept,
            schema={
                "sign": pl.String,
                "threshold": pl.Float64,
                "kept": pl.Int64,
                "kept_random": pl.Float64,
            },
            orient="row",
        ),
        _strongest(real, top).join(
            run.features.select("feature_id", "layer", "unit"),
            on="feature_id",
            maintain_order="left",
        ),
        layers.group_by("layer", maintain_order=True).agg(
            pl.len().cast(pl.Int64).alias("features"), pl.col("kept_plus", "kept_minus").sum()
        ),
    )


def _strongest(values: NDArray[np.float32], top: int) -> pl.DataFrame:
    """Places of the largest and of the smallest values, equal ones in order of place."""
    rows = []
    for sign, key in (("+", -values), ("-", values)):
        places = np.argsort(key, kind="stable")[:top]
        places = places[key[places] < 0]
        rows += [(sign, rank, int(i), float(values[i])) for rank, i in enumerate(places, 1)]
    schema = {"sign": pl.String, "rank": pl.Int64, "feature_id": pl.Int64, "distance": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def feature_portrait(run: Run, feature_id: int) -> FeaturePortrait:
    """What a feature says about each class."""
    row = run.features.row(feature_id, named=True)
    distances = np.array(run.distances[feature_id])
    random = np.asarray(run.distances_random[:, feature_id])
    signs: list[str | None] = []
    for class_id, distance in enumerate(distances):
        limits = _limits(run, class_id).items()
        passed = [sign for sign, limit in limits if beyond(distance, limit, sign)]
        signs.append(passed[0] if passed else None)
    classes = run.classes.select(
        "class_id",
        "class_name",
        "n_images",
        pl.Series("distance", distances.astype(np.float64)),
        pl.Series("sign", signs, dtype=pl.String),
        "t_plus",
        "t_minus",
    ).sort("distance", descending=True, maintain_order=True)
    images = run.top_images
    if images is not None:
        images = (
            images.filter(pl.col("feature_id") == feature_id)
            .sort("rank")
            .select("rank", "activation", "class_name", "path")
        )
    return FeaturePortrait(
        feature_id,
        str(row["layer"]),
        int(row["unit"]),
        str(row["kind"]),
        bool(row["constant"]),
        classes,
        float(random.min()) if random.size else None,
        float(random.max()) if random.size else None,
        images,
    )


def layer_portrait(run: Run, layer: str, top: int = 10) -> LayerPortrait:
    """How a layer's distances are distributed; `top` pairs by presence and by absence."""
    layers = layer_rows(run.features)
    number = [found.name for found in layers].index(layer)
    rows = layers[number].rows
    features = run.features[rows]
    real = np.asarray(run.distances[rows])
    pairs = _strongest(real.ravel(), top).rename({"feature_id": "pair"})
    # Pairs are counted along the layer's rows: feature by feature, class by class.
    pairs = pairs.with_columns(
        feature_id=pl.col("pair") // real.shape[1] + rows.start,
        class_id=(pl.col("pair") % real.shape[1]).cast(pl.Int32),
    )
    edges = domain(run.distances, run.distances_random).edges(BINS)
    stage = None
    if run.has("network"):
        found = run.network.filter(pl.col("name") == layer)
        stage = None if found.is_empty() else found.row(0, named=True)
    return LayerPortrait(
        layer,
        layers[number].kind,
        number + 1,
        features.height,
        int(features["constant"].sum()),
        run.layers.filter(pl.col("layer") == layer),
        pairs.join(run.features.select("feature_id", "unit"), on="feature_id")
        .join(run.classes.select("class_id", "class_name"), on="class_id")
        .sort(pl.col("sign") == "-", "rank")
        .select("sign", "rank", "feature_id", "unit", "class_id", "class_name", "distance"),
        edges,
        histogram(run.distances, [rows], edges),
        histogram(run.distances_random, [rows], edges),
        stage,
    )

"""What a run says about one class, one feature or one layer, from its tables and distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import beyond, layer_rows, percentages, ranked
from fnx.analysis.run import Run

BINS = 40
"""Bins of the distribution of D: over −1…1, 0.05 each."""


@dataclass(frozen=True)
class ClassProfile:
    """Which features speak about a class, and of which layers."""

    class_id: int
    name: str
    n_images: int
    n_failed: int
    kept: pl.DataFrame
    """``sign``, ``threshold``, ``kept``, ``kept_random`` (mean over the permutations)."""
    strongest: pl.DataFrame
    """``sign``, ``rank``, ``feature_id``, ``layer``, ``unit``, ``distance``,
    ``calibrated_distance`` (null in a run that is not calibrated)."""
    layers: pl.DataFrame
    """``layer``, ``features``, ``kept_plus``, ``kept_minus``."""


@dataclass(frozen=True)
class FeatureProfile:
    """What a feature says about each class."""

    feature_id: int
    layer: str
    unit: int
    kind: str
    constant: bool
    classes: pl.DataFrame
    """``class_id``, ``class_name``, ``n_images``, ``distance``, ``calibrated_distance`` (or null),
    ``sign`` ("+", "-", or null for no more than noise), ``t_plus``, ``t_minus``; the largest
    distance first."""
    random_low: float
    random_high: float
    """The range of D over all classes and permutations."""
    images: pl.DataFrame | None
    """``rank``, ``activation``, ``class_name``, ``path`` of what activates it most; None where the
    run did not look."""

    @property
    def spoken(self) -> dict[str, int]:
        """Number of classes by "+" and "-"."""
        return {sign: int((self.classes["sign"] == sign).sum()) for sign in ("+", "-")}


@dataclass(frozen=True)
class LayerProfile:
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
    """``sign``, ``rank``, ``feature_id``, ``unit``, ``class_id``, ``class_name``, ``distance``,
    ``calibrated_distance`` (or null)."""
    edges: NDArray[np.float64]
    real: NDArray[np.float64]
    random: NDArray[np.float64]
    """Percent of the layer's pairs in each bin, under real and random labels."""
    stage: dict[str, Any] | None
    """The layer's row of the run's ``network`` table; None where it has none."""


def class_profile(run: Run, class_id: int, top: int = 10) -> ClassProfile:
    """Return what speaks about a class; `top` features by presence and by absence."""
    row = run.classes.row(class_id, named=True)
    real = np.asarray(run.distances[:, class_id])
    kept, layers = [], run.features.select("layer", kept_plus=None, kept_minus=None)
    for sign, limits in run.limits.items():
        limit = float(limits[class_id])
        passed = beyond(real, limit, sign)
        random = beyond(run.distances_random[:, :, class_id], limit, sign)
        kept.append((sign, limit, int(passed.sum()), float(random.sum(axis=1).mean())))
        name = "kept_plus" if sign == "+" else "kept_minus"
        layers = layers.with_columns(pl.Series(name, passed))
    types = (pl.String, pl.Float64, pl.Int64, pl.Float64)
    names = ("sign", "threshold", "kept", "kept_random")
    return ClassProfile(
        class_id,
        row["class_name"],
        row["n_images"],
        run.failed.filter(class_id=class_id).height,
        pl.DataFrame(kept, schema=dict(zip(names, types, strict=True)), orient="row"),
        _with_calibrated(
            run,
            _ranked(run, real, top, "feature_id")
            .join(
                run.features.select("feature_id", "layer", "unit"),
                on="feature_id",
                maintain_order="left",
            )
            .with_columns(class_id=class_id),
        ).drop("class_id"),
        layers.group_by("layer", maintain_order=True).agg(
            pl.len().cast(pl.Int64).alias("features"),
            pl.col("kept_plus", "kept_minus").cast(pl.Int64).sum(),
        ),
    )


def _ranked(run: Run, values: NDArray[np.float32], top: int, name: str) -> pl.DataFrame:
    """Return the places of the largest and of the smallest values, those of a place in `name`."""
    schema = {"sign": pl.String, "rank": pl.Int64, name: pl.Int64, "distance": pl.Float64}
    return pl.DataFrame(list(ranked(values, top, run.neutral)), schema=schema, orient="row")


def _with_calibrated(run: Run, pairs: pl.DataFrame) -> pl.DataFrame:
    """Put the calibrated distance beside that of pairs with ``feature_id`` and ``class_id``."""
    values = pl.Series([None] * pairs.height, dtype=pl.Float64)
    if run.calibrated is not None:
        at = pairs["feature_id"].to_numpy(), pairs["class_id"].to_numpy()
        values = pl.Series(run.calibrated[at].astype(np.float64))
    place = pairs.get_column_index("distance") + 1
    return pairs.insert_column(place, values.alias("calibrated_distance"))


def feature_profile(run: Run, feature_id: int) -> FeatureProfile:
    """Return what a feature says about each class."""
    row = run.features.row(feature_id, named=True)
    distances = np.array(run.distances[feature_id])
    random = np.asarray(run.distances_random[:, feature_id])
    signs = np.full(len(distances), None, object)
    for sign, limits in run.limits.items():
        signs[beyond(distances, limits, sign)] = sign
    classes = run.classes.select(
        "class_id",
        "class_name",
        "n_images",
        pl.Series("distance", distances.astype(np.float64)),
        pl.Series("sign", signs.tolist(), dtype=pl.String),
        "t_plus",
        "t_minus",
    ).sort("distance", descending=True, maintain_order=True)
    classes = _with_calibrated(run, classes.with_columns(feature_id=feature_id)).drop("feature_id")
    images = run.top_images
    if images is not None:
        images = (
            images.filter(feature_id=feature_id)
            .sort("rank")
            .select("rank", "activation", "class_name", "path")
        )
    return FeatureProfile(
        feature_id,
        row["layer"],
        row["unit"],
        row["kind"],
        row["constant"],
        classes,
        float(random.min()),
        float(random.max()),
        images,
    )


def layer_profile(run: Run, layer: str, top: int = 10) -> LayerProfile:
    """Return how a layer's distances are distributed; `top` pairs by presence and by absence."""
    layers = layer_rows(run.features)
    number = [found.name for found in layers].index(layer)
    rows = layers[number].rows
    features = run.features[rows]
    real = np.asarray(run.distances[rows])
    # Pairs are counted along the layer's rows: feature by feature, class by class.
    pairs = _ranked(run, real.ravel(), top, "pair").with_columns(
        feature_id=pl.col("pair") // real.shape[1] + rows.start,
        class_id=(pl.col("pair") % real.shape[1]).cast(pl.Int32),
    )
    edges = run.domain.edges(BINS)
    stages = run.network.filter(name=layer).to_dicts() if run.has("network") else []
    return LayerProfile(
        layer,
        layers[number].kind,
        number + 1,
        features.height,
        int(features["constant"].sum()),
        run.layers.filter(layer=layer),
        _with_calibrated(
            run,
            pairs.join(run.features.select("feature_id", "unit"), on="feature_id")
            .join(run.classes.select("class_id", "class_name"), on="class_id")
            .sort(pl.col("sign") == "-", "rank")
            .select("sign", "rank", "feature_id", "unit", "class_id", "class_name", "distance"),
        ),
        edges,
        percentages(run.distances, [rows], edges),
        percentages(run.distances_random, [rows], edges),
        stages[0] if stages else None,
    )

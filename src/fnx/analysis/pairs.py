"""Pairs of a feature and a class: which are shown, and the two distributions that D compares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import Sign
from fnx.analysis.lookup import shown, whole
from fnx.analysis.run import Run
from fnx.errors import ConfigError, unknown

BINS = 100
"""Bins of the densities where the statistic itself has none."""

SHOWN_LAYERS = 8
"""Layers that have a pair of their own where none is asked for, spread over the network."""


@dataclass(frozen=True)
class Pair:
    """A feature and a class of a run."""

    feature_id: int
    layer: str
    unit: int
    class_id: int
    class_name: str

    @property
    def feature(self) -> str:
        """How the feature is written."""
        return f"{self.layer}/{self.unit}"


def check_pair(
    text: str,
    units: Mapping[str, int] | None = None,
    class_names: Collection[str] | None = None,
    *,
    key: str = "report.pair",
) -> tuple[str, int, str]:
    """Return layer, unit and class of "layer/unit:class", if they exist.

    Args:
        text: the value of `key`.
        units: number of units of each layer; None where they are not known yet.
        class_names: the classes; None where they are not known yet.
        key: whose value it is.

    Raises:
        ConfigError: if it is not written so, or naming what is not there.

    >>> check_pair("conv4_3/458:pink-yellow dahlia")
    ('conv4_3', 458, 'pink-yellow dahlia')
    """
    feature, _, class_name = text.partition(":")
    layer, _, unit_text = feature.rpartition("/")
    unit = whole(unit_text)
    if not layer or not class_name or unit is None:
        raise ConfigError(f"{key}={shown(text)}: must be LAYER/UNIT:CLASS, as conv4_3/458:daisy")
    if units is not None and layer not in units:
        raise ConfigError(f"{key}: {unknown('layer', layer, units)}")
    if units is not None and unit >= units[layer]:
        raise ConfigError(f"{key}: {layer} has units 0 to {units[layer] - 1}, not {unit}")
    if class_names is not None and class_name not in class_names:
        raise ConfigError(f"{key}: {unknown('class', shown(class_name), map(shown, class_names))}")
    return layer, unit, class_name


def find_pair(run: Run, text: str, key: str = "report.pair") -> Pair:
    """Return the pair that "layer/unit:class" names.

    Raises:
        ConfigError: if it is not written so, or the run has no such layer, unit or class.
    """
    units = dict(run.features.group_by("layer").len().iter_rows())
    names = run.classes["class_name"].to_list()
    layer, unit, class_name = check_pair(text, units, names, key=key)
    found = run.features.filter(layer=layer, unit=unit)["feature_id"]
    if found.is_empty():
        raise ConfigError(f"{key}: {layer} has no unit {unit}")
    return Pair(int(found[0]), layer, unit, names.index(class_name), class_name)


def top_pair(run: Run) -> Pair | None:
    """Return the pair of the highest D, the first of several; None if no D is above neutral."""
    first = run.top_features.filter(sign="+", rank=1).sort(
        "distance", descending=True, maintain_order=True
    )
    return None if first.is_empty() else _pair(run, first["feature_id"][0], first["class_id"][0])


def _pair(run: Run, feature_id: int, class_id: int) -> Pair:
    layer, unit = run.features.select("layer", "unit").row(feature_id)
    return Pair(feature_id, layer, unit, class_id, run.classes["class_name"][class_id])


def shown_pairs(run: Run) -> pl.DataFrame:
    """Return the pairs that the figures of features show.

    Those of ``report.pairs``, or for some layers, spread over the network, the pair with the
    highest and the pair with the lowest D.

    Returns:
        ``sign``, ``layer``, ``unit``, ``feature_id``, ``class_id``, ``class_name``, ``distance``,
        in order of sign, feature and class.
    """
    asked = run.record.setting("report.pairs")
    rows = [
        vars(pair) | {"sign": sign, "distance": run.distances[pair.feature_id, pair.class_id]}
        for sign, pair in ([_asked_pair(run, text) for text in asked or ()] or _top_pairs(run))
    ]
    schema = {"sign": pl.String, "layer": pl.String, "unit": pl.Int32, "feature_id": pl.Int64}
    schema |= {"class_id": pl.Int32, "class_name": pl.String, "distance": pl.Float32}
    return pl.DataFrame(rows, schema=schema).sort("sign", "feature_id", "class_id")


def _asked_pair(run: Run, text: str) -> tuple[Sign, Pair]:
    pair = find_pair(run, text, "report.pairs")
    absent = run.signed and run.distances[pair.feature_id, pair.class_id] < run.neutral
    return "-" if absent else "+", pair


def _top_pairs(run: Run) -> list[tuple[Sign, Pair]]:
    layers = run.scan.layers
    spread = np.linspace(0, len(layers) - 1, min(SHOWN_LAYERS, len(layers))).round().astype(int)
    pairs = []
    for rows in (layers[i].rows for i in spread):
        for side in run.scan.sides:
            best = side.best[rows]
            feature_id = rows.start + int(best.argmax() if side.sign == "+" else best.argmin())
            pairs.append((side.sign, _pair(run, feature_id, int(side.best_class[feature_id]))))
    return pairs


def pair_table(
    values: NDArray[np.floating[Any]], of_class: NDArray[np.bool_], bins: int | None
) -> pl.DataFrame:
    """Return densities and cumulative distributions of a class's images and of all others.

    Args:
        values: (N,) of one feature, an image each.
        of_class: (N,) whether the image is of the class.
        bins: those of the statistic; None for an exact one: the densities then have `BINS`.

    Returns:
        ``curve`` ("density", "cumulative"), ``x``, ``x_end``, ``inner``, ``outer``. A density is
        that of a bin from x to x_end, and integrates to 1. A cumulative distribution is the share
        of the images at most at x: at the bins' upper edges, after 0 at the lowest edge, or, if
        exact, at every value (x_end is null).

    >>> table = pair_table(np.array([0.0, 1.0, 2.0]), np.array([False, False, True]), 2)
    >>> table.filter(curve="density").rows()
    [('density', 0.0, 1.0, 0.0, 0.5), ('density', 1.0, 2.0, 1.0, 0.5)]
    >>> table.filter(curve="cumulative")["outer"].to_list()
    [0.0, 0.5, 1.0]
    """
    values = np.asarray(values, np.float64)
    # The bins of the statistics: numpy.histogram's of all values of the feature (see `fnx.ks`).
    edges = np.histogram_bin_edges(values, bins or BINS)
    parts = (values[of_class], values[~of_class])
    inner, outer = (np.histogram(part, edges)[0] / max(part.size, 1) for part in parts)
    widths = np.diff(edges)
    density = pl.DataFrame(
        {"x": edges[:-1], "x_end": edges[1:], "inner": inner / widths, "outer": outer / widths}
    )
    if bins is None:
        points = np.unique(values)
        inner, outer = (
            np.searchsorted(np.sort(part), points, side="right") / max(part.size, 1)
            for part in parts
        )
    else:
        points = edges
        inner, outer = (np.append(0.0, np.cumsum(share)) for share in (inner, outer))
    cumulative = pl.DataFrame({"x": points, "inner": inner, "outer": outer})
    return pl.concat(
        [
            density.select(pl.lit("density").alias("curve"), pl.all()),
            cumulative.select(pl.lit("cumulative").alias("curve"), pl.all()),
        ],
        how="diagonal",
    )


def widest(table: pl.DataFrame) -> tuple[float, float, float]:
    """Return x, inner and outer where the distributions of a `pair_table` are farthest apart.

    A tie between the two sides goes to the one where the class has the higher values, as in `ks`.
    """
    rows = table.filter(curve="cumulative")
    difference = (rows["outer"] - rows["inner"]).to_numpy()
    high, low = int(difference.argmax()), int(difference.argmin())
    rounding = 1e-12  # sides closer than this are tied
    at = low if -difference[low] > difference[high] + rounding else high
    x, inner, outer = rows.select("x", "inner", "outer").row(at)
    return x, inner, outer

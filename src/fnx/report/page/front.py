"""The first look of a run's page: the strongest classes, and accuracy and traces over depth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from fnx.analysis import Run
from fnx.analysis.pairs import shown_pairs
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.tables import named_top_features

if TYPE_CHECKING:
    from fnx.analysis.advice import Advice

PORTRAITS = 6  # as many as two rows on a wide screen
TEXTS = 2  # top rows of an array that a portrait quotes
HEIGHT = 190  # of the chart of accuracies, in pixels
LAYERS_END = 88.0  # percent of the width; behind it stand the entries that are no layer
MARKS = {"all": "◆", "full_network": "■"}


@dataclass(frozen=True)
class Depth:
    """Where the parts of the chart over depth stand: x in percent of the width, y in pixels.

    Attributes:
        layers: (L,) x of each layer, from input to output.
        width: of a layer's bar, in percent.
        points: the entries of the advice: ``x``, ``y``, ``low`` and ``high`` (one standard error
            to each side), ``mark`` (empty for a layer), ``text`` and ``row``, that of the advice.
        ticks: y and percent of the grid's lines.
        lines: y, class and text of what accuracies are compared with.
        ringed: the point that is recommended.
    """

    layers: list[float]
    width: float
    points: list[dict[str, Any]] = field(default_factory=list)
    ticks: list[tuple[float, int]] = field(default_factory=list)
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    ringed: dict[str, Any] | None = None


def portraits(run: Run) -> list[dict[str, Any]]:
    """Return the classes with the highest D by presence, each with its top feature.

    Only features that have a picture or, in a run of an array, top rows with a text; each feature
    and each class once.

    Returns:
        ``class_id``, ``class_name``, ``feature_id``, ``name``, ``distance``, ``picture`` (its
        address, or None) and ``texts``.
    """
    top = (
        named_top_features(run)
        .filter(pl.col("distance") > run.neutral, sign="+")
        .sort("distance", descending=True, maintain_order=True)
    )
    found: list[dict[str, Any]] = []
    classes, features = set[int](), set[int]()
    for row in top.iter_rows(named=True):
        if row["class_id"] in classes or row["feature_id"] in features:
            continue
        picture = _address(run, sprite_path(run.path, row["layer"], row["unit"]))
        texts = _texts(run, row["feature_id"])
        if picture is None and not texts:
            continue
        classes.add(row["class_id"])
        features.add(row["feature_id"])
        found.append(row | {"picture": picture, "texts": texts})
        if len(found) == PORTRAITS:
            break
    return found


def shown(run: Run, sign: str) -> list[dict[str, Any]]:
    """Return the pairs of one sign that the figures of features show, with a picture of each."""
    if run.top_images is None:
        return []
    found = []
    for row in shown_pairs(run).filter(sign=sign).iter_rows(named=True):
        files = {
            "picture": sprite_path(run.path, row["layer"], row["unit"]),
            "of_class": class_path(run.path, row["class_id"]),
        }
        found.append(row | {name: _address(run, file) for name, file in files.items()})
    return [row for row in found if row["picture"]]


def _address(run: Run, file: Path) -> str | None:
    """Return a picture's address from the page; None where there is no such picture."""
    return quote(file.relative_to(run.path).as_posix()) if file.is_file() else None


def _texts(run: Run, feature_id: int) -> list[str]:
    """Return the texts of the top rows of a feature; none of a run with images."""
    if not run.of_array or run.top_images is None:
        return []
    rows = run.top_images.filter(pl.col("rank") <= TEXTS, feature_id=feature_id).sort("rank")
    return rows["path"].drop_nulls().to_list()


def depth(run: Run) -> Depth:
    """Place the layers of a run and, if it was advised on, the accuracies of its entries."""
    count, advice = len(run.scan.layers), run.advice
    end = 100.0 if advice is None else LAYERS_END
    step = end / count
    layers = [round(step * (i + 0.5), 3) for i in range(count)]
    if advice is None:
        return Depth(layers, round(0.8 * step, 3))
    low, high = _span(advice)
    place = {layer.name: x for layer, x in zip(run.scan.layers, layers, strict=True)}
    others = iter((LAYERS_END + 4, LAYERS_END + 10))

    def y(share: float) -> float:
        return round(HEIGHT * (high - share) / (high - low), 1)

    points: list[dict[str, Any]] = [
        {
            "x": place.get(row["entry"]) if row["kind"] == "layer" else next(others),
            "y": y(row["accuracy"]),
            "low": y(row["accuracy"] - row["standard_error"]),
            "high": y(row["accuracy"] + row["standard_error"]),
            "mark": MARKS.get(row["kind"], ""),
            "row": row,
        }
        for row in advice.table.iter_rows(named=True)
    ]
    points = [point for point in points if point["x"] is not None]
    lines = [(y(advice.chance), "chance", "chance")]
    if advice.untrained is not None:
        lines.append((y(advice.untrained), "untrained", "untrained network"))
    tenths = range(round(10 * low), round(10 * high) + 1, 1 if high - low < 0.55 else 2)
    ringed = next((point for point in points if point["row"]["recommended"]), None)
    ticks = [(y(tenth / 10), 10 * tenth) for tenth in tenths]
    return Depth(layers, round(0.8 * step, 3), points, ticks, lines, ringed)


def _span(advice: Advice) -> tuple[float, float]:
    """Return the lowest and the highest share that the chart reaches, in whole tenths."""
    shares = [advice.chance, *advice.table["accuracy"]]
    if advice.untrained is not None:
        shares.append(advice.untrained)
    low, high = math.floor(10 * min(shares)) / 10, math.ceil(10 * max(shares)) / 10
    return max(0.0, low), min(1.0, max(high, low + 0.1))

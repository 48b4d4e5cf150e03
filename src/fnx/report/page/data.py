"""The numbers behind the page's views: its index, and the chunks that it loads when asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.analysis.distributions import Distances, Sign, counts_beyond
from fnx.analysis.scan import BINS, Measures, farthest
from fnx.report.figures import layers as fig05
from fnx.report.page.chunks import packed, write_chunk
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.text import distance_label

CURVE_POINTS = 201
"""Points of a class's curve of Figure 9: every 0.005 for a statistic within −1…1."""

MAX_CURVES = 300
"""Classes whose curves are drawn at once; of more, so many evenly chosen ones."""

TOP_OF_CLASS = 200
"""Features listed for a class and sign."""

MAX_PAIRS = 32_000_000
"""Distances that the page takes along (170 MB); of more, each feature's strongest classes only."""

TOP_OF_FEATURE = 50
"""Classes of a feature and sign, where not all are taken along."""

CHUNK_BYTES = 220_000
"""Bytes of a chunk before base64, unless one class or feature alone needs more."""


def index(run: Run, measures: Measures) -> dict[str, Any]:
    """What every view needs: names, thresholds, and where the rest lies."""
    whole = run.distances.size <= MAX_PAIRS
    limits = {"t" + name: packed(part.limits, "f4") for name, part in _named(measures)}
    kept = {"kept" + name: packed(part.kept.sum(axis=0), "i4") for name, part in _named(measures)}
    return {
        "dataset": run.dataset,
        "model": run.model,
        "distance": distance_label(run),
        "signed": run.signed,
        "permutations": len(run.distances_random),
        "range": [measures.range.low, measures.range.high],
        "thresholds": {row["sign"]: row["threshold"] for row in run.thresholds.rows(named=True)},
        "classNames": run.classes["class_name"].to_list(),
        "classImages": packed(run.classes["n_images"].to_numpy(), "i4"),
        **limits,
        **kept,
        "classPictures": _numbered(class_path(run.path, 0).parent),
        "layers": _layers(run, measures),
        "classesPerChunk": classes_per_chunk(run, measures),
        "featuresPerChunk": features_per_chunk(run),
        "whole": whole,
    }


def _named(measures: Measures) -> list[tuple[str, Any]]:
    return [({"+": "Plus", "-": "Minus"}[part.sign], part) for part in measures.signs]


def _layers(run: Run, measures: Measures) -> list[dict[str, Any]]:
    network = _network(run)
    units = run.features["unit"].to_numpy()
    rows = []
    for layer in measures.layers:
        numbers = units[layer.rows]
        row: dict[str, Any] = {
            "name": layer.name,
            "kind": layer.kind,
            "first": layer.rows.start,
            "size": len(numbers),
        }
        if not np.array_equal(numbers, np.arange(len(numbers))):
            row["units"] = packed(numbers, "i4")
        folder = sprite_path(run.path, layer.name, 0).parent
        if pictured := _numbered(folder):
            row |= {"pictures": quote(f"pictures/{folder.name}"), "pictured": pictured}
        if layer.name in network:
            row["network"] = network[layer.name]
        rows.append(row)
    return rows


def _numbered(folder: Path) -> list[int]:
    """Numbers of the pictures in a folder: those that are not there must not be asked for."""
    if not folder.is_dir():
        return []
    return sorted(int(path.stem) for path in folder.glob("*.jpg") if path.stem.isdigit())


def _network(run: Run) -> dict[str, dict[str, Any]]:
    """What is known of each layer beside its distances: maps, receptive fields."""
    if not run.has("network"):
        return {}
    columns = ("parameters", "height", "width", "receptive_field")
    return {
        row["name"]: {key: row[key] for key in columns if row[key] is not None}
        for row in run.network.rows(named=True)
    }


def write(run: Run, measures: Measures, folder: Path, mode: str = "empirical") -> None:
    """Write all chunks into a folder, in place of those of an earlier report."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    curves = {part.sign: _curves(run, measures, part.sign) for part in measures.signs}
    write_chunk(folder, "figures", figures(run, measures, curves, mode))
    for i in range(len(measures.layers)):
        write_chunk(folder, f"layer-{i}", layer(measures, i))
    for number, value in enumerate(classes(run, measures, curves)):
        write_chunk(folder, f"classes-{number}", value)
    for number, value in enumerate(features(run, measures)):
        write_chunk(folder, f"features-{number}", value)


_Curves = tuple[NDArray[np.int64], NDArray[np.int64]]


def _x(measures: Measures) -> NDArray[np.float64]:
    return np.linspace(0, measures.range.high, CURVE_POINTS)


def _curves(run: Run, measures: Measures, sign: Sign) -> _Curves:
    """Features beyond each x: (C, X) under the real labels, (R, C, X) under random ones."""
    x = _x(measures)
    return counts_beyond(run.distances, x, sign), counts_beyond(run.distances_random, x, sign)


def figures(
    run: Run, measures: Measures, curves: dict[Sign, _Curves], mode: str = "empirical"
) -> dict[str, Any]:
    """The numbers of the interactive figures.

    Returns:
        ``edges`` and (L, BINS) ``histogram``, ``histogramRandom`` in pairs of feature and class
        (Fig 6); ``pairs``, ``pairsRandom``: all pairs of each layer; ``layers``: the run's table
        of Figs 5 and 10, by sign and column; for each sign ``curves`` (Fig 9).
    """
    n_classes = run.classes.height
    sizes = np.array([part.rows.stop - part.rows.start for part in measures.layers])
    shown = np.unique(np.linspace(0, n_classes - 1, min(n_classes, MAX_CURVES)).round())
    chosen = shown.astype(np.int64)
    kept = run.layers.select("layer", "sign", "pct_kept", "pct_kept_random")
    spreads = fig05.table([run], [run.dataset], mode).drop("run", "kind", "threshold")
    table = spreads.join(kept, on=["layer", "sign"], maintain_order="left")
    columns = [name for name in table.columns if name not in ("layer", "sign")]
    return {
        "edges": packed(measures.range.edges(BINS), "f8"),
        "histogram": packed(measures.histogram, "i4"),
        "histogramRandom": packed(measures.histogram_random, "f8"),
        "pairs": packed(sizes * n_classes, "f8"),
        "pairsRandom": packed(sizes * n_classes * len(run.distances_random), "f8"),
        "layers": {
            part.sign: {
                name: packed(
                    table.filter(sign=part.sign)[name].cast(pl.Float64).fill_null(np.nan), "f8"
                )
                for name in columns
            }
            for part in measures.signs
        },
        "x": packed(_x(measures), "f8"),
        "shown": packed(chosen, "i4"),
        "davgX": packed(run.davg["x"], "f8"),
        "curves": {
            sign: {
                "real": packed(real[chosen], "i4"),
                "random": packed(random[0][chosen] if len(random) else [], "i4"),
                "mean": packed(real.mean(axis=0), "f8"),
                "meanRandom": packed(random.mean(axis=(0, 1)) if len(random) else [], "f8"),
                "davg": packed(run.davg["davg_plus" if sign == "+" else "davg_minus"], "f8"),
            }
            for sign, (real, random) in curves.items()
        },
    }


def layer(measures: Measures, i: int) -> dict[str, Any]:
    """One layer: its distribution, strongest pairs, classes, and a line for each of its units."""
    rows = measures.layers[i].rows
    return {
        "edges": packed(measures.range.edges(BINS), "f8"),
        "histogram": packed(measures.histogram[i], "i4"),
        "histogramRandom": packed(measures.histogram_random[i], "f8"),
        "signs": {
            part.sign: {
                "pairFeatures": packed(part.pairs[i][0], "i4"),
                "pairClasses": packed(part.pairs[i][1], "i4"),
                "pairDistances": packed(part.pairs[i][2], "f4"),
                "kept": packed(part.kept[i], "i4"),
                "keptRandom": packed(part.kept_random[i], "f8"),
                "classesKept": packed(part.classes_kept[rows], "i4"),
                "best": packed(part.best[rows], "f4"),
                "bestClass": packed(part.best_class[rows], "i4"),
            }
            for part in measures.signs
        },
    }


def classes_per_chunk(run: Run, measures: Measures) -> int:
    """Classes whose numbers come together in one script."""
    one = 2 * (len(measures.layers) * 12 + TOP_OF_CLASS * 8 + CURVE_POINTS * 8)
    return max(1, min(run.classes.height, CHUNK_BYTES // one))


def classes(run: Run, measures: Measures, curves: dict[Sign, _Curves]) -> Iterator[dict[str, Any]]:
    """Each class: what every layer keeps for it, its curve and its strongest features."""
    step = classes_per_chunk(run, measures)
    # Columns lie apart on the disk: many of them are read at once, then handed out chunk by chunk.
    width = step * max(1, 64 // step)
    for first in range(0, run.classes.height, width):
        columns = np.ascontiguousarray(run.distances[:, first : first + width].T)
        for start in range(first, first + len(columns), step):
            some = columns[start - first : start - first + step]
            yield {
                str(start + j): {
                    part.sign: _class_of_sign(part, column, start + j, curves[part.sign])
                    for part in measures.signs
                }
                for j, column in enumerate(some)
            }


def _class_of_sign(part: Any, column: Distances, of_class: int, curves: _Curves) -> dict[str, Any]:
    at = farthest(column, part.sign, TOP_OF_CLASS)
    real, random = curves
    return {
        "features": packed(at, "i4"),
        "distances": packed(column[at], "f4"),
        "kept": packed(part.kept[:, of_class], "i4"),
        "keptRandom": packed(part.kept_random[:, of_class], "f8"),
        "curve": packed(real[of_class], "i4"),
        "curveRandom": packed(random[0][of_class] if len(random) else [], "i4"),
    }


def features_per_chunk(run: Run) -> int:
    """Features whose distances come together in one script."""
    one = 4 * run.classes.height if run.distances.size <= MAX_PAIRS else 16 * TOP_OF_FEATURE
    return max(1, min(run.features.height, CHUNK_BYTES // one))


def features(run: Run, measures: Measures) -> Iterator[dict[str, Any]]:
    """Each feature: its distance to every class, and how far random labels brought it."""
    step = features_per_chunk(run)
    constant = run.features["constant"].to_numpy()
    for start in range(0, run.features.height, step):
        rows = slice(start, start + step)
        real = np.asarray(run.distances[rows])
        value = {
            "random": packed(measures.random[rows], "f4"),
            "constant": packed(constant[rows], "u1"),
        }
        if run.distances.size <= MAX_PAIRS:
            yield value | {"distances": packed(real, "f4")}
        else:
            yield value | {"strongest": [_strongest_classes(row, measures) for row in real]}


def _strongest_classes(row: Distances, measures: Measures) -> dict[str, Any]:
    at = np.concatenate([farthest(row, part.sign, TOP_OF_FEATURE) for part in measures.signs])
    return {"classes": packed(at, "i4"), "distances": packed(row[at], "f4")}

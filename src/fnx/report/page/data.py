"""The numbers behind the page's views: its index, and the chunks that it loads when asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from fnx.analysis import Run
from fnx.analysis.distributions import Distances, farthest
from fnx.analysis.scan import CURVE_POINTS, Scan, SideScan
from fnx.report.figures import layers as fig05
from fnx.report.page.chunks import packed, write_chunk
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.text import distance_label

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


def index(run: Run) -> dict[str, Any]:
    """What every view needs: names, thresholds, and where the rest lies."""
    whole = run.distances.size <= MAX_PAIRS
    limits = {"t" + name: packed(part.limits, "f4") for name, part in _named(run)}
    kept = {"kept" + name: packed(part.kept.sum(axis=0), "i4") for name, part in _named(run)}
    return {
        "dataset": run.dataset,
        "model": run.model,
        "distance": distance_label(run),
        "signed": run.signed,
        "permutations": len(run.distances_random),
        "range": [run.domain.low, run.domain.high],
        "thresholds": {row["sign"]: row["threshold"] for row in run.thresholds.rows(named=True)},
        "classNames": run.classes["class_name"].to_list(),
        "classImages": packed(run.classes["n_images"].to_numpy(), "i4"),
        **limits,
        **kept,
        "classPictures": _numbered(class_path(run.path, 0).parent),
        "layers": _layers(run),
        "classesPerChunk": classes_per_chunk(run),
        "featuresPerChunk": features_per_chunk(run),
        "whole": whole,
    }


def _named(run: Run) -> list[tuple[str, SideScan]]:
    return [({"+": "Plus", "-": "Minus"}[part.sign], part) for part in run.scan.sides]


def _layers(run: Run) -> list[dict[str, Any]]:
    network = _network(run)
    units = run.features["unit"].to_numpy()
    rows = []
    for layer in run.scan.layers:
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


def write(run: Run, folder: Path, mode: str = "empirical") -> None:
    """Write all chunks into a folder, in place of those of an earlier report."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_chunk(folder, "figures", figures(run, mode))
    for i in range(len(run.scan.layers)):
        write_chunk(folder, f"layer-{i}", layer(run.scan, i))
    for number, value in enumerate(classes(run)):
        write_chunk(folder, f"classes-{number}", value)
    for number, value in enumerate(features(run)):
        write_chunk(folder, f"features-{number}", value)


def figures(run: Run, mode: str = "empirical") -> dict[str, Any]:
    """The numbers of the interactive figures.

    Returns:
        ``edges`` and (L, BINS) ``histogram``, ``histogramRandom`` in pairs of feature and class
        (Fig 6); ``pairs``, ``pairsRandom``: all pairs of each layer; ``layers``: the run's table
        of Figs 5 and 10, by sign and column; for each sign ``curves`` (Fig 9).
    """
    scan, n_classes = run.scan, run.classes.height
    sizes = np.array([part.size for part in scan.layers])
    shown = np.unique(np.linspace(0, n_classes - 1, min(n_classes, MAX_CURVES)).round())
    chosen = shown.astype(np.int64)
    kept = run.layers.select("layer", "sign", "pct_kept", "pct_kept_random")
    spreads = fig05.table([run], [run.dataset], mode).drop("run", "kind", "threshold")
    table = spreads.join(kept, on=["layer", "sign"], maintain_order="left")
    columns = [name for name in table.columns if name not in ("layer", "sign")]
    return {
        "edges": packed(scan.edges, "f8"),
        "histogram": packed(scan.histogram, "i4"),
        "histogramRandom": packed(scan.histogram_random, "f8"),
        "pairs": packed(sizes * n_classes, "f8"),
        "pairsRandom": packed(sizes * n_classes * scan.n_random, "f8"),
        "layers": {
            part.sign: {
                name: packed(
                    table.filter(sign=part.sign)[name].cast(pl.Float64).fill_null(np.nan), "f8"
                )
                for name in columns
            }
            for part in scan.sides
        },
        "x": packed(scan.x, "f8"),
        "shown": packed(chosen, "i4"),
        "davgX": packed(run.davg["x"], "f8"),
        "curves": {
            part.sign: {
                "real": packed(part.counts[chosen], "i4"),
                "random": packed(part.counts_random[0][chosen], "i4"),
                "mean": packed(part.counts.mean(axis=0), "f8"),
                "meanRandom": packed(part.counts_random.mean(axis=(0, 1)), "f8"),
                "davg": packed(run.davg["davg_plus" if part.sign == "+" else "davg_minus"], "f8"),
            }
            for part in scan.sides
        },
    }


def layer(scan: Scan, i: int) -> dict[str, Any]:
    """One layer: its distribution, strongest pairs, classes, and a line for each of its units."""
    rows = scan.layers[i].rows
    return {
        "edges": packed(scan.edges, "f8"),
        "histogram": packed(scan.histogram[i], "i4"),
        "histogramRandom": packed(scan.histogram_random[i], "f8"),
        "signs": {
            part.sign: {
                "pairFeatures": packed(part.pairs[i][0], "i4"),
                "pairClasses": packed(part.pairs[i][1], "i4"),
                "pairDistances": packed(part.pairs[i][2], "f4"),
                "kept": packed(part.kept[i], "i4"),
                "keptRandom": packed(part.kept_random[i] / scan.n_random, "f8"),
                "classesKept": packed(part.classes_kept[rows], "i4"),
                "best": packed(part.best[rows], "f4"),
                "bestClass": packed(part.best_class[rows], "i4"),
            }
            for part in scan.sides
        },
    }


def classes_per_chunk(run: Run) -> int:
    """Classes whose numbers come together in one script."""
    one = 2 * (len(run.scan.layers) * 12 + TOP_OF_CLASS * 8 + CURVE_POINTS * 8)
    return max(1, min(run.classes.height, CHUNK_BYTES // one))


def classes(run: Run) -> Iterator[dict[str, Any]]:
    """Each class: what every layer keeps for it, its curve and its strongest features."""
    step = classes_per_chunk(run)
    # Columns lie apart on the disk: many of them are read at once, then handed out chunk by chunk.
    width = step * max(1, 64 // step)
    for first in range(0, run.classes.height, width):
        columns = np.ascontiguousarray(run.distances[:, first : first + width].T)
        for start in range(first, first + len(columns), step):
            some = columns[start - first : start - first + step]
            yield {
                str(start + j): {
                    part.sign: _class_of_sign(run.scan, part, column, start + j)
                    for part in run.scan.sides
                }
                for j, column in enumerate(some)
            }


def _class_of_sign(scan: Scan, part: SideScan, column: Distances, of_class: int) -> dict[str, Any]:
    at = farthest(column, part.sign, TOP_OF_CLASS)
    return {
        "features": packed(at, "i4"),
        "distances": packed(column[at], "f4"),
        "kept": packed(part.kept[:, of_class], "i4"),
        "keptRandom": packed(part.kept_random[:, of_class] / scan.n_random, "f8"),
        "curve": packed(part.counts[of_class], "i4"),
        "curveRandom": packed(part.counts_random[0][of_class], "i4"),
    }


def features_per_chunk(run: Run) -> int:
    """Features whose distances come together in one script."""
    one = 4 * run.classes.height if run.distances.size <= MAX_PAIRS else 16 * TOP_OF_FEATURE
    return max(1, min(run.features.height, CHUNK_BYTES // one))


def features(run: Run) -> Iterator[dict[str, Any]]:
    """Each feature: its distance to every class, and how far random labels brought it."""
    step = features_per_chunk(run)
    constant = run.features["constant"].to_numpy()
    for start in range(0, run.features.height, step):
        rows = slice(start, start + step)
        real = np.asarray(run.distances[rows])
        value = {
            "random": packed(run.scan.random[rows], "f4"),
            "constant": packed(constant[rows], "u1"),
        }
        if run.distances.size <= MAX_PAIRS:
            yield value | {"distances": packed(real, "f4")}
        else:
            yield value | {"strongest": [_strongest_classes(row, run.scan) for row in real]}


def _strongest_classes(row: Distances, scan: Scan) -> dict[str, Any]:
    at = np.concatenate([farthest(row, part.sign, TOP_OF_FEATURE) for part in scan.sides])
    return {"classes": packed(at, "i4"), "distances": packed(row[at], "f4")}

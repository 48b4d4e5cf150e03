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
from fnx.analysis.distributions import Distances, farthest
from fnx.analysis.scan import CURVE_POINTS, SideScan
from fnx.errors import DataError
from fnx.report.figures import layers as modes
from fnx.report.page import against
from fnx.report.page.chunks import packed, write_chunk
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.text import detector_quality, detector_rule, distance_label, receptive_field, things
from fnx.report.values import BINS, every_feature_values

MAX_CURVES = 300  # classes whose curves are drawn at once; of more, so many evenly chosen ones
TOP_OF_CLASS = 200  # features listed for a class and sign

MAX_PAIRS = 32_000_000
"""Distances that the page takes along (170 MB); of more, each feature's top classes only."""

TOP_OF_FEATURE = 50  # classes of a feature and sign, where not all are taken along

LONGEST = 200  # characters of a row's text

CHUNK_BYTES = 220_000
"""Bytes of a chunk before base64, unless one class or feature alone needs more."""

VALUES_BYTES = 8 * BINS + 20 + 9 * 8
"""Bytes of a feature's values and of nine top images."""

MANY_CLASSES = 300  # classes above which the front page lists fewer features for each

TOP_PER_CLASS = (5, 3)
"""Features of each class and sign on the front page, and where there are many classes."""

_SUFFIX = {"+": "Plus", "-": "Minus"}


def top_per_class(run: Run) -> int:
    """Return how many features of each class and sign the front page lists."""
    return TOP_PER_CLASS[run.classes.height > MANY_CLASSES]


def index(run: Run) -> dict[str, Any]:
    """Return what every view needs: names, thresholds, top features, and where the rest lies."""
    scan = run.scan
    value = {
        "dataset": run.dataset,
        "model": run.model,
        "things": things(run),
        "distance": distance_label(run),
        "calibrated": run.calibrated is not None,
        "signed": run.signed,
        "neutral": run.neutral,
        "permutations": scan.n_random,
        "range": [scan.domain.low, scan.domain.high],
        "thresholds": {row["sign"]: row["threshold"] for row in run.thresholds.rows(named=True)},
        "classNames": run.classes["class_name"].to_list(),
        "classImages": packed(run.classes["n_images"].to_numpy(), "i4"),
        "classPictures": _numbered(class_path(run.path, 0).parent),
        "layers": _layers(run),
        "classesPerChunk": classes_per_chunk(run),
        "featuresPerChunk": features_per_chunk(run),
        "whole": _whole(run),
        "curves": min(run.classes.height, MAX_CURVES),
        "topPerClass": top_per_class(run),
        "topOfClass": TOP_OF_CLASS,
        "top": {side.sign: _top_features(run, side.sign) for side in scan.sides},
        "detectors": _detectors(run),
        "alike": packed(against.alike(run), "i4"),
        "against": against.written(run.path / "report" / "data"),
    }
    for side in scan.sides:
        value["t" + _SUFFIX[side.sign]] = packed(side.limits, "f4")
        value["kept" + _SUFFIX[side.sign]] = packed(side.kept.sum(axis=0), "i4")
    return value


def _whole(run: Run) -> bool:
    """Return whether the page takes all distances along."""
    return run.distances.size <= MAX_PAIRS


def _top_features(run: Run, sign: str) -> dict[str, Any]:
    """Return the top features of all classes as arrays (C, count), -1 where there are fewer."""
    count = top_per_class(run)
    rows = run.top_features.filter(pl.col("rank") <= count, sign=sign)
    at = rows["class_id"].to_numpy().astype(np.int64), rows["rank"].to_numpy() - 1
    ids = np.full((run.classes.height, count), -1, np.int32)
    values = np.zeros((run.classes.height, count), np.float32)
    ids[at], values[at] = rows["feature_id"].to_numpy(), rows["distance"].to_numpy()
    top = {"features": packed(ids, "i4"), "distances": packed(values, "f4")}
    if run.calibrated is not None:
        values[at] = run.calibrated[ids[at], at[0]]
        top["calibrated"] = packed(values, "f4")
    return top


def _detectors(run: Run) -> list[dict[str, Any]]:
    """Return the best detector of each class: its feature, and what it does in words."""
    if not run.has("detectors"):
        return []
    return [
        {
            "id": row["feature_id"],
            "rule": detector_rule(row),
            "quality": detector_quality(row, things(run)),
        }
        for row in run.detectors.filter(rank=1).rows(named=True)
    ]


def _layers(run: Run) -> list[dict[str, Any]]:
    network = _network(run)
    units = run.features["unit"].to_numpy()
    names = run.feature_labels.to_list() if "name" in run.features.columns else None
    rows = []
    for layer in run.scan.layers:
        row: dict[str, Any] = {"name": layer.name, "kind": layer.kind}
        row |= {"first": layer.rows.start, "size": layer.size}
        if not np.array_equal(units[layer.rows], np.arange(layer.size)):
            row["units"] = packed(units[layer.rows], "i4")
        folder = sprite_path(run.path, layer.name, 0).parent
        if names is not None:
            row["names"] = names[layer.rows]
        if pictured := _numbered(folder):
            row |= {"pictures": quote(f"pictures/{folder.name}"), "pictured": pictured}
        if layer.name in network:
            row["network"] = network[layer.name]
        rows.append(row)
    return rows


def _numbered(folder: Path) -> list[int]:
    """Return the numbers of a folder's pictures: the page must not ask for others."""
    return sorted(int(path.stem) for path in folder.glob("*.jpg") if path.stem.isdecimal())


def _network(run: Run) -> dict[str, dict[str, Any]]:
    """Return what is known of each layer beside its distances: maps, receptive fields."""
    if not run.has("network"):
        return {}
    columns = ("parameters", "height", "width")
    return {
        row["name"]: {key: row[key] for key in columns if row[key] is not None}
        | {"sees": receptive_field(run, row["receptive_field"])}
        for row in run.network.rows(named=True)
    }


def write(run: Run, folder: Path, mode: str = "empirical") -> None:
    """Write all chunks into a folder, in place of those of an earlier report."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_chunk(folder, "figures", figures(run, mode))
    write_chunk(folder, "images", top_images(run))
    if run.calibrated is not None:
        write_chunk(folder, "moments", {"moments": packed(run.calibrated.second_moment, "f4")})
    layers = (layer(run, i) for i in range(len(run.scan.layers)))
    for kind, values in (("layer", layers), ("classes", classes(run)), ("features", features(run))):
        for number, value in enumerate(values):
            write_chunk(folder, f"{kind}-{number}", value)


def figures(run: Run, mode: str = "empirical") -> dict[str, Any]:
    """Return the numbers of the interactive figures.

    Returns:
        ``edges`` and (L, BINS) ``histogram``, ``histogramRandom`` in pairs of feature and class
        (Fig 6); ``pairs``, ``pairsRandom``: all pairs of each layer; ``layers``: the run's table
        of Figs 5 and 10, by sign and column; for each sign ``curves`` (Fig 9); ``calibrated``, what
        takes the place of the histograms and the table for calibrated distances, if there are any.
    """
    scan, n_classes = run.scan, run.classes.height
    pairs = np.array([layer.size * n_classes for layer in scan.layers])
    chosen = np.linspace(0, n_classes - 1, min(n_classes, MAX_CURVES)).round().astype(np.int64)
    return {
        "edges": packed(scan.edges, "f8"),
        "histogram": packed(scan.histogram, "i4"),
        "histogramRandom": packed(scan.histogram_random, "f8"),
        "pairs": packed(pairs, "f8"),
        "pairsRandom": packed(pairs * scan.n_random, "f8"),
        "layers": _spreads(run, mode, "raw"),
        "x": packed(scan.x, "f8"),
        "shown": packed(chosen, "i4"),
        "davgX": packed(run.davg["x"], "f8"),
        "curves": {
            side.sign: {
                "real": packed(side.counts[chosen], "i4"),
                "random": packed(side.counts_random[0][chosen], "i4"),
                "mean": packed(side.counts.mean(axis=0), "f8"),
                "meanRandom": packed(side.counts_random.mean(axis=(0, 1)), "f8"),
                "davg": packed(run.davg[f"davg_{_SUFFIX[side.sign].lower()}"], "f8"),
            }
            for side in scan.sides
        },
        **_calibrated(run, layers=_spreads(run, mode, "calibrated") if scan.calibrated else None),
    }


def _spreads(run: Run, mode: str, distance: str) -> dict[str, dict[str, Any]]:
    """Return the columns of Figs 5 and 10, layer by layer, by sign and name."""
    kept = run.layers.select("layer", "sign", "pct_kept", "pct_kept_random")
    spreads = modes.table([run], [run.dataset], mode, distance).drop("run", "kind", "threshold")
    table = spreads.join(kept, on=["layer", "sign"], maintain_order="left")
    return {
        side.sign: {
            column.name: packed(column.cast(pl.Float64).fill_null(np.nan), "f8")
            for column in table.filter(sign=side.sign).drop("layer", "sign")
        }
        for side in run.scan.sides
    }


def _calibrated(run: Run, rows: slice | int = slice(None), **more: Any) -> dict[str, Any]:
    """Return what takes the place of a chunk's own values where calibrated distances are shown."""
    found = run.scan.calibrated
    if found is None:
        return {}
    return {
        "calibrated": {
            "histogram": packed(found.histogram[rows], "i4"),
            "histogramRandom": packed(found.histogram_random[rows], "f8"),
            **more,
        }
    }


def layer(run: Run, i: int) -> dict[str, Any]:
    """Return one layer: its distribution, top pairs, classes, and a line for each of its units."""
    scan = run.scan
    rows = scan.layers[i].rows
    return {
        "edges": packed(scan.edges, "f8"),
        "histogram": packed(scan.histogram[i], "i4"),
        "histogramRandom": packed(scan.histogram_random[i], "f8"),
        "signs": {
            side.sign: {
                "pairFeatures": packed(side.pairs[i][0], "i4"),
                "pairClasses": packed(side.pairs[i][1], "i4"),
                "pairDistances": packed(side.pairs[i][2], "f4"),
                "kept": packed(side.kept[i], "i4"),
                "keptRandom": packed(side.kept_random[i] / scan.n_random, "f8"),
                "classesKept": packed(side.classes_kept[rows], "i4"),
                "best": packed(side.best[rows], "f4"),
                "bestClass": packed(side.best_class[rows], "i4"),
            }
            for side in scan.sides
        },
        **_calibrated(run, i, pairs=_calibrated_pairs(run, i)),
    }


def _calibrated_pairs(run: Run, i: int) -> dict[str, Any]:
    """Return a layer's top pairs by calibrated distance, with their raw ones, by sign."""
    return {
        side.sign: {
            "pairFeatures": packed(side.pairs[i][0], "i4"),
            "pairClasses": packed(side.pairs[i][1], "i4"),
            "pairDistances": packed(run.distances[side.pairs[i][:2]], "f4"),
        }
        for side in (run.scan.calibrated.sides if run.scan.calibrated else ())
    }


def classes_per_chunk(run: Run) -> int:
    """Return how many classes come together in one script."""
    one = 2 * (len(run.scan.layers) * 12 + TOP_OF_CLASS * 8 + CURVE_POINTS * 8)
    return max(1, min(run.classes.height, CHUNK_BYTES // one))


def classes(run: Run) -> Iterator[dict[str, Any]]:
    """Yield each class: what every layer keeps for it, its curve and its top features."""
    step = classes_per_chunk(run)
    # Columns lie apart on the disk: many of them are read at once, then handed out chunk by chunk.
    width = step * max(1, 64 // step)
    for first in range(0, run.classes.height, width):
        part = np.s_[:, first : first + width]
        columns = np.ascontiguousarray(run.distances[part].T)
        calibrated = columns if run.calibrated is None else run.calibrated[part].T
        for start in range(0, len(columns), step):
            yield {
                str(first + j): {
                    side.sign: _class_of_sign(run, side, first + j, columns[j], calibrated[j])
                    for side in run.scan.sides
                }
                for j in range(start, min(start + step, len(columns)))
            }


def _class_of_sign(
    run: Run, side: SideScan, of_class: int, column: Distances, calibrated: Distances
) -> dict[str, Any]:
    """Return one class and sign: its top features by D, and those by calibrated D that are not."""
    at = farthest(column, side.sign, TOP_OF_CLASS, run.neutral)
    others = farthest(calibrated, side.sign, TOP_OF_CLASS, run.neutral)
    at = np.concatenate([at, np.setdiff1d(others, at)])
    return {
        "features": packed(at, "i4"),
        "distances": packed(column[at], "f4"),
        "kept": packed(side.kept[:, of_class], "i4"),
        "keptRandom": packed(side.kept_random[:, of_class] / run.scan.n_random, "f8"),
        "curve": packed(side.counts[of_class], "i4"),
        "curveRandom": packed(side.counts_random[0][of_class], "i4"),
    }


def features_per_chunk(run: Run) -> int:
    """Return how many features' distances come together in one script."""
    one = 4 * run.classes.height if _whole(run) else 16 * TOP_OF_FEATURE
    one += VALUES_BYTES
    return max(1, min(run.features.height, CHUNK_BYTES // one))


def features(run: Run) -> Iterator[dict[str, Any]]:
    """Yield each feature: its distance to every class, random labels' range, values, top images."""
    step = features_per_chunk(run)
    constant = run.features["constant"].to_numpy()
    values, top = _values(run), _top_images(run)
    for start in range(0, run.features.height, step):
        rows = slice(start, start + step)
        real = np.asarray(run.distances[rows])
        value: dict[str, Any] = {
            "random": packed(run.scan.random[rows], "f4"),
            "constant": packed(constant[rows], "u1"),
        }
        if isinstance(values, str):
            value["noValues"] = values
        else:
            of_class, ends, counts = (part[rows] for part in values)
            value["values"] = {
                "of": packed(of_class, "i4"),
                "ends": packed(ends, "f8"),
                "counts": packed(counts, "u2" if len(run.images) < 2**16 else "i4"),
            }
        if top is not None:
            ids, activations = (part[rows] for part in top)
            value["top"] = {"ids": packed(ids, "i4"), "values": packed(activations, "f4")}
        if _whole(run):
            yield value | {"distances": packed(real, "f4")}
        else:
            yield value | {"strongest": [_top_classes(run, row) for row in real]}


def _values(run: Run) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | str:
    """Return the class that each feature says most about, and its values; or why there are none."""
    of_class = np.concatenate(
        [
            np.abs(np.asarray(run.distances[layer.rows]) - run.neutral).argmax(axis=1)
            for layer in run.scan.layers
        ]
    )
    try:
        return of_class, *every_feature_values(run, of_class)
    except DataError as error:  # the rest is there without the embedding
        return str(error)


def _top_images(run: Run) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return places in `top_images` (F, k), -1 for none, and values (F, k) of the top images."""
    table = run.top_images
    if table is None or table.is_empty():
        return None
    at = table["feature_id"].to_numpy(), table["rank"].to_numpy() - 1
    shape = run.features.height, int(at[1].max()) + 1
    places, values = np.full(shape, -1, np.int32), np.full(shape, np.nan, np.float32)
    places[at] = table["image_id"].rank("dense").to_numpy() - 1
    values[at] = table["activation"].to_numpy()
    return places, values


def top_images(run: Run) -> dict[str, Any]:
    """Return file names (of an array, texts) and classes of all images that are a feature's top."""
    table = run.top_images
    if table is None or table.is_empty():
        return {"names": [], "classes": []}
    found = table.unique("image_id").sort("image_id")
    names = found["path"].fill_null("–").str.slice(0, LONGEST)
    return {"names": names.to_list(), "classes": found["class_name"].to_list()}


def _top_classes(run: Run, row: Distances) -> dict[str, Any]:
    at = np.concatenate(
        [farthest(row, side.sign, TOP_OF_FEATURE, run.neutral) for side in run.scan.sides]
    )
    return {"classes": packed(at, "i4"), "distances": packed(row[at], "f4")}

"""Top-activating images: those with the highest value of each feature, and what it sees in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.backbones.fields import ReceptiveField, decode_position
from fnx.embedding.embed import embed_centre
from fnx.embedding.embedding import Embedding
from fnx.embedding.store import COLUMNS_PER_CHUNK
from fnx.images.crops import Crops
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import each_block
from fnx.utils.cores import cores
from fnx.utils.progress import progress_bar

if TYPE_CHECKING:
    from fnx.config.schema import Config
    from fnx.images.dataset import LabelledImages

BOX = ("top", "left", "bottom", "right")


def top_images(
    embedding: Embedding,
    images: LabelledImages,
    config: Config,
    shown: Collection[int] | None,
    folder: Path,
) -> pl.DataFrame:
    """Return the images with the highest values of each feature, and where it answers in them.

    Images are ranked by the feature's own value in the embedding, which is what D compares; equal
    values count in order of the image's number. (The highest value of the map would tell them
    apart, but is not stored.) An image with a value of 0 does not activate the feature, and a
    feature with one value for all images has no rows.

    Args:
        embedding: of all images that `images` are taken from.
        images: those that are ranked.
        config: with which they were embedded.
        shown: the features whose pictures are drawn; None for all. Only these have boxes where
            the embedding holds no positions: the images concerned pass through the network again.
        folder: where files of that pass lie meanwhile.

    Returns:
        One row per feature and rank: ``feature_id``, ``rank`` (from 1), ``image_id``,
        ``activation`` (the value), ``top``, ``left``, ``bottom``, ``right`` (the unit's receptive
        field at its highest value in the centre view, in pixels of the view, reaching beyond it
        where the network padded), ``view`` (number of the centre view), ``path``, ``class_name``,
        ``dataset``.
    """
    crops = Crops(**vars(config.crops))
    rows = embedding.images.filter(pl.col("status") == "ok").with_row_index("row")
    rows = rows.select(pl.col("row").cast(pl.Int64), "image_id", "path", "class_name")
    rows = rows.filter(pl.col("path").is_in(images.ok()["path"].implode()))
    table = rank(embedding, rows["row"].to_numpy(), config.report.pictures_per_feature)
    table = table.join(rows, on="row", maintain_order="left")
    located = table
    if embedding.positions is not None:
        codes = positions_at(embedding.positions, *_pairs(table))
    else:
        if shown is not None:
            located = table.filter(pl.col("feature_id").is_in(list(shown)))
        codes = _find_again(located, images, config, folder)
    layers = embedding.feature_table["layer"].gather(located["feature_id"])
    fields = embedding.receptive_fields
    if fields is None:  # of an older version, in a folder that cannot be written
        from fnx.backbones.receptive import receptive_fields  # imports timm

        fields = receptive_fields(config.model.timm_name, crops.size)
    boxes = _boxes(fields, located["path"], layers, codes, images, crops, config.model.timm_name)
    boxed = located.select("feature_id", "rank").with_columns(
        pl.Series(name, boxes[:, at]) for at, name in enumerate(BOX)
    )
    return (
        table.join(boxed, on=("feature_id", "rank"), how="left", maintain_order="left")
        .with_columns(view=pl.lit(crops.centre, pl.Int32), dataset=pl.lit(images.name))
        .select(
            "feature_id", "rank", "image_id", "activation", *BOX, "view",
            "path", "class_name", "dataset",
        )
    )  # fmt: skip


def rank(embedding: Embedding, rows: NDArray[np.integer], k: int) -> pl.DataFrame:
    """Return the k rows of the embedding with the highest values of each feature.

    Args:
        embedding: read by blocks of columns, so that memory does not grow with the features.
        rows: those that are ranked.
        k: rows kept per feature, at most.

    Returns:
        ``feature_id``, ``rank`` (from 1), ``row``, ``activation``.
    """
    from fnx.report.pictures.ranking import highest  # compiled

    columns = open_columns(embedding.features)
    best = np.empty((columns.n_columns, k), np.int64)
    values = np.empty(best.shape, np.float32)

    def find(start: int, stop: int) -> None:
        block = columns.read(start, stop).astype(np.float32, copy=False)
        if len(rows) < columns.n_rows:
            block = block[rows]
        best[start:stop] = highest(block, k)
        values[start:stop] = np.take_along_axis(block, best[start:stop].T, axis=0).T

    with progress_bar("top images", total=columns.n_columns, unit="features") as bar:
        each_block(columns, find, progress=bar.update)
    feature, place = np.nonzero(best >= 0)
    found = feature, place + 1, rows[best[feature, place]], values[feature, place]
    schema = {"feature_id": pl.Int64, "rank": pl.Int32, "row": pl.Int64, "activation": pl.Float32}
    return pl.DataFrame(found, schema=schema)


def positions_at(
    positions: Any, rows: NDArray[np.integer], features: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return positions of some features in some rows, uint8 (n, 2), read by chunks of columns.

    Args:
        positions: uint8 (N, F, 2), see `Embedding.positions`.
        rows: integers (n,).
        features: integers (n,).
    """
    found = np.empty((len(rows), 2), np.uint8)
    order = np.argsort(features, kind="stable")
    for start in range(0, positions.shape[1], COLUMNS_PER_CHUNK):
        stop = start + COLUMNS_PER_CHUNK
        first, last = np.searchsorted(features, (start, stop), sorter=order)
        if first < last:
            mine = order[first:last]
            block = np.asarray(positions[:, start:stop])
            found[mine] = block[rows[mine], features[mine] - start]
    return found


def _pairs(table: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return table["row"].to_numpy(), table["feature_id"].to_numpy()


def _find_again(
    table: pl.DataFrame, images: LabelledImages, config: Config, folder: Path
) -> NDArray[np.uint8]:
    """Return the positions of the features of `table` by a pass over its images alone."""
    chosen = images.ok().filter(pl.col("path").is_in(table["path"].implode()))
    if chosen.is_empty():
        return np.empty((0, 2), np.uint8)
    again = chosen.select(pl.int_range(pl.len()).alias("row"), "path")
    found = table.drop("row").join(again, on="path", maintain_order="left")
    with embed_centre(replace(images, table=chosen), config, folder) as embedding:
        return positions_at(embedding.positions, *_pairs(found))


def _boxes(
    fields: Mapping[str, ReceptiveField | None],
    paths: pl.Series,
    layers: pl.Series,
    codes: NDArray[np.uint8],
    images: LabelledImages,
    crops: Crops,
    timm_name: str,
) -> NDArray[np.int32]:
    """Return top, left, bottom and right of what each unit sees at its position, int32 (n, 4)."""
    square = (crops.size, crops.size)
    views = _views(paths, images, crops)
    shapes = np.array([views.get(path, square) for path in paths], np.int64).reshape(-1, 2)
    boxes = np.zeros((len(paths), 4), np.int32)
    boxes[:, 2:] = shapes
    keys = pl.DataFrame({"layer": layers, "height": shapes[:, 0], "width": shapes[:, 1]})
    alike = keys.with_row_index("at").group_by(keys.columns, maintain_order=True)
    for (layer, *view), rows in alike:
        field, at = fields.get(layer), rows["at"].to_numpy()
        size = field and field.map
        if tuple(view) != square:
            from fnx.backbones.networks import map_sizes  # imports timm

            size = map_sizes(timm_name, crops.size, (view[0], view[1])).get(layer)
        if field and size:
            boxes[at] = field.boxes(decode_position(codes[at], size))
    return boxes


def _views(paths: pl.Series, images: LabelledImages, crops: Crops) -> dict[str, tuple[int, int]]:
    """Return height and width of the centre view of images whose views have their own shape."""

    def size(path: str) -> tuple[int, int]:
        try:
            with images.open(path) as image:
                width, height = crops.view_size(image)
        except Exception:  # it can no longer be read, and is a grey tile
            return crops.size, crops.size
        return height, width

    distinct = paths.unique().to_list() if crops.whole else []
    with ThreadPoolExecutor(cores()) as threads:
        return dict(zip(distinct, threads.map(size, distinct), strict=True))

"""Pictures of features: what activates each most, cut to the unit's receptive field.

Each feature has one file, a grid of tiles in order of rank, row by row; each class has one of its
images. Every image is decoded once for all the features that show it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from fnx.analysis import Run
from fnx.analysis.labelling import memberships
from fnx.analysis.pairs import shown_pairs
from fnx.images.crops import Crops
from fnx.images.decode import BYTES_PER_PIXEL
from fnx.images.reference import reference_crops
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.pictures.top_images import BOX, top_images
from fnx.utils import forked
from fnx.utils.memory import available_memory
from fnx.utils.progress import progress_bar

if TYPE_CHECKING:
    from fnx.config.schema import Config
    from fnx.embedding import Embedding
    from fnx.images.dataset import LabelledImages

log = logging.getLogger(__name__)

TILE = 96  # side in pixels
COLUMNS = 3  # tiles in a row of a grid
CLASS_IMAGES = 9  # samples of each class
EXTREMES = 6  # features of each layer, by presence and by absence, that always have a picture
GREY = 128
GREYS = (GREY,) * 3
_MEMORY_SHARE = 0.25  # of what is free, for tiles: an image is decoded once for all of them

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
#: What is cut from an image: the number of its tile, and a box in its centre view.
Cut = tuple[int, Box]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture to be drawn: its file, and for each tile the path of an image and a box in it."""

    file: Path
    tiles: list[tuple[str, Box]]


def tiles(sprite: Path) -> list[Pixels]:
    """Return the tiles of a picture in order, uint8 (TILE, TILE, 3); none without a picture."""
    if not sprite.is_file():
        return []
    with Image.open(sprite, formats=["JPEG"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    grid = pixels.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
    return list(grid.reshape(-1, TILE, TILE, 3))


def write_pictures(
    run: Run,
    images: LabelledImages,
    reference: LabelledImages | None,
    embedding: Embedding,
    config: Config,
) -> pl.DataFrame | None:
    """Write ``top_images.parquet``, the pictures of features, and sample images of each class.

    Args:
        run: in whose folder they lie.
        images: the run's own.
        reference: those that show what features answer to; None for no pictures.
        embedding: of `reference`.
        config: ``report.pictures`` says whose pictures are drawn.

    Returns:
        The table (see `top_images`); None where no pictures are wanted.
    """
    if reference is None:
        return None
    shown = None if config.report.pictures == "all" else shown_features(run)
    embedded = replace(config, crops=reference_crops(config))
    table = top_images(embedding, reference, embedded, shown, run.path)
    table.write_parquet(run.path / "top_images.parquet")
    drawn = table if shown is None else table.filter(pl.col("feature_id").is_in(list(shown)))
    draw_features(run, drawn, reference, Crops(**vars(embedded.crops)))
    draw_classes(run, images)
    return table


def shown_features(run: Run) -> set[int]:
    """Return the features that the page and the figures show first."""
    listed = {*run.top_features["feature_id"], *shown_pairs(run)["feature_id"]}
    return listed | layers_extremes(run)


def draw_features(run: Run, table: pl.DataFrame, images: LabelledImages, crops: Crops) -> None:
    """Write the pictures of features into ``pictures/<layer>/<unit>.jpg``.

    An image that can no longer be read is a grey tile.

    Args:
        run: whose folder it is.
        table: the features' `top_images`, in their order.
        images: the reference images.
        crops: the views of them that were embedded.
    """
    places = run.features.select("feature_id", "layer", "unit")
    table = table.join(places, on="feature_id", maintain_order="left")
    drawn = table.partition_by("layer", "unit", maintain_order=True, as_dict=True)
    sprites = [
        Sprite(
            sprite_path(run.path, *name),
            [(path, (top, left, bottom, right)) for path, top, left, bottom, right in part.rows()],
        )
        for name, part in ((name, part.select("path", *BOX)) for name, part in drawn.items())
    ]
    with progress_bar("pictures", total=table.height, unit="tiles") as bar:
        draw(sprites, images, crops, bar)


def draw_classes(run: Run, images: LabelledImages) -> None:
    """Write sample images of each class into ``pictures/classes/<class_id>.jpg``.

    They are taken at even distances from the run's own images, each cut to its centre.
    """
    ok = memberships(images.ok()).drop_nulls("class_id").select("class_id", "path")
    sprites = []
    for (class_id,), rows in ok.group_by("class_id", maintain_order=True):
        count = min(CLASS_IMAGES, rows.height)
        chosen = [rows["path"][i * rows.height // count] for i in range(count)]
        whole = [(path, (0, 0, TILE, TILE)) for path in chosen]
        sprites.append(Sprite(class_path(run.path, int(class_id)), whole))
    draw(sprites, images, Crops("center", TILE, TILE))


def draw(sprites: Sequence[Sprite], images: LabelledImages, crops: Crops, bar: Any = None) -> None:
    """Write pictures, some at a time, of which each image is decoded once.

    Args:
        sprites: what they show.
        images: which they show.
        crops: the views of an image.
        bar: of progress, which counts the tiles.
    """
    most = TILE * TILE * 3 * max((len(sprite.tiles) for sprite in sprites), default=1)
    at_once = max(1, int(_MEMORY_SHARE * available_memory()) // most)
    for start in range(0, len(sprites), at_once):
        some = sprites[start : start + at_once]
        cuts: dict[str, list[Cut]] = {}
        for number, (path, box) in enumerate(tile for sprite in some for tile in sprite.tiles):
            cuts.setdefault(path, []).append((number, box))
        ends = np.cumsum([len(sprite.tiles) for sprite in some])
        pixels = forked.empty((int(ends[-1]), TILE, TILE, 3))
        cut_tiles(cuts, images, crops, pixels, bar)
        grids = np.split(pixels, ends[:-1])
        _save_all([sprite.file for sprite in some], grids)


def layers_extremes(run: Run) -> set[int]:
    """Return the features of each layer with the highest, and with the lowest, D for any class."""
    found: set[int] = set()
    for _, rows in run.features.group_by("layer", maintain_order=True):
        ids = rows["feature_id"].to_numpy()
        block = np.asarray(run.distances[ids])
        for values in (block.max(1), -block.min(1)):
            found.update(ids[np.argsort(-values, kind="stable")[:EXTREMES]].tolist())
    return found


def cut_tiles(
    cuts: dict[str, list[Cut]],
    images: LabelledImages,
    crops: Crops,
    out: Pixels,
    bar: Any = None,
) -> None:
    """Cut tiles from images, each of which is decoded once; those of an unreadable one are grey.

    Args:
        cuts: what is cut from each image, by path.
        images: among which they are.
        crops: the views of an image.
        out: uint8 (n, TILE, TILE, 3) of `forked.empty`, which the tiles are written into by their
            numbers.
        bar: of progress, which counts the tiles.
    """
    unread: list[str] = []
    # What is not cropped has the shape of the image, which a fraction of it has but for a pixel.
    side = None if crops.whole else crops.resize

    def cut(path: str) -> tuple[str, bool]:
        try:
            image = images.open(path, side=side)
        except Exception:
            out[[number for number, _ in cuts[path]]] = GREY
            return path, False
        # One tile for all features of deep layers, whose boxes all hold the whole view.
        found: dict[Box, Pixels] = {}
        for number, box in cuts[path]:
            box = within(box, crops.view_size(image))
            if box not in found:
                found[box] = cut_out(image, crops, box)
            out[number] = found[box]
        return path, True

    def count(done: tuple[str, bool]) -> None:
        path, read = done
        if not read:
            unread.append(path)
        if bar is not None:
            bar.update(len(cuts[path]))

    forked.each(cut, list(cuts), count, needed=images.largest * BYTES_PER_PIXEL)
    if unread:
        text = "pictures are grey where images can no longer be read (%d, the first: %r)"
        log.warning(text, len(unread), min(unread))


def within(box: Box, size: tuple[int, int]) -> Box:
    """Cut a box that is larger than its view, as deep layers' are, to it: no frame around it.

    Args:
        box: top, left, bottom, right.
        size: width and height of the view.
    """
    top, left, bottom, right = box
    width, height = size
    if top <= 0 and bottom >= height:
        top, bottom = 0, height
    if left <= 0 and right >= width:
        left, right = 0, width
    return top, left, bottom, right


def cut_out(image: Image.Image, crops: Crops, box: Box) -> Pixels:
    """Return a box of an image's centre view as a tile, in its own shape.

    It is grey beyond the view's border, and beside what is not square.

    Args:
        image: in RGB.
        crops: the views of it.
        box: top, left, bottom, right in pixels of the view; may reach beyond it.
    """
    width, height = crops.view_size(image)
    top, left, bottom, right = box
    tile = Image.new("RGB", (TILE, TILE), GREYS)
    scale = TILE / max(1, right - left, bottom - top)
    inside = max(0, left), max(0, top), min(width, right), min(height, bottom)
    wide, high = inside[2] - inside[0], inside[3] - inside[1]
    if min(wide, high) > 0:
        size = max(1, round(wide * scale)), max(1, round(high * scale))
        # What is enlarged has first the pixels that the network sees.
        part = crops.part(image, inside, size if scale < 1 else None)
        across = (TILE - (right - left) * scale) / 2 + (inside[0] - left) * scale
        down = (TILE - (bottom - top) * scale) / 2 + (inside[1] - top) * scale
        tile.paste(part.resize(size, Image.Resampling.BICUBIC), (round(across), round(down)))
    return np.asarray(tile)


def _save_all(files: Sequence[Path], grids: Sequence[Pixels]) -> None:
    forked.each(lambda number: _save(files[number], grids[number]), range(len(files)))


def _save(file: Path, grid: Pixels) -> None:
    """Write tiles (n, TILE, TILE, 3) as a grid of `COLUMNS` columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = math.ceil(len(grid) / COLUMNS)
    whole = np.full((rows * COLUMNS, TILE, TILE, 3), GREY, np.uint8)
    whole[: len(grid)] = grid
    pixels = whole.reshape(rows, COLUMNS, TILE, TILE, 3).swapaxes(1, 2)
    Image.fromarray(pixels.reshape(rows * TILE, COLUMNS * TILE, 3)).save(file, quality=88)

"""Features with the highest and the lowest D, and what activates them (Figures 2, 3, 4 and 7)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fnx.analysis import Run
from fnx.analysis.pairs import shown_pairs
from fnx.report.figures import style
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.pictures.pictures import COLUMNS, TILE, Pixels, tiles
from fnx.report.text import clip, describe, number, shorten

_GAP = 4  # pixels between two tiles
_SIDE = {"+": TILE, "-": 64}  # of a tile in pixels: what a print shows of it
_IN_A_ROW = {"+": 4, "-": 2}
_HIGHEST = 3  # classes shown beside one that lacks a feature
_NAMES = 27  # characters that stand above three tiles


def table(run: Run, sign: str) -> pl.DataFrame:
    """Return what is drawn: the pairs of one sign, and how many images each feature has.

    Returns:
        The columns of `shown_pairs`, and ``n_images``: how many images activate the unit, at
        most those that are shown. No row where the run has no pictures.
    """
    if not (run.path / "pictures").is_dir() or run.top_images is None:
        return pl.DataFrame()
    counts = run.top_images.group_by("feature_id").len("n_images")
    return (
        shown_pairs(run)
        .filter(sign=sign)
        .join(counts, on="feature_id", how="left", maintain_order="left")
        .with_columns(pl.col("n_images").fill_null(0).cast(pl.Int32))
    )


def draw(run: Run, sign: str, drawn: pl.DataFrame) -> Figure:
    """Draw pairs by presence (the highest D) or by absence (the lowest), with their pictures.

    By absence, images of the class and of classes that activate the feature stand beside. `drawn`
    is the `table` of a run with pictures, not empty.
    """
    across = min(_IN_A_ROW[sign], drawn.height)
    panels = 1 if sign == "+" else 3
    rows = math.ceil(drawn.height / across)
    side = style.WIDTH / (_IN_A_ROW[sign] * panels)
    figure = style.new_figure(height=rows * (side + 0.42))
    axes = figure.subplots(rows, across * panels, squeeze=False)
    for one in axes.flat:
        one.set_axis_off()
    for place, pair in enumerate(drawn.rows(named=True)):
        row, column = divmod(place, across)
        some = axes[row, column * panels :]
        _draw_feature(some[0], run, pair, _SIDE[sign])
        if sign == "-":
            _draw_classes(some[1], some[2], run, pair, _SIDE[sign])
    which = "lowest" if sign == "-" else "highest" if run.signed else "largest"
    assert run.top_images is not None
    datasets = run.top_images["dataset"].drop_nulls().unique(maintain_order=True).to_list()
    shown = f"pictures: {', '.join(datasets)}" if datasets else "no pictures"
    style.title(figure, f"Features with the {which} D, {run.dataset}", f"{describe(run)}; {shown}")
    return figure


def _draw_feature(axes: Axes, run: Run, pair: dict[str, Any], side: int) -> None:
    _heading(
        axes,
        f"{shorten(pair['layer'], 18)} / {pair['unit']}",
        clip(pair["class_name"], 22),
        f"D = {number(pair['distance'], 3)}",
    )
    grid = tiles(sprite_path(run.path, pair["layer"], pair["unit"]))
    if grid:
        _show(axes, grid[: pair["n_images"]], side)
    else:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        style.note(axes, "no reference image\nactivates it", fontsize=7)


def _draw_classes(without: Axes, having: Axes, run: Run, pair: dict[str, Any], side: int) -> None:
    name = clip(pair["class_name"], 22)
    _heading(without, "images of the class", name, "\N{NO-BREAK SPACE}")
    _show(without, tiles(class_path(run.path, pair["class_id"])), side)
    distances = np.asarray(run.distances[pair["feature_id"]])
    highest = np.argsort(-distances, kind="stable")[:_HIGHEST]
    names = run.classes["class_name"].gather(highest)
    best = number(float(distances[highest[0]]), 3)
    each = [clip(name, _NAMES // len(names) - 2) for name in names]
    _heading(having, "classes with the highest D", ", ".join(each), f"D up to {best}")
    grids = [tiles(class_path(run.path, class_id)) for class_id in highest.tolist()]
    _show(having, [tile for grid in grids for tile in grid[:COLUMNS]], side)


def _heading(axes: Axes, *lines: str) -> None:
    axes.set_title("\n".join(lines), fontsize=6, loc="left", pad=3, linespacing=1.15)


def _show(axes: Axes, grid: list[Pixels], side: int) -> None:
    """Show tiles of a side in pixels in rows of `COLUMNS`, with transparent gaps between them."""
    step = side + _GAP
    rows = max(COLUMNS, math.ceil(len(grid) / COLUMNS))
    canvas = np.zeros((rows * step - _GAP, COLUMNS * step - _GAP, 4), np.uint8)
    for place, tile in enumerate(grid):
        top, left = (step * part for part in divmod(place, COLUMNS))
        small = Image.fromarray(tile).resize((side, side), Image.Resampling.LANCZOS)
        canvas[top : top + side, left : left + side, :3] = np.asarray(small)
        canvas[top : top + side, left : left + side, 3] = 255
    axes.imshow(canvas, interpolation="none")

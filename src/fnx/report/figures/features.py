"""Figures 2, 3, 4 and 7: features that speak loudest about a class, and what excites them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.report.figures import style
from fnx.report.pictures.pairs import features_table
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.pictures.pictures import COLUMNS, TILE, Pixels, tiles
from fnx.report.text import describe, number, shorten

_GAP = 4  # pixels between two tiles
_IN_A_ROW = {"+": 4, "-": 2}
_WITH_IT = 3  # classes that have a feature which another lacks
_NAMES = 27  # characters that stand above three tiles


def table(run: Run, sign: str) -> pl.DataFrame:
    """What is drawn: the pairs of one sign (see `features_table`), and whether a unit ever fires.

    Returns:
        The columns of `features_table`, and ``n_images``: how many images excite the unit, at most
        those that are shown.
    """
    counts = run.strongest.group_by("feature_id").len("n_images")
    return (
        features_table(run)
        .filter(sign=sign)
        .join(counts, on="feature_id", how="left", maintain_order="left")
        .with_columns(pl.col("n_images").fill_null(0).cast(pl.Int32))
    )


def draw(run: Run, sign: str) -> Figure | None:
    """Pairs by presence (the highest D) or by absence (the lowest), with their pictures.

    By absence, images of the class and of the classes that have the feature stand beside.

    Returns:
        The figure; None where the run has no pictures, or no pair of this sign.
    """
    if not (run.path / "pictures").is_dir() or not (run.path / "strongest.parquet").is_file():
        return None
    pairs = table(run, sign)
    if not pairs.height:
        return None
    across = min(_IN_A_ROW[sign], pairs.height)
    panels = 1 if sign == "+" else 3
    rows = math.ceil(pairs.height / across)
    side = style.WIDTH / (_IN_A_ROW[sign] * panels)
    figure = style.new_figure(height=rows * (side + 0.42))
    axes = figure.subplots(rows, across * panels, squeeze=False)
    for one in axes.flat:
        one.set_axis_off()
    for place, pair in enumerate(pairs.rows(named=True)):
        row, column = divmod(place, across)
        some = axes[row, column * panels : (column + 1) * panels]
        _draw_feature(some[0], run, pair)
        if sign == "-":
            _draw_classes(some[1], some[2], run, pair)
    heading = "highest" if run.signed else "largest"
    heading = f"Features with the {heading if sign == '+' else 'lowest'} D, {run.dataset}"
    style.title(figure, heading, f"{describe(run)}; {_shown(run)}")
    return figure


def _draw_feature(axes: Axes, run: Run, pair: dict[str, Any]) -> None:
    distance = number(pair["distance"], 3)
    lines = [
        f"{shorten(pair['layer'], 18)} / {pair['unit']}",
        shorten(pair["class_name"], 22),
        f"D = {distance}",
    ]
    _heading(axes, lines)
    grid = tiles(sprite_path(run.path, pair["layer"], pair["unit"]))
    if grid:
        _show(axes, grid[: pair["n_images"]])
    else:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.text(
            0.5,
            0.5,
            "no reference image\nexcites it",
            ha="center",
            va="center",
            fontsize=7,
            color=style.MUTED,
        )


def _draw_classes(without: Axes, having: Axes, run: Run, pair: dict[str, Any]) -> None:
    _heading(without, ["without it", shorten(pair["class_name"], 22), "\N{NO-BREAK SPACE}"])
    _show(without, tiles(class_path(run.path, pair["class_id"])))
    distances = np.asarray(run.distances[pair["feature_id"]])
    highest = np.argsort(-distances, kind="stable")[:_WITH_IT]
    names = run.classes.sort("class_id")["class_name"].gather(highest)
    grid: list[Pixels] = []
    for class_id in highest:
        grid += tiles(class_path(run.path, int(class_id)))[:COLUMNS]
    best = number(float(distances[highest[0]]), 3)
    each = [shorten(name, _NAMES // len(names) - 2) for name in names]
    _heading(having, ["with it, a class a row", ", ".join(each), f"D up to {best}"])
    _show(having, grid)


def _heading(axes: Axes, lines: list[str]) -> None:
    axes.set_title("\n".join(lines), fontsize=6, loc="left", pad=3, linespacing=1.15)


def _show(axes: Axes, grid: list[Pixels]) -> None:
    """Tiles in rows of `COLUMNS`, with gaps that no picture fills."""
    step = TILE + _GAP
    rows = max(COLUMNS, math.ceil(len(grid) / COLUMNS))
    canvas = np.full((rows * step - _GAP, COLUMNS * step - _GAP, 4), 0, np.uint8)
    for place, tile in enumerate(grid):
        top, left = (step * part for part in divmod(place, COLUMNS))
        canvas[top : top + TILE, left : left + TILE, :3] = tile
        canvas[top : top + TILE, left : left + TILE, 3] = 255
    axes.imshow(canvas, interpolation="none")


def _shown(run: Run) -> str:
    datasets = run.strongest_images["dataset"].unique().to_list()
    return f"pictures: {', '.join(datasets)}" if datasets else "no pictures"

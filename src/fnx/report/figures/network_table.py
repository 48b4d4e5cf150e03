"""Table 1 as a picture: the network, from its input to its output."""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.figure import Figure

from fnx.report.figures import style, tabular
from fnx.report.text import number, shorten

MOST_ROWS = 60
"""Rows of a page; a longer network is shown by its blocks."""

_COLUMNS = (
    # heading, column, x of the right edge in inches
    ("map", "map", 3.35),
    ("filters", "filters", 4.0),
    ("parameters", "parameters", 5.05),
    ("neurons", "neurons", 5.95),
    ("features", "features", 6.65),
    ("receptive field", "receptive_field", 7.75),
)
_ROW = 0.2
_WIDTH = 7.85


def draw(network: pl.DataFrame) -> Figure:
    """One row a stage of `network` (see `fnx.analysis.Run.network`), and the totals."""
    table = condensed(network)
    rows = [_words(row) for row in table.rows(named=True)]
    total = network.select(pl.col("filters", "parameters", "neurons", "features").sum())
    rows.append(
        {"name": "Total", "map": "", "receptive_field": "", **_numbers(total.row(0, named=True))}
    )
    height = 0.66 + _ROW * len(rows)
    figure, axes = tabular.sheet(_WIDTH, height)
    head = 0.34
    axes.text(0.1, head, "layer", va="baseline", fontsize=9)
    for heading, _, x in _COLUMNS:
        axes.text(x, head, heading, ha="right", va="baseline", fontsize=9)
    last = head + 0.09 + _ROW * (len(rows) - 1) + 0.03
    for y, thickness in ((0.14, 1.2), (head + 0.09, 0.7), (last, 0.7), (height - 0.08, 1.2)):
        axes.plot([0.1, _WIDTH - 0.1], [y, y], color=style.INK, linewidth=thickness)
    for i, row in enumerate(rows):
        y = head + 0.09 + _ROW * (i + 0.74) + (0.05 if i == len(rows) - 1 else 0)
        axes.text(0.1, y, shorten(row["name"], 34), fontsize=8.5)
        for _, column, x in _COLUMNS:
            axes.text(x, y, row[column], ha="right", fontsize=8.5)
    return figure


def condensed(network: pl.DataFrame, most: int = MOST_ROWS) -> pl.DataFrame:
    """The stages, or where they are more than `most` the blocks that they lie in, with sums.

    Blocks are stages one after the other whose names begin alike ("layer1.0"), as short as needed.

    Returns:
        The columns of `network` and ``stages``, how many a row stands for.
    """
    parts = pl.col("name").str.split(".")
    deepest = int(network.select(parts.list.len().max()).item() or 1)
    for depth in range(deepest, 0, -1):
        block = parts.list.head(depth).list.join(".")
        table = (
            network.with_columns(block=block.rle_id(), name=block)
            .group_by("block", maintain_order=True)
            .agg(
                pl.col("name").first(),
                pl.col("kind").last(),
                pl.when(pl.len() == 1).then(pl.col("filters").first()).alias("filters"),
                pl.col("parameters", "neurons", "features").sum(),
                pl.col("height", "width").last(),
                pl.when(pl.col("receptive_field").is_not_null().all())
                .then(pl.col("receptive_field").max())
                .alias("receptive_field"),
                stages=pl.len(),
            )
            .drop("block")
        )
        if table.height <= most or depth == 1:
            break
    return table


def _numbers(row: dict[str, Any]) -> dict[str, str]:
    keys = ("filters", "parameters", "neurons", "features")
    return {key: number(row[key]) if row[key] else "–" for key in keys}


def _words(row: dict[str, Any]) -> dict[str, str]:
    name, kind = row["name"], row["kind"]
    if row["stages"] > 1:
        name = f"{shorten(name, 20)} ({row['stages']} stages)"
    elif kind == "other":
        name = "norms and others"
    field = row["receptive_field"]
    seen = "whole image" if field is None else f"{number(field)} px"
    return {
        "name": name,
        "map": "" if row["height"] is None else f"{row['height']} × {row['width']}",
        "receptive_field": "–" if kind in ("input", "other") else seen,
        **_numbers(row),
    }

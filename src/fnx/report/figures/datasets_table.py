"""Table 2: the data sets of some runs, beside the paper's counts where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.images.official import OFFICIAL
from fnx.report.figures.tabular import Column, Group
from fnx.report.figures.tabular import draw as draw_table
from fnx.report.text import number, shorten

_QUANTITIES = ("images", "classes", "smallest", "largest", "mean")


def table(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a data set: images that were used, classes, and images a class.

    Returns:
        ``dataset``; ``images``, ``classes``, ``smallest``, ``largest``, ``mean`` (images a class);
        the same with ``paper_`` before them, as Table 2 has them (null for other data sets; its
        mean is images over classes).
    """
    integers = {name: pl.Int64() for name in _QUANTITIES[:-1]}
    counts = {**integers, "mean": pl.Float64()}
    schema = {"dataset": pl.String(), **counts, **{f"paper_{k}": v for k, v in counts.items()}}
    return pl.DataFrame([_row(run) for run in runs], schema=schema).unique(
        keep="first", maintain_order=True
    )


def _row(run: Run) -> dict[str, Any]:
    sizes = run.classes["n_images"]
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "images": run.n_images,
        "classes": run.classes.height,
        "smallest": sizes.min(),
        "largest": sizes.max(),
        "mean": run.images_per_class,
    }
    layout = str(run.record.setting("dataset.layout"))
    official = OFFICIAL.get(layout) or OFFICIAL.get(run.dataset)
    if official is not None:
        paper = official.published
        row |= {
            "paper_images": paper.images,
            "paper_classes": paper.classes,
            "paper_smallest": paper.smallest,
            "paper_largest": paper.largest,
            "paper_mean": paper.images / paper.classes,
        }
    return row


def draw(table: pl.DataFrame) -> Figure:
    """One row a data set, in the table's order; the paper's counts only if it has one of them."""
    names = [shorten(name, 24) for name in table["dataset"]]
    columns, groups = _columns(table, "", 2.4), [Group("used in the run", 1.95, 4.9)]
    if table["paper_images"].null_count() < table.height:
        columns += _columns(table, "paper_", 5.8)
        groups.append(Group("Table 2 of the paper", 5.35, 8.3))
    return draw_table("data set", names, columns, groups)


def _columns(table: pl.DataFrame, prefix: str, start: float) -> list[Column]:
    spans = [
        _span(low, high)
        for low, high in table.select(f"{prefix}smallest", f"{prefix}largest").rows()
    ]
    return [
        Column("images", [number(v) for v in table[f"{prefix}images"]], start),
        Column("classes", [number(v) for v in table[f"{prefix}classes"]], start + 0.65),
        Column("images a class", spans, start + 1.85),
        Column("mean", [number(v, 1) for v in table[f"{prefix}mean"]], start + 2.5),
    ]


def _span(low: int | None, high: int | None) -> str:
    if low == high:
        return number(low)
    return f"{number(low)} to {number(high)}"

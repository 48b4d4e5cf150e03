"""What the views of a run have in common in a terminal: their opening, headings and distances."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl
from rich.console import RenderableType
from rich.padding import Padding

from fnx.analysis import Run
from fnx.report.terminal.terminal import Bar, Cell, facts, text
from fnx.report.text import number


def opening(run: Run, heading: str, known: list[tuple[str, str]]) -> Iterator[RenderableType]:
    """Show what a view is of, of which run, and what is known of it."""
    yield text(heading, "head")
    yield Padding.indent(text(source(run)), 2)
    yield facts(known)


def section(heading: str) -> Iterator[RenderableType]:
    """Show a heading below an empty line."""
    yield ""
    yield text(heading, "head")


def place_of(place: int, count: int, kind: str = "class") -> str:
    """Say which of how many something is."""
    return f"({kind}, {number(place)} of 0–{number(count - 1)})"


def source(run: Run) -> str:
    """Name the run: its data set, network and statistic."""
    return f"{run.dataset}, {run.model}, {run.statistic}"


def signed(value: float | None, neutral: float) -> str:
    """Write a distance, with its sign if that tells presence from absence."""
    return number(value, 3, sign=neutral == 0)


def scale_of(distances: pl.Series, neutral: float) -> float:
    """Return what a whole bar stands for: the reach of a bounded statistic, or the farthest D."""
    usual = abs(neutral) or 1.0
    largest = (distances - neutral).abs().filter(distances.is_finite()).max()
    return max(usual, float(largest)) if isinstance(largest, float) else usual


def distance_cells(
    value: float,
    role: str,
    scale: float,
    limit: float | None = None,
    *,
    neutral: float,
    calibrated: float | None = None,
) -> list[Cell]:
    """Return the cells of a distance: its value, the calibrated one if there is one, and a bar."""
    mark = None if limit is None or not math.isfinite(limit) else abs(limit - neutral) / scale
    beside: list[Cell] = []
    if calibrated is not None:  # without a sign, none is told
        told = number(calibrated, 3, sign=neutral == 0 and calibrated != 0)
        beside = [(told, role)]
    drawn = Bar(abs(value - neutral) / scale, role, mark)
    return [(signed(value, neutral), role), *beside, drawn]

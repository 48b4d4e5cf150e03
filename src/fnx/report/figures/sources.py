"""Figure 11: Figure 5 for networks that were trained on Places (Section 8)."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.errors import DataError
from fnx.report.figures import layers as fig05


def of_places(run: Run) -> bool:
    """Whether the run's network was trained on Places, as far as its name tells."""
    return "places" in run.model.lower()


def table(runs: Sequence[Run], labels: Sequence[str], mode: str = "empirical") -> pl.DataFrame:
    """What is drawn, as of `fnx.report.figures.layers.table`; runs of other sources are left out.

    Raises:
        DataError: if no run is of a Places source.
    """
    return fig05.table(*_chosen(runs, labels), mode)


def draw_many(runs: Sequence[Run], labels: Sequence[str], mode: str = "empirical") -> Figure:
    """Figure 5 of the runs of a Places source, in the given order.

    Raises:
        DataError: if no run is of a Places source.
    """
    heading = "Distribution of D by layer: networks trained on Places"
    return fig05.draw_many(*_chosen(runs, labels), mode, heading)


def _chosen(runs: Sequence[Run], labels: Sequence[str]) -> tuple[list[Run], list[str]]:
    chosen = [pair for pair in zip(runs, labels, strict=True) if of_places(pair[0])]
    if not chosen:
        raise DataError("no run of a network that was trained on Places (model=vgg16_places)")
    return [run for run, _ in chosen], [label for _, label in chosen]

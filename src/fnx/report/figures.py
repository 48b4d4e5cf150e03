"""All figures of one run: their names, headings and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.table3 import table3
from fnx.report import fig05, fig06, fig09, fig10, table1
from fnx.report import table3 as table3_picture


@dataclass(frozen=True)
class Picture:
    """A drawn figure with the name of its files."""

    name: str
    figure: Figure


def pictures(run: Run) -> Iterator[Picture]:
    """Draw the figures of a run, one after the other; call within `fnx.report.style.style`."""
    yield Picture("fig05_layers", fig05.draw(run))
    yield Picture("fig06_distribution", fig06.draw(run))
    yield Picture("fig09_presence", fig09.draw(run, "+"))
    if run.signed:
        yield Picture("fig09_absence", fig09.draw(run, "-"))
    yield Picture("fig10_kept", fig10.draw(run))
    if run.has("network"):
        yield Picture("table1", table1.draw(run.network))
    yield Picture("table3", table3_picture.draw(table3([run])))

"""Advice as text for a terminal: the answer, every layer with a bar, and why."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from fnx.analysis import Run
from fnx.analysis.advice import Advice
from fnx.report.terminal.terminal import Bar, facts, table, text
from fnx.report.text import describe, detector_quality, detector_rule, number, things

MOST = 5  # detectors and confusions


def show_advice(run: Run, advice: Advice) -> Iterator[RenderableType]:
    """Show which layer to use, how good it will be, and why."""
    yield text(describe(run), "dim")
    yield text(advice.reason, fold=True)
    yield ""
    yield table(
        (
            [
                ("use" if row["recommended"] else "", "head"),
                (row["entry"], "head" if row["recommended"] else ""),
                number(row["features"]),
                f"{100 * row['accuracy']:.1f}",
                f"{100 * row['standard_error']:.1f}",
                f"{100 * row['knn_accuracy']:.1f}",
                f"{row['logme']:.2f}".replace("-", "−"),
                Bar(row["accuracy"], "+", advice.chance),
            ]
            for row in advice.table.rows(named=True)
        ),
        "<~>>>>>=",
        ("", "layer", "features", "probe %", "±", "5-NN %", "LogME", "┊ chance"),
    )
    yield ""
    yield facts(_more(run, advice))


def _more(run: Run, advice: Advice) -> list[tuple[str, str]]:
    found = [("judged", f"{advice.rows:,} {things(run)}, each by a probe not fitted to it")]
    if advice.untrained is not None:
        found.append(("untrained", f"the same network with random weights: {advice.untrained:.1%}"))
    for place, row in enumerate(advice.detectors.head(MOST).rows(named=True)):
        told = f"{row['class_name']}: {detector_rule(row)}; {detector_quality(row, things(run))}"
        found.append(("" if place else "why", told))
    for place, row in enumerate(advice.confusions.head(MOST).rows(named=True)):
        better = f"; {row['told_apart_by']} does better" if row["told_apart_by"] else ""
        mistake = f"taken for {row['taken_for']}" if row["taken_for"] is not None else "missed"
        told = f"{row['class_name']} is {mistake}: {row['share']:.0%} of its {things(run)}{better}"
        found.append(("" if place else "confuses", told))
    return found

"""Figure 6: the distribution of all distances, apart for each kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.distributions import Distances, Domain, domain, histogram, layer_rows
from fnx.report import style
from fnx.report.fig05 import series_styles

KINDS = {
    "conv": "convolutional layers",
    "fc": "fully connected layers",
    "other": "other layers",
}
BINS_PER_SIDE = 50  # 0.02 wide for a statistic within −1…1


def draw(run: Run) -> Figure:
    """Percentage of (feature, class) pairs against D, random labels filled behind."""
    kinds = [kind for kind in KINDS if kind in run.features["kind"].unique().to_list()]
    span = domain(run.distances, run.distances_random)
    edges = _edges(span)
    figure = style.new_figure(height=0.9 + 2.0 * len(kinds))
    panels = np.atleast_1d(figure.subplots(len(kinds), 1, sharex=True))
    for panel, kind in zip(panels, kinds, strict=True):
        real, random = (
            percentages(run, array, kind, edges) for array in (run.distances, run.distances_random)
        )
        panel.stairs(
            random, edges, fill=True, color=style.RANDOM_FILL, linewidth=0, label="random labels"
        )
        panel.stairs(real, edges, color=style.PRESENCE, linewidth=1.5, label="real labels")
        _panel(panel, run, kind, edges)
        top = 1.18 * max(float(real.max()), float(random.max()), 1e-9)
        panel.set_ylim(0, top)
        for sign, label in (("-", "t⁻"), ("+", "t⁺")):
            row = run.threshold(sign)
            if row is not None:
                style.threshold_line(panel, row["threshold"], label)
        if real.sum() < 99.99:
            panel.annotate(
                f"{100 - real.sum():.2g} % of the pairs are infinite: not drawn",
                (0.99, 0.5),
                xycoords="axes fraction",
                ha="right",
                fontsize=7.5,
                color=style.MUTED,
            )
    panels[0].legend(loc="upper left" if run.signed else "upper right")
    panels[-1].set_xlim(span.low, span.high)
    panels[-1].set_xlabel(style.distance_label(run))
    style.title(
        figure, f"All distances between features and classes of {run.dataset}", style.describe(run)
    )
    return figure


def draw_many(runs: Sequence[Run], labels: Sequence[str]) -> Figure:
    """The same for several runs: real labels as lines, random labels as faint ones behind."""
    present = {kind for run in runs for kind in run.features["kind"].unique().to_list()}
    kinds = [kind for kind in KINDS if kind in present]
    span = domain(*(run.distances for run in runs))
    edges = _edges(span)
    figure = style.new_figure(height=1.3 + 2.3 * len(kinds))
    panels = np.atleast_1d(figure.subplots(len(kinds), 1, sharex=True))
    centres = (edges[1:] + edges[:-1]) / 2
    for panel, kind in zip(panels, kinds, strict=True):
        for run, label, (colour, _, line) in zip(
            runs, labels, series_styles(len(runs)), strict=True
        ):
            if kind not in run.features["kind"].unique().to_list():
                continue
            noise = percentages(run, run.distances_random, kind, edges)
            panel.plot(centres, noise, color=colour, linewidth=0.7, alpha=0.3)
            real = percentages(run, run.distances, kind, edges)
            panel.plot(centres, real, color=colour, linestyle=line, linewidth=1.4, label=label)
        _panel(panel, runs[0], kind, edges)
        panel.set_ylim(bottom=0)
    handles, names = panels[0].get_legend_handles_labels()
    style.legend_below(panels[-1], min(4, len(runs)), handles=handles, labels=names)
    panels[-1].set_xlim(span.low, span.high)
    panels[-1].set_xlabel(style.distance_label(runs[0]))
    style.title(
        figure,
        "All distances between features and classes",
        "Real labels; faint: random labels of the same run",
    )
    return figure


def percentages(run: Run, array: Distances, kind: str, edges: np.ndarray[Any, Any]) -> Any:
    """Percentage of the (feature, class) pairs of one kind of layers in each bin."""
    rows = [layer.rows for layer in layer_rows(run.features) if layer.kind == kind]
    return histogram(array, rows, edges)


def table(runs: Sequence[Run], labels: Sequence[str]) -> pl.DataFrame:
    """What `draw_many` draws: ``run``, ``kind``, ``low``, ``high``, ``pct``, ``pct_random``."""
    edges = _edges(domain(*(run.distances for run in runs)))
    parts = []
    for run, label in zip(runs, labels, strict=True):
        for kind in run.features["kind"].unique(maintain_order=True):
            part = {
                "run": [label] * (len(edges) - 1),
                "kind": [kind] * (len(edges) - 1),
                "low": edges[:-1],
                "high": edges[1:],
                "pct": percentages(run, run.distances, kind, edges),
                "pct_random": percentages(run, run.distances_random, kind, edges),
            }
            parts.append(pl.DataFrame(part))
    return pl.concat(parts)


def _edges(span: Domain) -> np.ndarray[Any, Any]:
    return span.edges(BINS_PER_SIDE * (2 if span.low < 0 else 1))


def _panel(panel: Axes, run: Run, kind: str, edges: np.ndarray[Any, Any]) -> None:
    panel.set_ylabel(f"pairs / % per {edges[1] - edges[0]:.3g} of D")
    panel.set_title(KINDS[kind], loc="left", fontsize=9)
    if run.signed:
        panel.axvline(0, color=style.MUTED, linewidth=0.6)

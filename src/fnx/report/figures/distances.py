"""Figure 6: the distribution of all distances, apart for each kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fnx.analysis import Run, distributions
from fnx.analysis.distributions import Domain, domain, layer_rows
from fnx.analysis.scan import BINS
from fnx.report.figures import style
from fnx.report.figures.layers import series_styles
from fnx.report.text import describe, distance_label

KINDS = {
    "conv": "convolutional layers",
    "fc": "fully connected layers",
    "other": "other layers",
}
READING = "Real labels; faint: random labels of the same run; triangles on the axis: t⁺ and t⁻"
"""How to read the lines of several runs."""

_LIMITS = (("t_plus", "+"), ("t_minus", "-"))


def table(runs: Sequence[Run], labels: Sequence[str]) -> pl.DataFrame:
    """What is drawn: how the (feature, class) pairs of each kind of layers spread over D.

    Args:
        runs: of one statistic.
        labels: what to call them.

    Returns:
        ``run``, ``kind``, ``low`` and ``high`` of the bin, ``pct`` and ``pct_random`` (percentage
        of the pairs in it, under real and under random labels, all permutations together; what
        lies beyond the bins or is infinite lacks in their sum), ``t_plus``, ``t_minus``.
    """
    shared = domain(*(found for run in runs for found in run.extents))
    edges = shared.edges(BINS)
    parts = []
    for run, label in zip(runs, labels, strict=True):
        limits = {name: (run.threshold(sign) or {}).get("threshold") for name, sign in _LIMITS}
        for kind in _kinds([run]):
            real, random = percentages(run, kind, shared)
            part = pl.DataFrame(
                {
                    "run": [label] * BINS,
                    "kind": [kind] * BINS,
                    "low": edges[:-1],
                    "high": edges[1:],
                    "pct": real,
                    "pct_random": random,
                }
            )
            parts.append(
                part.with_columns(pl.lit(v, dtype=pl.Float64).alias(k) for k, v in limits.items())
            )
    return pl.concat(parts)


def draw(run: Run, drawn: pl.DataFrame | None = None) -> Figure:
    """Percentage of (feature, class) pairs against D, random labels filled behind.

    Args:
        run: what to draw.
        drawn: its `table`, if it is there already.
    """
    drawn = table([run], [run.dataset]) if drawn is None else drawn
    kinds = _kinds([run])
    figure = style.new_figure(height=1.2 + 2.0 * len(kinds))
    panels = np.atleast_1d(figure.subplots(len(kinds), 1, sharex=True))
    for panel, kind in zip(panels, kinds, strict=True):
        rows = drawn.filter(kind=kind)
        edges = bin_edges(rows)
        real, random = rows["pct"].to_numpy(), rows["pct_random"].to_numpy()
        panel.stairs(
            random, edges, fill=True, color=style.RANDOM_FILL, linewidth=0, label="random labels"
        )
        panel.stairs(real, edges, color=style.PRESENCE, linewidth=1.5, label="real labels")
        label_panel(panel, edges, KINDS[kind], signed=run.signed)
        top = 1.18 * max(float(real.max()), float(random.max()), 1e-9)
        panel.set_ylim(0, top)
        panel.set_xlim(edges[0], edges[-1])
        style.run_thresholds(panel, run)
        if real.sum() < 99.995:
            panel.annotate(
                f"{100 - real.sum():.2g} % of the pairs lie beyond or are infinite: not drawn",
                (0.99, 0.4),
                xycoords="axes fraction",
                ha="right",
                fontsize=7.5,
                color=style.MUTED,
            )
    style.legend_below(panels[-1], 2)
    panels[-1].set_xlabel(distance_label(run))
    style.title(
        figure, f"All distances between features and classes of {run.dataset}", describe(run)
    )
    return figure


def draw_many(
    runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame | None = None
) -> Figure:
    """The same for several runs: real labels as lines, random labels as faint ones behind.

    Args:
        runs: of one statistic.
        labels: what to call them.
        drawn: their `table`, if it is there already.
    """
    drawn = table(runs, labels) if drawn is None else drawn
    kinds = _kinds(runs)
    figure = style.new_figure(height=1.3 + 2.3 * len(kinds))
    panels = np.atleast_1d(figure.subplots(len(kinds), 1, sharex=True))
    styles = dict(zip(labels, series_styles(len(runs)), strict=True))
    for panel, kind in zip(panels, kinds, strict=True):
        curves(panel, drawn.filter(kind=kind), styles)
        label_panel(panel, bin_edges(drawn), KINDS[kind], signed=runs[0].signed)
    handles, names = _legend(panels)
    style.legend_below(panels[-1], min(4, len(runs)), handles=handles, labels=names)
    panels[-1].set_xlabel(distance_label(runs[0]))
    style.title(figure, "All distances between features and classes", READING)
    return figure


def curves(panel: Axes, rows: pl.DataFrame, styles: dict[str, tuple[Any, str, Any]]) -> None:
    """The distributions of some runs as lines over the bins' centres, random labels behind."""
    for part in rows.partition_by("run", maintain_order=True):
        first = part.row(0, named=True)
        colour, _, line = styles[first["run"]]
        centres = ((part["low"] + part["high"]) / 2).to_numpy()
        panel.plot(centres, part["pct_random"].to_numpy(), color=colour, linewidth=0.7, alpha=0.35)
        panel.plot(
            centres,
            part["pct"].to_numpy(),
            color=colour,
            linestyle=line,
            linewidth=1.4,
            label=first["run"],
            zorder=3,
        )
        limits = [first[name] for name, _ in _LIMITS if first[name] is not None]
        panel.plot(limits, [0] * len(limits), "^", color=colour, markersize=4, zorder=4)
    edges = bin_edges(rows)
    panel.set_xlim(edges[0], edges[-1])
    panel.set_ylim(bottom=0)


def label_panel(panel: Axes, edges: NDArray[np.float64], heading: str, *, signed: bool) -> None:
    """Heading and label of the percentages of a distribution over bins."""
    panel.set_ylabel(f"pairs / % per {edges[1] - edges[0]:.3g} of D")
    panel.set_title(heading, loc="left", fontsize=9)
    if signed:
        panel.axvline(0, color=style.MUTED, linewidth=0.6)


def bin_edges(rows: pl.DataFrame) -> NDArray[np.float64]:
    """The edges that all bins of a `table` share."""
    bins = rows.select("low", "high").unique(maintain_order=True)
    edges: NDArray[np.float64] = np.append(bins["low"].to_numpy(), bins["high"][-1])
    return edges


def percentages(
    run: Run, kind: str, domain: Domain
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentage of one kind of layers' pairs in each bin, real and random labels."""
    layers = layer_rows(run.features)
    if domain == run.domain:
        scan, chosen = run.scan, [layer.kind == kind for layer in layers]
        counts = scan.histogram[chosen].sum(axis=0), scan.histogram_random[chosen].sum(axis=0)
        pairs = run.classes.height * sum(layer.size for layer in layers if layer.kind == kind)
        return 100 * counts[0] / pairs, 100 * counts[1] / (pairs * scan.n_random)
    rows, edges = [layer.rows for layer in layers if layer.kind == kind], domain.edges(BINS)
    return (
        distributions.percentages(run.distances, rows, edges),
        distributions.percentages(run.distances_random, rows, edges),
    )


def _kinds(runs: Sequence[Run]) -> list[str]:
    present = {kind for run in runs for kind in run.features["kind"].unique().to_list()}
    return [kind for kind in KINDS if kind in present]


def _legend(panels: NDArray[Any]) -> tuple[list[Any], list[str]]:
    """Each run once, also where it has no layers of the first panel's kind."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return list(found.values()), list(found)

"""The distribution of all distances, apart for each kind of layer (Figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fnx.analysis import Run
from fnx.analysis.distributions import domain, percentages
from fnx.analysis.scan import BINS
from fnx.report.figures import style
from fnx.report.text import distance_label, heading_of

KINDS = {"conv": "convolutional layers", "fc": "fully connected layers", "other": "other layers"}
READING = {
    "raw": "Real labels; faint: random labels of the same run; triangles on the axis: t⁺ and t⁻",
    "calibrated": "Real labels; faint: random labels of the same run; pairs no farther out than"
    " chance are left out",
}
"""How to read the lines of several runs, by distance."""

NOT_DRAWN = {
    "raw": ("{:.2g} % of the pairs lie beyond or are infinite: not drawn", 0.4),
    "calibrated": ("{:.2g} % of the pairs are at 0, no farther out than chance: not drawn", 0.92),
}
"""What is written of pairs that are not drawn, and how high up the axes."""

_LIMITS = (("t_plus", "+"), ("t_minus", "-"))


def table(runs: Sequence[Run], labels: Sequence[str], distance: str = "raw") -> pl.DataFrame:
    """Return what is drawn: how the (feature, class) pairs of each kind of layers spread over D.

    `distance` is "raw" or "calibrated"; of the latter, the pairs that are neutral are in no bin,
    and there are no thresholds.

    Returns:
        Of runs of one statistic ``run``, ``kind``, ``low`` and ``high`` of the bin, ``pct`` and
        ``pct_random`` (percentage of the pairs in it, under real and under random labels, all
        permutations together; pairs beyond the bins and infinite ones are missing from their sum),
        ``t_plus``, ``t_minus``.
    """
    shared = domain(*(extent for run in runs for extent in run.extents))
    edges = shared.edges(BINS)
    parts = []
    for run, label in zip(runs, labels, strict=True):
        limits = {
            name: (run.threshold(sign) or {}).get("threshold") if distance == "raw" else None
            for name, sign in _LIMITS
        }
        for kind in _kinds([run]):
            real, random = _percentages(run, kind, edges, distance)
            bins = {"low": edges[:-1], "high": edges[1:], "pct": real, "pct_random": random}
            parts.append(
                pl.DataFrame(bins).select(
                    pl.lit(label).alias("run"),
                    pl.lit(kind).alias("kind"),
                    pl.all(),
                    *(pl.lit(v, dtype=pl.Float64).alias(k) for k, v in limits.items()),
                )
            )
    return pl.concat(parts)


def _percentages(
    run: Run, kind: str, edges: NDArray[np.float64], distance: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentage of the pairs of a kind of layers in each bin, real and random."""
    scan = run.scan
    calibrated = scan.calibrated if distance == "calibrated" else None
    if not np.array_equal(edges, scan.edges):  # other runs reach farther
        rows = [layer.rows for layer in scan.layers if layer.kind == kind]
        without = run.neutral if distance == "calibrated" else None
        real, random = run.arrays(distance)
        return percentages(real, rows, edges, without), percentages(random, rows, edges, without)
    chosen = [i for i, layer in enumerate(scan.layers) if layer.kind == kind]
    pairs = sum(scan.layers[i].size for i in chosen) * run.classes.height
    return (
        100 * (calibrated or scan).histogram[chosen].sum(axis=0) / pairs,
        100 * (calibrated or scan).histogram_random[chosen].sum(axis=0) / (pairs * scan.n_random),
    )


def draw(
    runs: Sequence[Run], labels: Sequence[str], drawn: pl.DataFrame, distance: str = "raw"
) -> Figure:
    """Draw the `table` of runs of one statistic: percentages of pairs, random labels behind."""
    kinds, alone = _kinds(runs), len(runs) == 1
    figure = style.new_figure(height=1.2 + 2.0 * len(kinds) if alone else 1.3 + 2.3 * len(kinds))
    panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False).ravel()
    styles = dict(zip(labels, style.series_styles(len(runs)), strict=True))
    for panel, kind in zip(panels, kinds, strict=True):
        rows = drawn.filter(kind=kind)
        label_panel(panel, bin_edges(drawn), KINDS[kind], runs[0])
        if alone:
            _areas(panel, rows, *NOT_DRAWN[distance])
            if distance == "raw":
                style.run_thresholds(panel, runs[0])
        else:
            curves(panel, rows, styles)
    handles, names = _legend(panels)
    style.legend_below(panels[-1], 2 if alone else min(4, len(runs)), handles=handles, labels=names)
    panels[-1].set_xlabel(distance_label(runs[0], distance))
    heading = heading_of("Distances of all features and classes", distance)
    style.titles(figure, runs, heading, READING[distance])
    return figure


def _areas(panel: Axes, rows: pl.DataFrame, not_drawn: str, height: float) -> None:
    """Draw one run: random labels filled, real ones as a line; and write what is `not_drawn`."""
    edges = bin_edges(rows)
    real, random = rows["pct"].to_numpy(), rows["pct_random"].to_numpy()
    panel.stairs(
        random, edges, fill=True, color=style.RANDOM_FILL, linewidth=0, label="random labels"
    )
    panel.stairs(real, edges, color=style.PRESENCE, linewidth=1.5, label="real labels")
    panel.set_ylim(0, 1.18 * max(float(real.max()), float(random.max()), 1e-9))
    panel.set_xlim(edges[0], edges[-1])
    if real.sum() < 99.995:
        panel.annotate(
            not_drawn.format(100 - real.sum()),
            (0.99, height),
            xycoords="axes fraction",
            ha="right",
            fontsize=7.5,
            color=style.MUTED,
        )


def curves(panel: Axes, rows: pl.DataFrame, styles: dict[str, tuple[Any, str, Any]]) -> None:
    """Draw the distributions of some runs as lines over the bins' centres, random labels behind."""
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


def label_panel(panel: Axes, edges: NDArray[np.float64], heading: str, run: Run) -> None:
    """Give the percentages of a distribution over bins their heading and label."""
    panel.set_ylabel(f"pairs / % per {edges[1] - edges[0]:.3g} of D")
    panel.set_title(heading, loc="left", fontsize=9)
    if run.signed:
        panel.axvline(run.neutral, color=style.MUTED, linewidth=0.6)


def bin_edges(rows: pl.DataFrame) -> NDArray[np.float64]:
    """Return the edges that all bins of a `table` share."""
    bins = rows.select("low", "high").unique(maintain_order=True)
    return np.array([*bins["low"], bins["high"][-1]])


def _kinds(runs: Sequence[Run]) -> list[str]:
    present = {kind for run in runs for kind in run.features["kind"].unique().to_list()}
    return [kind for kind in KINDS if kind in present]


def _legend(panels: NDArray[Any]) -> tuple[list[Any], list[str]]:
    """Name each run once, also where it has no layers of the first panel's kind."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return list(found.values()), list(found)

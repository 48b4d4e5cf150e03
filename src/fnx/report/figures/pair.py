"""One feature and one class: their densities and the distance between their EDFs (Figure 1)."""

from __future__ import annotations

import logging
from contextlib import suppress

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.pairs import Pair, find_pair, pair_table, top_pair, widest
from fnx.errors import DataError
from fnx.report.figures import style
from fnx.report.text import clip, describe, number, shorten
from fnx.report.values import open_embedding
from fnx.utils.parquet import read_parquet

log = logging.getLogger(__name__)

NAME = "fig01_pair"


def table(run: Run, pair: str | None = None) -> pl.DataFrame | None:
    """Return what is drawn: the densities and cumulative distributions of a pair.

    The values come from the run's embedding. Where that is gone, the table that an earlier report
    left in ``figures/`` is used, if it is of the same pair.

    The pair is "layer/unit:class"; None for the pair of the highest D.

    Returns:
        ``layer``, ``unit``, ``class_name``, ``distance`` and ``threshold`` (t⁺ or, by absence, t⁻;
        null if there is none), the same in every row; ``curve``, ``x``, ``x_end``, ``inner``,
        ``outer`` (see `fnx.analysis.pairs.pair_table`); None, with the reason logged, if there is
        nothing to draw.

    Raises:
        ConfigError: a pair that the run does not have.
    """
    chosen = top_pair(run) if pair is None else find_pair(run, pair)
    if chosen is None:
        log.warning("no Figure 1: no feature has a D above %g", run.neutral)
        return None
    try:
        return _measured(run, chosen)
    except DataError as error:
        with suppress(ValueError, pl.exceptions.PolarsError):  # there is none, or a damaged one
            kept = read_parquet(run.path / "figures" / f"{NAME}.parquet")
            named = (chosen.layer, chosen.unit, chosen.class_name)
            if kept.select("layer", "unit", "class_name").row(0) == named:
                return kept
        log.warning("no Figure 1, which needs the values of the embedding: %s", error)
        return None


def _measured(run: Run, pair: Pair) -> pl.DataFrame:
    embedding = open_embedding(run)
    values = embedding.column(pair.feature_id)
    bins = run.record.statistic.get("bins")
    curves = pair_table(values, embedding.labelling.has(pair.class_id), bins)
    distance = float(run.distances[pair.feature_id, pair.class_id])
    limit = run.threshold("-" if distance < run.neutral else "+")
    return curves.select(
        pl.lit(pair.layer).alias("layer"),
        pl.lit(pair.unit, dtype=pl.Int64).alias("unit"),
        pl.lit(pair.class_name).alias("class_name"),
        pl.lit(distance).alias("distance"),
        pl.lit(limit["threshold"] if limit else None, dtype=pl.Float64).alias("threshold"),
        pl.all(),
    )


def draw(run: Run, drawn: pl.DataFrame) -> Figure:
    """Draw densities at the left and, for a KS distance, the EDFs at the right.

    `drawn` is the run's `table`.
    """
    first = drawn.row(0, named=True)
    cumulative = run.statistic in ("ks", "ks_exact")
    feature = f"{first['layer']}/{first['unit']}"
    words = _words(first["distance"], first["threshold"], run.neutral)
    figure = style.new_figure(height=3.3)
    panels = figure.subplots(1, 2 if cumulative else 1, squeeze=False).ravel()
    _densities(panels[0], drawn.filter(curve="density"))
    if cumulative:
        _distributions(panels[1], drawn, words, exact=run.record.statistic.get("bins") is None)
    else:
        panels[0].set_title(words.replace("\n", " "), loc="right", fontsize=9)
    for panel in panels:
        panel.set_xlabel(f"value of {shorten(feature, 32)} / activation")
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)
    heading = f"{shorten(feature, 32)} and class {clip(first['class_name'], 28)}"
    style.title(figure, heading, describe(run))
    return figure


def _words(distance: float, threshold: float | None, neutral: float) -> str:
    """Say the distance, and on which side of the threshold it lies."""
    text = f"D = {number(distance, 3)}"
    if threshold is None:
        return text
    absent = distance < neutral
    sign, beyond = ("⁻", distance < threshold) if absent else ("⁺", distance > threshold)
    relation = ("<" if absent else ">") if beyond else "not beyond"
    return f"{text}\n{relation} t{sign} = {number(threshold, 3)}"


def _densities(axes: Axes, rows: pl.DataFrame) -> None:
    edges = [*rows["x"], rows["x_end"][-1]]
    outer, inner = rows["outer"].to_numpy(), rows["inner"].to_numpy()
    axes.stairs(outer, edges, fill=True, color=style.RANDOM_FILL, label="all other images")
    axes.stairs(inner, edges, color=style.PRESENCE, linewidth=1.4, label="images of the class")
    axes.set_ylabel("density / (unit of activation)⁻¹")
    axes.set_ylim(bottom=0)


def _distributions(axes: Axes, drawn: pl.DataFrame, words: str, *, exact: bool) -> None:
    rows = drawn.filter(curve="cumulative")
    x = rows["x"].to_numpy()
    start = [0.0] if exact else []  # the first step begins at 0
    for name, colour, label, line in (
        ("outer", style.MUTED, "all other images", (0, (4, 1.5))),
        ("inner", style.PRESENCE, "images of the class", "-"),
    ):
        axes.plot(
            np.append(x[: len(start)], x),
            np.append(start, rows[name].to_numpy()),
            color=colour,
            linestyle=line,
            linewidth=1.6,
            drawstyle="steps-post" if exact else "default",
            label=label,
        )
    at, inner, outer = widest(drawn)
    axes.plot([at, at], [inner, outer], color=style.INK, linewidth=2, zorder=4)
    axes.plot([at, at], [inner, outer], "o", color=style.INK, markersize=4, zorder=5)
    axes.annotate(
        words,
        (at, (inner + outer) / 2),
        # The corner below both curves is empty, whichever rises first.
        xytext=(0.97, 0.06),
        textcoords="axes fraction",
        ha="right",
        va="bottom",
        fontsize=9,
        linespacing=1.4,
        arrowprops={"arrowstyle": "-", "color": style.INK, "linewidth": 0.7},
        bbox={"facecolor": style.PAPER, "edgecolor": style.GRID, "pad": 3},
        zorder=6,
    )
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("images at most at the value / share")

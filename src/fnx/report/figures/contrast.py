"""A class against another in one picture: the features that tell the two apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fnx.analysis import Run
from fnx.analysis.contrast import Contrast
from fnx.report.figures import style
from fnx.report.figures.profiles import bars_height, draw_bars, draw_picture, short_label
from fnx.report.pictures.paths import class_path
from fnx.report.text import clip, describe, number, plain


def draw(run: Run, found: Contrast) -> Figure:
    """Draw images of both classes, the features that tell them apart, and their shares."""
    sides = found.features["sign"].unique(maintain_order=True).to_list() or ["+"]
    names = {"+": found.name, "-": found.against}
    shown = [class_path(run.path, i) for i in (found.class_id, found.against_id)]
    pictured = all(path.is_file() for path in shown)
    height = bars_height(found.features)
    figure = style.new_figure(height=height + (2.4 if pictured else 0) + 0.8)
    upper: Any
    lower: Any
    if pictured:
        upper, lower = np.asarray(
            figure.subfigures(2, 1, height_ratios=(2.4, height + 0.5))
        ).tolist()
        for axes, path, name in zip(upper.subplots(1, 2), shown, names.values(), strict=True):
            draw_picture(axes, path, clip(name, 40))
    else:
        lower = figure.subfigures(1, 1)
    for axes, sign in zip(lower.subplots(1, len(sides), squeeze=False).ravel(), sides, strict=True):
        part = found.features.filter(sign=sign)
        labels = run.feature_labels.gather(part["feature_id"]).to_list()
        if found.measured:
            draw_bars(axes, run.neutral, labels, part["distance"].to_list(), [sign] * part.height)
            for limit in found.kept.filter(sign=sign)["threshold"]:
                if np.isfinite(limit):
                    axes.axvline(limit, color=style.INK, linestyle=style.DASHED, linewidth=0.8)
            axes.set_xlabel(short_label(run))
        else:
            _both(axes, run, part, labels)
        higher = f"higher in {clip(names[sign], 26)}"
        axes.set_title(higher if run.signed or not found.measured else "by distance", loc="left")
    heading = f"{plain(found.name)} against {plain(found.against)}"
    counted = f"{number(found.n_images)} and {number(found.n_against)}"
    style.title(figure, heading, f"{counted} images of {describe(run)}")
    return figure


def _both(axes: Axes, run: Run, part: pl.DataFrame, labels: list[str]) -> None:
    """Draw the D of both classes against all others, where that between the two is not known."""
    y = np.arange(part.height)
    ends = part["distance_of_class"].to_numpy(), part["distance_of_against"].to_numpy()
    axes.hlines(y, *ends, color=style.GRID, linewidth=3, zorder=1)
    axes.plot(ends[0], y, "o", color=style.PRESENCE, label="the first class")
    axes.plot(ends[1], y, "s", color=style.ABSENCE, label="the second")
    axes.set_yticks(y, labels)
    axes.set_ylim(max(part.height, 1) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{short_label(run)}, each against all others")
    axes.legend(loc="best")

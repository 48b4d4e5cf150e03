"""Thresholds against the number of images per class, and curves fitted to them (Section 7.1)."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from fnx.analysis.comparison.fits import CURVES, Fit
from fnx.report.figures import style
from fnx.report.text import number, shorten


def draw(table: pl.DataFrame, fits: pl.DataFrame) -> Figure:
    """Draw the thresholds of some runs against images per class, with both curves.

    Args:
        table: rows of Table 3 with ``label``, of one model and statistic.
        fits: rows of `fnx.analysis.comparison.fits.fits_table` of the same.
    """
    signs = [sign for sign in ("+", "-") if sign in fits["sign"].to_list()]
    figure = style.new_figure(height=3.5)
    panels = np.atleast_1d(figure.subplots(1, len(signs)))
    n = table["images_per_class"].to_numpy()
    x = np.geomspace(n.min() * 0.85, n.max() * 1.18, 200)
    for panel, sign in zip(panels, signs, strict=True):
        plus = sign == "+"
        colour = style.PRESENCE if plus else style.ABSENCE
        thresholds = table["t_plus" if plus else "t_minus"].to_numpy()
        panel.plot(n, thresholds, "o" if plus else "s", color=colour, zorder=3)
        for row in fits.filter(sign=sign).rows(named=True):
            curve = Fit(
                row["curve"], row["intercept"], row["slope"], row["r_squared"], row["points"]
            )
            panel.plot(
                x,
                curve(x),
                color=style.INK,
                linewidth=1.2,
                linestyle="-" if row["curve"] == "log" else (0, (4, 2)),
                label=f"{CURVES[row['curve']][0]}, R² = {number(row['r_squared'], 3)}",
            )
        for position, value, name in zip(n, thresholds, table["label"], strict=True):
            panel.annotate(
                shorten(name, 20),
                (position, value),
                xytext=(5, 4 if plus else -4),
                textcoords="offset points",
                fontsize=7,
                color=style.MUTED,
                va="bottom" if plus else "top",
            )
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda value, _: number(value))
        panel.xaxis.set_minor_formatter(
            lambda value, _: number(value) if f"{value:.0f}"[0] in "25" else ""
        )
        panel.tick_params(axis="x", which="minor", labelsize=8)
        panel.set_xlabel("mean number of images per class (logarithmic)")
        panel.set_ylabel(f"{'t⁺' if plus else 't⁻'} / units of D")
        panel.legend(loc="upper right" if plus else "lower right")
    style.title(
        figure,
        "Thresholds and the number of images per class",
        f"{table['model'][0]}, {table['statistic'][0]}: {table.height} data sets or runs",
    )
    return figure

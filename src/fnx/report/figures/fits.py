"""Thresholds against the number of images per class, and curves fitted to them (Section 7.1)."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from fnx.analysis.comparison.fits import CURVES, Fit
from fnx.report.figures import style
from fnx.report.text import number, shorten


def draw(table: pl.DataFrame, fits: pl.DataFrame) -> Figure:
    """Draw thresholds of Table 3 against images per class, and the curves of the table of fits.

    Both tables are of one model and statistic; the first has a column ``label``.
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
        for row in fits.filter(sign=sign).select(*Fit.__annotations__).rows(named=True):
            fit = Fit(**row)
            panel.plot(
                x,
                fit(x),
                color=style.INK,
                linewidth=1.2,
                linestyle="-" if fit.curve == "log" else style.DASHED,
                label=f"{CURVES[fit.curve][0]}, R² = {number(fit.r_squared, 3)}",
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

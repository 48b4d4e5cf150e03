"""How every figure looks: colours, type and ways of saving; Matplotlib without its global state.

Most colours are Okabe and Ito's, told apart by colour-blind readers and, through their lightness,
marker or hatching, in grey print. Text stays text in the SVG files.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation

from fnx.analysis import Run
from fnx.report.text import describe, number, shorten
from fnx.utils.text import printable

INK = "#1a1a1a"
MUTED = "#666666"
GRID = "#e3e3e3"
PAPER = "#ffffff"
PRESENCE = "#0072b2"  # blue
ABSENCE = "#d55e00"  # vermillion
RANDOM_FILL = "#c9c9c9"
REAL_LINE = "#000000"
RANDOM_LINE = "#cc2a1e"  # red, as in the paper's Figure 9; its mean line is dashed for grey print
KEPT = "#0b5d9e"  # blue and green, as in the paper's Figure 10
KEPT_RANDOM = "#8fd0b4"

THEME = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    PRESENCE: "presence",
    ABSENCE: "absence",
    RANDOM_FILL: "random-fill",
    REAL_LINE: "real-line",
    RANDOM_LINE: "random-line",
    KEPT: "kept",
    KEPT_RANDOM: "kept-random",
}
"""CSS variable of each colour, with which the page draws the same figures for a dark screen."""

WIDTH = 7.2  # inches: the text width of an A4 or letter page
DPI = 200
_PAD = 0.08  # inches of paper around a figure
DASHED = (0, (4, 2))

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "fnx",
    "pdf.fonttype": 42,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "text.parse_math": False,  # a data set called "$x" is a name, not a formula
    "axes.unicode_minus": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Set Matplotlib up for drawing and saving, and put its settings back afterwards."""
    with mpl.rc_context(_RC):
        yield


def new_figure(width: float = WIDTH, height: float = 4.0) -> Figure:
    """Return an empty figure of a size in inches, apart from pyplot's list of figures."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title(figure: Figure, heading: str, detail: str) -> None:
    """Write a heading above a figure, and one line of detail below it, flush left."""
    figure.suptitle(
        shorten(heading, 70), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK
    )
    figure.text(0.01, -0.01, shorten(detail, 120), ha="left", va="top", fontsize=7.5, color=MUTED)


def titles(figure: Figure, runs: Sequence[Run], heading: str, detail: str = "") -> None:
    """Write a heading and, if there are several runs, the detail; of one its data set and sizes."""
    if len(runs) == 1:
        heading, detail = f"{heading}, {runs[0].dataset}", describe(runs[0])
    title(figure, heading, detail)


def centre(axes: Axes, middle: float = 0.0) -> None:
    """Make an x axis reach as far to the left of its middle as to the right."""
    side = max(abs(end - middle) for end in axes.get_xlim())
    axes.set_xlim(middle - side, middle + side)


def note(axes: Axes, text: str, **how: Any) -> None:
    """Write a muted text into the middle of axes."""
    middle: dict[str, Any] = dict.fromkeys(("ha", "va"), "center")
    axes.text(0.5, 0.5, text, transform=axes.transAxes, color=MUTED, **middle | how)


def threshold_line(axes: Axes, value: float, label: str, *, above: bool = False) -> None:
    """Draw a dashed vertical line at a threshold, labelled at its top or above the axes.

    Nothing is drawn for an infinite one, which keeps nothing, or beyond limits that are set.
    """
    if not math.isfinite(value):
        return
    axes.axvline(value, color=INK, linestyle=DASHED, linewidth=1.0, zorder=4)
    low, high = axes.get_xlim()
    if not low <= value <= high:
        return
    left = label == "t⁻"
    axes.annotate(
        f"{label} = {number(value, 3)}",
        (value, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=((0 if above else 4) * (-1 if left else 1), 3 if above else -2),
        textcoords="offset points",
        ha="right" if left else "left",
        va="bottom" if above else "top",
        fontsize=8,
        color=INK,
        bbox=None if above else {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=6,
    )


def run_thresholds(axes: Axes, run: Run, *, above: bool = False) -> None:
    """Draw the dashed lines of a run's t⁺ and, of a signed statistic, t⁻."""
    for sign, label in (("-", "t⁻"), ("+", "t⁺")):
        row = run.threshold(sign)
        if row is not None:
            threshold_line(axes, row["threshold"], label, above=above)


def series_styles(count: int) -> list[tuple[Any, str, Any]]:
    """Return colour, marker and line style of each of several runs, darker to lighter."""
    colours = map(tuple, mpl.colormaps["viridis"](np.linspace(0.0, 0.82, count)))
    lines = ["-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1.5, 1.5))]
    return list(zip(colours, cycle("osD^vP*X<>h"), cycle(lines), strict=False))


def small_multiples(
    count: int, *, panel_height: float, share_y: bool = False
) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure of two or more equal panels, row by row in up to three columns; in inches.

    Returns:
        The figure, its panels, and empty axes under them for common labels and a legend.
    """
    columns = 2 if count in (2, 4) else 3
    rows = -(-count // columns)
    figure = new_figure(height=panel_height * rows + 1.0)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[panel_height] * rows + [0.4])
    panels: list[Axes] = []
    for i in range(count):
        shared = panels[0] if share_y and panels else None
        panels.append(figure.add_subplot(grid[i // columns, i % columns], sharey=shared))
        if shared is not None and i % columns:
            panels[-1].tick_params(axis="y", labelleft=False)
    foot = figure.add_subplot(grid[rows, :])
    foot.axis("off")
    return figure, panels, foot


def grid(figure: Figure, count: int, columns: int, **options: Any) -> list[Axes]:
    """Add equal panels, row by row; `options` are those of `Figure.subplots`."""
    rows = -(-count // columns)
    places = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for panel in places[count:]:
        panel.set_visible(False)
    found: list[Axes] = places[:count].tolist()
    return found


def legend_below(axes: Axes, columns: int, **entries: Any) -> None:
    """Put a legend under the label of the x axis, at a fixed distance whatever the axes' height.

    It has fewer columns than asked for where their names would need more than the figure's width.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    names = entries.get("labels") or axes.get_legend_handles_labels()[1]
    widest = 0.45 + 0.06 * max(map(len, names), default=0)  # inches: handle, and 8 points a letter
    columns = max(1, min(columns, int(figure.get_figwidth() / widest)))
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, -0.48, figure.dpi_scale_trans),
        ncols=columns,
        borderaxespad=0,
        columnspacing=1.5,
        **entries,
    )


def layer_axis(
    axes: Axes, names: Sequence[str], kinds: Sequence[str], height: float, size: float | None = None
) -> None:
    """List layers down the y axis, from input to output, with a rule where the kind changes.

    The axis is `height` inches high, its names `size` points, by default as all ticks.
    """
    axes.set_ylim(len(names) - 0.5, -0.5)
    layer_ticks(axes, names, height, size)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for i in range(1, len(names)):
        if kinds[i] != kinds[i - 1]:
            axes.axhline(i - 0.5, color=MUTED, linewidth=0.6, linestyle=":")


def layer_ticks(axes: Axes, names: Sequence[str], height: float, size: float | None = None) -> None:
    """Name the layers down an axis of a height in inches, but for names that would overlap."""
    room = max(1, round(len(names) * 1.2 * (size or 8) / (72 * height)))
    shown = range(0, len(names), room)
    axes.set_yticks(list(shown), [shorten(names[i], 28) for i in shown], fontsize=size)


def layers_of(drawn: pl.DataFrame, by: str) -> tuple[list[str], list[str]]:
    """Return all layers and their kinds, ordered as in the run or pair `by` that has most."""
    parts = drawn.unique([by, "layer"], keep="first", maintain_order=True).partition_by(
        by, maintain_order=True
    )
    rows = pl.concat(sorted(parts, key=lambda part: -part.height)).unique(
        "layer", keep="first", maintain_order=True
    )
    return rows["layer"].to_list(), rows["kind"].to_list()


def layers_height(n_layers: int, per_layer: float = 0.2) -> float:
    """Return the height in inches of an axis that lists layers, at most that of a page."""
    return min(max(1.2, n_layers * per_layer), 11.0)


def save(figure: Figure, stem: Path, formats: Sequence[str], box: Bbox | None = None) -> list[Path]:
    """Write a figure as `stem`.png, .svg and so on; the same run gives the same bytes.

    `box` is what `settle` returned, of a figure that is settled already.
    """
    box = box or settle(figure)
    paths = []
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        figure.savefig(path, bbox_inches=box, **_options(suffix))
        paths.append(path)
    return paths


def svg(figure: Figure, box: Bbox | None = None) -> str:
    """Return a figure as SVG text, to be put into a page; see `save`."""
    box = box or settle(figure)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches=box, **_options("svg"))
    return stream.getvalue()


def settle(figure: Figure) -> Bbox:
    """Lay a figure out for good, and return the part of it that is saved, in inches.

    Each way of saving would draw the figure twice more to find out both.

    Characters of names that cannot be printed become "?", for no font has them.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().replace("\n", "").isprintable():
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
    if figure.axes and (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # without drawing all of it
    figure.set_layout_engine(None)
    return figure.get_tightbbox().padded(_PAD)


def _options(suffix: str) -> dict[str, Any]:
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    options: dict[str, Any] = {"dpi": DPI, "metadata": undated}
    if suffix == "png":  # Pillow's own 6 takes 2 to 3 times as long for a tenth less
        options["pil_kwargs"] = {"compress_level": 3}
    return options

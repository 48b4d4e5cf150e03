"""A run, a class, a feature or a layer in one picture: what ``python -m fnx.show`` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from fnx.analysis import Run
from fnx.analysis.profiles import ClassProfile, FeatureProfile, LayerProfile
from fnx.analysis.summary import summarize
from fnx.report.figures import style
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.text import by, clip, describe, distance_label, number, plain, shorten, signs
from fnx.report.values import Values

ENDS = 15  # classes at each end of a feature's list
_ROW = 0.2  # inches of height for a bar with its label


def draw_run(run: Run) -> Figure:
    """Draw each layer's share of kept pairs under real and under random labels."""
    layers = summarize(run).layers
    height = style.layers_height(layers.height)
    figure = style.new_figure(height=height + 1.2)
    axes = figure.subplots()
    places = np.arange(layers.height)
    axes.barh(places, layers["pct_kept"], 0.8, color=style.KEPT, label="real labels")
    axes.barh(
        places,
        layers["pct_kept_random"],
        0.8,
        color=style.KEPT_RANDOM,
        hatch="///",
        edgecolor=style.INK,
        linewidth=0.3,
        label="random labels",
    )
    style.layer_axis(axes, layers["layer"].to_list(), layers["kind"].to_list(), height)
    axes.set_xlabel("kept pairs (feature, class) / % of the layer's")
    style.legend_below(axes, 2)
    style.titles(figure, [run], "Share of each layer that is kept")
    return figure


def draw_class(run: Run, profile: ClassProfile) -> Figure:
    """Draw a class's sample images, its top features, and how many each layer keeps."""
    panels = bars_height(profile.strongest)
    layers = style.layers_height(profile.layers.height, 0.16)
    figure = style.new_figure(height=panels + layers + 1.2)
    top, bottom = _stacked(figure, panels, layers + 0.6)
    picture = class_path(run.path, profile.class_id)
    grid = top.subplots(1, len(signs(run)) + picture.is_file(), squeeze=False).ravel()
    if picture.is_file():
        draw_picture(grid[0], picture, "images of the class")
    for axes, sign in zip(grid[-len(signs(run)) :], signs(run), strict=True):
        part = profile.strongest.filter(sign=sign)
        labels = run.feature_labels.gather(part["feature_id"]).to_list()
        draw_bars(axes, run.neutral, labels, part["distance"].to_list(), [sign] * part.height)
        axes.set_title(by(run, sign), loc="left")
        axes.set_xlabel(short_label(run))
        for limit in profile.kept.filter(sign=sign)["threshold"]:
            _threshold(axes, limit)
    axes = bottom.subplots()
    places = np.arange(profile.layers.height)
    for name, colour, side in (("kept_plus", style.PRESENCE, 1), ("kept_minus", style.ABSENCE, -1)):
        counts = profile.layers[name].fill_null(0).to_numpy()
        shares = side * 100 * counts / profile.layers["features"].to_numpy()
        axes.barh(places, shares, 0.8, color=colour)
    kinds = run.features.unique("layer", maintain_order=True)["kind"].to_list()
    style.layer_axis(axes, profile.layers["layer"].to_list(), kinds, layers)
    axes.axvline(0, color=style.INK, linewidth=0.6)
    sides = "by absence (left) and by presence (right)" if run.signed else "by distance"
    axes.set_xlabel(f"features kept {sides} / % of the layer's")
    axes.xaxis.set_major_formatter(lambda value, _: number(abs(value)))
    heading = f"{plain(profile.name)}: {number(profile.n_images)} images of {run.dataset}"
    style.title(figure, heading, describe(run))
    return figure


def draw_feature(run: Run, profile: FeatureProfile, values: Values | str) -> Figure:
    """Draw what activates a feature, its distributions inside and outside a class, and its D."""
    classes = profile.classes
    if classes.height > 2 * ENDS:
        classes = pl.concat([classes.head(ENDS), classes.tail(ENDS)])
    listed = max(classes.height * _ROW * 0.85, 1.5)
    figure = style.new_figure(height=listed + 3.6)
    top, bottom = _stacked(figure, 2.6, listed + 0.7)
    picture = sprite_path(run.path, profile.layer, profile.unit)
    if picture.is_file():
        left, right = top.subplots(1, 2, width_ratios=(1, 2))
        draw_picture(left, picture, "top-activating images")
    else:
        right = top.subplots()
    _values(right, values)
    axes = bottom.subplots()
    low, high = profile.random_low, profile.random_high
    span = f"D under random labels: {number(low, 3)} to {number(high, 3)}"
    axes.axvspan(low, high, color=style.RANDOM_FILL, alpha=0.5, linewidth=0, label=span)
    names = [clip(name, 28) for name in classes["class_name"]]
    draw_bars(axes, run.neutral, names, classes["distance"].to_list(), classes["sign"].to_list())
    if classes["t_plus"].n_unique() == 1:  # not a line for each class
        for limit in {*classes["t_plus"].drop_nulls(), *classes["t_minus"].drop_nulls()}:
            _threshold(axes, limit)
    axes.set_xlabel(distance_label(run))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
    if classes.height < profile.classes.height:
        rest = profile.classes.height - classes.height
        axes.axhline(ENDS - 0.5, color=style.MUTED, linewidth=0.6, linestyle=":")
        axes.annotate(
            f"{number(rest)} more classes",
            (1, ENDS - 0.5),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=7,
            color=style.MUTED,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 1},
        )
    constant = ", constant" if profile.constant else ""
    style.title(figure, f"{profile.layer}/{profile.unit} ({profile.kind}{constant})", describe(run))
    return figure


def draw_layer(run: Run, profile: LayerProfile) -> Figure:
    """Draw the distribution of a layer's D, real and random, and its top pairs."""
    pairs = bars_height(profile.pairs)
    figure = style.new_figure(height=pairs + 3.4)
    top, bottom = _stacked(figure, 2.6, pairs)
    axes = top.subplots()
    axes.stairs(
        profile.random, profile.edges, fill=True, color=style.RANDOM_FILL, label="random labels"
    )
    axes.stairs(profile.real, profile.edges, color=style.REAL_LINE, label="real labels")
    for sign, mark in (("+", "t⁺"), ("-", "t⁻")):
        row = run.threshold(sign)
        if row is not None:
            style.threshold_line(axes, row["threshold"], mark)
    filled = np.flatnonzero(profile.real + profile.random)
    if filled.size:
        axes.set_xlim(profile.edges[filled[0]], profile.edges[filled[-1] + 1])
    axes.set_xlabel(distance_label(run))
    axes.set_ylabel("pairs / % of the layer's")
    axes.legend(loc="upper left")
    panels = bottom.subplots(1, len(signs(run)), squeeze=False).ravel()
    for panel, sign in zip(panels, signs(run), strict=True):
        part = profile.pairs.filter(sign=sign)
        names = part.select("class_name", "unit").rows()
        labels = [f"{clip(name, 20)}  {unit}" for name, unit in names]
        draw_bars(panel, run.neutral, labels, part["distance"].to_list(), [sign] * part.height)
        panel.set_title(f"top pairs {by(run, sign)}", loc="left")
        panel.set_xlabel(short_label(run))
    style.title(figure, f"{profile.layer}: {number(profile.features)} features", describe(run))
    return figure


def bars_height(ranked: pl.DataFrame) -> float:
    """Return the height in inches of panels of ranked bars."""
    return max(max(ranked["rank"], default=1) * _ROW + 0.6, 1.6)


def short_label(run: Run) -> str:
    """Return a short label of an axis of distances."""
    return f"D /{distance_label(run).rpartition('/')[2]}"


def _stacked(figure: Figure, upper: float, lower: float) -> tuple[SubFigure, SubFigure]:
    """Return two parts of a figure, one above the other, of these heights."""
    first, second = np.asarray(figure.subfigures(2, 1, height_ratios=(upper, lower))).tolist()
    return first, second


def draw_picture(axes: Axes, path: Path, title: str) -> None:
    """Draw a JPEG file under a title."""
    with Image.open(path, formats=["JPEG"]) as image:
        axes.imshow(np.asarray(image.convert("RGB")))
    axes.set_axis_off()
    axes.set_title(title, loc="left")


def draw_bars(
    axes: Axes,
    neutral: float,
    labels: list[str],
    distances: list[float],
    signs: list[str | None],
) -> None:
    """Draw bars from the neutral value to each distance; those within noise are grey."""
    colours = {"+": style.PRESENCE, "-": style.ABSENCE}
    lengths = np.array(distances) - neutral
    largest = max([1.0, *np.abs(lengths[np.isfinite(lengths)])])
    axes.barh(
        np.arange(len(labels)),
        np.clip(lengths, -largest, largest),
        0.75,
        left=neutral,
        color=[colours.get(sign or "", style.MUTED) for sign in signs],
        zorder=2,
    )
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    if not labels:
        style.note(axes, "none", va="baseline")


def _threshold(axes: Axes, value: float) -> None:
    if np.isfinite(value):
        axes.axvline(value, color=style.INK, linestyle=style.DASHED, linewidth=0.8, zorder=3)


def _values(axes: Axes, values: Values | str) -> None:
    if isinstance(values, str):
        axes.set_axis_off()
        style.note(axes, f"its values are not shown:\n{shorten(values, 80)}")
        return
    others = f"all others ({number(values.n_outer)})"
    axes.stairs(values.outer, values.edges, fill=True, color=style.RANDOM_FILL, label=others)
    name = f"{clip(values.class_name, 30)} ({number(values.n_inner)} images)"
    axes.stairs(values.inner, values.edges, color=style.PRESENCE, linewidth=1.4, label=name)
    axes.set_xlabel("value of the feature / activation")
    axes.set_ylabel("images / % of each")
    axes.legend(loc="upper right")

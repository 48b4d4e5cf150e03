"""Says in words what a figure draws: each line, text, bar and picture with what was set for it."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

RECORDED = Path(__file__).with_name("drawings")


def check_drawings(name: str, folder: Path, pattern: str = "*") -> None:
    """A folder's figures are drawn as was recorded (anew with FNX_RECORD_DRAWINGS=1)."""
    found = "".join(
        f"{file.stem}: {html.unescape(file.read_text(encoding='utf-8')[12:-13])}\n"
        for file in sorted(folder.glob(f"{pattern}.svg"))
    )
    recorded = RECORDED / f"{name}.txt"
    if os.environ.get("FNX_RECORD_DRAWINGS"):
        recorded.write_text(found, encoding="utf-8")
    assert found.splitlines() == recorded.read_text(encoding="utf-8").splitlines()


def described(figure: Figure) -> str:
    """One line for the figure, each of its axes and each artist in them; equal ones are counted."""
    lines = [f"figure {_numbers(figure.get_size_inches())}"]
    lines += _counted(_artists([*figure.texts, *figure.legends]))
    for axes in figure.axes:
        scales = f"{axes.get_xscale()} {axes.get_yscale()}"
        lines.append(
            f"axes x {_numbers(axes.get_xlim())} y {_numbers(axes.get_ylim())} {scales}"
            f" visible={axes.get_visible()} box={axes.get_box_aspect()} on={axes.axison}"
        )
        lines += _counted(_artists(axes.get_children()))
    return "\n".join(lines) + "\n"


def _artists(artists: list[Artist]) -> Iterator[str]:
    for artist in artists:
        if isinstance(artist, Axis):
            ticks = artist.get_major_ticks()
            labels = [f"{tick.get_loc():.4g}:{tick.label1.get_text()}" for tick in ticks]
            size = ticks[0].label1.get_fontsize() if ticks else 0
            yield f"  {artist.axis_name} {artist.get_label_text()!r} {size:g} {' '.join(labels)}"
            continue
        for part in artist.findobj():
            said = _said(part)
            if said and part.get_visible():
                yield f"  {said} z={part.get_zorder():g} alpha={part.get_alpha()}"


def _said(artist: Artist) -> str:
    if isinstance(artist, Text):
        if not artist.get_text():
            return ""
        return (
            f"text {artist.get_text()!r} at {_numbers(artist.get_position())}"
            f" {artist.get_ha()} {artist.get_va()} size {artist.get_fontsize():g}"
            f" {artist.get_fontweight()} {_colour(artist.get_color())} {artist.get_rotation():g}°"
        )
    if isinstance(artist, Line2D):
        points = np.ma.filled(np.ma.asarray(artist.get_xydata(), float), np.nan)
        return (
            f"line {_points(points)} {_colour(artist.get_color())} {artist.get_linewidth():g}"
            f" {artist.get_linestyle()} {artist.get_marker()} {artist.get_markersize():g}"
        )
    if isinstance(artist, Patch):
        points = artist.get_path().transformed(artist.get_patch_transform()).vertices
        return (
            f"patch {_points(points)} {_colour(artist.get_facecolor())}"
            f" {artist.get_linewidth():g} {artist.get_hatch()}"
        )
    if isinstance(artist, Collection):
        points = [path.vertices for path in artist.get_paths()] or [np.zeros((0, 2))]
        colours = np.r_[artist.get_facecolor()[:1], artist.get_edgecolor()[:1]]
        return (
            f"collection of {len(points)} {_points(np.concatenate(points))}"
            f" {[_colour(one) for one in colours]} {_numbers(artist.get_linewidth()[:1])}"
        )
    if isinstance(artist, AxesImage):
        return f"image {artist.get_array().shape} {_numbers(artist.get_clim() or ())}"
    return ""


def _colour(colour: Any) -> str:
    return to_hex(colour, keep_alpha=True)


def _numbers(values: Any) -> str:
    return " ".join(f"{float(v):.5g}" for v in np.ravel(values) if v is not None)


def _points(points: Any) -> str:
    """How many points, where from and to, and their sum."""
    points = np.asarray(points, float)
    if not len(points):
        return "0 points"
    known = np.where(np.isfinite(points), points, 0)
    return f"{len(points)} points {_numbers([points[0], points[-1], known.sum(axis=0)])}"


def _counted(lines: Iterator[str]) -> list[str]:
    found: dict[str, int] = {}
    for line in lines:
        found[line] = found.get(line, 0) + 1
    return [line if count == 1 else f"{line} × {count}" for line, count in found.items()]

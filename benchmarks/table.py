"""Writes what the benchmarks measured as ``README.md``, and its figure ``linearity``."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("numpy", "numba", "scipy", "scikit-learn", "torch", "tsfresh", "zarr")
NEEDED = ("test_read", "test_fnx[0-ks]", "test_fnx[10-ks]", "test_fnx[0-ks_exact]")

HEAD = """# Benchmarks

What `fnx` computes for all (feature, class) pairs, beside what a user would use instead. Every
number here was written by the run itself: `make bench` measures anew and replaces this page.
[Extraction](extraction.md) has a page of its own.

Data: a synthetic embedding of the size of flowers102 through VGG16, 8,189 images × 12,416 features
× 102 classes, float32, a third of the features without repeated values and two thirds as after a
ReLU, images in order of class. A peer that would take hours on all of it gets fewer features or
classes, as its row says, evenly chosen from all; costs are compared by pair. Times are the least of
several in one process, one after the other.

"""


def write(path: Path, seconds: dict[str, tuple[Any, float]], measured: dict[str, Any]) -> None:
    """Write the page, if the run was a whole one.

    Args:
        path: of ``README.md``; the figure goes beside it.
        seconds: name of a benchmark -> (its notes: title, pairs, scale; least seconds).
        measured: ``linearity`` and ``imagenet``.
    """
    if not all(name in seconds for name in NEEDED) or not {"linearity", "imagenet"} <= set(
        measured
    ):
        return
    draw(path.with_name("linearity"), measured["linearity"])
    path.write_text(HEAD + machine() + rows(seconds) + targets(seconds) + scaling(measured))


def machine() -> str:
    """Where it ran, in general terms."""
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed: left out")
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"Machine: {os.cpu_count()} cores of a server CPU ({platform.machine()}){load}; "
        f"Python {platform.python_version()}, {', '.join(versions)}.\n\n"
    )


def per_pair(entry: tuple[Any, float]) -> float:
    """Microseconds a (feature, class) pair."""
    notes, taken = entry
    return 1e6 * taken / int(notes["pairs"])


def rows(seconds: dict[str, tuple[Any, float]]) -> str:
    """The table, fastest first."""
    read, ks = per_pair(seconds["test_read"]), per_pair(seconds["test_fnx[0-ks]"])
    exact = per_pair(seconds["test_fnx[0-ks_exact]"])
    lines = [
        "| | measured on | µs/pair | × reading | × fnx `ks` | × fnx `ks_exact` |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for entry in sorted(seconds.values(), key=per_pair):
        cost = per_pair(entry)
        ratios = (number(cost / base) for base in (read, ks, exact))
        notes = entry[0]
        lines.append(
            f"| {notes['title']} | {notes['scale']} | {number(cost)} | {' | '.join(ratios)} |"
        )
    return "\n".join(lines) + "\n\n"


def targets(seconds: dict[str, tuple[Any, float]]) -> str:
    """What fnx has to reach, and what it did."""
    cost = {name: per_pair(entry) for name, entry in seconds.items()}
    ks, exact = cost["test_fnx[0-ks]"], cost["test_fnx[0-ks_exact]"]
    lines = ["| | to reach | reached |", "|---|--:|--:|"]
    if "test_scipy_loop" in cost:
        scipy = cost["test_scipy_loop"]
        lines.append(f"| SciPy loop / `ks` | ≥ 10,000 | {number(scipy / ks)} |")
        lines.append(f"| SciPy loop / `ks_exact` | ≥ 2,500 | {number(scipy / exact)} |")
    lines.append(f"| `ks` / reading the data once | ≤ 15 | {number(ks / cost['test_read'])} |")
    lines.append(
        f"| `ks` with ten permutations / none | ≤ 4 | {number(cost['test_fnx[10-ks]'] / ks)} |"
    )
    return "\n".join(lines) + "\n\n"


def scaling(measured: dict[str, Any]) -> str:
    """Memory, and the exponents of the costs."""
    found, linearity = measured["imagenet"], measured["linearity"]
    whole, last = (powers(linearity[part]) for part in ("slopes", "last"))
    return (
        "At imagenet's size (50,000 × 12,416, 1,000 classes; zarr in, `ks` under the real labels "
        f"and one permutation, memory maps out): {found['seconds']:.0f} s, "
        f"{found['gib']:.2f} GiB above the interpreter's own memory (to reach: below 2).\n\n"
        "Power of the number of images N and of features F that fits the cost (1: linear; below 1: "
        f"fixed costs): over all sizes {whole}; over the largest three {last}.\n\n"
        "![Seconds against the number of images and of features](linearity.svg)\n"
    )


def powers(slopes: dict[str, dict[str, float]]) -> str:
    """Exponents in words."""
    return ", ".join(
        f"`{statistic}` {axis}^{value:.2f}"
        for axis, values in slopes.items()
        for statistic, value in values.items()
    )


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(stem: Path, linearity: dict[str, Any]) -> None:
    """Costs against N and F, with the line of proportionality through the last point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    names = {
        "N": "images N (64 features, 10 classes)",
        "F": "features F (1,000 images, 10 classes)",
    }
    for axes, (axis, sizes) in zip(panels, linearity["sizes"].items(), strict=True):
        for statistic, costs in linearity["costs"][axis].items():
            (line,) = axes.loglog(sizes, costs, "o-", markersize=4, label=statistic)
            ideal = costs[-1] * np.array(sizes) / sizes[-1]
            axes.loglog(sizes, ideal, ":", color=line.get_color(), linewidth=1)
        axes.set_xlabel(names[axis])
        axes.set_ylabel("seconds")
        axes.legend(frameon=False)
        axes.grid(alpha=0.2)
    panels[0].set_title("dotted: proportional to the size", fontsize=9, loc="left")
    for ending in ("png", "svg"):
        figure.savefig(stem.with_suffix(f".{ending}"), dpi=120)

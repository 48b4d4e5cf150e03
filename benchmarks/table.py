"""Writes what the benchmarks measured as ``README.md``, and its figure ``linearity``."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("numpy", "numba", "scipy", "scikit-learn", "torch", "tsfresh", "zarr")
NEEDED = ("test_read", "test_fnx[0-ks]", "test_fnx[10-ks]", "test_fnx[0-ks_exact]")
PARTS = ("linearity", "imagenet", "ratios synthetic", "ratios real")
# Of `ks` and of `ks` and ten permutations, in reads.
MOST = {"synthetic": (10, 38), "real": (8, 33)}

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

RATIOS = """## Real activations, and how much the numbers spread

* Synthetic: every third feature of the above, {synthetic}.
* Real: {real}.

Every round does everything once, in turn, and a ratio is of one round: its median over the rounds
(least to most). *Per core* compares CPU seconds of one thread with CPU seconds of one thread; *all
cores* compares elapsed seconds of as many threads as cores. The SciPy loop here computes its
p-values in the fastest way (`method="asymp"`), that of the table above as it does by default.

"""


def write(path: Path, seconds: dict[str, tuple[Any, float]], measured: dict[str, Any]) -> None:
    """Write the page, if the run was a whole one.

    Args:
        path: of ``README.md``; the figure goes beside it.
        seconds: name of a benchmark -> (its notes: title, pairs, scale; least seconds).
        measured: ``linearity``, ``imagenet`` and ``ratios`` of both data.
    """
    if not all(name in seconds for name in NEEDED) or not set(PARTS) <= set(measured):
        return
    draw(path.with_name("linearity"), measured["linearity"])
    synthetic, real = measured["ratios synthetic"], measured["ratios real"]
    path.write_text(
        HEAD
        + machine()
        + rows(seconds)
        + RATIOS.format(synthetic=synthetic["told"], real=real["told"])
        + ratio_rows(synthetic["costs"], real["costs"])
        + targets(seconds, synthetic["costs"], real["costs"])
        + scaling(measured)
    )


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


def ratios(costs: Any, name: str, base: str, how: str) -> Any:
    """Ratio of two costs, one a round."""
    return np.array(costs[name][how]) / np.array(costs[base][how])


def spread(values: Any) -> str:
    """The median, and from where to where the others lie."""
    return f"{number(np.median(values))} ({number(np.min(values))} to {number(np.max(values))})"


def ratio_rows(synthetic: Any, real: Any) -> str:
    """The ratios to reading, on both data."""
    lines = [
        "| | data | µs/pair, one core | × reading, per core | × reading, all cores |",
        "|---|---|--:|--:|--:|",
    ]
    for name in synthetic:
        for kind, costs in (("synthetic", synthetic), ("real", real)):
            title = re.sub(r"^ks\w*", r"`\g<0>`", name)
            taken = 1e6 * np.array(costs[name]["core"])
            cells = [spread(ratios(costs, name, "reading", how)) for how in ("core", "all")]
            lines.append(f"| {title} | {kind} | {spread(taken)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def targets(seconds: dict[str, tuple[Any, float]], synthetic: Any, real: Any) -> str:
    """What fnx has to reach, and what it did."""
    cost = {name: per_pair(entry) for name, entry in seconds.items()}
    lines = ["| | data | to reach | reached |", "|---|---|--:|--:|"]
    for kind, costs in (("synthetic", synthetic), ("real", real)):
        once, with_ten = MOST[kind]
        rounds = [
            ("`ks` / reading", "≤", once, ratios(costs, "ks", "reading", "core")),
            (
                "`ks` and 10 permutations / reading",
                "≤",
                with_ten,
                ratios(costs, "ks and 10 permutations", "reading", "core"),
            ),
            (
                "SciPy loop / `ks_exact`",
                "≥",
                1_250,
                ratios(costs, "SciPy loop", "ks_exact", "core"),
            ),
        ]
        for title, sign, goal, found in rounds:
            lines.append(f"| {title}, per core | {kind} | {sign} {goal:,} | {spread(found)} |")
    if "test_scipy_loop" in cost:
        reached = cost["test_scipy_loop"] / cost["test_fnx[0-ks]"]
        lines.append(f"| SciPy loop / `ks`, all cores | synthetic | ≥ 10,000 | {number(reached)} |")
        reached = cost["test_scipy_loop"] / cost["test_fnx[0-ks_exact]"]
        title = "SciPy loop / `ks_exact`, all cores"
        lines.append(f"| {title} | synthetic | ≥ 2,500 | {number(reached)} |")
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

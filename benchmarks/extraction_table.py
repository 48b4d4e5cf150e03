"""Writes what the benchmarks of the extraction measured as ``extraction.md``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

NETWORKS = "## Other networks\n"
NEEDED = {"speed 32-true", "speed bf16-true", "peers", "memory"}
TITLES = {
    "bare, 10 views on all cores": "timm's network alone, batches of 10 views on all cores",
    "bare, 40 views on all cores": "timm's network alone, batches of 40 views on all cores",
    "bare, 5 views a core": "timm's network alone, batches of 5 views side by side on each core",
    "passes": "with taps, pooling, crops and preprocessing, pixels in memory",
    "fnx loop": "**fnx: from files to the finished store**",
    "fnx all": "**fnx**, with checking the images, reading 528 MB of weights and timing a probe",
}

HEAD = """# Extraction, measured

What it costs to get from image files to a finished store, beside the bare forward pass of the same
network. Every number was written by the run itself:

    python -m pytest benchmarks/test_extraction.py --benchmark-only -m slow

VGG16 (random weights, which cost as much as trained ones) in channels_last, ten crops of 224 px of
JPEG files of 500 × 375 px; everything by turns in one process, the median of the rounds.

"""


def write(path: Path, measured: dict[str, Any], machine: Callable[[], str]) -> None:
    """Write the parts of the page that were measured as a whole.

    Args:
        path: of ``extraction.md``; what is not measured now is kept.
        measured: what `test_extraction` left.
        machine: says where it ran.
    """
    before, _, kept = path.read_text().partition(NETWORKS)
    if set(measured) >= NEEDED:
        before = HEAD + machine() + speed(measured) + peers(measured["peers"])
        before += memory(measured["memory"]) + "\n"
    if measured.get("networks"):
        kept = "\n" + machine() + networks(measured["networks"])
    path.write_text(f"{before.rstrip()}\n\n{NETWORKS}{kept}" if kept else before)


def speed(measured: dict[str, Any]) -> str:
    """Seconds an image, and the share of the bare forward pass."""
    columns = {name: measured[f"speed {name}"] for name in ("32-true", "bf16-true")}
    lines = [
        "| | fp32, s/image | of the forward pass | bf16, s/image | of the forward pass |",
        "|---|--:|--:|--:|--:|",
    ]
    for key, title in TITLES.items():
        cells = []
        for found in columns.values():
            # Of the batches that a user would choose, the faster.
            bare = min(found[f"bare, {n} views on all cores"]["median"] for n in (10, 40))
            own = found[key]["median"]
            cells += [f"{own:.3f}", f"{100 * bare / own:.1f} %"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        "\n\nThe share is the faster bare forward pass on all cores over the row's time.\n\n"
    )


def peers(found: dict[str, float]) -> str:
    """What a user would use instead."""
    titles = {
        "fnx 32-true": "**fnx**, fp32",
        "fnx bf16-true": "**fnx**, bf16",
        "torchvision": "torchvision: `create_feature_extractor`, then `mean`",
        "thingsvision": "thingsvision (its own environment: torch 2.0), then `mean`",
    }
    lines = [
        "The same 15 layers of VGG16 from the same files, one centre crop an image:",
        "",
        "| | s/image | × fnx fp32 |",
        "|---|--:|--:|",
    ]
    for name, seconds in sorted(found.items(), key=lambda item: item[1]):
        lines.append(f"| {titles[name]} | {seconds:.3f} | {seconds / found['fnx 32-true']:.2f} |")
    return "\n".join(lines) + "\n\n"


def memory(found: dict[int, dict[str, float]]) -> str:
    """Peak memory by the number of images."""
    lines = [
        "Memory that a whole `python -m fnx` and its workers hold for themselves at most (a small "
        "network, so that what grows with the images would show):",
        "",
        "| images | GiB |",
        "|--:|--:|",
    ]
    lines += [f"| {size:,} | {row['gib']:.2f} |" for size, row in found.items()]
    return "\n".join(lines) + "\n"


def networks(found: dict[str, Any]) -> str:
    """Of small networks, what is added to the bare forward pass, and the check before it."""
    lines = [
        "Random weights, fp32, JPEG files of 500 × 375 px; the same rounds by turns:",
        "",
        "    python -m pytest benchmarks/test_extraction.py --benchmark-only -m slow -k networks",
        "",
        "| network, views | bare, all cores, ms/image | bare, side by side | files to store "
        "| of bare, all cores | of bare, side by side | with positions / values alone: "
        "processor (range) | clock | check / whole, processor |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, row in found.items():
        bare, side, loop = (row[key]["median"] for key in ("bare", "bare, each core", "fnx loop"))
        busy, clock, check = (
            [above / below for above, below in zip(row[a]["all"], row[b]["all"], strict=True)]
            for a, b in (
                ("positions processor", "values processor"),
                ("positions", "values"),
                ("fnx check, processor", "fnx all, processor"),
            )
        )
        cells = [
            *(f"{1000 * seconds:.1f}" for seconds in (bare, side, loop)),
            f"{100 * bare / loop:.1f} %",
            f"{100 * side / loop:.1f} %",
            f"{median(busy):.3f} ({min(busy):.3f} … {max(busy):.3f})",
            f"{median(clock):.3f}",
            f"{100 * median(check):.1f} %",
        ]
        lines.append(
            f"| `{case.replace(' ', '`, ')} ({row['images']} images) | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + (
        "\n\nBare: timm's network alone on tensors that are there, batches of 40 views on all "
        "cores, or of 4 (ten crops: 5) side by side on each core, as fnx cuts them. What files to "
        "store adds to the latter is the decoding and resizing of the images on the same cores, "
        "pooling with positions, and once for each run the processes that decode and the writing "
        "of a shard.\n"
    )

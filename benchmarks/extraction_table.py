"""Writes what the benchmarks of the extraction measured as ``extraction.md``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """Write the page, if the run was a whole one.

    Args:
        path: of ``extraction.md``.
        measured: what `test_extraction` left.
        machine: says where it ran.
    """
    if set(measured) >= NEEDED:
        text = HEAD + machine() + speed(measured) + peers(measured["peers"])
        path.write_text(text + memory(measured["memory"]))


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

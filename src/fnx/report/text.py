"""Numbers, names and a run in words: the same on figures, on the pages and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from fnx.analysis import Run
from fnx.analysis.record import RunRecord
from fnx.utils.text import plain as plain

_STATISTICS = {
    "ks": "signed KS distance",
    "ks_exact": "signed KS distance",
    "kl": "KL divergence",
    "bhattacharyya": "Bhattacharyya distance",
}


def number(value: float | None, digits: int = 0, *, sign: bool = False) -> str:
    """Write a number for people: thousands apart, a true minus, "–" for none, "∞" for infinity.

    >>> number(12416), number(-0.106, 3), number(0.2, 2, sign=True)
    ('12,416', '−0.106', '+0.20')
    >>> number(None), number(float("-inf"))
    ('–', '−∞')
    """
    if value is None:
        return "–"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", "−").replace("inf", "∞")


def shorten(text: str, limit: int) -> str:
    """Cut a text longer than `limit` characters in its middle, on one line that can be printed.

    >>> shorten("abcdefghij", 5)
    'ab…ij'
    """
    line = plain(text)
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[-tail:]}"


def clip(text: str, limit: int) -> str:
    """Cut a name longer than `limit` characters at its end, on one line that can be printed.

    >>> clip("pink-yellow dahlia", 12)
    'pink-yellow…'
    """
    line = plain(text)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def receptive_field(run: Run, size: int | None) -> str:
    """Say how much of the image a unit of a receptive field sees; None is of no limit.

    A field as large as the image, or larger, is the whole of it.
    """
    network = run.network if run.has("network") else pl.DataFrame({"kind": [], "height": []})
    image = network.filter(kind="input").select(pl.max_horizontal("^height|width$"))
    if size is None or (image.height and size >= (image.item(0, 0) or math.inf)):
        return "the whole image"
    return f"{number(size)} × {number(size)} pixels"


def signs(run: Run) -> tuple[str, ...]:
    """Return the signs that a run's distances have: "+", and "-" of a signed statistic."""
    return ("+", "-") if run.signed else ("+",)


def by(run: Run, sign: str) -> str:
    """Say what a sign means: "by presence", "by absence", or "by distance" without signs."""
    if not run.signed:
        return "by distance"
    return "by presence" if sign == "+" else "by absence"


def origin(record: RunRecord) -> str:
    """Say in brackets where a run's embedding came from; nothing where it extracted all of it."""
    made = record.extraction
    if record.embedding_reused:
        return " (reused)"
    if made is not None and made.copied:
        return f" ({made.copied:,} images copied, {made.images:,} extracted)"
    return ""


def statistic_name(statistic: Mapping[str, Any]) -> str:
    """Name a statistic as readers know it, with its bins.

    >>> statistic_name({"name": "ks", "bins": 100}), statistic_name({"name": "ks_exact"})
    ('signed KS distance (100 bins)', 'signed KS distance (exact)')
    """
    name, bins = str(statistic["name"]), statistic.get("bins")
    detail = f" ({bins} bins)" if bins else " (exact)" if name.startswith("ks") else ""
    return _STATISTICS.get(name, name) + detail


def distance_label(run: Run, distance: str = "raw") -> str:
    """Return the label of an axis of distances, which have no unit, or of divergences, in nats.

    `distance` is "raw" or "calibrated".
    """
    unit = "nats" if run.statistic in ("kl", "bhattacharyya") else "dimensionless"
    symbol = "calibrated D" if distance == "calibrated" else "D"
    return f"{symbol}, {statistic_name(run.record.statistic)} / {unit}"


def heading_of(heading: str, distance: str) -> str:
    """Return a figure's heading that says whether its distances, "raw" ones or not, are calibrated.

    >>> heading_of("Distribution of D per layer", "calibrated")
    'Distribution of D per layer, calibrated'
    """
    return f"{heading}, calibrated" if distance == "calibrated" else heading


def detector_rule(row: Mapping[str, Any]) -> str:
    """Write a row of `Run.detectors` as a rule.

    >>> detector_rule({"layer": "conv5_1", "unit": 135, "sign": "+", "cut": 3.2049})
    'conv5_1/135 > 3.2'
    """
    relation = ">" if row["sign"] == "+" else "≤"
    return f"{row['layer']}/{row['unit']} {relation} {row['cut']:.3g}".replace("-", "−")


def detector_quality(row: Mapping[str, Any], things: str = "images") -> str:
    """Say how well a detector does on `things` that had no part in choosing it.

    >>> detector_quality({"recall": 0.814, "false_positive_rate": 0.06})
    'finds 81 %, false alarms 6 %, on images that had no part in choosing it'
    """
    if row["recall"] is None:
        return f"not judged: too few {things} to hold some out"
    found, false = (round(100 * row[key]) for key in ("recall", "false_positive_rate"))
    return f"finds {found} %, false alarms {false} %, on {things} that had no part in choosing it"


def things(run: Run) -> str:
    """Say what a run compares: images, or the rows of an array."""
    return "rows" if run.of_array else "images"


def describe(run: Run) -> str:
    """Describe a run in one line: data set, network, statistic and sizes."""
    return (
        f"{run.dataset}, {run.model}, {statistic_name(run.record.statistic)}: "
        f"{number(run.n_images)} {things(run)}, {number(run.classes.height)} classes, "
        f"{number(run.features.height)} features"
    )

"""The answer of a run, a class, a feature or a layer, as plain text for a terminal."""

from __future__ import annotations

import math
import textwrap

import polars as pl

from fnx.analysis import Run
from fnx.analysis.profiles import ClassPortrait, FeaturePortrait, LayerPortrait
from fnx.analysis.summary import findings
from fnx.report.terminal.closing import summary
from fnx.report.terminal.text import Cell, Terminal, bar, facts, number, plain, table
from fnx.report.values import Values

ENDS = 10
"""Classes at each end of a feature's list, unless all are asked for."""

_HOW = {"+": "by presence", "-": "by absence"}
_BAR = 24  # columns


def show_run(run: Run, terminal: Terminal) -> list[str]:
    """The closing summary, and each layer's share of pairs beyond noise."""
    layers = findings(run).layers
    largest = max(layers["pct_kept"].max() or 0, 1e-9)
    room = _room(terminal, 56)
    rows: list[list[Cell]] = [
        _heads("layer", "kind", "features", "kept %", "by chance %", "┊ by chance")
    ]
    for row in layers.rows(named=True):
        share, chance = row["pct_kept"], row["pct_kept_random"]
        drawn = bar(share / largest, room, chance / largest)
        rows.append(
            [
                plain(row["layer"]),
                row["kind"],
                number(row["features"]),
                number(share, 1),
                number(chance, 1),
                (drawn, "+"),
            ]
        )
    return [
        *_folded(summary(run), terminal),
        "",
        *_head("kept pairs (feature, class) of each layer", terminal),
        *table(rows, "~<>>><", terminal),
        "",
        "more: --class NAME, --layer LAYER, --feature LAYER/UNIT",
    ]


def show_class(run: Run, portrait: ClassPortrait, terminal: Terminal) -> list[str]:
    """How many features speak about a class, which most, and of which layers."""
    failed = f", {number(portrait.n_failed)} more failed" if portrait.n_failed else ""
    known = [("images", f"{number(portrait.n_images)}{failed}")]
    known += [
        (
            "kept",
            f"{number(row['kept'])} of {number(run.features.height)} features"
            f" {_how(run, row['sign'])}, D {_beyond(row['sign'], row['threshold'])};"
            f" shuffled labels keep {number(row['kept_random'])}",
        )
        for row in portrait.kept.rows(named=True)
    ]
    limits = {row["sign"]: row["threshold"] for row in portrait.kept.rows(named=True)}
    lines = [
        *_head(f"{plain(portrait.name)} {_of(portrait.class_id, run.classes.height)}", terminal),
        f"  {_source(run)}",
        *facts(known, terminal),
    ]
    scale, room = _scale(portrait.strongest["distance"]), _room(terminal, 40)
    for (sign,), part in portrait.strongest.group_by("sign", maintain_order=True):
        rows = [
            [
                number(row["rank"]),
                plain(f"{row['layer']}/{row['unit']}"),
                *_distance(row["distance"], str(sign), scale, room, limits.get(str(sign))),
            ]
            for row in part.rows(named=True)
        ]
        lines += ["", *_head(f"strongest {_how(run, str(sign))}", terminal)]
        lines += table(rows, ">~><", terminal)
    signs = _signs(run)
    layers: list[list[Cell]] = [_heads("layer", "features", *(_how(run, sign) for sign in signs))]
    layers += [
        [
            plain(row["layer"]),
            number(row["features"]),
            *(number(row["kept_plus" if sign == "+" else "kept_minus"]) for sign in signs),
        ]
        for row in portrait.layers.rows(named=True)
    ]
    return [
        *lines,
        "",
        *_head("kept of each layer", terminal),
        *table(layers, "~>>>"[: 2 + len(signs)], terminal),
    ]


def show_feature(
    run: Run,
    portrait: FeaturePortrait,
    terminal: Terminal,
    *,
    values: Values | str,
    every_class: bool = False,
) -> list[str]:
    """D of a feature for each class, what activates it most, and its two distributions.

    Args:
        run: the run.
        portrait: the feature.
        terminal: where it will stand.
        values: the distributions, or why there are none.
        every_class: list all classes, not only those at the two ends.
    """
    name = plain(f"{portrait.layer}/{portrait.unit}")
    spoken = portrait.spoken
    ways = ", ".join(
        f"{number(count)} {_how(run, sign)}"
        for sign, count in spoken.items()
        if sign in _signs(run)
    )
    known = [
        ("speaks about", f"{ways}, of {number(portrait.classes.height)} classes"),
        ("thresholds", _thresholds(portrait.classes)),
    ]
    if portrait.random_low is not None:
        low, high = (number(v, 3, sign=True) for v in (portrait.random_low, portrait.random_high))
        known.append(("shuffled", f"D from {low} to {high}"))
    if portrait.constant:
        known.append(("constant", "has one value on all images: it says nothing"))
    lines = [
        *_head(f"{name} {_of(portrait.feature_id, run.features.height, portrait.kind)}", terminal),
        f"  {_source(run)}",
        *facts(known, terminal),
        "",
        *_head("D for each class, ┊ at the threshold", terminal),
        *_class_rows(portrait.classes, terminal, every_class=every_class),
    ]
    if portrait.images is not None:
        rows: list[list[Cell]] = [
            [
                number(row["rank"]),
                number(row["activation"], 3),
                plain(row["class_name"] or "–"),
                plain(row["path"] or "–"),
            ]
            for row in portrait.images.rows(named=True)
        ]
        lines += ["", *_head("what activates it most", terminal)]
        lines += table(rows, ">><~", terminal) or ["  nothing"]
    return [*lines, "", *_histograms(values, terminal)]


def show_layer(run: Run, portrait: LayerPortrait, terminal: Terminal) -> list[str]:
    """A layer's shares, the distribution of its D, and its strongest pairs."""
    constant = f", {number(portrait.constant)} constant" if portrait.constant else ""
    known = [("features", f"{number(portrait.features)}{constant}")]
    stage = portrait.stage or {}
    if stage.get("height"):
        known.append(("map", f"{stage['height']} × {stage['width']}"))
    if stage.get("receptive_field"):
        known.append(("sees", f"{number(stage['receptive_field'])} px of the input a side"))
    for row in portrait.shares.rows(named=True):
        how = _how(run, row["sign"])
        known.append(
            (
                f"kept {how}",
                f"{number(row['pct_kept'], 2)} % of its pairs;"
                f" shuffled labels keep {number(row['pct_kept_random'], 2)} %",
            )
        )
        mode, low, high = (number(row[key], 3, sign=True) for key in ("mode", "low", "high"))
        known.append(("", f"mode of D {mode}, bars from {low} to {high}"))
    layers = run.features["layer"].n_unique()
    lines = [
        *_head(
            f"{plain(portrait.layer)} ({portrait.kind}, layer {portrait.number} of {layers})",
            terminal,
        ),
        f"  {_source(run)}",
        *facts(known, terminal),
        "",
        *_head("distribution of D, ┊ under shuffled labels", terminal),
        *_distribution(portrait, terminal),
    ]
    scale, room = _scale(portrait.pairs["distance"]), _room(terminal, 50)
    for (sign,), part in portrait.pairs.group_by("sign", maintain_order=True):
        rows = [
            [
                number(row["rank"]),
                plain(row["class_name"]),
                plain(f"{portrait.layer}/{row['unit']}"),
                *_distance(row["distance"], str(sign), scale, room),
            ]
            for row in part.rows(named=True)
        ]
        lines += ["", *_head(f"strongest pairs {_how(run, str(sign))}", terminal)]
        lines += table(rows, ">~<><", terminal)
    return lines


def _folded(text: str, terminal: Terminal) -> list[str]:
    """Lines of a text in two columns, folded in the second."""
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, terminal.width, subsequent_indent=" " * 12)
    ]


def _room(terminal: Terminal, taken: int, bars: int = 1) -> int:
    """Columns of a bar beside `taken` columns of text."""
    return max(6, min(_BAR, (terminal.width - taken) // bars))


def _head(text: str, terminal: Terminal) -> list[str]:
    return [terminal.painted(text, "head")]


def _heads(*names: str) -> list[Cell]:
    return [(name, "dim") for name in names]


def _of(place: int, count: int, kind: str = "class") -> str:
    return f"({kind}, {number(place)} of 0–{number(count - 1)})"


def _source(run: Run) -> str:
    return plain(f"{run.dataset}, {run.model}, {run.statistic}")


def _signs(run: Run) -> tuple[str, ...]:
    return ("+", "-") if run.signed else ("+",)


def _how(run: Run, sign: str) -> str:
    return _HOW[sign] if run.signed else "by distance"


def _beyond(sign: str, threshold: float) -> str:
    return f"{'>' if sign == '+' else '<'} {number(threshold, 3, sign=True)}"


def _scale(distances: pl.Series) -> float:
    """What a whole bar stands for: 1, or the largest finite distance beyond it."""
    finite = distances.abs().filter(distances.is_finite())
    largest = finite.max()
    return max(1.0, float(largest)) if isinstance(largest, float) else 1.0


def _distance(
    value: float, role: str, scale: float, room: int, limit: float | None = None
) -> list[Cell]:
    mark = None if limit is None or not math.isfinite(limit) else abs(limit) / scale
    return [(number(value, 3, sign=True), role), (bar(abs(value) / scale, room, mark), role)]


def _thresholds(classes: pl.DataFrame) -> str:
    """The thresholds, or their range where each class has its own."""
    told = []
    for mark, name in (("t+", "t_plus"), ("t−", "t_minus")):
        values = classes[name].drop_nulls()
        if values.is_empty():
            continue
        low, high = (number(v, 3, sign=True) for v in (values.min(), values.max()))  # type: ignore[arg-type]
        told.append(f"{mark} {low}" if low == high else f"{mark} {low} to {high} by class")
    return ", ".join(told)


def _class_rows(classes: pl.DataFrame, terminal: Terminal, *, every_class: bool) -> list[str]:
    scale, room = _scale(classes["distance"]), _room(terminal, 40)
    rows: list[list[Cell]] = []
    left_out = 0 if every_class else max(0, classes.height - 2 * ENDS)
    for place, row in enumerate(classes.rows(named=True)):
        if left_out and ENDS <= place < ENDS + left_out:
            if place == ENDS:
                rows.append([(f"… {number(left_out)} more: --all", "dim")])
            continue
        limit = row["t_plus"] if row["distance"] >= 0 else row["t_minus"]
        role = row["sign"] or "dim"
        rows.append(
            [
                plain(row["class_name"]),
                *_distance(row["distance"], role, scale, room, limit),
                (row["sign"] or "", role),
            ]
        )
    return table(rows, "~><<", terminal)


def _histograms(values: Values | str, terminal: Terminal) -> list[str]:
    if isinstance(values, str):
        return [f"its values are not shown: {values}"]
    largest = max(values.inner.max(), values.outer.max(), 1e-9)
    name, room = plain(values.class_name), _room(terminal, 48, 2)
    rows: list[list[Cell]] = [
        _heads(
            "value from",
            "to",
            "inside %",
            "",
            "outside %",
            "",
        )
    ]
    digits = _digits(float(values.edges[1] - values.edges[0]))
    for i, (inner, outer) in enumerate(zip(values.inner, values.outer, strict=True)):
        rows.append(
            [
                number(float(values.edges[i]), digits),
                number(float(values.edges[i + 1]), digits),
                number(float(inner), 1),
                (bar(float(inner / largest), room), "+"),
                number(float(outer), 1),
                (bar(float(outer / largest), room), "dim"),
            ]
        )
    inside, outside = number(values.n_inner), number(values.n_outer)
    title = f"its values: inside {name} ({inside} images), and outside ({outside})"
    return [*_head(title, terminal), *table(rows, ">>><><", terminal)]


def _digits(step: float) -> int:
    """Decimals that tell two edges apart."""
    return max(0, min(6, 1 - math.floor(math.log10(step)))) if step > 0 else 0


def _distribution(portrait: LayerPortrait, terminal: Terminal) -> list[str]:
    """One line a bin, without the empty bins at both ends."""
    largest = max(portrait.real.max(), portrait.random.max(), 1e-9)
    filled = [
        i for i, pair in enumerate(zip(portrait.real, portrait.random, strict=True)) if any(pair)
    ]
    if not filled:
        return ["  no finite distance"]
    room = 2 * _room(terminal, 42, 2)
    rows: list[list[Cell]] = [_heads("D from", "to", "real %", "shuffled %", "")]
    digits = _digits(float(portrait.edges[1] - portrait.edges[0]))
    for i in range(filled[0], filled[-1] + 1):
        low, high = float(portrait.edges[i]), float(portrait.edges[i + 1])
        real, random = float(portrait.real[i]), float(portrait.random[i])
        rows.append(
            [
                number(low, digits, sign=True),
                number(high, digits, sign=True),
                number(real, 1),
                number(random, 1),
                (bar(real / largest, room, random / largest), "+" if low >= 0 else "-"),
            ]
        )
    return table(rows, ">>>><", terminal)

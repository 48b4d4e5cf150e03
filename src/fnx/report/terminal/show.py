"""The answer of a run, a class, a feature or a layer, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl
from rich.console import RenderableType

from fnx.analysis import Run
from fnx.analysis.profiles import ClassProfile, FeatureProfile, LayerProfile
from fnx.analysis.summary import summarize
from fnx.report import contents
from fnx.report.terminal.closing import closing_facts
from fnx.report.terminal.parts import (
    distance_cells,
    opening,
    place_of,
    scale_of,
    section,
    signed,
    source,
)
from fnx.report.terminal.terminal import Bar, Cell, facts, table, text
from fnx.report.text import (
    by,
    detector_quality,
    detector_rule,
    number,
    receptive_field,
    signs,
    things,
)
from fnx.report.values import Values

ENDS = 10  # classes at each end of a feature's list, unless all are asked for


def show_run(run: Run) -> Iterator[RenderableType]:
    """Show the closing summary, and each layer's share of pairs beyond noise."""
    layers = summarize(run).layers
    largest = max(layers["pct_kept"].max() or 0, 1e-9)
    yield text(source(run))
    yield facts([*closing_facts(run), *contents.facts(run)])
    yield from section("(feature, class) pairs kept per layer, ┊ under random labels")
    yield table(
        (
            [
                row["layer"],
                row["kind"],
                number(row["features"]),
                number(row["pct_kept"], 1),
                number(row["pct_kept_random"], 1),
                Bar(row["pct_kept"] / largest, "+", row["pct_kept_random"] / largest),
            ]
            for row in layers.rows(named=True)
        ),
        "~<>>>=",
        ("layer", "kind", "features", "kept %", "random %", ""),
    )
    yield ""
    yield "more: --class NAME, --layer LAYER, --feature LAYER/UNIT"


def show_detectors(run: Run) -> Iterator[RenderableType]:
    """Show for each class the unit that detects it best alone, the best class first."""
    yield text(source(run))
    judged = f"on {things(run)} that had no part in choosing them"
    yield from section(f"units that detect a class, {judged}")
    ordered = run.detectors.sort("j_heldout", descending=True, nulls_last=True, maintain_order=True)
    yield table(
        (
            [
                row["class_name"],
                detector_rule(row),
                number(_percent(row["recall"])),
                number(_percent(row["false_positive_rate"])),
                number(row["j_heldout"], 2),
                number(row["D"], 2, sign=True),
                number(_percent(row["folds_agreeing"])),
            ]
            for row in ordered.rows(named=True)
        ),
        "~~>>>>>",
        ("class", "rule", "finds %", "false %", "J", "D", "agree %"),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def show_class(run: Run, profile: ClassProfile) -> Iterator[RenderableType]:
    """Show how many features a class keeps, which are farthest out, and of which layers."""
    failed = f", {number(profile.n_failed)} more failed" if profile.n_failed else ""
    known = [(things(run), f"{number(profile.n_images)}{failed}")]
    for row in profile.kept.rows(named=True):
        relation = ">" if row["sign"] == "+" else "<"
        kept = (
            f"{number(row['kept'])} of {number(run.features.height)} features"
            f" {by(run, row['sign'])}, D {relation} {signed(row['threshold'], run.neutral)};"
            f" random labels keep {number(row['kept_random'])}"
        )
        known.append(("kept", kept))
    if run.has("detectors"):
        row = run.detectors.filter(class_id=profile.class_id, rank=1).row(0, named=True)
        known.append(("detector", f"{detector_rule(row)}: {detector_quality(row, things(run))}"))
    yield from opening(
        run, f"{profile.name} {place_of(profile.class_id, run.classes.height)}", known
    )
    scale = scale_of(profile.strongest["distance"], run.neutral)
    limits = dict(profile.kept.select("sign", "threshold").iter_rows())
    for (sign,), part in profile.strongest.group_by("sign", maintain_order=True):
        yield from section(f"top features {by(run, str(sign))}")
        yield table(
            (
                [
                    number(row["rank"]),
                    run.feature_labels[row["feature_id"]],
                    *distance_cells(
                        row["distance"],
                        row["sign"],
                        scale,
                        limits.get(row["sign"]),
                        neutral=run.neutral,
                        calibrated=row["calibrated_distance"],
                    ),
                ]
                for row in part.rows(named=True)
            ),
            *_columns(run, ">~>=", ("", "feature", "D", "")),
        )
    columns = ["kept_plus" if sign == "+" else "kept_minus" for sign in signs(run)]
    yield from section("features kept per layer")
    yield table(
        (
            [row["layer"], number(row["features"]), *(number(row[name]) for name in columns)]
            for row in profile.layers.rows(named=True)
        ),
        "~>" + ">" * len(columns),
        ("layer", "features", *(by(run, sign) for sign in signs(run))),
    )


def show_feature(
    run: Run, profile: FeatureProfile, values: Values | str, *, every_class: bool = False
) -> Iterator[RenderableType]:
    """Show D of a feature for each class, its top-activating images, and its two distributions.

    `values` are the distributions, or why there are none; without `every_class` only the classes
    at the two ends are listed.
    """
    counts = ", ".join(f"{number(profile.spoken[sign])} {by(run, sign)}" for sign in signs(run))
    known = [
        ("kept for", f"{counts}, of {number(profile.classes.height)} classes"),
        ("thresholds", _thresholds(profile.classes, run.neutral)),
    ]
    low, high = (signed(v, run.neutral) for v in (profile.random_low, profile.random_high))
    known.append(("random labels", f"D from {low} to {high}"))
    if profile.constant:
        known.append(("constant", "the same value for every image: it tells nothing"))
    place = place_of(profile.feature_id, run.features.height, profile.kind)
    yield from opening(run, f"{run.feature_labels[profile.feature_id]} {place}", known)
    yield from section("D for each class, ┊ at the threshold")
    yield table(
        _class_rows(profile.classes, run.neutral, every_class=every_class),
        *_columns(run, "~><=", ("class", "D", "", "")),
    )
    if profile.images is not None:
        yield from section("top rows" if run.of_array else "top-activating images")
        columns = profile.images.select("rank", "activation", "class_name", "path").rows()
        rows = [
            [number(rank), number(activation, 3), name or "–", path or "–"]
            for rank, activation, name, path in columns
        ]
        yield table(rows, ">><~") if rows else "  none"
    yield from _histograms(values)


def show_layer(run: Run, profile: LayerProfile) -> Iterator[RenderableType]:
    """Show a layer's shares, the distribution of its D, and its top pairs."""
    constant = f", {number(profile.constant)} constant" if profile.constant else ""
    known = [("features", f"{number(profile.features)}{constant}")]
    stage = profile.stage or {}
    if stage.get("height"):
        known.append(("map", f"{stage['height']} × {stage['width']}"))
    if stage:
        known.append(("receptive field", receptive_field(run, stage["receptive_field"])))
    for row in profile.shares.rows(named=True):
        mode, low, high = (signed(row[key], run.neutral) for key in ("mode", "low", "high"))
        known += [
            (
                f"kept {by(run, row['sign'])}",
                f"{number(row['pct_kept'], 2)} % of its pairs;"
                f" random labels keep {number(row['pct_kept_random'], 2)} %",
            ),
            ("", f"mode of D {mode}, bars from {low} to {high}"),
        ]
        if row.get("calibrated_mode") is not None:
            mode, low, high, mean = (
                signed(row[f"calibrated_{key}"], run.neutral)
                for key in ("mode", "low", "high", "mean")
            )
            told = f"mode of calibrated D {mode}, bars from {low} to {high}; mean {mean}"
            known.append(("", told))
    layers = run.features["layer"].n_unique()
    place = f"({profile.kind}, layer {profile.number} of {layers})"
    yield from opening(run, f"{profile.layer} {place}", known)
    yield from section("distribution of D, ┊ under random labels")
    yield _distribution(profile, run.neutral)
    scale = scale_of(profile.pairs["distance"], run.neutral)
    for (sign,), part in profile.pairs.group_by("sign", maintain_order=True):
        yield from section(f"top pairs {by(run, str(sign))}")
        yield table(
            (
                [
                    number(row["rank"]),
                    row["class_name"],
                    f"{profile.layer}/{row['unit']}",
                    *distance_cells(
                        row["distance"],
                        row["sign"],
                        scale,
                        neutral=run.neutral,
                        calibrated=row["calibrated_distance"],
                    ),
                ]
                for row in part.rows(named=True)
            ),
            *_columns(run, ">~~>=", ("", "class", "feature", "D", "")),
        )


def _columns(run: Run, aligned: str, heads: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return how columns are aligned and headed, with one for calibrated distances behind D.

    A run without them needs no headings.
    """
    if run.calibrated is None:
        return aligned, ()
    at = heads.index("D") + 1
    return f"{aligned[:at]}>{aligned[at:]}", (*heads[:at], "calibrated", *heads[at:])


def _thresholds(classes: pl.DataFrame, neutral: float) -> str:
    """Name the thresholds, or their range where each class has its own."""
    told = []
    for mark, name in (("t+", "t_plus"), ("t−", "t_minus")):
        values = classes[name].drop_nulls()
        if values.is_empty():
            continue
        low, high = (signed(v, neutral) for v in (values.min(), values.max()))  # type: ignore[arg-type]
        told.append(f"{mark} {low}" if low == high else f"{mark} {low} to {high} by class")
    return ", ".join(told)


def _class_rows(
    classes: pl.DataFrame, neutral: float, *, every_class: bool
) -> Iterator[list[Cell]]:
    scale = scale_of(classes["distance"], neutral)
    left_out = 0 if every_class else max(0, classes.height - 2 * ENDS)
    for place, row in enumerate(classes.rows(named=True)):
        if place == ENDS and left_out:
            yield [(f"… {number(left_out)} more: --all", "dim")]
        if ENDS <= place < ENDS + left_out:
            continue
        limit = row["t_plus"] if row["distance"] >= neutral else row["t_minus"]
        role = row["sign"] or "dim"
        *distances, drawn = distance_cells(
            row["distance"],
            role,
            scale,
            limit,
            neutral=neutral,
            calibrated=row["calibrated_distance"],
        )
        yield [row["class_name"], *distances, (row["sign"] or "", role), drawn]


def _histograms(values: Values | str) -> Iterator[RenderableType]:
    if isinstance(values, str):
        yield ""
        yield f"its values are not shown: {values}"
        return
    largest = max(values.inner.max(), values.outer.max(), 1e-9)
    digits = _digits(float(values.edges[1] - values.edges[0]))
    inside, outside = number(values.n_inner), number(values.n_outer)
    yield from section(
        f"its values: inside {values.class_name} ({inside} images), and outside ({outside})"
    )
    yield table(
        (
            [
                number(low, digits),
                number(high, digits),
                number(inner, 1),
                number(outer, 1),
                Bar(inner / largest, "+", widest=48),
                Bar(outer / largest, "dim", widest=48),
            ]
            for low, high, inner, outer in zip(
                values.edges[:-1], values.edges[1:], values.inner, values.outer, strict=True
            )
        ),
        ">>>>==",
        ("value from", "to", "inside %", "outside %", "inside", "outside"),
    )


def _digits(step: float) -> int:
    """Return the decimals that tell two edges apart."""
    return max(0, min(6, 1 - math.floor(math.log10(step)))) if step > 0 else 0


def _distribution(profile: LayerProfile, neutral: float) -> RenderableType:
    """Set out one line per bin, without the empty bins at both ends."""
    edges, real, random = (a.tolist() for a in (profile.edges, profile.real, profile.random))
    filled = [i for i in range(len(real)) if real[i] or random[i]]
    if not filled:
        return "  no finite distance"
    largest = max(*real, *random)
    digits = _digits(edges[1] - edges[0])
    return table(
        (
            [
                number(edges[i], digits, sign=neutral == 0),
                number(edges[i + 1], digits, sign=neutral == 0),
                number(real[i], 1),
                number(random[i], 1),
                Bar(real[i] / largest, side, random[i] / largest, 48),
            ]
            for i in range(filled[0], filled[-1] + 1)
            for side in ("+" if edges[i] >= neutral else "-",)
        ),
        ">>>>=",
        ("D from", "to", "real %", "random %", ""),
    )

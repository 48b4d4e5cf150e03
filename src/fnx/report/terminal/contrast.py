"""A class against another, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from fnx.analysis import Run
from fnx.analysis.contrast import Contrast
from fnx.report.terminal.parts import opening, section, signed
from fnx.report.terminal.terminal import Cell, table
from fnx.report.text import clip, number, things

NAME = 24  # characters of a class's name in a heading


def show_contrast(run: Run, found: Contrast) -> Iterator[RenderableType]:
    """Show which features tell a class from another, and how far apart they lie in the two."""
    both = f"; {number(found.n_both)} of both, left out" if found.n_both else ""
    known = [
        (
            things(run),
            f"{number(found.n_images)} of {found.name}, {number(found.n_against)} of"
            f" {found.against}{both}",
        ),
        *_counts(run, found),
    ]
    yield from opening(run, f"{found.name} against {found.against}", known)
    first, second = clip(found.name, NAME), clip(found.against, NAME)
    for (sign,), part in found.features.group_by("sign", maintain_order=True):
        higher = (first, second) if sign == "+" else (second, first)
        if not run.signed and found.measured:
            heading = f"features that tell {first} from {second}"
        else:
            heading = f"features higher in {higher[0]} than in {higher[1]}"
        yield from section(heading)
        if found.measured:
            yield table(
                (_measured(run, row) for row in part.rows(named=True)),
                ">~>>>>>>",
                ("", "feature", "D", "above", "% here", "% there", "D here", "D there"),
            )
        else:
            yield table(
                (_known(run, row) for row in part.rows(named=True)),
                ">~>>~",
                ("", "feature", "D here", "D there", "top-activating image"),
            )
    yield ""
    if found.measured:
        yield (
            f"here: {first}, there: {second}; D: between the two; %: of their {things(run)} above"
        )
        yield "the value that parts them best; D here, D there: of each against all others"
    else:
        yield f"here: {first}, there: {second}; D here, D there: of each against all others"


def _counts(run: Run, found: Contrast) -> Iterator[tuple[str, str]]:
    if run.signed:
        yield (
            "present, absent",
            f"{number(found.present_absent)} features are present in {found.name} and absent in"
            f" {found.against}, {number(found.absent_present)} the other way round (each against"
            " all other classes, by the run's thresholds)",
        )
    if found.note is not None:
        yield "D of the two", f"not measured: {found.note}"
    for row in found.kept.rows(named=True):
        relation = ">" if row["sign"] == "+" else "<"
        where = found.name if row["sign"] == "+" else found.against
        higher = f" are higher in {where}" if run.signed else " differ"
        yield (
            "D of the two" if row["sign"] == "+" else "",
            f"{number(row['kept'])} of {number(run.features.height)} features{higher},"
            f" D {relation} {signed(row['threshold'], run.neutral)}; random labels of the two keep"
            f" {number(row['kept_random'])}",
        )


def _measured(run: Run, row: dict[str, Any]) -> list[Cell]:
    here, there = (number(100 * row[name]) for name in ("share", "share_against"))
    return [
        number(row["rank"]),
        run.feature_labels[row["feature_id"]],
        (signed(row["distance"], run.neutral), row["sign"]),
        f"{row['cut']:.3g}".replace("-", "−"),
        here,
        there,
        *_of_run(run, row),
    ]


def _known(run: Run, row: dict[str, Any]) -> list[Cell]:
    label = run.feature_labels[row["feature_id"]]
    return [number(row["rank"]), label, *_of_run(run, row), row["top_image"] or "–"]


def _of_run(run: Run, row: dict[str, Any]) -> list[Cell]:
    """Return the D of both classes against all others, coloured where the run keeps it."""
    return [
        (signed(row[f"distance_of_{which}"], run.neutral), row[f"sign_of_{which}"] or "dim")
        for which in ("class", "against")
    ]

"""A comparison of runs for the terminal: Table 3, fits and agreement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.console import RenderableType

from fnx.report.comparison.answers import numbered, on_networks
from fnx.report.comparison.gather import Comparison
from fnx.report.terminal.terminal import table, text
from fnx.report.text import number

MAX_UNITS = 5  # matched units that are listed; all are in matched_units.csv
MAX_PAIRS = 20  # pairs of runs that are listed; the rest are in agreement_pairs.csv

_CURVES = {"log": "a + b ln(n)", "inverse_sqrt": "a + b / sqrt(n)"}


def summary(compared: Comparison, folder: Path) -> Iterator[RenderableType]:
    """Show Table 3, fits and agreement; runs are numbered, and named in the first table.

    `folder` is where the comparison was written.
    """
    digits = {"images_per_class": 1, "t_plus": 3, "davg_plus": 0, "t_minus": 3, "davg_minus": 0}
    yield table(
        (
            [
                str(place),
                *(row[name] for name in ("label", "model", "statistic")),
                *(number(row[name], places) for name, places in digits.items()),
            ]
            for place, row in enumerate(compared.table3.rows(named=True), 1)
        ),
        ">///>>>>>",
        ("", "run", "model", "statistic", "images\n/class", "t+", "d_avg", "t-", "d_avg"),
    )
    yield from _probes(compared)
    yield ""
    yield from _fits(compared.fits)
    if compared.pairs.height:
        yield ""
        yield from _pairs(compared)
    if compared.networks.pairs.height:
        yield ""
        yield from _networks(compared)
    keys = compared.differences["key"].to_list()
    if len(compared.runs) > 1:
        listed = ", ".join(keys[:8]) + (f", and {len(keys) - 8} more" if len(keys) > 8 else "")
        yield ""
        yield f"settings that differ: {listed or 'none'}"
    yield f"written to {folder}"
    yield text(f"open {folder / 'compare.html'}", fold=True)


def _fits(fits: pl.DataFrame) -> Iterator[str]:
    if fits.is_empty():
        yield (
            "no fit of t+ and t-: needs 3 runs of one model and statistic whose numbers of images"
            " per class differ"
        )
    for fit in fits.rows(named=True):
        yield (
            f"t{fit['sign']} = {_CURVES[fit['curve']]}, n images per class ({fit['model']},"
            f" {fit['statistic']}, {fit['points']} runs): a = {number(fit['intercept'], 4)},"
            f" b = {number(fit['slope'], 4)}, R2 = {number(fit['r_squared'], 3)}"
        )


def _probes(compared: Comparison) -> Iterator[RenderableType]:
    """Show the layer to use of each run that has advice, and which network is best."""
    advised = compared.probes.drop_nulls("accuracy")
    if advised.is_empty():
        return
    place = {label: str(i) for i, label in enumerate(compared.labels, 1)}
    yield ""
    yield "accuracy of the layer to use, by a cross-validated probe"
    yield table(
        (
            [
                place[row["run"]],
                row["entry"] if row["recommended"] else f"{row['entry']} (not better than chance)",
                number(row["features"]),
                f"{number(100 * row['accuracy'], 1)} ± {number(100 * row['standard_error'], 1)}",
                number(100 * row["chance"], 1),
                "–" if row["untrained"] is None else number(100 * row["untrained"], 1),
            ]
            for row in advised.rows(named=True)
        ),
        "<~>>>>",
        ("", "layer", "features", "accuracy %", "chance", "untrained"),
    )
    yield from (text(sentence, fold=True) for sentence in on_networks(compared.probes))
    for row in compared.probes.filter(pl.col("accuracy").is_null()).rows(named=True):
        yield text(f"[{place[row['run']]}] {row['note']}", fold=True)


def _percent(change: float | None) -> str:
    return "–" if change is None else f"{number(change, 1, sign=True)} %"


def _pairs(compared: Comparison) -> Iterator[RenderableType]:
    """Show the agreement of pairs of runs, and the notes on them under the table."""
    place = {label: str(i) for i, label in enumerate(compared.labels, 1)}
    shown = compared.pairs.head(MAX_PAIRS).rows(named=True)
    notes = numbered(pair["note"] for pair in shown if pair["note"])
    yield table(
        (
            [
                f"{place[pair['run_a']]} : {place[pair['run_b']]}",
                f"{pair['by']}, calibrated" if pair["distance"] == "calibrated" else pair["by"],
                number(pair["layers"]),
                number(pair["spearman"], 3),
                pair["lowest_layer"] or "–",
                "–" if pair["jaccard"] is None else f"{number(100 * pair['jaccard'])} %",
                number(pair["wasserstein"], 3),
                _percent(pair["mean_change"]),
                number(pair["t_plus_shift"], 3, sign=True),
                number(pair["t_minus_shift"], 3, sign=True),
                f"[{notes[pair['note']]}]" if pair["note"] else "",
            ]
            for pair in shown
        ),
        "<<>>~>>>>>>",
        (
            "runs", "by", "layers", "rank\ncorr.", "lowest in", "kept\nby both", "Wasser-\nstein",
            "mean\n|D|", "t+ shift", "t- shift", "note",
        ),
    )  # fmt: skip
    if compared.pairs.height > MAX_PAIRS:
        yield f"and {number(compared.pairs.height - MAX_PAIRS)} more, in agreement_pairs.csv"
    yield from (f"[{place}] {note}" for note, place in notes.items())


def _networks(compared: Comparison) -> Iterator[RenderableType]:
    """Show the pairs of networks on the same images, and the best matched units of the first."""
    place = {label: str(i) for i, label in enumerate(compared.labels, 1)}
    shown = compared.networks.pairs.head(MAX_PAIRS)
    notes = numbered(note for note in shown["note"] if note)
    yield "networks on the same images: CKA of layers, correlation of D of units"
    yield table(
        (
            [
                f"{place[pair['run_a']]} : {place[pair['run_b']]}",
                number(pair["images"]),
                number(pair["cka"], 3),
                "–" if pair["cka"] is None else f"{pair['layer_a']} : {pair['layer_b']}",
                number(pair["cka_last"], 3),
                number(pair["correlation"], 3),
                "–" if not pair["units"] else f"{number(pair['pct_beyond_chance'])} %",
                f"[{notes[pair['note']]}]" if pair["note"] else "",
            ]
            for pair in shown.rows(named=True)
        ),
        "<>>~>>>>",
        (
            "runs", "images", "highest\nCKA", "of layers", "of the\nlast", "corr. of\nunits",
            "beyond\nchance", "note",
        ),
    )  # fmt: skip
    if compared.networks.pairs.height > MAX_PAIRS:
        yield f"and {number(compared.networks.pairs.height - MAX_PAIRS)} more, in networks.csv"
    yield from (f"[{place}] {note}" for note, place in notes.items())
    best = compared.networks.units.filter("kept", "mutual").head(MAX_UNITS)
    if best.height:
        yield "units that agree most"
        yield table(
            (
                [
                    place[row["run_a"]],
                    f"{row['layer_a']}/{row['unit_a']}",
                    place[row["run_b"]],
                    f"{row['layer_b']}/{row['unit_b']}",
                    number(row["correlation"], 3),
                    row["class_name"],
                    number(row["distance_a"], 3, sign=True),
                    number(row["distance_b"], 3, sign=True),
                ]
                for row in best.rows(named=True)
            ),
            "<~<~>~>>",
            ("", "unit", "", "partner", "corr.", "class", "D", "D of it"),
        )

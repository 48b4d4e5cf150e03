"""What a comparison of runs says, in words: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fnx.analysis.comparison.fits import CURVES
from fnx.report.comparison.write import Comparison

_CURVES = {"log": "a + b ln(n)", "inverse_sqrt": "a + b / sqrt(n)"}
_MOST_ROWS = 20


def answers(compared: Comparison) -> list[str]:
    """The answer first: a few sentences, the most important ones of the comparison."""
    said = [*_on_thresholds(compared.table3), *_on_fits(compared.fits)]
    unit = compared.pairs.filter(pl.col("by") == "unit").drop_nulls("spearman")
    if unit.height:
        ordered = unit.sort("spearman", descending=True, maintain_order=True)
        best = ordered.row(0, named=True)
        said.append(f"{'Closest: ' if unit.height > 1 else ''}{_agreement_of(best)}")
        if unit.height > 1:
            said.append(f"Farthest: {_agreement_of(ordered.row(-1, named=True))}")
    said += [
        _sources(compared.layers, pair)
        for pair in compared.pairs.filter(by="distribution").head(3).rows(named=True)
    ]
    if compared.pairs.is_empty() and len(compared.runs) > 1:
        said.append(
            "No two of these runs are of the same data set, so no agreement is measured by layer."
        )
    return said


def _on_thresholds(table: pl.DataFrame) -> list[str]:
    said = []
    for (statistic,), group in table.group_by("statistic", maintain_order=True):
        known = group.filter(pl.col("t_plus").is_finite()).sort("t_plus", maintain_order=True)
        if known.height < 2:
            continue
        least, most = known.row(0, named=True), known.row(-1, named=True)
        if least["t_plus"] == most["t_plus"]:
            said.append(f"t+ ({statistic}) is {least['t_plus']:.3f} in all {known.height} runs.")
            continue
        said.append(
            f"t+ ({statistic}) lies between {least['t_plus']:.3f} ({least['label']},"
            f" {least['images_per_class']:,.0f} images a class) and {most['t_plus']:.3f}"
            f" ({most['label']}, {most['images_per_class']:,.0f})."
        )
    return said


def _on_fits(fits: pl.DataFrame) -> list[str]:
    said = []
    for (model, statistic), group in fits.group_by(["model", "statistic"], maintain_order=True):
        best = group.filter(sign="+").sort("r_squared", nulls_last=True, descending=True)
        if best.height:
            row = best.row(0, named=True)
            said.append(
                f"Over {row['points']} runs of {model} ({statistic}) {CURVES[row['curve']][0]}"
                f" explains {100 * row['r_squared']:.0f} % of the variance of t+ by n, the mean"
                " number of images a class."
            )
    return said


def _agreement_of(pair: dict[str, Any]) -> str:
    text = (
        f"{pair['run_a']} and {pair['run_b']} rank the features with a correlation of"
        f" {pair['spearman']:.3f} (median of {pair['layers']} layers; least in"
        f" {pair['lowest_layer']}, {pair['spearman_lowest']:.3f})"
    )
    if pair["jaccard"] is not None:
        text += f"; of what either keeps, both keep {100 * pair['jaccard']:.0f} %"
    return text + "."


def _sources(layers: pl.DataFrame, pair: dict[str, Any]) -> str:
    rows = layers.filter(
        pl.col("run_a") == pair["run_a"], pl.col("run_b") == pair["run_b"]
    ).with_columns(more=pl.col("pct_kept_b") - pl.col("pct_kept_a"))
    more = rows.filter(pl.col("more") > 0).height
    widest = rows.sort(pl.col("more").abs(), descending=True, maintain_order=True).row(
        0, named=True
    )
    return (
        f"{pair['run_a']} and {pair['run_b']} are networks with different weights: the second keeps"
        f" more in {more} of {rows.height} layers; the widest difference is in {widest['layer']}"
        f" ({widest['pct_kept_a']:.1f} % and {widest['pct_kept_b']:.1f} % of the pairs kept)."
    )


def summary(compared: Comparison, folder: Path) -> str:
    """Table 3, fits and agreement in aligned plain text."""
    lines = [*_table3(compared.table3), "", *_fits(compared.fits)]
    if compared.pairs.height:
        lines += ["", *_pairs(compared.pairs)]
    keys = compared.differences["key"].to_list()
    if len(compared.runs) > 1:
        listed = ", ".join(keys[:8]) + (f", and {len(keys) - 8} more" if len(keys) > 8 else "")
        lines += ["", f"settings that differ: {listed or 'none'}"]
    return "\n".join([*lines, f"written to {folder}; open {folder / 'compare.html'}"])


def _table3(table: pl.DataFrame) -> list[str]:
    heads = ["run", "model", "statistic", "images/class", "t+", "d_avg", "t-", "d_avg"]
    numbers = [
        ("images_per_class", 1), ("t_plus", 3), ("davg_plus", 0), ("t_minus", 3), ("davg_minus", 0),
    ]  # fmt: skip
    rows = [
        [row["label"], row["model"], row["statistic"]]
        + [_number(row[name], digits) for name, digits in numbers]
        for row in table.rows(named=True)
    ]
    return aligned([heads, *rows], texts=3)


def _fits(fits: pl.DataFrame) -> list[str]:
    if fits.is_empty():
        return [
            f"no fit ({', '.join(CURVES)}): needs 3 runs of one model and statistic whose numbers"
            " of images a class differ"
        ]
    return [
        f"t{fit['sign']} = {_CURVES[fit['curve']]}, n images a class ({fit['model']},"
        f" {fit['statistic']}, {fit['points']} runs): a = {fit['intercept']:.4f},"
        f" b = {fit['slope']:.4f}, R2 = {fit['r_squared']:.3f}"
        for fit in fits.rows(named=True)
    ]


def _pairs(pairs: pl.DataFrame) -> list[str]:
    """The agreement of two and two, and under the table what must be known of them."""
    heads = [
        "agreement of", "and", "by", "layers", "rank corr.", "least in", "kept by both",
        "Wasserstein", "t+ shift", "t- shift", "note",
    ]  # fmt: skip
    shown = pairs.head(_MOST_ROWS).rows(named=True)
    notes = numbered(pair["note"] for pair in shown if pair["note"])
    rows = [
        [
            pair["run_a"],
            pair["run_b"],
            pair["by"],
            str(pair["layers"]),
            _number(pair["spearman"], 3),
            pair["lowest_layer"] or "-",
            "-" if pair["jaccard"] is None else f"{100 * pair['jaccard']:.0f} %",
            _number(pair["wasserstein"], 3),
            _number(pair["t_plus_shift"], 3, "+"),
            _number(pair["t_minus_shift"], 3, "+"),
            f"[{notes[pair['note']]}]" if pair["note"] else "",
        ]
        for pair in shown
    ]
    lines = aligned([heads, *rows], texts=3)
    if pairs.height > _MOST_ROWS:
        lines.append(f"and {pairs.height - _MOST_ROWS} more, in agreement_pairs.csv")
    return [*lines, *(f"[{number}] {note}" for note, number in notes.items())]


def numbered(notes: Iterable[str]) -> dict[str, int]:
    """Each note once, with its number from 1, in order.

    >>> numbered(["b", "a", "b"])
    {'b': 1, 'a': 2}
    """
    return {note: number for number, note in enumerate(dict.fromkeys(notes), 1)}


def aligned(rows: Sequence[Sequence[str]], *, texts: int) -> list[str]:
    """Rows of cells as lines: the first `texts` columns to the left, the others to the right.

    >>> aligned([["a", "10"], ["bcd", "9"]], texts=1)
    ['a    10', 'bcd   9']
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign},.{digits}f}"

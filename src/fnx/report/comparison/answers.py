"""What a comparison of runs says, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from fnx.analysis.comparison.fits import CURVES
from fnx.analysis.comparison.probes import best_networks
from fnx.report.comparison.gather import Comparison


def answers(compared: Comparison) -> list[str]:
    """Say the most important results of a comparison, in a few sentences."""
    sentences = [
        *on_networks(compared.probes),
        *_without_advice(compared.probes),
        *_on_thresholds(compared.table3),
        *_on_fits(compared.fits),
    ]
    sentences += dict.fromkeys(why for _, why in compared.distances.values() if why)
    # Of a pair that is compared by both distances, the calibrated one.
    pairs = compared.pairs.unique(["run_a", "run_b"], keep="last", maintain_order=True)
    unit = pairs.filter(by="unit").drop_nulls("spearman")
    if unit.height:
        ordered = unit.sort("spearman", descending=True, maintain_order=True)
        best = ordered.row(0, named=True)
        sentences.append(f"{'Most alike: ' if unit.height > 1 else ''}{_agreement_of(best)}")
        if unit.height > 1:
            sentences.append(f"Least alike: {_agreement_of(ordered.row(-1, named=True))}")
    sentences += [
        _sources(compared.layers, pair)
        for pair in pairs.filter(by="distribution").head(3).rows(named=True)
    ]
    sentences += [_networks(pair) for pair in compared.networks.pairs.head(3).rows(named=True)]
    if compared.pairs.is_empty() and len(compared.runs) > 1:
        sentences.append(
            "No two of these runs are of the same data set, so no agreement is measured per layer."
        )
    return sentences


def on_networks(probes: pl.DataFrame) -> list[str]:
    """Say which network is best for each data set of several advised runs."""
    sentences = []
    for best, as_good in best_networks(probes):
        measured = (
            f"{100 * best['accuracy']:.1f} % {best['measure']} ± {100 * best['standard_error']:.1f}"
        )
        text = f"Best for {best['dataset']}: {_entry(best)}, {measured}"
        if as_good:
            named = "; ".join(f"{_entry(row)}, {100 * row['accuracy']:.1f} %" for row in as_good)
            text += f". As good, within one standard error: {named}"
        sentences.append(f"{text}.")
    return sentences


def _without_advice(probes: pl.DataFrame) -> list[str]:
    lacking = probes.filter(pl.col("accuracy").is_null()).height
    if not 0 < lacking < probes.height:
        return []
    has = "has" if lacking == 1 else "have"
    told = f"{lacking} of the {probes.height} runs {has} no advice on which layer to use"
    return [f"{told}: python -m fnx advise RUN."]


def _entry(row: dict[str, Any]) -> str:
    return f"{row['run']} with {row['entry']} ({row['features']:,} features)"


def _on_thresholds(table: pl.DataFrame) -> list[str]:
    sentences = []
    for (statistic,), group in table.group_by("statistic", maintain_order=True):
        known = group.filter(pl.col("t_plus").is_finite()).sort("t_plus", maintain_order=True)
        if known.height < 2:
            continue
        least, most = known.row(0, named=True), known.row(-1, named=True)
        sentences.append(
            f"t+ ({statistic}) is {least['t_plus']:.3f} in all {known.height} runs."
            if least["t_plus"] == most["t_plus"]
            else f"t+ ({statistic}) lies between {least['t_plus']:.3f} ({least['label']},"
            f" {least['images_per_class']:,.0f} images per class) and {most['t_plus']:.3f}"
            f" ({most['label']}, {most['images_per_class']:,.0f})."
        )
    return sentences


def _on_fits(fits: pl.DataFrame) -> list[str]:
    sentences = []
    for (model, statistic), group in fits.group_by(["model", "statistic"], maintain_order=True):
        best = group.filter(sign="+").sort("r_squared", nulls_last=True, descending=True)
        if best.height:
            row = best.row(0, named=True)
            sentences.append(
                f"Over {row['points']} runs of {model} ({statistic}) {CURVES[row['curve']][0]}"
                f" explains {100 * row['r_squared']:.0f} % of the variance of t+ by n, the mean"
                " number of images per class."
            )
    return sentences


def _agreement_of(pair: dict[str, Any]) -> str:
    by = " by calibrated D" if pair["distance"] == "calibrated" else ""
    text = (
        f"{pair['run_a']} and {pair['run_b']} rank the features{by} with a correlation of"
        f" {pair['spearman']:.3f} (median of {pair['layers']} layers; lowest in"
        f" {pair['lowest_layer']}, {pair['spearman_lowest']:.3f})"
    )
    if pair["jaccard"] is not None:
        text += f"; of the pairs that either keeps, both keep {100 * pair['jaccard']:.0f} %"
    return text + "."


def _sources(layers: pl.DataFrame, pair: dict[str, Any]) -> str:
    more = pl.col("pct_kept_b") - pl.col("pct_kept_a")
    rows = layers.filter(**{name: pair[name] for name in ("run_a", "run_b", "distance")})
    widest = rows.sort(more.abs(), descending=True, maintain_order=True).row(0, named=True)
    return (
        f"{pair['run_a']} and {pair['run_b']} are networks with different weights: the second keeps"
        f" more in {rows.filter(more > 0).height} of {rows.height} layers; the widest difference is"
        f" in {widest['layer']}"
        f" ({widest['pct_kept_a']:.1f} % and {widest['pct_kept_b']:.1f} % of the pairs kept)."
    )


def _networks(pair: dict[str, Any]) -> str:
    names = f"{pair['run_a']} and {pair['run_b']}"
    if pair["images"] is None:
        return f"{names}: {pair['note']}"
    text = f"{names} have {pair['images']:,} images in common"
    if pair["cka"] is not None:
        text += (
            f"; their most alike layers are {pair['layer_a']} and {pair['layer_b']} (linear CKA"
            f" {pair['cka']:.2f}{_last(pair['cka_last'])})"
        )
    if pair["units"]:
        text += (
            f"; {pair['pct_beyond_chance']:.0f} % of the {pair['units']:,} units of the first have"
            " a partner in the second whose D agrees more than chance would have it"
        )
    return f"{text}.{' ' if pair['note'] else ''}{pair['note']}"


def _last(cka: float | None) -> str:
    return "" if cka is None else f"; of the last layers {cka:.2f}"


def numbered(notes: Iterable[str]) -> dict[str, int]:
    """Return the number of each note, from 1, in order.

    >>> numbered(["b", "a", "b"])
    {'b': 1, 'a': 2}
    """
    return {note: number for number, note in enumerate(dict.fromkeys(notes), 1)}

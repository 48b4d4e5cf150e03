"""The figures of a comparison, and the numbers behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fnx.analysis import Run
from fnx.report.comparison.gather import Comparison, first_free
from fnx.report.figures import (
    agreement,
    cka,
    distances,
    fits,
    groups,
    joint,
    kept,
    layers,
    matched,
    probes,
)
from fnx.report.figures.draw import Picture

OF_PLACES = "Distribution of D per layer: networks trained on Places"


def figures(compared: Comparison) -> Iterator[Picture]:
    """Draw all figures, one after the other; call within `fnx.report.figures.style.style`."""
    runs, names = compared.runs, compared.labels
    yield from _fits(compared)
    if not compared.probe_accuracy.is_empty():
        table = compared.probe_accuracy
        yield Picture("probe_accuracy", probes.draw(table), table)
    statistics = dict.fromkeys(run.statistic for run in runs)
    for statistic in statistics:
        suffix = f"_{_slug(statistic)}" if len(statistics) > 1 else ""
        chosen = [(r, n) for r, n in zip(runs, names, strict=True) if r.statistic == statistic]
        for place, distance in enumerate(compared.distances[statistic][0]):
            yield from _of_one_statistic(chosen, suffix + f"_{distance}" * (place > 0), distance)
    shares = kept.table(runs, names)
    yield Picture("fig10_kept", kept.draw(runs, names, shares), shares)
    for by, name in (("unit", "agreement_features"), ("distribution", "agreement_distributions")):
        rows = compared.layers.filter(by=by)
        if not rows.is_empty():
            yield Picture(name, agreement.draw(rows, by), rows)
    by_unit = [
        (names.index(a), names.index(b), distance)
        for a, b, distance in compared.pairs.filter(by="unit")
        .select("run_a", "run_b", "distance")
        .iter_rows()
    ]
    counts = joint.table(runs, names, by_unit[: joint.MOST_PANELS])
    if not counts.is_empty():
        yield Picture("agreement_joint", joint.draw(runs, names, counts), counts)
    if not compared.networks.cka.is_empty():
        yield Picture("cka", cka.draw(compared.networks.cka), compared.networks.cka)
    if not compared.networks.layers.is_empty():
        table = compared.networks.layers
        yield Picture("matched_layers", matched.draw(table), table)


def _of_one_statistic(
    chosen: list[tuple[Run, str]], suffix: str, distance: str
) -> Iterator[Picture]:
    for name, heading, places in (
        ("fig05_layers", layers.HEADING, False),
        ("fig11_layers", OF_PLACES, True),
    ):
        # Trained on Places, as far as the network's name tells.
        some = [one for one in chosen if ("places" in one[0].model.lower()) == places]
        if some:
            runs, labels = zip(*some, strict=True)
            rows = layers.table(runs, labels, distance=distance)
            figure = layers.draw(runs, labels, rows, heading=heading, distance=distance)
            yield Picture(name + suffix, figure, rows)
    runs, labels = zip(*chosen, strict=True)
    shares = distances.table(runs, labels, distance)
    fig06 = distances.draw(runs, labels, shares, distance)
    yield Picture(f"fig06_distribution{suffix}", fig06, shares)
    if "fc" in shares["kind"].to_list():
        rows = groups.table(runs, labels, shares)
        yield Picture(f"fig08_fc{suffix}", groups.draw(runs, labels, rows, distance), rows)


def _fits(compared: Comparison) -> Iterator[Picture]:
    found = compared.fits.partition_by("model", "statistic", maintain_order=True)
    used: set[str] = set()
    for rows in found:
        model, statistic = rows.row(0)[:2]
        points = compared.table3.filter(model=model, statistic=statistic)
        # A single figure has the name of the table of all fits, which is then its own.
        name = f"fits_{_slug(model)}_{_slug(statistic)}" if len(found) > 1 else "fits"
        if name in used:  # two names that differ in characters that no file's name can have
            name = first_free(name, "_{}", used)
        used.add(name)
        yield Picture(name, fits.draw(points, rows), rows)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)

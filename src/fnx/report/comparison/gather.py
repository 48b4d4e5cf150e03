"""Some runs and what they have to say together: their names, Table 3, fits and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import polars as pl

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import agreement, comparable_pairs
from fnx.analysis.comparison.differences import config_differences
from fnx.analysis.comparison.fits import fits_table
from fnx.analysis.comparison.networks import Networks, network_pairs, networks
from fnx.analysis.comparison.probes import probes
from fnx.analysis.comparison.shared import compared_distances
from fnx.analysis.comparison.table3 import table3
from fnx.errors import DataError
from fnx.report.values import open_embedding
from fnx.utils.progress import progress_bar


@dataclass(frozen=True)
class Comparison:
    """Some runs and what they have to say together.

    Attributes:
        runs: in the paper's order, by ascending mean number of images per class.
        labels: a name for each run, all different.
        table3: see `fnx.analysis.comparison.table3.table3`, with ``label``.
        fits: see `fnx.analysis.comparison.fits.fits_table`.
        differences: see `fnx.analysis.comparison.differences.config_differences`.
        distances: of each statistic, which distances its figures show, and why (see
            `fnx.analysis.comparison.shared.compared_distances`).
        pairs, layers: see `fnx.analysis.comparison.agreement.agreement`.
        networks: see `fnx.analysis.comparison.networks.Networks`.
        probes, probe_accuracy: see `fnx.analysis.comparison.probes.probes`.
    """

    runs: tuple[Run, ...]
    labels: tuple[str, ...]
    table3: pl.DataFrame
    fits: pl.DataFrame
    differences: pl.DataFrame
    distances: dict[str, tuple[tuple[str, ...], str]]
    pairs: pl.DataFrame
    layers: pl.DataFrame
    networks: Networks
    probes: pl.DataFrame
    probe_accuracy: pl.DataFrame


def labels(runs: Sequence[Run]) -> list[str]:
    """Return short names that tell runs apart: the data set, and whatever else differs.

    Runs whose data set, network, statistic and tap are the same are told apart by their other
    settings; if those do not differ either, by number.
    """
    names = _by_differences(
        [[run.dataset, run.model, run.statistic, run.record.tap] for run in runs]
    )
    for name in {name for name in names if names.count(name) > 1}:
        alike = [i for i, other in enumerate(names) if other == name]
        finer = _by_differences([[name, *_details(runs[i])] for i in alike])
        for i, text in zip(alike, finer, strict=True):
            names[i] = text
    unique = {name for name in names if names.count(name) == 1}
    used = set(unique)
    return [name if name in unique else first_free(name, " ({})", used) for name in names]


def first_free(name: str, number: str, used: set[str]) -> str:
    """Return the name with the first number that is not used yet, and add it to those used.

    >>> first_free("a", "_{}", {"a_1", "a_3"})
    'a_2'
    """
    found = next(text for text in (name + number.format(i) for i in count(1)) if text not in used)
    used.add(found)
    return found


def _by_differences(parts: Sequence[Sequence[str]]) -> list[str]:
    differing = [i for i in range(len(parts[0])) if not i or len({part[i] for part in parts}) > 1]
    return [", ".join(part[i] for i in differing if part[i]) for part in parts]


def _details(run: Run) -> list[str]:
    record = run.record
    bins = record.statistic.get("bins")
    limit = record.setting("dataset.limit_per_class")
    return [
        str(record.setting("trainer.precision") or ""),
        str(record.crops.get("name", "")),
        str(record.crops.get("resize_mode", "")),
        f"{bins} bins" if bins else "exact",
        str(record.threshold.get("name", "")),
        f"{limit} per class" if limit else "all images",
        f"seed {record.seed}",
        f"weights {record.weights_digest[:8]}",
    ]


def gather(runs: Sequence[Run], reference: Run | None = None, distance: str = "auto") -> Comparison:
    """Compare some runs, each with each or all with a reference; nothing is drawn or written.

    `distance` is "raw", "calibrated", "both", or "auto": "calibrated" where class sizes differ.

    Raises:
        DataError: if there is no run.
    """
    if not runs:
        raise DataError("no runs to compare")
    ordered = sorted(runs, key=lambda run: (run.images_per_class, run.dataset))
    names = labels(ordered)
    table = table3(ordered).with_columns(pl.Series("label", names))
    at = None if reference is None else ordered.index(reference)
    indices = comparable_pairs(ordered, at)
    with progress_bar("agreement", total=len(indices), unit="pairs", enabled=bool(indices)) as bar:
        pairs, layers = agreement(ordered, names, indices, bar.update, distance)
    statistics = dict.fromkeys(run.statistic for run in ordered)
    of_runs, of_layers = probes(ordered, names)
    return Comparison(
        runs=tuple(ordered),
        labels=tuple(names),
        table3=table,
        fits=fits_table(table),
        differences=config_differences(ordered, names),
        distances={
            name: compared_distances([run for run in ordered if run.statistic == name], distance)
            for name in statistics
        },
        pairs=pairs,
        layers=layers,
        networks=_networks(ordered, names, at, distance),
        probes=of_runs,
        probe_accuracy=of_layers,
    )


def _networks(
    runs: Sequence[Run], names: Sequence[str], reference: int | None, distance: str
) -> Networks:
    """Compare the networks of runs that have images in common; embeddings are read from disk."""
    pairs = network_pairs(runs, reference)
    with progress_bar("networks", total=len(pairs), unit="pairs", enabled=bool(pairs)) as bar:
        return networks(
            runs, names, lambda run: open_embedding(run).features, pairs, distance, bar.update
        )

"""Several runs side by side: tables, figures and a page of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import polars as pl

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import agreement, comparable_pairs
from fnx.analysis.comparison.differences import config_differences
from fnx.analysis.comparison.fits import fits_table
from fnx.analysis.comparison.table3 import table3
from fnx.errors import DataError
from fnx.report.figures import agreement as fig_agreement
from fnx.report.figures import datasets_table as table2
from fnx.report.figures import distances as fig06
from fnx.report.figures import fits as fig_fits
from fnx.report.figures import groups as fig08
from fnx.report.figures import kept as fig10
from fnx.report.figures import layers as fig05
from fnx.report.figures import sources as fig11
from fnx.report.figures import style
from fnx.report.figures import thresholds_table as table3_picture
from fnx.report.figures.draw import Picture, save_all, save_table
from fnx.utils.progress import progress_bar


@dataclass(frozen=True)
class Comparison:
    """Some runs and what they have to say together.

    Attributes:
        runs: in the paper's order.
        labels: a name for each run, all different.
        table3: see `fnx.analysis.comparison.table3.table3`, with ``label``.
        fits: see `fnx.analysis.comparison.fits.fits_table`.
        differences: see `fnx.analysis.comparison.differences.config_differences`.
        indices: of the runs that are compared, two and two.
        pairs, layers: see `fnx.analysis.comparison.agreement.agreement`.
    """

    runs: tuple[Run, ...]
    labels: tuple[str, ...]
    table3: pl.DataFrame
    fits: pl.DataFrame
    differences: pl.DataFrame
    indices: tuple[tuple[int, int], ...]
    pairs: pl.DataFrame
    layers: pl.DataFrame


def labels(runs: Sequence[Run]) -> list[str]:
    """Short names that tell runs apart: the data set, and whatever else differs among them.

    Runs whose data set, network, statistic and tap are the same are told apart by what else they
    were told differently; if there is no such thing, by number.
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
    return [name if name in unique else _numbered(name, " ({})", used) for name in names]


def _numbered(name: str, number: str, used: set[str]) -> str:
    """The name with the first number that is free; what is returned is used from then on."""
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
        f"{limit} a class" if limit else "all images",
        f"seed {record.seed}",
        f"weights {record.weights_digest[:8]}",
    ]


def in_order(runs: Sequence[Run]) -> list[Run]:
    """The paper's order: ascending mean number of images a class."""
    return sorted(runs, key=lambda run: (run.images_per_class, run.dataset))


def gather(runs: Sequence[Run], reference: Run | None = None) -> Comparison:
    """Compare some runs; nothing is drawn or written.

    Args:
        runs: at least one run.
        reference: one of the runs: the one that all others are compared with, layer by layer.
            None: each with each.

    Raises:
        DataError: if there is no run.
    """
    if not runs:
        raise DataError("no runs to compare")
    ordered = in_order(runs)
    names = labels(ordered)
    table = table3(ordered).with_columns(pl.Series("label", names))
    at = None if reference is None else ordered.index(reference)
    indices = comparable_pairs(ordered, at)
    with progress_bar("agreement", total=len(indices), unit="pairs", enabled=bool(indices)) as bar:
        pairs, layers = agreement(ordered, names, indices, bar.update)
    return Comparison(
        runs=tuple(ordered),
        labels=tuple(names),
        table3=table,
        fits=fits_table(table),
        differences=config_differences(ordered, names),
        indices=tuple(indices),
        pairs=pairs,
        layers=layers,
    )


def write(compared: Comparison, folder: Path, formats: Sequence[str]) -> Path:
    """Write the tables (Parquet and CSV), figures and page of a comparison into a folder.

    Figures of distances are drawn apart for each statistic, whose distances cannot share an axis.

    Args:
        compared: see `gather`.
        folder: made if it is not there.
        formats: of the figures.

    Returns:
        Path of the page.
    """
    from fnx.report.comparison.page import render

    folder.mkdir(parents=True, exist_ok=True)
    save_table(compared.fits, folder / "fits")
    save_table(compared.differences, folder / "config_differences")
    save_table(compared.pairs, folder / "agreement_pairs")
    save_table(compared.layers, folder / "agreement")
    with style.style():
        drawn = save_all(pictures(compared), folder, formats)
    page = folder / "compare.html"
    page.write_text(render(compared, drawn, folder, formats), encoding="utf-8")
    return page


def pictures(compared: Comparison) -> Iterator[Picture]:
    """Draw all figures, one after the other; call within `fnx.report.figures.style.style`."""
    runs, names = compared.runs, compared.labels
    data_sets = table2.table(runs)
    yield Picture("table2", table2.draw(data_sets), data_sets)
    yield Picture("table3", table3_picture.draw(compared.table3, names), compared.table3)
    yield from _fits(compared)
    statistics = dict.fromkeys(run.statistic for run in runs)
    for statistic in statistics:
        suffix = f"_{_slug(statistic)}" if len(statistics) > 1 else ""
        chosen = [(r, n) for r, n in zip(runs, names, strict=True) if r.statistic == statistic]
        yield from _of_one_statistic([r for r, _ in chosen], [n for _, n in chosen], suffix)
    yield Picture("fig10_kept", fig10.draw_many(runs, names), fig10.table(runs, names))
    for by, name in (("unit", "agreement_features"), ("distribution", "agreement_distributions")):
        rows = compared.layers.filter(by=by)
        if not rows.is_empty():
            yield Picture(name, fig_agreement.draw(rows, by), rows)
    by_unit = [
        index
        for index, by in zip(compared.indices, compared.pairs["by"], strict=True)
        if by == "unit"
    ]
    joint = fig_agreement.joint_table(runs, names, by_unit[: fig_agreement.MOST_PANELS])
    if not joint.is_empty():
        yield Picture("agreement_joint", fig_agreement.draw_joint(runs, names, joint), joint)


def _of_one_statistic(runs: list[Run], names: list[str], suffix: str) -> Iterator[Picture]:
    places = [fig11.of_places(run) for run in runs]
    others = [(r, n) for r, n, of_places in zip(runs, names, places, strict=True) if not of_places]
    if others:
        chosen = [r for r, _ in others], [n for _, n in others]
        yield Picture(f"fig05_layers{suffix}", fig05.draw_many(*chosen), fig05.table(*chosen))
    distances = fig06.table(runs, names)
    figure = fig06.draw_many(runs, names, distances)
    yield Picture(f"fig06_distribution{suffix}", figure, distances)
    if "fc" in distances["kind"].to_list():
        rows = fig08.table(runs, names, distances)
        yield Picture(f"fig08_fc{suffix}", fig08.draw_many(runs, names, rows), rows)
    if any(places):
        rows = fig11.table(runs, names)
        yield Picture(f"fig11_layers{suffix}", fig11.draw_many(runs, names), rows)


def _fits(compared: Comparison) -> Iterator[Picture]:
    groups = compared.fits.partition_by("model", "statistic", maintain_order=True)
    used: set[str] = set()
    for found in groups:
        model, statistic = found.row(0)[:2]
        points = compared.table3.filter(pl.col("model") == model, pl.col("statistic") == statistic)
        # A single figure has the name of the table of all fits, which is then its own.
        name = f"fits_{_slug(model)}_{_slug(statistic)}" if len(groups) > 1 else "fits"
        if name in used:  # two names that differ in characters that no file's name can have
            name = _numbered(name, "_{}", used)
        used.add(name)
        yield Picture(name, fig_fits.draw(points, found), found)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)

"""The page of a comparison: one HTML file that opens from disk and links to the runs' pages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from matplotlib.colors import to_hex

from fnx.analysis import Run
from fnx.analysis.comparison.fits import CURVES
from fnx.analysis.comparison.networks import Networks
from fnx.report.comparison.answers import answers, numbered
from fnx.report.comparison.gather import Comparison
from fnx.report.figures.agreement import MANY_PAIRS
from fnx.report.figures.style import series_styles
from fnx.report.page.html import environment, inline
from fnx.report.tables import datasets_table
from fnx.report.text import statistic_name

MAX_UNITS = 25  # matched units of two networks that the page lists
MAX_DETAILS = 60  # pairs of runs whose layers the page lists; the rest are in agreement.parquet

_SECTIONS = {
    "probes": ("probe_accuracy",),
    "thresholds": ("fits",),
    "layers": ("fig10", "fig05", "fig11"),
    "distances": ("fig06", "fig08"),
    "agreement": ("agreement_features", "agreement_distributions", "agreement_joint"),
    "networks": ("cka", "matched_layers"),
}

_READING = {
    "probe_accuracy": (
        "Probe accuracy over depth",
        "How well a linear probe tells the classes apart by each layer's features, judged on images"
        " it was not fitted to; one line per run, input at the left. The ring is the entry to use:"
        " of those within one standard error of the run's best, the best by two probes. To the"
        " right stand all layers together and the full-network embedding. The network whose ring"
        " is highest is the one for these data; within one standard error (the bars) two are as"
        " good.",
    ),
    "fits": (
        "Thresholds and the number of images per class",
        "Each mark is a run. With fewer images per class, chance alone gives larger distances, so"
        " the thresholds move away from 0: the solid line is the paper's logarithm, the dashed one"
        " 1/√n, which the noise of a distribution function suggests.",
    ),
    "fig05": (
        "Distribution of the distances of each layer",
        "The marker is the most frequent distance, the bar holds 68 % of the values on each side"
        " of it; runs side by side within each layer.",
    ),
    "fig11": (
        "Distribution of the distances of each layer, networks trained on Places",
        "As Figure 5, for the source of Section 8.",
    ),
    "fig10": (
        "Share of each layer that is kept",
        "Pairs of a feature and a class beyond the thresholds of each run: to the right by"
        " presence, to the left by absence; random labels hatched. What matters is how far the"
        " real labels reach beyond the random ones.",
    ),
    "fig06": (
        "Distribution of all distances",
        "Percentage of the (feature, class) pairs with each D; faint: random labels of the same"
        " run. What is informative is in the tails, beyond the random labels.",
    ),
    "fig08": (
        "Distances of the fully connected layers",
        "As above, one panel for each of the paper's groups of data sets by their overlap with"
        " ImageNet.",
    ),
    "agreement_features": (
        "Agreement on the same features",
        "Both runs have the same network, so each feature is compared with itself. Left, the rank"
        " correlation of D over the (feature, class) pairs of a layer; right, the pairs that both"
        " runs keep among those that either keeps. 1 is full agreement.",
    ),
    "agreement_distributions": (
        "Difference between networks trained separately",
        "Unit 7 of one network does not correspond to unit 7 of another, so the layers'"
        " distributions are compared: how far apart the sorted distances lie, and how much more of"
        " a layer the second run keeps.",
    ),
    "agreement_joint": (
        "Distance against distance",
        "All features and classes of two runs. On the line, where the two share a scale, D is"
        " the same; dashed lines are the runs' thresholds.",
    ),
    "cka": (
        "How alike the layers of two networks are",
        "Each cell is a layer of the first network (down) and one of the second (across): the"
        " lighter, the more alike they arrange the images; 1 is the same but for a rotation and a"
        " scale, 0 unrelated. The dot marks the most alike layer of the second. A bright diagonal"
        " means that both networks go the same way from input to output.",
    ),
    "matched_layers": (
        "Units with a partner in the other network",
        "For each unit of a layer of the first network, the unit of the second whose D over the"
        " shared classes correlates most; the dot is the median of these correlations, the tick"
        " what the same search finds with the classes of the second in another order. Only what"
        " lies to the right of the tick is more than chance: with few classes, chance finds much.",
    ),
}


def render(
    compared: Comparison, figures: Mapping[str, str], folder: Path, formats: Sequence[str]
) -> str:
    """Return the page as text.

    `figures` is the SVG text of each figure by name, `formats` are suffixes of their files beside
    the page, to be linked to; it links to the runs' pages from `folder`, where it will lie.
    """
    pairs, layers = compared.pairs.rows(named=True), compared.layers
    colours = _series(max(len(compared.runs), MANY_PAIRS))
    details = [
        {
            "pair": pair,
            "rows": layers.filter(
                **{name: pair[name] for name in ("run_a", "run_b", "distance")}
            ).rows(named=True),
        }
        for pair in pairs[:MAX_DETAILS]
        if pair["by"] != "nothing"
    ]
    pages = environment(Path(__file__).parent / "templates")
    return pages.get_template("compare.html.j2").render(
        runs=[
            (label, run, link(run, folder), statistic_name(run.record.statistic))
            for label, run in zip(compared.labels, compared.runs, strict=True)
        ],
        datasets=list(dict.fromkeys(run.dataset for run in compared.runs)),
        answers=answers(compared),
        table3=compared.table3.rows(named=True),
        fits=[row | {"formula": CURVES[row["curve"]][0]} for row in compared.fits.rows(named=True)],
        labels=compared.labels,
        differences=compared.differences.rows(),
        pairs=pairs,
        notes=numbered(pair["note"] for pair in pairs if pair["note"]),
        probes=compared.probes.rows(named=True),
        advised=compared.probes["accuracy"].count(),
        networks=_networks(compared.networks),
        table2=datasets_table(compared.runs).rows(named=True),
        details=details,
        left_out=len(pairs[MAX_DETAILS:]),
        figures=_figures(figures, colours),
        colours=colours,
        formats=list(formats),
    )


def _networks(found: Networks) -> list[dict[str, Any]]:
    """Return the pairs of networks, with their layers and the units of the first matched best."""
    pairs = []
    for pair in found.pairs.rows(named=True):
        own = {name: pair[name] for name in ("run_a", "run_b")}
        alike = (
            found.cka.filter(**own)
            .drop_nulls("cka")
            .sort("cka", descending=True, maintain_order=True)
            .unique("layer_a", keep="first", maintain_order=True)
        )
        layers = found.cka.filter(**own).unique("layer_a", maintain_order=True).select("layer_a")
        if layers.is_empty():
            layers = found.layers.filter(**own).select("layer_a")
        layers = layers.join(
            alike.select("layer_a", "layer_b", "cka"), on="layer_a", how="left",
            maintain_order="left",
        ).join(
            found.layers.filter(**own).drop("run_a", "run_b"), on="layer_a", how="left",
            maintain_order="left",
        )  # fmt: skip
        units = found.units.filter("kept", "mutual", **own)
        more = {"layers": layers.rows(named=True), "n_best": units.height}
        pairs.append(pair | more | {"best": units.head(MAX_UNITS).rows(named=True)})
    return pairs


def link(run: Run, folder: Path) -> str | None:
    """Return the address of a run's page as seen from a folder; None if the run has none."""
    page = run.path.resolve() / "report.html"
    if not page.is_file():
        return None
    try:
        return quote(Path(os.path.relpath(page, folder.resolve())).as_posix())
    except ValueError:  # another drive
        return page.as_uri()


def _series(most: int) -> dict[str, str]:
    """Return the colours of up to `most` runs or pairs, and lighter ones for a dark screen."""
    colours = {one[0][:3] for count in range(1, most + 1) for one in series_styles(count)}
    return {
        to_hex((r, g, b)): to_hex((0.45 + 0.55 * r, 0.45 + 0.55 * g, 0.45 + 0.55 * b))
        for r, g, b in sorted(colours)
    }


def _figures(
    figures: Mapping[str, str], colours: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of each section, in the order of `_SECTIONS`, with how to read them."""
    known = re.compile("|".join(colours))
    found: dict[str, list[dict[str, Any]]] = {section: [] for section in _SECTIONS}
    for section, stems in _SECTIONS.items():
        for stem in stems:
            heading, reading = _READING[stem]
            for place, name in enumerate(n for n in figures if n.startswith(stem)):
                entry = {"name": name, "heading": heading, "reading": "" if place else reading}
                svg = inline(figures[name], name, heading)
                themed = known.sub(lambda hit: f"var(--series-{hit[0][1:]})", svg)
                found[section].append(entry | {"svg": Markup(themed)})  # noqa: S704
    return found

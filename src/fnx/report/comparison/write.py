"""Writes a comparison of runs into a folder: tables, figures and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fnx.report.comparison.figures import figures
from fnx.report.comparison.gather import Comparison
from fnx.report.comparison.page import render
from fnx.report.figures import style
from fnx.report.figures.draw import save_all, save_table
from fnx.report.tables import datasets_table
from fnx.utils.files import write_atomically


def write(compared: Comparison, folder: Path, formats: Sequence[str]) -> Path:
    """Write the tables (Parquet and CSV), figures and page of a comparison into a folder.

    Figures of distances are drawn apart for each statistic, whose distances cannot share an axis.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in {
        "table2": datasets_table(compared.runs),
        "table3": compared.table3,
        "fits": compared.fits,
        "config_differences": compared.differences,
        "agreement_pairs": compared.pairs,
        "agreement": compared.layers,
        "probes": compared.probes,
        "probe_accuracy": compared.probe_accuracy,
        "networks": compared.networks.pairs,
        "cka": compared.networks.cka,
        "matched_layers": compared.networks.layers,
        "matched_units": compared.networks.units,
    }.items():
        save_table(table, folder / name)
    with style.style():
        drawn = save_all(figures(compared), folder, formats)
    page = folder / "compare.html"
    write_atomically(page, render(compared, drawn, folder, formats))
    return page

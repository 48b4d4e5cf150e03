"""Writes a run's figures, the numbers behind them, and its page."""

from __future__ import annotations

from pathlib import Path

from fnx.analysis import Run
from fnx.config.schema import ReportConfig


def write_report(run: Run, config: ReportConfig) -> Path | None:
    """Draw the figures into ``figures/``, their numbers beside them, and write the page.

    Returns:
        Path of the page; None if the configuration asks for tables only.

    Raises:
        ConfigError: if the run does not have `config.pair`.
    """
    if not config.figures:
        return None
    from fnx.report.figures import draw, style
    from fnx.report.page import advice, page

    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    for name, table in draw.tables(run).items():
        draw.save_table(table, folder / name)
    with style.style():
        drawn = draw.save_all(draw.figures(run, config), folder, config.formats)
    advice.write(run)  # before the page, which links to it
    return page.write(run, drawn, config.formats, config.mode)

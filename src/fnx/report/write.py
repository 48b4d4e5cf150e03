"""Writes a run's figures and page."""

from __future__ import annotations

from pathlib import Path

from fnx.analysis import Run
from fnx.config.schema import ReportConfig


def write_report(run: Run, config: ReportConfig) -> Path | None:
    """Draw the figures into ``figures/``, their numbers beside them, and write the page.

    Args:
        run: the run; what is written goes into its folder.
        config: whether to draw at all, the file formats, and what the figures show.

    Returns:
        Path of the page; None if the configuration asks for tables only.

    Raises:
        ConfigError: if the run does not have `config.pair`.
    """
    if not config.figures:
        return None
    from fnx.report.figures import style
    from fnx.report.figures.draw import pictures, save_all
    from fnx.report.page import page

    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    with style.style():
        drawn = save_all(pictures(run, config), folder, config.formats)
    return page.write(run, drawn, config.formats, config.mode)

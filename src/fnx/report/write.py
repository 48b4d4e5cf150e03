"""Writes a run's figures and page from its folder."""

from __future__ import annotations

from pathlib import Path

from fnx.analysis import Run
from fnx.schema import ReportConfig


def write_report(run_dir: Path, config: ReportConfig) -> Path | None:
    """Draw the figures into ``figures/``, their numbers beside them, and write the page.

    Args:
        run_dir: folder of a finished run (see `fnx.analysis.Run`).
        config: whether to draw at all, the file formats, and what the figures show.

    Returns:
        Path of the page; None if the configuration asks for tables only.

    Raises:
        DataError: if the folder is not that of a finished run.
        ConfigError: if the run does not have `config.pair`.
    """
    run = Run.open(run_dir)
    if not config.figures:
        return None
    from fnx.report import page, style
    from fnx.report.figures import pictures, save_table

    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    drawn: dict[str, str] = {}
    with style.style():
        for picture in pictures(run, config):
            save_table(picture.table, folder / picture.name)
            others = [suffix for suffix in config.formats if suffix != "svg"]
            style.save(picture.figure, folder / picture.name, others)
            drawn[picture.name] = style.svg(picture.figure)
            if "svg" in config.formats:
                (folder / f"{picture.name}.svg").write_text(drawn[picture.name], encoding="utf-8")
    return page.write(run, drawn, config.formats, config.mode)

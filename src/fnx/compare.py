"""``python -m fnx.compare RUN…``: what needs several runs: Table 3, its fits, Figures 5 and 6."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from fnx.analysis import Run
from fnx.analysis.fits import CURVES
from fnx.analysis.run import RECORD
from fnx.analysis.table3 import table3
from fnx.errors import DataError, FnxError


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: exit code 0, or 2 after one line that says what the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m fnx.compare",
        description="Compare runs of fnx: Table 3 with the fits of t+ and t- against the number of "
        "images a class, and the distributions of D by layer and over all pairs.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run, folder that holds runs (a sweep), or a glob of such",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the results; default: outputs/compare/<date>-<time>",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=("png", "svg", "pdf"),
        default=["png", "svg"],
        help="file formats of the figures (default: png svg)",
    )
    options = parser.parse_args(arguments)
    try:
        runs = find_runs(options.runs)
        folder = options.out or Path("outputs/compare") / f"{datetime.now():%Y-%m-%d-%H%M%S}"
        from fnx.report.comparison import compare, in_order

        runs = in_order(runs)
        fits = compare(runs, folder, options.formats)
        sys.stdout.write(summary(runs, fits, folder) + "\n")
    except (FnxError, OSError) as error:
        sys.stderr.write(f"fnx.compare: {' '.join(str(error).split())}\n")
        raise SystemExit(2) from None


def find_runs(patterns: Sequence[str]) -> list[Run]:
    """The finished runs that folders and globs stand for, each once, in the order of their paths.

    Raises:
        DataError: for a path or glob that stands for no finished run.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        # A path that exists is itself, even if it holds the signs of a glob.
        # Path.glob takes no absolute patterns.
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207
        if not matches:
            raise DataError(f"{pattern}: no such folder, and no folder matches it")
        folders = [run for match in matches for run in _runs_below(Path(match))]
        if not folders:
            raise DataError(f"{pattern}: holds no finished run of fnx ({RECORD} is missing)")
        found |= dict.fromkeys(folder.resolve() for folder in folders)
    return [Run.open(_shortest(path)) for path in found]


def _runs_below(folder: Path) -> list[Path]:
    if (folder / RECORD).is_file():
        return [folder]
    return sorted(file.parent for file in folder.rglob(RECORD)) if folder.is_dir() else []


def _shortest(path: Path) -> Path:
    """The path below the working directory, where it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def summary(runs: Sequence[Run], fits: pl.DataFrame, folder: Path) -> str:
    """Table 3 and the fits in aligned plain text."""
    heads = ["data set", "model", "statistic", "images/class", "t+", "d_avg", "t-", "d_avg"]
    rows = [heads]
    for row in table3(runs).rows(named=True):
        numbers = [
            "-" if row[name] is None else f"{row[name]:,.{digits}f}"
            for name, digits in (
                ("images_per_class", 1),
                ("t_plus", 3),
                ("davg_plus", 0),
                ("t_minus", 3),
                ("davg_minus", 0),
            )
        ]
        rows.append([row["dataset"], row["model"], row["statistic"], *numbers])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.append("")
    for fit in fits.rows(named=True):
        curve = {"log": "a + b ln(n)", "inverse_sqrt": "a + b / sqrt(n)"}[fit["curve"]]
        lines.append(
            f"t{fit['sign']} = {curve}, n images a class ({fit['model']}, {fit['statistic']},"
            f" {fit['points']} runs): a = {fit['intercept']:.4f}, b = {fit['slope']:.4f},"
            f" R2 = {fit['r_squared']:.3f}"
        )
    if fits.is_empty():
        lines.append(
            f"no fit ({', '.join(CURVES)}): needs 3 runs of one model and statistic whose numbers"
            " of images a class differ"
        )
    return "\n".join([*lines, f"written to {folder}"])


if __name__ == "__main__":
    main()

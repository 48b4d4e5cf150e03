"""``python -m fnx compare RUN …``: several runs side by side, and how far they agree."""

from __future__ import annotations

import argparse
import glob
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fnx.analysis import Run
from fnx.analysis.record import RECORD
from fnx.config.schema import FORMATS
from fnx.errors import DataError, reason
from fnx.utils.files import expand_user, files_called, new_folder
from fnx.utils.text import printable


def main(arguments: Sequence[str]) -> None:
    """Compare the runs that the arguments name, and print a summary.

    Raises:
        DataError: a path that is no finished run.
    """
    parser = argparse.ArgumentParser(
        prog="fnx compare",
        description="Compare runs of fnx: Tables 2 and 3, the fits of t+ and t- against the number "
        "of images per class, Figures 5, 6, 8, 10 and 11 over the runs, the settings that differ, "
        "and for runs of the same data set how far they agree, layer by layer; which network is "
        "best for the data, of runs with advice; and what different networks make of the same "
        "images: their layers by CKA, their units by their D over the classes. Leaves tables, "
        "figures and a page, compare.html.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run, folder that holds runs (a sweep), or a glob of such",
    )
    parser.add_argument(
        "--out",
        help="folder of the results; default: outputs/compare/<date>-<time>",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["png", "svg"],
        help="file formats of the figures (default: png svg)",
    )
    parser.add_argument(
        "--reference",
        metavar="RUN",
        help="folder of the run that all others are compared with, layer by layer"
        " (default: each with each)",
    )
    parser.add_argument(
        "--distance",
        choices=("auto", "raw", "calibrated", "both"),
        default="auto",
        help="which distances are compared and drawn; auto: calibrated ones where the runs' classes"
        " differ in size, for chance alone gives smaller classes larger D; else raw ones"
        " (default: auto)",
    )
    options = parser.parse_args(arguments)
    runs = find_runs(options.runs)
    reference = None
    if options.reference is not None:
        found = find_runs([options.reference])
        if len(found) > 1:
            raise DataError(f"{options.reference}: --reference is one run, here are {len(found)}")
        reference = found[0]
        if reference not in runs:
            runs = [*runs, reference]
    from fnx.report.comparison.gather import gather
    from fnx.report.comparison.text import summary
    from fnx.report.comparison.write import write
    from fnx.report.terminal.terminal import Terminal

    folder = make_folder(options.out)  # before the work
    compared = gather(runs, reference, options.distance)
    write(compared, folder, options.formats)
    Terminal(sys.stdout).print(summary(compared, folder))


def make_folder(out: str | None) -> Path:
    """Make the folder of the results: that of ``--out``, or a new one below ``outputs/compare``.

    Raises:
        DataError: a folder that cannot be written.
    """
    folder = Path(expand_user(out) if out else f"outputs/compare/{datetime.now():%Y-%m-%d-%H%M%S}")
    try:
        if not out:
            return new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({reason(error)}): choose another folder with --out"
        ) from error


def find_runs(patterns: Sequence[str]) -> list[Run]:
    """Return the finished runs that folders and globs name, each once, in the order of paths.

    A folder without one is skipped with a line on standard error, for a shell expands globs.

    Raises:
        DataError: a path or glob that names nothing, or no finished run at all.
    """
    found: dict[Path, None] = {}
    unfinished = []
    for pattern in map(expand_user, patterns):
        # A path that exists is itself, even if it holds the signs of a glob.
        # Path.glob takes no absolute patterns.
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207
        if not matches:
            raise DataError(f"{pattern}: no such folder, and no folder matches it")
        for match in matches:
            folders = _runs_below(Path(match))
            found |= dict.fromkeys(folder.resolve() for folder in folders)
            unfinished += [] if folders else [match]
    if not found:
        raise DataError(
            f"{', '.join(patterns)}: holds no finished run of fnx ({RECORD} is missing)"
        )
    for match in unfinished:
        name = printable(match)
        sys.stderr.write(f"skipped {name}: holds no finished run ({RECORD} is missing)\n")
    here = Path.cwd()
    return [
        Run.open(path.relative_to(here) if path.is_relative_to(here) else path) for path in found
    ]


def _runs_below(folder: Path) -> list[Path]:
    if (folder / RECORD).is_file():
        return [folder]
    return sorted(file.parent for file in files_called(RECORD, folder))

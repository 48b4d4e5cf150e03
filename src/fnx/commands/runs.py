"""Which run a command is about: a folder, or the last one."""

from __future__ import annotations

import argparse
from pathlib import Path

from fnx.analysis.record import RECORD
from fnx.errors import DataError
from fnx.utils.files import files_called

LAST = "last"
OUTPUTS = Path("outputs")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument RUN, which is `LAST` where it is not given."""
    parser.add_argument(
        "run",
        nargs="?",
        default=LAST,
        metavar="RUN",
        help="folder of a run; last, the default, is the newest below outputs/",
    )


def run_folder(name: str) -> Path:
    """Return the folder that is named; for `LAST`, of the run below ``outputs/`` that ended last.

    Raises:
        DataError: no run ended there.
    """
    if name != LAST:
        return Path(name)
    records = list(files_called(RECORD, OUTPUTS))
    if not records:
        raise DataError(f"no finished run below {OUTPUTS}/: name the folder of one")
    return max(records, key=lambda file: file.stat().st_mtime).parent

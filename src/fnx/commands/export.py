"""``python -m fnx export RUN --to FILE``: the features of a run, for other tools."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fnx.analysis import Run
from fnx.commands.runs import run_folder
from fnx.embedding.export import run_table
from fnx.embedding.table_files import check_target, write_table
from fnx.utils.text import printable


def main(arguments: Sequence[str]) -> None:
    """Write the features of a run to a file, and say how many there are.

    Raises:
        FnxError: see `fnx.export`.
    """
    parser = argparse.ArgumentParser(
        prog="fnx export",
        description="Write features of a run to a file, with labels, paths and names: a row for "
        "each image, the columns of images.parquet, then one for each feature.",
    )
    parser.add_argument(
        "run", metavar="RUN", help="folder of a run; last: the newest below outputs/"
    )
    add_output(parser)
    parser.add_argument(
        "--features",
        type=selection,
        default="kept",
        metavar="kept|all|K",
        help="those kept for a class or more (default), all, or the K best",
    )
    options = parser.parse_args(arguments)
    file = check_target(options.to, overwrite=options.force)
    run = Run.open(run_folder(options.run))
    table = run_table(run, layers=options.layers, features=options.features)
    write_table(table, file)
    sys.stdout.write(
        f"{printable(str(file))}: {len(table.rows):,} images, {len(table.names):,} features\n"
    )


def add_output(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the arguments that say which layers are written, and where."""
    parser.add_argument(
        "--to",
        required=default is None,
        default=default,
        metavar="FILE",
        help="a .csv, .parquet, .npz or .h5ad" + (f" (default: {default})" if default else ""),
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="names of layers, or globs as 'blocks.6*'"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def selection(text: str) -> str | int:
    """Return ``kept``, ``all``, or a number of features."""
    if text in ("kept", "all"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not kept, all, or a number of features")

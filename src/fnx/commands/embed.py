"""``python -m fnx embed IMAGES --like RUN``: features of new images, as those of a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from fnx.analysis import Run
from fnx.commands.export import add_output, selection
from fnx.commands.runs import run_folder
from fnx.config.compose import load_plugins
from fnx.embedding.new_images import new_table
from fnx.embedding.table_files import check_target, write_table
from fnx.utils.text import printable


def main(arguments: Sequence[str]) -> None:
    """Write the features of the images that the arguments name, and say how many there are.

    Raises:
        FnxError: see `fnx.embed`.
    """
    parser = argparse.ArgumentParser(
        prog="fnx embed",
        description="Put new images, which need no labels, through the network of a run, with its "
        "weights, layers, crops and preprocessing, and write a table: path, status and error of "
        "each image, and its features.",
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGES", help="a folder, of which all files count, or a file"
    )
    parser.add_argument(
        "--like",
        required=True,
        metavar="RUN",
        help="folder of the run; last: the newest below outputs/",
    )
    add_output(parser, default=f"new-images-{datetime.now():%Y-%m-%d-%H%M%S}.parquet")
    parser.add_argument(
        "--select",
        nargs="?",
        type=selection,
        const="kept",
        default="all",
        metavar="K",
        help="only the features that the run kept for a class or more, or its K best",
    )
    options = parser.parse_args(arguments)
    load_plugins()
    images = options.images[0] if len(options.images) == 1 else options.images
    file = check_target(options.to, overwrite=options.force)
    run = Run.open(run_folder(options.like))
    table = new_table(images, run, layers=options.layers, select=options.select)
    write_table(table, file)
    failed = int((table.rows < 0).sum())
    sys.stdout.write(
        f"{printable(str(file))}: {len(table.rows):,} images, {failed:,} failed, "
        f"{len(table.names):,} features\n"
    )

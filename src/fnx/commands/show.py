"""``python -m fnx show RUN``: what the page tells, in the terminal and as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fnx.analysis import Run
from fnx.commands.runs import add_run, run_folder
from fnx.config.schema import FORMATS
from fnx.errors import DataError
from fnx.report.subjects import subject
from fnx.report.terminal.terminal import Terminal
from fnx.utils.files import expand_user
from fnx.utils.text import printable


def main(arguments: Sequence[str]) -> None:
    """Print what a run says about what the arguments name, and draw it where a picture is wanted.

    Raises:
        DataError: a run, class, feature or layer that is not there.
    """
    options = _parser().parse_args(arguments)
    run = Run.open(run_folder(options.run))
    _check_picture(options.picture)
    found = subject(
        run,
        class_name=options.class_,
        against=options.against,
        feature=options.feature,
        layer=options.layer,
        top=options.top,
        every_class=options.all,
        detectors=options.detectors,
    )
    if options.json:
        sys.stdout.write(json.dumps(found.told, indent=2, ensure_ascii=True) + "\n")
    else:
        Terminal(sys.stdout).print(found.text)
    if options.picture is not None:
        path = Path(expand_user(options.picture) or f"{found.file_name}.png")
        found.save_picture(path)
        (sys.stderr if options.json else sys.stdout).write(f"picture: {printable(str(path))}\n")
    sys.stdout.flush()  # a closed pipe is noticed here, not as Python ends


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fnx show",
        description="Show a run of fnx in the terminal: its answer, or what it says about a class, "
        "a feature or a layer.",
    )
    add_run(parser)
    parser.add_argument(
        "--class",
        dest="class_",
        metavar="NAME",
        help="a class: its name, the beginning of it, or its id; with --feature: the class whose"
        " values are set against all others'",
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="another class: which features are present in that of --class and absent in this one,"
        " with D between the two",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--feature", metavar="LAYER/UNIT", help="a feature, as conv4_3/458")
    shown.add_argument("--layer", metavar="LAYER", help="a layer, as conv5_1")
    shown.add_argument(
        "--detectors",
        action="store_true",
        help="the unit that detects each class best alone, judged on unseen images",
    )
    parser.add_argument(
        "--top",
        type=_positive,
        default=10,
        metavar="N",
        help="features or pairs that are listed by presence and by absence (default: 10)",
    )
    parser.add_argument("--all", action="store_true", help="list every class of a feature")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "--picture",
        nargs="?",
        const="",
        metavar="FILE",
        help="draw the same as a .png, .svg or .pdf; without FILE: a .png named after it, here",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def _check_picture(name: str | None) -> None:
    """Refuse a picture that could not be written, before any work."""
    if not name:
        return
    path = Path(expand_user(name))
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise DataError(f"--picture {name}: the name must end with .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise DataError(f"--picture {name}: no such folder as {path.parent}")

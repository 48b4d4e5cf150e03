"""``python -m fnx show RUN``: what the page tells, in the terminal and as a picture."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fnx.analysis import Run
from fnx.analysis import profiles as portraits
from fnx.analysis.lookup import find_class, find_feature, find_layer
from fnx.analysis.run import RECORD
from fnx.analysis.summary import findings
from fnx.errors import DataError
from fnx.report.terminal import show as texts
from fnx.report.terminal.text import Terminal
from fnx.report.values import Values, feature_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTPUTS = Path("outputs")
PICTURE_FORMATS = ("png", "svg", "pdf")


def main(arguments: Sequence[str]) -> None:
    """Print what a run says about what the arguments name, and draw it where a picture is wanted.

    Raises:
        DataError: a run, class, feature or layer that is not there.
    """
    options = _parser().parse_args(arguments)
    run = Run.open(last() if options.run == "last" else options.run)
    _check_picture(options.picture)
    subject = _subject(run, options)
    if options.json:
        sys.stdout.write(json.dumps(subject.told, indent=2, ensure_ascii=True) + "\n")
    else:
        terminal = Terminal.of(sys.stdout)
        text = "\n".join(subject.text(terminal)) + "\n"
        sys.stdout.write(terminal.encoded(text))
    if options.picture is not None:
        path = Path(options.picture or f"{subject.file_name}.png")
        subject.draw(path)
        (sys.stderr if options.json else sys.stdout).write(f"picture: {path}\n")
    sys.stdout.flush()  # a closed pipe is noticed here, not as Python ends


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fnx show",
        description="Show a run of fnx in the terminal: its answer, or what it says about a class, "
        "a feature or a layer.",
    )
    parser.add_argument(
        "run",
        nargs="?",
        default="last",
        metavar="RUN",
        help="folder of a run; last, the default, is the newest below outputs/",
    )
    parser.add_argument(
        "--class",
        dest="class_",
        metavar="NAME",
        help="a class: its name, the beginning of it, or its id; with --feature: the class whose"
        " values are set against all others'",
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--feature", metavar="LAYER/UNIT", help="a feature, as conv4_3/458")
    subject.add_argument("--layer", metavar="LAYER", help="a layer, as conv5_1")
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
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def last() -> Path:
    """The folder of the run below ``outputs/`` that ended last.

    Raises:
        DataError: there is none.
    """
    records = list(OUTPUTS.rglob(RECORD))
    if not records:
        raise DataError(f"no finished run below {OUTPUTS}/: name the folder of one")
    return max(records, key=lambda file: file.stat().st_mtime).parent


def _check_picture(name: str | None) -> None:
    """Refuse a picture that could not be written, before any work.

    Raises:
        DataError: saying what is allowed.
    """
    if not name:
        return
    path = Path(name)
    if path.suffix.lower().removeprefix(".") not in PICTURE_FORMATS:
        raise DataError(f"--picture {name}: the name must end with .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise DataError(f"--picture {name}: no such folder as {path.parent}")


@dataclass(frozen=True)
class _Subject:
    """Something to show, in the three ways it can be."""

    name: str
    text: Callable[[Terminal], list[str]]
    told: Any
    figure: Callable[[], Figure]

    @property
    def file_name(self) -> str:
        return re.sub(r"[^\w.-]+", "_", f"fnx-{self.name}")[:100]

    def draw(self, path: Path) -> None:
        """Write the picture."""
        from fnx.report.figures import style

        with style.style():
            style.save(self.figure(), path.with_suffix(""), [path.suffix.lower()[1:]])


def _subject(run: Run, options: argparse.Namespace) -> _Subject:
    source = f"{run.dataset}-{run.model}-{run.statistic}"
    if options.feature is not None:
        return _feature(run, source, options)
    if options.layer is not None:
        layer = portraits.layer_portrait(run, find_layer(run, options.layer), options.top)
        return _Subject(
            f"{source}-{layer.layer}",
            lambda terminal: texts.show_layer(run, layer, terminal),
            _jsonable(asdict(layer)),
            lambda: _figures().draw_layer(run, layer),
        )
    if options.class_ is not None:
        shown = portraits.class_portrait(run, find_class(run, options.class_), options.top)
        return _Subject(
            f"{source}-{shown.name}",
            lambda terminal: texts.show_class(run, shown, terminal),
            _jsonable(asdict(shown)),
            lambda: _figures().draw_class(run, shown),
        )
    told = {
        **{key: run.record[key] for key in ("dataset", "model", "statistic", "counts", "seconds")},
        "run": str(run.path),
        "thresholds": run.thresholds,
        "layers": findings(run).layers,
    }
    return _Subject(
        source,
        lambda terminal: texts.show_run(run, terminal),
        _jsonable(told),
        lambda: _figures().draw_run(run),
    )


def _feature(run: Run, source: str, options: argparse.Namespace) -> _Subject:
    portrait = portraits.feature_portrait(run, find_feature(run, options.feature))
    if options.class_ is not None:
        class_id = find_class(run, options.class_)
    else:  # the class that the feature says most about
        most = portrait.classes["distance"].abs().arg_max()
        class_id = int(portrait.classes["class_id"][most or 0])
    values: Values | str
    try:
        values = feature_values(run, portrait.feature_id, class_id)
    except DataError as error:  # the rest is there without the embedding
        values = str(error)
    told = _jsonable(asdict(portrait))
    told["values"] = _jsonable(asdict(values)) if isinstance(values, Values) else None
    return _Subject(
        f"{source}-{portrait.layer}-{portrait.unit}",
        lambda terminal: texts.show_feature(
            run, portrait, terminal, values=values, every_class=options.all
        ),
        told,
        lambda: _figures().draw_feature(run, portrait, values),
    )


def _figures() -> Any:
    """Matplotlib takes a second to import: only where something is drawn."""
    from fnx.report.figures import profiles as portrait_figures

    return portrait_figures


def _jsonable(value: Any) -> Any:
    """Tables as lists of rows, arrays as lists, infinities as text, for which JSON has no word."""
    if isinstance(value, pl.DataFrame):
        return _jsonable(value.to_dicts())
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

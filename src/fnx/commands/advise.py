"""``python -m fnx advise RUN``: which layer to use, how good it will be, and why."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fnx.analysis.adviser import advise
from fnx.commands.runs import add_run, run_folder
from fnx.config.compose import load_plugins, recorded
from fnx.embedding import Embedding, embed
from fnx.errors import DataError, FnxError, reason
from fnx.images import list_images, open_images
from fnx.report.notebook import Run
from fnx.report.page import advice as page
from fnx.report.terminal.advice import show_advice
from fnx.report.terminal.terminal import Terminal
from fnx.utils.lock import sole_use
from fnx.utils.text import printable

IMAGES = 2000


def main(arguments: Sequence[str]) -> None:
    """Advise on a run's layers; write the advice and its page into the run's folder.

    Raises:
        DataError: no such run, its embedding is gone, or no class can be held out.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    run = Run.open(run_folder(options.run))
    embedding = Embedding.of_run(run)
    advice = advise(embedding, images=options.images, folds=options.folds, seed=options.seed)
    before = run.advice
    if options.untrained:
        advice = dataclasses.replace(advice, untrained=_untrained(run, options))
    elif before is not None:
        advice = dataclasses.replace(advice, untrained=before.untrained)
    try:
        with sole_use(run.path):
            advice.write(run.path)
            vars(run)["advice"] = advice
            written = page.write(run)
    except OSError as error:
        raise DataError(f"{run.path} cannot be written ({reason(error)})") from error
    if options.json:
        sys.stdout.write(json.dumps(advice.told(), indent=2, ensure_ascii=True) + "\n")
    else:
        Terminal(sys.stdout).print(show_advice(run, advice))
        sys.stdout.write(f"page: {printable(str(written))}\n")
    sys.stdout.flush()


def _untrained(run: Run, options: argparse.Namespace) -> float | None:
    """Return the best accuracy of the run's network with random weights, on the same data set.

    None where there is no such network or its images are gone, which is said.
    """
    if run.of_array:
        sys.stderr.write("no untrained network: the run is of an array\n")
        return None
    try:
        load_plugins()
        config = recorded(run.record.config)
        limit = -(-options.images // run.classes.height)
        dataset = dataclasses.replace(
            config.dataset,
            limit_per_class=min(limit, config.dataset.limit_per_class or limit),
        )
        weights = dataclasses.replace(config.model.weights, source="random", path=None, sha256=None)
        model = dataclasses.replace(config.model, weights=weights)
        config = dataclasses.replace(config, dataset=dataset, model=model)
        images = open_images(dataset, Path(config.paths.cache), list_images(dataset))
        untrained, _ = embed(images, config)
    except (FnxError, OSError) as error:
        told = str(error) if isinstance(error, FnxError) else reason(error)
        sys.stderr.write(f"no untrained network: {printable(told)}\n")
        return None
    found = advise(untrained, images=options.images, folds=options.folds, seed=options.seed)
    return float(found.best["accuracy"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fnx advise",
        description="Advise which layer's features to use for the classes of a run: a linear probe"
        " of every layer, of all layers together and of the full-network embedding, judged on"
        " images that it was not fitted to. Writes advice.json, advice.parquet and advice.html"
        " into the run's folder.",
    )
    add_run(parser)
    parser.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help=f"images that are looked at, at most; classes keep their shares (default: {IMAGES})",
    )
    parser.add_argument(
        "--folds", type=int, default=5, metavar="K", help="parts of the images (default: 5)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the folds (default: 0)"
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="compare with the same network with random weights, which the images go through; its"
        " embedding is kept for the next time",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return parser

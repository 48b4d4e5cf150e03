"""``python -m fnx report RUN KEY=VALUE …``: the report of a finished run drawn anew, in place."""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnx.analysis.record import RECORD
from fnx.commands.runs import LAST, run_folder
from fnx.config.checks import check_report
from fnx.config.compose import (
    compose,
    compose_keywords,
    load_plugins,
    recorded,
    reference_dataset,
)
from fnx.config.schema import Config, ReportConfig
from fnx.embedding import Embedding, embed
from fnx.errors import ConfigError, DataError, FnxError, reason, unknown
from fnx.images import LabelledImages, list_images, open_images
from fnx.images.reference import open_reference, reference_crops
from fnx.report import contents, write_report
from fnx.report.notebook import Run
from fnx.report.pictures.pictures import write_pictures
from fnx.report.pictures.top_rows import write_top_rows
from fnx.utils.files import expand_user, link_or_copy
from fnx.utils.lock import sole_use
from fnx.utils.redact import redacted
from fnx.utils.text import printable
from fnx.utils.version import fnx_version

log = logging.getLogger(__name__)

# Keys that a finished run does not take: others than the report depend on them.
_FIXED = {
    "figures": "a report has figures",
    "top_k": "the tables of the run have it; run again, which finds the embedding",
    "advice": "python -m fnx advise RUN gives other advice",
}
# Keys of the pictures, and those whose change needs the images again.
_PICTURES = (
    *("pictures", "pictures_per_feature"),
    *("reference_dataset", "reference_limit_per_class", "reference_crops"),
)
_DRAWN = ("figures", "report", "report.html", "advice.html")
_PICTURED = ("pictures", "top_images.parquet", "strongest.parquet", "strongest_images.parquet")


@dataclass(frozen=True)
class _Sources:
    """What pictures are cut from; of an array there are no images."""

    embedding: Embedding
    images: LabelledImages | None = None
    reference: LabelledImages | None = None


def main(arguments: Sequence[str]) -> None:
    """Draw the report of a run anew.

    Raises:
        ConfigError: a key that is not one of the report, or a value that the run cannot have.
        DataError: no such run, or one that another process writes to.
    """
    words = _parser().parse_args(arguments).words
    named = words and ("=" not in words[0] or Path(expand_user(words[0])).is_dir())
    name = words.pop(0) if named else LAST
    load_plugins()
    changes = _typed(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    start = time.perf_counter()
    run = _redraw(Run.open(run_folder(name)), changes)
    seconds = f"drawn in {time.perf_counter() - start:.1f} s"
    sys.stdout.write(f"{printable(str(run.path / 'report.html'))} {seconds}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fnx report",
        description="Draw the figures and page of a finished run anew, in place, with other keys"
        " of the report: which pair Figure 1 shows, how Figure 5 finds its modes, raw or calibrated"
        " distances, formats, pictures. Nothing is measured again.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN|KEY=VALUE",
        help="folder of a run; last, the default, is the newest below outputs/. Then keys of the"
        " report, as report.pair=conv4_3/458:daisy or report.formats=[png,pdf]; the others stay as"
        " they are",
    )
    return parser


def _typed(words: Sequence[str]) -> dict[str, Any]:
    """Return the keys of ``report`` that words name, with values of their types.

    Raises:
        ConfigError: another key, or a value of another type.
    """
    names = []
    for word in words:
        match = re.fullmatch(r"\+{0,2}report\.([^=]*)=.*", word, re.DOTALL)
        if match is None:
            raise ConfigError(
                f"{word}: a finished run takes report.KEY=VALUE only; for other keys run again,"
                " which finds the embedding"
            )
        names.append(match[1])
    _check(names)
    report = compose(words).report
    return {name: getattr(report, name) for name in names}


def redraw(run: Run | str | Path, **changes: Any) -> Run:
    """Draw the report of a finished run anew, in place, and return the run.

    The figures and the page are those of the run's configuration with the `changes`, which its
    ``run.json`` then holds. Pictures are cut anew where a change needs it; they stay as they are,
    which is logged, where the embedding or the images are gone. What was there stays until all is
    drawn, also if drawing fails.

    Args:
        run: the run, or its folder.
        **changes: keys of the group ``report``, as ``pair="conv4_3/458:daisy"``,
            ``mode="lognormal"``, ``distance="calibrated"``, ``formats=["pdf"]``,
            ``pictures="all"``.

    Raises:
        ConfigError: a key that a finished run does not take, or a value that it cannot have.
        DataError: no such run, or one that another process writes to.
    """
    found = run if isinstance(run, Run) else Run.open(run)
    _check(changes)
    if changes:
        typed = compose_keywords({f"report.{name}": value for name, value in changes.items()})
        changes = {name: getattr(typed[0].report, name) for name in changes}
    return _redraw(found, changes)


def _redraw(found: Run, changes: Mapping[str, Any]) -> Run:
    """Draw a report anew with the changes, whose values have their types; see `redraw`."""
    before = recorded(found.record.config)
    config = replace(before, report=replace(before.report, **{**changes, "figures": True}))
    check_report(found, config)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with sole_use(found.path), _beside(found.path) as (drawn, aside):
            config, sources = _sources(found, before, config)
            record = replace(
                found.record,
                config={**found.record.config, "report": redacted(asdict(config.report))},
                redrawn={
                    "command": redacted(["python", "-m", "fnx", *sys.argv[1:]]),
                    "started": started,
                    "fnx_version": fnx_version(),
                },
            )
            anew = sources is not None or config.report.pictures != before.report.pictures
            _link(found.path, drawn, leave_out=_PICTURED if anew else ())
            _draw(Run(drawn, record), config, sources)
            finished = Run(found.path, record)
            with _exchanged(found.path, drawn, aside, (*_DRAWN, *(_PICTURED if anew else ()))):
                contents.write(finished)
                record.write(found.path)
    except OSError as error:
        raise DataError(f"{found.path} cannot be drawn anew ({reason(error)})") from error
    return finished


def _check(names: Iterable[str]) -> None:
    """Refuse keys that a finished run does not take."""
    known = [name for name in vars(ReportConfig()) if name not in _FIXED]
    for name in names:
        if name in _FIXED:
            raise ConfigError(f"report.{name}: {_FIXED[name]}")
        if name not in known:
            raise ConfigError(unknown("key", f"report.{name}", [f"report.{key}" for key in known]))


def _sources(run: Run, before: Config, config: Config) -> tuple[Config, _Sources | None]:
    """Return what new pictures are made of, None where they stay, and the config that then holds.

    Where pictures would change and cannot, which is logged, their keys stay those of before.
    """
    old, new = before.report, config.report
    changed = any(getattr(old, key) != getattr(new, key) for key in _PICTURES)
    if new.pictures == "top":
        changed |= old.pairs != new.pairs
    changed |= not run.of_array and not (run.path / "pictures").is_dir()
    if not changed or (new.pictures == "none" and not run.of_array):
        return config, None
    try:
        embedding = Embedding.of_run(run)
        if run.of_array:
            return config, _Sources(embedding)
        images = open_images(config.dataset, Path(config.paths.cache), list_images(config.dataset))
        reference = open_reference(images, config, reference_dataset(config))
        if new.reference_dataset is not None and reference is not None:
            embedding, _ = embed(reference, replace(config, crops=reference_crops(config)))
        return config, _Sources(embedding, images, reference)
    except FnxError as error:
        log.warning("pictures stay as they are: %s", error)
    kept = replace(new, **{key: getattr(old, key) for key in _PICTURES})
    return replace(config, report=kept), None


def _draw(run: Run, config: Config, sources: _Sources | None) -> None:
    """Write pictures, where they change, figures and page into the folder of a run."""
    if sources is not None and sources.images is None:
        write_top_rows(run, sources.embedding, config.report.pictures_per_feature)
    elif sources is not None and sources.images is not None:
        write_pictures(run, sources.images, sources.reference, sources.embedding, config)
    write_report(run, config.report)
    from fnx.report.figures.pair import NAME

    figures = run.path / "figures"
    if not (figures / f"{NAME}.csv").is_file():  # the numbers of before, which were of another pair
        (figures / f"{NAME}.parquet").unlink(missing_ok=True)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """Provide a folder to draw into and one for what was there; both are removed at the end."""
    for left_over in path.glob(".report-*"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=path) as temporary:
        folders = Path(temporary) / "drawn", Path(temporary) / "before"
        for folder in folders:
            folder.mkdir(exist_ok=True)
        yield folders


def _link(path: Path, drawn: Path, leave_out: Sequence[str]) -> None:
    """Give what a report is drawn from a second name in another folder."""
    for file in path.iterdir():
        if (
            file.is_file()
            and file.name[0] != "."
            and file.name not in (*_DRAWN, *leave_out, RECORD)
        ):
            link_or_copy(file, drawn / file.name)
    if "pictures" not in leave_out and (path / "pictures").is_dir():
        shutil.copytree(path / "pictures", drawn / "pictures", copy_function=link_or_copy)
    from fnx.report.figures.pair import NAME

    numbers = Path("figures", f"{NAME}.parquet")  # which stand in for an embedding that is gone
    if (path / numbers).is_file():
        (drawn / "figures").mkdir(exist_ok=True)
        shutil.copyfile(path / numbers, drawn / numbers)


@contextmanager
def _exchanged(path: Path, drawn: Path, aside: Path, names: Sequence[str]) -> Iterator[None]:
    """Put what was drawn in place of what is there, and that back if anything fails."""
    with ExitStack() as undo:
        for name in names:
            for source, target in ((path, aside), (drawn, path)):
                if (source / name).exists():
                    (source / name).rename(target / name)
                    undo.callback((target / name).rename, source / name)
        yield
        undo.pop_all()

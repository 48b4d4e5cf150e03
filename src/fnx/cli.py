"""The command line: ``python -m fnx KEY=VALUE …`` and ``python -m fnx COMMAND …``.

Exit codes, signals and one-line errors of all commands are here. Nothing heavy is imported before
it is needed, so that ``--help``, tab completion and ``show`` answer at once.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from fnx.errors import ConfigError, DataError, FnxError, unknown
from fnx.utils import launch
from fnx.utils.ending import ENDINGS, answered, end_at_once, ended_when_told
from fnx.utils.lock import sole_use
from fnx.utils.redact import clean_logs, redact_files, redacted
from fnx.utils.streams import flush_output, prepare_streams
from fnx.utils.text import plain
from fnx.utils.version import fnx_version

if TYPE_CHECKING:
    from omegaconf import DictConfig

USER_ERROR = 2

# Name of a command, which is that of its module in fnx.commands, and its line in --help.
COMMANDS = {
    "compare": "several runs side by side: tables, figures and a page",
    "show": "a run in the terminal, or one of its classes, layers or features",
    "advise": "which layer to use for a run's classes, how good it will be, and why",
    "report": "the report of a finished run drawn anew, in place: report RUN KEY=VALUE …",
    "embed": "features of new images, in the way of a run",
    "export": "features of a run as .csv, .parquet, .npz or .h5ad",
    "cache": "the embeddings on disk, which runs use them, and their removal",
    "datasets": "the paper's data sets, and which of them are on this machine",
}

# Errors of this process's jobs: a sweep goes on with its other jobs. None in the process that a
# launcher started for a job, which hands its error to the one that the user started.
_refused: list[str] | None = None
# The signal that told a run to end, and whether it was said.
_told_to_end: int | None = None
_said_ended = False
# Hydra's flags that do not keep it from running; the others show something.
_OF_A_RUN = re.compile(r"(-m|-r|-c[dpn]|--(multirun|run|config-(dir|path|name)))(=|$)")
# What the system says of a disk that takes no more.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """Run ``python -m fnx``."""
    words = sys.argv[1:]
    if words and words[0] in COMMANDS:
        return command(words[0], words[1:])
    with exit_codes("fnx"):
        if "--version" in words:  # Hydra would tell its own
            sys.stdout.write(f"fnx {fnx_version()}\n")
            return None
        if words and re.fullmatch(r"[a-z]\w*", words[0]):
            raise ConfigError(f"{unknown('command', words[0], COMMANDS)}, or KEY=VALUE")
        _run(words)
    return None


def command(name: str, words: Sequence[str] | None = None) -> None:
    """Run ``python -m fnx NAME WORDS…``; by default with the words of the command line."""
    program = f"fnx {name}"
    with exit_codes(program):
        module = import_module(f"fnx.commands.{name}")
        with answered(partial(_stop, program=program)):
            module.main(sys.argv[1:] if words is None else words)


@contextmanager
def exit_codes(program: str) -> Iterator[None]:
    """End the process with one line and an exit code for what the user can fix, or has ended."""
    prepare_streams()
    at_once = partial(end_at_once, program=program)
    try:
        try:
            with ended_when_told(partial(_farewell, program)), answered(at_once), clean_logs():
                yield
        finally:
            flush_output()
    except KeyboardInterrupt:
        number = _told_to_end or signal.SIGINT
        _say_ended(program, number)
        sys.exit(128 + number)
    except Exception as error:
        fault = _fault(error)
        if fault is None or debugging():
            raise
        _write_error(program, one_line(fault))
        sys.exit(USER_ERROR)


def one_line(error: FnxError | OSError) -> str:
    """Return the error in one line: what was found, and what is allowed."""
    if not isinstance(error, OSError) or not error.strerror:
        return plain(str(error))
    where = f" ({error.filename})" if error.filename else ""
    kept = ": what is finished is kept; the same command goes on once"
    advice = f"{kept} there is space" if error.errno in _NO_SPACE else ""
    if error.errno == errno.EFBIG:
        advice = f"{kept} files may be larger (ulimit -f)"
    return plain(error.strerror + where + advice)


def _fault(error: Exception) -> FnxError | OSError | None:
    """Return an error that the user can mend, None for others; some hide the system's in a text."""
    if isinstance(error, FnxError):
        return error
    text, of_polars = str(error), type(error).__module__.startswith("polars.")
    hidden = re.search(r"\(os error (\d+)\)", text)
    if hidden and (of_polars or isinstance(error, OSError)):
        return OSError(int(hidden[1]), os.strerror(int(hidden[1])))
    if not isinstance(error, OSError):
        return None
    if re.fullmatch(r"\d+ requested and \d+ written", text):  # NumPy's, of a full disk
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return error


def debugging() -> bool:
    """Return whether the user asks for tracebacks, by the words typed: a config may not compose."""
    return any(re.fullmatch(r"\+{0,2}debug=(true|1|yes|on)", word, re.I) for word in sys.argv[1:])


def _run(words: Sequence[str]) -> None:
    """Have Hydra compose the config from the words and call `job`, once or for each of a sweep."""
    global _refused
    import hydra

    from fnx.config import compose
    from fnx.config.help import help_text
    from fnx.config.words import prepared

    compose.load_plugins(here=_runs_something(words))
    compose.prepare()
    if {"--help", "-h"} & set(words):
        sys.stdout.write(help_text(COMMANDS) + "\n")
        return
    # Hydra would print its own errors and exit with 1; this makes it raise them instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _refused = []
    start = hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="config")
    swept = any(
        re.fullmatch(r"--multirun|-[a-z]*m[a-z]*|hydra.mode=multirun", w, re.I) for w in words
    )
    sys.argv[1:] = prepared(words, sweep=swept)
    with ExitStack() as stack:
        if not launch.is_rank_zero():  # it ends after the extraction, and leaves no folder
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fnx-rank-"))
            sys.argv += [f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
        _start(start(job))
    if _refused:
        sys.exit(USER_ERROR)


def _runs_something(words: Sequence[str]) -> bool:
    """Return whether the words run a job: every flag is one that asks for no more than that."""
    return all(_OF_A_RUN.match(word) for word in words if word.startswith("-"))


def _start(run: Callable[[], None]) -> None:
    """Have Hydra make the folder and run the jobs, whose own errors are no `OSError` any more.

    Raises:
        ConfigError: what does not compose; a folder that cannot be made or written.
    """
    from fnx.config.messages import in_one_line

    try:
        with in_one_line():  # first, for Hydra's error of an option that is not there is an OSError
            run()
    except (OSError, ValueError) as error:
        # logging.config raises a ValueError where its file cannot be opened.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        if cause.errno in _NO_SPACE:
            raise cause from None
        long = cause.errno == errno.ENAMETOOLONG
        choose = "a shorter dataset.name" if long else "another folder with paths.outputs"
        folder = cause.filename or "the folder of the run"
        raise ConfigError(
            f"{folder} cannot be written ({cause.strerror}): choose {choose}=…"
        ) from error


def job(config: DictConfig) -> None:
    """Run one composed config in the folder that Hydra made for it."""
    from fnx.config.messages import in_one_line

    prepare_streams()  # in a launcher's process nothing else has
    try:
        with in_one_line(), clean_logs():
            _run_job(config)
    except launch.NonZeroRankExit:
        return
    except Exception as error:
        fault = _fault(error)
        if fault is None or debugging() or (_refused is None and isinstance(error, FnxError)):
            raise
        if _refused is None:
            raise DataError(one_line(fault)) from error
        # Raised through Hydra it would come with a line of Hydra's own.
        _refused.append(one_line(fault))
        _write_error("fnx", _refused[-1])


def _run_job(config: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from fnx.config import compose

    hydra_config = HydraConfig.get()
    run_dir = Path(hydra_config.runtime.output_dir)
    swept = hydra_config.mode == RunMode.MULTIRUN
    for folder in (
        run_dir / (hydra_config.output_subdir or ""),
        Path(hydra_config.sweep.dir if swept else run_dir),
    ):
        redact_files(folder, "*.yaml")
    if not launch.is_rank_zero():  # rank 0 logs the same
        logging.getLogger().setLevel(logging.WARNING)
    compose.load_plugins()  # in a launcher's process nothing else has
    typed = compose.typed(config)
    # The id of a sweep is the group of its runs in a tracker.
    sweep = "/".join(Path(hydra_config.sweep.dir).parts[-2:]) if swept else None
    from fnx import app  # Polars and all that: only now, when there is work

    # A launcher's process has handlers of its own.
    in_order = nullcontext() if _refused is None else answered(_stop)
    with sole_use(run_dir), in_order:
        app.run(typed, run_dir, sweep=sweep)


def _stop(number: int, frame: FrameType | None = None, *, program: str = "fnx") -> None:
    """Answer a signal as Ctrl-C, which ends the work in order; a second one at once."""
    global _told_to_end
    if _told_to_end is not None:
        end_at_once(number, program=program)
    _told_to_end = number
    raise KeyboardInterrupt


def _say_ended(program: str, number: int) -> None:
    """Say that the process was ended by the signal with this number, and how it goes on."""
    global _said_ended
    _said_ended = True
    advice = "; the same command goes on where this one stopped" if program == "fnx" else ""
    _write_error(program, ENDINGS[number] + advice)


def _farewell(program: str, number: int) -> None:
    if not _said_ended:
        _say_ended(program, number)


def _write_error(program: str, message: str) -> None:
    sys.stderr.write(f"{program}: {redacted(message)}\n")

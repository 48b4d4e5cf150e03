"""The closing summary of a run in the terminal: at most 24 lines of 80 characters of plain text."""

from __future__ import annotations

import math
import shlex
import sys
import textwrap
from pathlib import Path

from fnx.analysis import Run
from fnx.analysis.summary import summarize
from fnx.report.terminal.terminal import encodable
from fnx.report.text import by, origin, plain, shorten, things
from fnx.report.verdict import verdict

WIDTH = 80
_NAMES = 12  # characters that names take, with the space around them


def print_summary(run: Run) -> None:
    """Print what came out, in the characters that standard output has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(encodable(summary(run), encoding))  # noqa: T201


def summary(run: Run) -> str:
    """Say what came out, and end with the commands that one would want next."""
    lines = [plain(f"{run.dataset}, {run.model}, {run.statistic}")]
    for name, told in closing_facts(run):
        lines += textwrap.wrap(
            plain(told),
            WIDTH,
            initial_indent=f"  {name:<{_NAMES - 2}}",
            subsequent_indent=" " * _NAMES,
            break_long_words=False,  # a path or a name can be copied
            break_on_hyphens=False,
        )
    return "\n".join([*lines, "next", *(f"  {command}" for command in next_commands(run))])


def next_commands(run: Run) -> list[str]:
    """Return three commands that go on from a run: look at a class, choose a layer, take features.

    Where a layer was advised already, the second compares the run with others.
    """
    folder = shlex.quote(plain(str(_short(run.path))))
    first = run.top_features.filter(sign="+", rank=1).sort("distance", descending=True)
    name = run.classes["class_name"][first["class_id"][0] if first.height else 0]
    second = f"compare {folder} OTHER_RUN" if run.advice else f"advise {folder}"
    advised = run.advice.advised if run.advice else None
    of_layer = advised is not None and advised["kind"] == "layer"
    layer = f" --layers {shlex.quote(plain(advised['entry']))}" if advised and of_layer else ""
    commands = (
        f"show {folder} --class {shlex.quote(plain(name))}",
        second,
        f"export {folder}{layer} --to features.parquet",
    )
    return [f"python -m fnx {command}" for command in commands]


def _short(path: Path) -> Path:
    """Return a path as seen from the working directory if it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def closing_facts(run: Run) -> list[tuple[str, str]]:
    """Return what came out, by name: sizes, thresholds, layers, seconds and the page."""
    found = summarize(run)
    counts = run.record.counts
    constant = f" ({counts.constant:,} constant)" if counts.constant else ""
    facts = [
        (things(run), f"{counts.images:,} used, {counts.failed:,} failed{_reasons(run)}"),
        (
            "classes",
            f"{run.classes.height:,} ({run.images_per_class:.1f} {things(run)} each, on average)",
        ),
        ("features", f"{run.features.height:,}{constant}"),
    ]
    facts += [
        (
            f"t{sign}",
            f"{kept.threshold:{'' if run.neutral else '+'}.3f} keeps {kept.kept:,.0f} features per"
            f" class {by(run, sign)}, random labels {kept.kept_random:,.0f}",
        )
        for sign, kept in found.kept.items()
    ]
    facts.append(("verdict", " ".join(filter(None, verdict(found, run.advice)))))
    facts.append(("traces", "most in " + ", ".join(found.top_layers()["layer"])))
    seconds = run.record.seconds
    stages = [
        f"{stage} {value:,.1f}{origin(run.record) if stage == 'embedding' else ''}"
        for stage, value in seconds.items()
    ]
    facts.append(("seconds", ", ".join([*stages, f"all {math.fsum(seconds.values()):,.1f}"])))
    page = run.path / "report.html"
    return [
        *facts,
        ("page", str(_short(page))) if page.is_file() else ("tables", str(_short(run.path))),
    ]


def _reasons(run: Run) -> str:
    failed = run.failed
    if not failed.height:
        return ""
    first = failed.row(0, named=True)
    more = f" and {failed.height - 1:,} more, in images.parquet" if failed.height > 1 else ""
    told = f"{shorten(first['path'], 60)}: {shorten(first['error'], 80)}"
    return f" ({told}{more})"

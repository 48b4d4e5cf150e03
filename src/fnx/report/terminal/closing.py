"""The closing summary of a run in the terminal."""

from __future__ import annotations

import shlex
import sys
import textwrap

from fnx.analysis import Run
from fnx.analysis.advice import Advice
from fnx.analysis.summary import summarize
from fnx.report.terminal.terminal import encodable
from fnx.report.text import by, origin, plain, things

WIDTH = 80  # of a terminal that nobody made wider
_NAMES = 12  # columns before what is said


def print_summary(run: Run) -> None:
    """Print what came out, in the characters that standard output has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(encodable(summary(run), encoding))  # noqa: T201


def summary(run: Run) -> str:
    """Say what came out in a few aligned lines of plain text, and what one may want next."""
    lines = [plain(f"{run.dataset}, {run.model}, {run.statistic}")]
    for name, text in closing_facts(run):
        # Nothing but blanks is a place to break a line, so that paths stay whole.
        folded = textwrap.wrap(
            plain(text), WIDTH - _NAMES, break_long_words=False, break_on_hyphens=False
        )
        lines += [f"  {name:<9} {first}" for first in folded[:1] or [""]]
        lines += [" " * _NAMES + rest for rest in folded[1:]]
    return "\n".join([*lines, "next", *(f"  {command}" for command in next_commands(run))])


def next_commands(run: Run) -> list[str]:
    """Return three commands that go on from a run."""
    folder = shlex.quote(plain(str(run.path)))
    name = shlex.quote(plain(run.classes["class_name"][0]))
    advised = run.advice.advised if run.advice is not None else None
    of_layer = advised is not None and advised["kind"] == "layer"
    layer = f" --layers {shlex.quote(plain(advised['entry']))}" if advised and of_layer else ""
    return [
        f"python -m fnx show {folder} --class {name}",
        f"python -m fnx advise {folder}{'' if run.of_array else ' --untrained'}",
        f"python -m fnx export {folder}{layer} --to features.parquet",
    ]


def advised(advice: Advice) -> str:
    """Say which layer to use, with its accuracy, that of the last one, and chance."""
    row = advice.advised
    chance = f"chance {advice.chance:.1%}"
    if row is None:
        return f"no layer: none tells the classes apart better than {chance}"
    told = f"{row['entry']}: {advice.measure} {row['accuracy']:.1%} ± {row['standard_error']:.1%}"
    last = advice.table.filter(kind="layer").row(-1, named=True)
    if last["entry"] != row["entry"]:
        told += f", the last layer {last['accuracy']:.1%}"
    return f"{told}, {chance}"


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
            f" class {by(run, sign)}; random labels keep {kept.kept_random:,.0f}",
        )
        for sign, kept in found.kept.items()
    ]
    if run.advice is not None:
        facts.append(("use", advised(run.advice)))
    facts.append(("traces", "most in " + ", ".join(found.top_layers()["layer"])))
    seconds = run.record.seconds
    stages = [
        f"{stage} {value:,.1f}{origin(run.record) if stage == 'embedding' else ''}"
        for stage, value in seconds.items()
    ]
    facts.append(("seconds", ", ".join([*stages, f"all {sum(seconds.values()):,.1f}"])))
    page = run.path / "report.html"
    return [*facts, ("page", str(page)) if page.is_file() else ("tables", str(run.path))]


def _reasons(run: Run) -> str:
    failed = run.failed
    if not failed.height:
        return ""
    first = failed.row(0, named=True)
    more = f" and {failed.height - 1:,} more, in images.parquet" if failed.height > 1 else ""
    return f" ({first['path']}: {first['error']}{more})"

"""The closing summary of a run in the terminal."""

from __future__ import annotations

import sys

from fnx.analysis import Run
from fnx.analysis.summary import summarize
from fnx.report.terminal.terminal import encodable
from fnx.report.text import by, origin, plain, things


def print_summary(run: Run) -> None:
    """Print what came out, in the characters that standard output has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(encodable(summary(run), encoding))  # noqa: T201


def summary(run: Run) -> str:
    """Say what came out in a few aligned lines of plain text."""
    head = plain(f"{run.dataset}, {run.model}, {run.statistic}")
    return "\n".join([head, *(f"  {name:<9} {plain(text)}" for name, text in closing_facts(run))])


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
    facts.append(("layers", "keep most: " + ", ".join(found.top_layers()["layer"])))
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

"""The closing summary of a run in the terminal."""

from __future__ import annotations

from fnx.analysis import Run
from fnx.analysis.summary import findings


def summary(run: Run) -> str:
    """What came out, in a few aligned lines of plain ASCII-safe text."""
    found = findings(run)
    counts = run.record.counts
    lines = [
        ("images", f"{counts.images:,} used, {counts.failed:,} failed{_reasons(run)}"),
        ("classes", f"{run.classes.height:,} ({run.images_per_class:.1f} images each, on average)"),
        ("features", f"{run.features.height:,}{_constant(counts.constant)}"),
    ]
    for kept in found.kept:
        how = {"+": "by presence", "-": "by absence"}[kept.sign] if run.signed else "by distance"
        lines.append(
            (
                f"t{kept.sign}",
                f"{kept.threshold:+.3f} keeps {kept.kept:,.0f} features a class {how};"
                f" chance alone would keep {kept.kept_random:,.0f}",
            )
        )
    lines.append(("layers", "speak most: " + ", ".join(found.speaking()["layer"])))
    reused = " (reused)" if run.record.embedding_reused else ""
    seconds = run.record.seconds
    stages = [
        f"{stage} {value:,.1f}{reused if stage == 'embedding' else ''}"
        for stage, value in seconds.items()
    ]
    lines.append(("seconds", ", ".join([*stages, f"all {sum(seconds.values()):,.1f}"])))
    page = run.path / "report.html"
    lines.append(("page", str(page)) if page.is_file() else ("tables", str(run.path)))
    head = f"{run.dataset}, {run.model}, {run.statistic}"
    return "\n".join([head, *(f"  {name:<9} {text}" for name, text in lines)])


def _reasons(run: Run) -> str:
    failed = run.failed
    if not failed.height:
        return ""
    first = failed.row(0, named=True)
    more = f" and {failed.height - 1:,} more, in images.parquet" if failed.height > 1 else ""
    return f" ({first['path']}: {first['error']}{more})"


def _constant(count: int) -> str:
    return f" ({count:,} constant)" if count else ""

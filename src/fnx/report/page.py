"""The page of a run: one HTML file that opens from disk and explains itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fnx.analysis import Run
from fnx.analysis.findings import Findings, findings, kept_by_class
from fnx.report import style

MAX_FAILED = 200
"""Failed images that the page lists; the rest are in images.parquet."""

MAX_TOP = 5
"""Features listed for each class and sign; fewer where there are many classes."""

MANY_CLASSES = 300

_VERDICTS = ((25.0, "clearly"), (8.0, "noticeably"), (2.0, "faintly"))
"""Words for what is kept beyond chance, in percent of the features: aids for reading, no tests."""


def render(run: Run, figures: Mapping[str, str], formats: Sequence[str] = ()) -> str:
    """The page as text.

    Args:
        run: a finished run.
        figures: SVG text of each figure of `fnx.report.figures.pictures`, by name.
        formats: suffixes of the figures' files in ``figures/``, to be linked to.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = style.number
    environment.filters["shorten"] = style.shorten
    found = findings(run)
    failed = run.failed
    return environment.get_template("report.html.j2").render(
        run=run,
        record=run.record,
        found=found,
        plus=run.threshold("+"),
        minus=run.threshold("-"),
        verdict=verdict(found),
        speaking=found.speaking().rows(named=True),
        silent=found.silent().row(0, named=True),
        statistic=style.statistic_name(run.record["statistic"]),
        figures={name: inline(svg, name) for name, svg in figures.items()},
        formats=list(formats),
        layers=layer_rows(run, found),
        classes=class_rows(run),
        failed=failed.head(MAX_FAILED).rows(named=True),
        n_failed=failed.height,
        settings=settings(run),
        seconds=run.record["seconds"],
        config=json.dumps(run.record.get("config"), indent=2, ensure_ascii=False, default=str),
    )


def verdict(found: Findings) -> str | None:
    """How loud the features are: a word, or None where labels say hardly more than chance."""
    return next((word for least, word in _VERDICTS if found.signal >= least), None)


def layer_rows(run: Run, found: Findings) -> list[dict[str, Any]]:
    """The layers table: shares kept of each sign, and the distributions of D."""
    by_sign = {
        sign: {row["layer"]: row for row in part.rows(named=True)}
        for sign in ("+", "-")
        if (part := run.layers.filter(pl.col("sign") == sign)).height
    }
    return [
        row | {"plus": by_sign["+"][row["layer"]], "minus": by_sign.get("-", {}).get(row["layer"])}
        for row in found.layers.rows(named=True)
    ]


def class_rows(run: Run) -> list[dict[str, Any]]:
    """The classes table: how many features speak, and the strongest by presence and by absence."""
    count = MAX_TOP if run.classes.height <= MANY_CLASSES else 3
    names = run.features.select("feature_id", label=pl.format("{}/{}", "layer", "unit"))
    top = run.top_features.filter(pl.col("rank") <= count).join(
        names, on="feature_id", how="left", maintain_order="left"
    )
    strongest: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in top.rows(named=True):
        strongest.setdefault((row["class_id"], row["sign"]), []).append(row)
    table = run.classes.join(kept_by_class(run), on="class_id", maintain_order="left")
    return [
        row
        | {
            "presence": strongest.get((row["class_id"], "+"), []),
            "absence": strongest.get((row["class_id"], "-"), []),
        }
        for row in table.rows(named=True)
    ]


def settings(run: Run) -> list[tuple[str, str]]:
    """What was run, for someone who wants to run it again."""
    record = run.record
    return [
        ("command", " ".join(map(str, record["command"]))),
        ("started", str(record["started"])),
        ("data set", run.dataset),
        ("backbone", f"{run.model}, read {record['tap']}-activation"),
        ("crops", _parameters(record["crops"])),
        ("statistic", _parameters(record["statistic"])),
        ("threshold", _parameters(record["threshold"])),
        ("seed", str(record["seed"])),
        ("weights", str(record["weights_digest"])),
        ("embedding", f"{record['embedding']}{' (reused)' if record['embedding_reused'] else ''}"),
        ("fingerprint", str(record["fingerprint"])),
        ("fnx", str(record["fnx_version"])),
        ("libraries", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
    ]


def _parameters(values: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key}={value}" for key, value in values.items() if key != "name")
    return f"{values.get('name', '')}: {rest}" if rest else str(values.get("name", ""))


_GENERIC_ID = re.compile(r' id="[A-Za-z0-9_.-]*_\d+"')
_COORDINATES = re.compile(r'\b(?:d|x|y|x1|y1|x2|y2|points|transform)="[^"]*"')
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_COLOURS = re.compile("|".join(style.THEME))
_REFERENCE = re.compile(r'(id="|href="#|url\(#)(?=[a-z])')


def inline(svg: str, name: str) -> Markup:
    """A figure's SVG made fit for a page: themed colours, ids of its own, fewer decimals.

    Matplotlib has escaped all text in it.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _GENERIC_ID.sub("", text)
    text = _REFERENCE.sub(rf"\g<1>{name}-", text)
    text = _COORDINATES.sub(lambda found: _DECIMALS.sub(_two_decimals, found[0]), text)
    text = _COLOURS.sub(lambda found: f"var(--{style.THEME[found[0]]})", text)
    text = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", text, count=1)
    return Markup(text.replace("<svg ", '<svg role="img" ', 1))  # noqa: S704


def _two_decimals(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")

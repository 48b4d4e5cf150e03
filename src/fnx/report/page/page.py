"""The page of a run: it opens from disk, says the answer, and shows every class and feature.

``report.html`` holds all that the answer needs; what its views need lies in ``report/`` beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fnx.analysis import Run
from fnx.analysis.summary import Summary, kept_by_class, summarize
from fnx.report.figures import style
from fnx.report.page import data as pagedata
from fnx.report.page.chunks import packed, script_json
from fnx.report.text import number, shorten, statistic_name

TEMPLATES = Path(__file__).parent / "templates"

STYLES = ("report.css", "page.css")

SCRIPTS = (
    "page-core.js",
    "page-table.js",
    "page-chart.js",
    "page-search.js",
    "page-figures.js",
    "page-class.js",
    "page-layer.js",
    "page-feature.js",
    "page-router.js",
    "report.js",
    "page-front.js",
)
"""The page's scripts, which become one."""

MAX_FAILED = 200
"""Failed images that the page lists; the rest are in images.parquet."""

MAX_TOP = 5
"""Features listed for each class and sign; fewer where there are many classes."""

MANY_CLASSES = 300

MAX_ROWS = 100
"""Classes in the table that the page itself holds; with scripts, all are listed page by page."""

_VERDICTS = ((25.0, "clearly"), (8.0, "noticeably"), (2.0, "faintly"))
"""Words for what is kept beyond chance, in percent of the features: aids for reading, no tests."""


def write(
    run: Run,
    figures: Mapping[str, str],
    formats: Sequence[str] = (),
    mode: str = "empirical",
) -> Path:
    """Write ``report.html`` and, beside it, ``report/`` with plotly and the numbers of the views.

    Args:
        run: a finished run.
        figures: SVG text of each figure of `fnx.report.figures.draw.pictures`, by name.
        formats: suffixes of the figures' files in ``figures/``, to be linked to.
        mode: of Figure 5, see `fnx.report.figures.layers.table`.

    Returns:
        Path of the page.
    """
    from plotly.offline import get_plotlyjs

    folder = run.path / "report"
    pagedata.write(run, folder / "data", mode)
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    path = run.path / "report.html"
    path.write_text(render(run, figures, formats), encoding="utf-8")
    return path


def render(run: Run, figures: Mapping[str, str], formats: Sequence[str] = ()) -> str:
    """The page as text; see `write`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["shorten"] = shorten
    environment.filters["address"] = address
    found = summarize(run)
    failed = run.failed
    script = page_script()
    return environment.get_template("report.html.j2").render(
        run=run,
        record=run.record,
        found=found,
        plus=run.threshold("+"),
        minus=run.threshold("-"),
        verdict=verdict(found),
        speaking=found.top_layers().rows(named=True),
        silent=found.bottom_layer(),
        statistic=statistic_name(run.record.statistic),
        figures={name: inline(svg, name) for name, svg in figures.items()},
        picture_files={name: picture_file(run, name) for name in figures},
        links={name: figure_files(run, name, formats) for name in figures},
        layers=layer_rows(run, found),
        classes=class_rows(run),
        failed=failed.head(MAX_FAILED).rows(named=True),
        n_failed=failed.height,
        settings=settings(run),
        seconds=run.record.seconds,
        config=json.dumps(run.record.config, indent=2, ensure_ascii=False, default=str),
        style=Markup("\n".join(_template(name) for name in STYLES)),  # noqa: S704
        index=Markup(script_json(pagedata.index(run) | top_index(run))),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def page_script() -> str:
    """The page's scripts as one, whose names no other script sees."""
    parts = "\n".join(_template(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def address(parts: Sequence[object]) -> str:
    """Address of a layer's view, or of a feature's if there is a unit.

    >>> address(("conv1_1",)), address(("a/b", 7))
    ('#/layer/conv1_1', '#/feature/a%2Fb/7')
    """
    kind = "layer" if len(parts) == 1 else "feature"
    # The characters that JavaScript's encodeURIComponent leaves as they are.
    return "#/" + "/".join([kind, *(quote(str(part), safe="!'()*") for part in parts)])


def figure_files(run: Run, name: str, formats: Sequence[str]) -> list[str]:
    """Suffixes of a figure's files, and of the table behind it where there is one."""
    tables = [
        kind for kind in ("csv", "parquet") if (run.path / f"figures/{name}.{kind}").is_file()
    ]
    return [*formats, *tables]


def picture_file(run: Run, name: str) -> str | None:
    """A figure of photographs as a file to be shown: they would make the page itself heavy."""
    files = (f"figures/{name}.{suffix}" for suffix in ("png", "svg"))
    return next((file for file in files if (run.path / file).is_file()), None)


def verdict(found: Summary) -> str | None:
    """How loud the features are: a word, or None where labels say hardly more than chance."""
    return next((word for least, word in _VERDICTS if found.signal >= least), None)


def layer_rows(run: Run, found: Summary) -> list[dict[str, Any]]:
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
    """The first classes: how many features speak, and the strongest by presence and by absence."""
    table = run.classes.join(kept_by_class(run), on="class_id", maintain_order="left")
    table = table.head(MAX_ROWS)
    names = run.features.select("feature_id", "layer", "unit")
    top = _top(run).join(table.select("class_id"), on="class_id", how="semi")
    top = top.join(names, on="feature_id", how="left", maintain_order="left")
    strongest: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in top.rows(named=True):
        strongest.setdefault((row["class_id"], row["sign"]), []).append(row)
    return [
        row
        | {
            "presence": strongest.get((row["class_id"], "+"), []),
            "absence": strongest.get((row["class_id"], "-"), []),
        }
        for row in table.rows(named=True)
    ]


def _top(run: Run) -> pl.DataFrame:
    return run.top_features.filter(pl.col("rank") <= _top_count(run))


def _top_count(run: Run) -> int:
    return MAX_TOP if run.classes.height <= MANY_CLASSES else 3


def top_index(run: Run) -> dict[str, Any]:
    """The strongest features of all classes as arrays (C, count), -1 where there are fewer."""
    count, found = _top_count(run), {}
    for sign in ("+", "-") if run.signed else ("+",):
        rows = _top(run).filter(sign=sign)
        at = rows["class_id"].to_numpy().astype(np.int64), rows["rank"].to_numpy() - 1
        ids = np.full((run.classes.height, count), -1, np.int32)
        values = np.zeros((run.classes.height, count), np.float32)
        ids[at], values[at] = rows["feature_id"].to_numpy(), rows["distance"].to_numpy()
        found[sign] = {"features": packed(ids, "i4"), "distances": packed(values, "f4")}
    return {"topPerClass": count, "top": found}


def settings(run: Run) -> list[tuple[str, str]]:
    """What was run, for someone who wants to run it again."""
    record = run.record
    return [
        ("command", " ".join(record.command)),
        ("started", record.started),
        ("data set", run.dataset),
        ("backbone", f"{run.model}, read {record.tap}-activation"),
        ("crops", _parameters(record.crops)),
        ("statistic", _parameters(record.statistic)),
        ("threshold", _parameters(record.threshold)),
        ("seed", str(record.seed)),
        ("weights", record.weights_digest),
        ("embedding", f"{record.embedding}{' (reused)' if record.embedding_reused else ''}"),
        ("fingerprint", record.fingerprint),
        ("fnx", record.fnx_version),
        ("libraries", ", ".join(f"{k} {v}" for k, v in record.versions.items())),
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

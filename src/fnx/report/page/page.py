"""The page of a run: it opens from disk, gives the answer, and shows every class and feature.

``report.html`` holds all that the answer needs; what its views need lies in ``report/`` beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from fnx.analysis import Run
from fnx.analysis.summary import Summary, kept_by_class, summarize
from fnx.report.page import against, front, library
from fnx.report.page import data as pagedata
from fnx.report.page.chunks import script_json
from fnx.report.page.html import TEMPLATES, environment, inline
from fnx.report.tables import condensed, datasets_table, named_top_features
from fnx.report.text import origin, receptive_field, signs, statistic_name, things
from fnx.report.verdict import verdict
from fnx.utils.files import write_atomically

STYLES = ("report.css", "page.css", "look.css")

SCRIPTS = (
    "page-core.js",
    "page-table.js",
    "page-chart.js",
    "page-search.js",
    "page-figures.js",
    "page-class.js",
    "page-against.js",
    "page-layer.js",
    "page-feature.js",
    "page-router.js",
    "report.js",
    "page-front.js",
)
"""The page's scripts, which become one."""

_LABELS = {
    "fig01_pair": "The values of one feature on the images of a class and on all others",
    "fig05_layers": "Distribution of the distances of each layer",
    "fig06_distribution": "Distribution of all distances",
    "fig09_presence": "Features kept by presence at every threshold",
    "fig09_absence": "Features kept by absence at every threshold",
    "fig10_kept": "Share of each layer that is kept",
}
"""What each figure shows, for those who cannot see it; its numbers are in the tables."""

MAX_FAILED = 200  # failed images that the page lists; the rest are in images.parquet

MAX_ROWS = 100
"""Classes in the table that the page itself holds; with scripts, all are listed page by page."""


def write(
    run: Run, figures: Mapping[str, str], formats: Sequence[str] = (), mode: str = "empirical"
) -> Path:
    """Write ``report.html`` and, beside it, ``report/`` with plotly and the numbers of the views.

    `figures` is the SVG text of each figure by name, `formats` are suffixes of their files in
    ``figures/``, to be linked to, and `mode` is of `fnx.report.figures.layers.table`.
    """
    folder = run.path / "report"
    pagedata.write(run, folder / "data", mode)
    against.write(run, folder / "data")
    library.put(folder, run.record.setting("paths.cache"))
    path = run.path / "report.html"
    write_atomically(path, render(run, figures, formats))
    return path


def render(run: Run, figures: Mapping[str, str], formats: Sequence[str] = ()) -> str:
    """Return the page as text; see `write`."""
    found = summarize(run)
    failed = run.failed
    script = page_script()
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            record=run.record,
            things=things(run),
            found=found,
            plus=run.threshold("+"),
            minus=run.threshold("-"),
            verdict=verdict(found, run.advice),
            advice=run.advice,
            advice_page=(run.path / "advice.html").is_file(),
            portraits=front.portraits(run),
            depth=front.depth(run),
            height=front.HEIGHT,
            top_layers=found.top_layers().rows(named=True),
            least=found.bottom_layer(),
            statistic=statistic_name(run.record.statistic),
            figures={
                name: inline(svg, name, _LABELS.get(name, name)) for name, svg in figures.items()
            },
            pairs={sign: front.shown(run, sign) for sign in signs(run)},
            links={name: figure_files(run, name, formats) for name in figures},
            layers=layer_rows(run, found),
            classes=class_rows(run),
            network=condensed(run.network).rows(named=True) if run.has("network") else [],
            sees=partial(receptive_field, run),
            totals=network_totals(run),
            dataset=datasets_table([run]).row(0, named=True),
            failed=failed.head(MAX_FAILED).rows(named=True),
            n_failed=failed.height,
            settings=settings(run),
            seconds=run.record.seconds,
            config=json.dumps(run.record.config, indent=2, ensure_ascii=False, default=str),
            style=Markup("\n".join(_template(name) for name in STYLES)),  # noqa: S704
            index=Markup(script_json(pagedata.index(run))),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def page_script() -> str:
    """Return the page's scripts as one, whose names no other script sees."""
    parts = "\n".join(_template(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def figure_files(run: Run, name: str, formats: Sequence[str]) -> list[str]:
    """Return the suffixes of a figure's files, and of the table behind it where there is one."""
    stem = run.path / "figures" / name
    return [*formats, *(kind for kind in ("csv", "parquet") if Path(f"{stem}.{kind}").is_file())]


def layer_rows(run: Run, found: Summary) -> list[dict[str, Any]]:
    """Return the table of layers: shares kept of each sign, and the distributions of D."""
    by_sign = {
        sign: {row["layer"]: row for row in run.layers.filter(sign=sign).rows(named=True)}
        for sign in signs(run)
    }
    return [
        row | {"plus": by_sign["+"][row["layer"]], "minus": by_sign.get("-", {}).get(row["layer"])}
        for row in found.layers.rows(named=True)
    ]


def class_rows(run: Run) -> list[dict[str, Any]]:
    """Return the first classes: how many features each keeps, and its top features."""
    table = run.classes.join(kept_by_class(run), on="class_id", maintain_order="left")
    top = named_top_features(run).filter(pl.col("rank") <= pagedata.top_per_class(run))
    by_class = top.partition_by("class_id", "sign", as_dict=True)
    empty = top.clear()
    return [
        row
        | {
            "presence": by_class.get((row["class_id"], "+"), empty).rows(named=True),
            "absence": by_class.get((row["class_id"], "-"), empty).rows(named=True),
        }
        for row in table.head(MAX_ROWS).rows(named=True)
    ]


def network_totals(run: Run) -> dict[str, int]:
    """Return the sums of Table 1's columns; nothing of a network that is not known."""
    if not run.has("network"):
        return {}
    columns = ("filters", "parameters", "neurons", "features")
    return run.network.select(columns).sum().row(0, named=True)


def settings(run: Run) -> list[tuple[str, str]]:
    """Return what was run, for someone who wants to run it again."""
    record = run.record
    rows = [
        ("command", shlex.join(record.command)),
        ("started", record.started),
        ("drawn anew by", shlex.join(map(str, record.redrawn.get("command", ())))),
        ("data set", run.dataset),
        ("backbone", f"{run.model}, read {record.tap}-activation" if record.tap else run.model),
        ("crops", _parameters(record.crops)),
        ("statistic", _parameters(record.statistic)),
        ("threshold", _parameters(record.threshold)),
        ("seed", str(record.seed)),
        ("weights", record.weights_digest),
        ("embedding", f"{record.embedding}{origin(record)}"),
        ("fingerprint", record.fingerprint),
        ("fnx", record.fnx_version),
        ("libraries", ", ".join(f"{k} {v}" for k, v in record.versions.items())),
    ]
    return [(name, value) for name, value in rows if value]


def _parameters(values: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key}={value}" for key, value in values.items() if key != "name")
    return f"{values.get('name', '')}: {rest}" if rest else str(values.get("name", ""))

"""What is shown of a run, a class, a feature or a layer, as a terminal prints it: every character.

Texts that are meant to change are approved by reading them, and then
``APPROVE_LOOKS=1 python -m pytest tests/report``, which rewrites ``shown.txt``.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import RenderableType
from tests.report.shapes import INF, Runs
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.detectors import SCHEMA
from fnx.analysis.profiles import class_profile, feature_profile, layer_profile
from fnx.report.terminal import show
from fnx.report.terminal.closing import summary
from fnx.report.terminal.parts import scale_of
from fnx.report.terminal.terminal import Terminal
from fnx.report.values import Values

APPROVED = Path(__file__).with_name("shown.txt")
VALUES = Values(
    1, "zebu", np.linspace(0, 0.08, 5), np.array([0, 12.5, 87.5, 0]), np.array([50.0, 30, 15, 5]),
    8, 1200,
)  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)  # short paths, whatever the machine's are
    return Runs(Path())


def reused(run: Run, n_failed: int = 3) -> Run:
    """The run as one that found its embedding, with a page and some failed images."""
    counts = replace(run.record.counts, images=1234, failed=n_failed, constant=1001)
    record = replace(run.record, embedding_reused=True, counts=counts)
    failed = run.images.with_columns(
        status=pl.when(pl.col("image_id") < n_failed)
        .then(pl.lit("failed"))
        .otherwise(pl.lit("ok")),
        error=pl.lit("truncated"),
    )
    folder = Path(shutil.copytree(run.path, f"{run.path}-reused", dirs_exist_ok=True))
    (folder / "report.html").touch()
    return Run(folder, record, {"images": failed})


def detected(run: Run) -> Run:
    """The run with detectors: one judged, one of too few images, by absence."""
    rows = [
        (0, "zebu", 1, 9, "pool1", 4, "+", 3.2049, 0.8125, 0.75, 0.755, 0.8149, 0.0599, 0.8),
        (1, "ant", 1, 0, "conv1", 0, "-", -0.000123456, -1.0, -1.0, None, None, None, None),
    ]
    return Run(run.path, run.record, {"detectors": pl.DataFrame(rows, SCHEMA, orient="row")})


def feature(run: Run, number: int, values: Values | str, *, every_class: bool = False,
            **changes: Any) -> Iterable[RenderableType]:  # fmt: skip
    profile = replace(feature_profile(run, number), **changes)
    return show.show_feature(run, profile, values, every_class=every_class)


def of_class(run: Run, number: int, top: int = 3, **changes: Any) -> Iterable[RenderableType]:
    return show.show_class(run, replace(class_profile(run, number, top), **changes))


def layer(run: Run, name: str, top: int = 3, **changes: Any) -> Iterable[RenderableType]:
    return show.show_layer(run, replace(layer_profile(run, name, top), **changes))


def all_shown(runs: Runs) -> dict[str, Iterable[RenderableType]]:
    many, signed, unsigned = runs.many_classes, runs.signed, runs.unsigned
    none = np.zeros(40)
    images = pl.DataFrame(
        {
            "rank": [1, 2],
            "activation": [1234.5678, -0.25],
            "class_name": ["zebu", None],
            "path": [None, "a/b.jpg"],
        }
    )
    ranges = feature_profile(signed, 9).classes.with_columns(
        t_plus=0.125 * (1 + pl.col("class_id")), t_minus=pl.lit(None, pl.Float64)
    )
    twenty = feature_profile(many, 2).classes
    stage = {"height": 28, "width": 14, "receptive_field": 1212}
    return {
        "run": show.show_run(signed),
        "run, unsigned": show.show_run(unsigned),
        "run that keeps nothing": show.show_run(runs.nothing),
        "run, reused": show.show_run(reused(signed)),
        "run, 0.5 says nothing": show.show_run(runs.half),
        "class, 0.5 says nothing": of_class(runs.half, 1),
        "feature, 0.5 says nothing": feature(runs.half, 9, "gone"),
        "layer, 0.5 says nothing": layer(runs.half, "conv2"),
        "class": of_class(signed, 0),
        "detectors": show.show_detectors(detected(signed)),
        "class with a detector": of_class(detected(signed), 0, 1),
        "class whose detector is not judged": of_class(detected(signed), 1, 1),
        "class, calibrated": of_class(runs.calibrated, 0),
        "feature, calibrated": feature(runs.calibrated, 9, "gone"),
        "layer, calibrated": layer(runs.calibrated, "pool1"),
        "class, unsigned": of_class(unsigned, 2),
        "class that keeps nothing": of_class(runs.nothing, 1, 1, n_failed=0, n_images=12345),
        "feature": feature(signed, 9, VALUES, images=None),
        "feature, unsigned and constant": feature(unsigned, 0, VALUES, constant=True),
        "feature, one class less than are cut": feature(many, 2, "gone", classes=twenty.head(20)),
        "feature, many classes": feature(many, 2, "gone", images=images, classes=twenty.head(22)),
        "feature, every class": feature(
            many, 2, "gone", every_class=True, classes=twenty.head(21), images=images.clear()
        ),
        "feature, thresholds by class": feature(signed, 9, "gone", classes=ranges),
        "layer": layer(signed, "pool1", stage=stage, constant=1),
        "layer, unsigned": layer(unsigned, "fc3", 1, stage=stage | {"height": None}),
        "layer without finite distances": layer(signed, "fc3", 0, real=none, random=none),
        "layer, fine bins": layer(
            signed, "conv2", 0, edges=np.array([0, 1e-9, 2e-9]), real=np.array([10.0, 90]),
            random=np.array([30.0, 70]),
        ),
        "layer, wide bins": layer(
            signed, "conv2", 0, edges=np.array([-2000.0, 0.0, 2000.0]), real=np.array([10.0, 90]),
            random=np.array([100.0, 0]),
        ),
    }  # fmt: skip


def test_what_is_shown_is_as_approved(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # where bars are as long as they get
    monkeypatch.setattr(show.contents, "facts", lambda run: [])  # sizes of files are the libraries'
    found = []
    for name, shown in all_shown(runs).items():
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        Terminal(stream).print(shown)
        stream.seek(0)
        found.append(f"=== {name}\n{stream.read()}")
    text = "\n".join(found)
    if os.environ.get("APPROVE_LOOKS"):
        APPROVED.write_text(text, encoding="utf-8")
    assert text.splitlines() == APPROVED.read_text(encoding="utf-8").splitlines()


def test_the_closing_summary_is_aligned_plain_text(runs: Runs) -> None:
    run = reused(runs.signed)
    lines = summary(run).splitlines()
    reasons = ["", " (class 0/0000.jpg: truncated)"]
    for n_failed, reason in enumerate(reasons):
        told = summary(reused(runs.signed, n_failed)).splitlines()[1]
        assert told == f"  images    1,234 used, {n_failed} failed{reason}"
    assert lines[0] == "shapes, tinynet, ks"
    assert lines[1:3] == [
        "  images    1,234 used, 3 failed (class 0/0000.jpg: truncated and 2 more, in",
        "            images.parquet)",
    ]
    assert lines[4] == "  features  26 (1,001 constant)"
    at = lines.index("next")
    assert lines[at - 3 : at - 1] == [
        "  seconds   images 0.4, embedding 61.2 (reused), distances 3.2, thresholds 0.2,",
        "            analysis 0.3, all 65.4",
    ]
    assert lines[at - 1] == f"  page      {run.path / 'report.html'}"


def test_the_closing_summary_fits_a_small_terminal_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["it's a rather long name of a class, longer than most are", "b"]
    failed = [(f"{'folder/' * 12}{i}.jpg", "image file is truncated " * 9) for i in range(20)]
    folder = write_run(
        tmp_path / "runs/2026-11-26/01-48-00 digits",
        Synthetic(class_sizes=(40, 40), class_names=names, failed=failed),
    )
    stages = "images embedding distances calibration thresholds analysis detectors advice pictures"
    record = json.loads((folder / "run.json").read_text())
    record["seconds"] = dict.fromkeys([*stages.split(), "report"], 12345.6)
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "report.html").touch()
    monkeypatch.chdir(tmp_path)
    run = Run.open(folder)
    lines = summary(run).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines[:-3])) <= 80
    best = run.top_features.filter(sign="+").sort("distance", descending=True)["class_id"][0]
    place = "'runs/2026-11-26/01-48-00 digits'"
    assert lines[-4:] == [
        "next",
        f"  python -m fnx show {place} --class {shlex.quote(names[best])}",
        f"  python -m fnx advise {place}",
        f"  python -m fnx export {place} --to features.parquet",
    ]
    vars(run)["advice"] = SimpleNamespace(
        advised=None, chance=0.5, measure="accuracy", untrained=None
    )
    lines = summary(run).splitlines()
    assert lines[-2] == f"  python -m fnx compare {place} OTHER_RUN"
    assert "  verdict   No layer tells these classes apart better than chance (50 %)." in lines


@pytest.mark.parametrize(
    ("distances", "neutral", "scale"),
    [
        ([0.5, -0.25], 0.0, 1.0),
        ([1.0], 0.0, 1.0),
        ([-2.5, 2.0, INF], 0.0, 2.5),
        ([INF], 0.0, 1.0),
        ([], 0.0, 1.0),
        ([0.25, 0.75], 0.5, 0.5),
        ([1.25, 0.5], 0.5, 0.75),
    ],
)
def test_a_whole_bar_is_the_usual_reach_or_the_farthest_finite_distance(
    distances: list[float], neutral: float, scale: float
) -> None:
    assert scale_of(pl.Series(distances, dtype=pl.Float64), neutral) == scale


@pytest.mark.parametrize(
    ("step", "digits"), [(100.0, 0), (10.0, 0), (9.0, 1), (1.0, 1), (0.05, 3), (1e-9, 6), (0.0, 0)]
)
def test_edges_have_the_decimals_that_tell_them_apart(step: float, digits: int) -> None:
    assert show._digits(step) == digits

"""Numbers, names and a run in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.record import Extraction, RunRecord
from fnx.report.text import (
    by,
    describe,
    distance_label,
    origin,
    plain,
    shorten,
    signs,
    statistic_name,
)


@pytest.mark.parametrize(
    ("statistic", "bins", "name", "unit"),
    [
        ("ks", 7, "signed KS distance (7 bins)", "dimensionless"),
        ("ks_exact", None, "signed KS distance (exact)", "dimensionless"),
        ("kl", 100, "KL divergence (100 bins)", "nats"),
        ("bhattacharyya", 100, "Bhattacharyya distance (100 bins)", "nats"),
        ("mine", None, "mine", "dimensionless"),
    ],
)
def test_a_statistic_is_named_with_its_bins_and_unit(
    tmp_path: Path, statistic: str, bins: int | None, name: str, unit: str
) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(statistic=statistic)))
    run.record.statistic["bins"] = bins
    assert statistic_name({"name": statistic, "bins": bins}) == name
    assert distance_label(run) == f"D, {name} / {unit}"
    assert describe(run) == f"shapes, tinynet, {name}: 150 images, 5 classes, 48 features"


def test_signs_have_words(tmp_path: Path) -> None:
    signed = Run.open(write_run(tmp_path / "signed"))
    unsigned = Run.open(write_run(tmp_path / "kl", Synthetic(statistic="kl", unbounded=True)))
    assert signs(signed) == ("+", "-")
    assert [by(signed, sign) for sign in "+-"] == ["by presence", "by absence"]
    assert signs(unsigned) == ("+",)
    assert by(unsigned, "+") == "by distance"


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc…fg"),
        ("abcdefg", 3, "a…g"),
        ("a  b\n c", 5, "a b c"),
    ],
)
def test_a_long_text_is_cut_in_its_middle(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short


def test_what_would_steer_a_terminal_is_taken_out() -> None:
    assert plain("a\x1b[2J\r\n\tb\u2028c\x00\udcff é漢") == "a?[2J b c?? é漢"


@pytest.mark.parametrize(
    ("reused", "extraction", "said"),
    [
        (True, None, " (reused)"),
        (False, Extraction(60, 1.0), ""),
        (False, Extraction(1060, 1.0, copied=8677), " (8,677 images copied, 1,060 extracted)"),
        (False, None, ""),  # of an older version
    ],
)
def test_where_an_embedding_came_from_is_told(
    reused: bool, extraction: Extraction | None, said: str
) -> None:
    record = RunRecord(
        dataset="d",
        model="m",
        statistic={"name": "ks"},
        embedding_reused=reused,
        extraction=extraction,
    )
    assert origin(record) == said

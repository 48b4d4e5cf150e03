from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from tests.browser import find
from tests.report.looks import assert_looks_approved
from tests.report.page.test_page import HOSTILE, Page
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.report.comparison.gather import Comparison, gather
from fnx.report.comparison.page import _SECTIONS, _series, link, render
from fnx.report.comparison.write import write
from fnx.report.figures import agreement as fig_agreement
from fnx.report.figures import style


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Runs of all sorts, two with hostile names, side by side."""
    folder = tmp_path_factory.mktemp("runs & pages")
    names = [HOSTILE, "x" * 300, "a", "b", "c"]
    hostile = Synthetic(dataset=HOSTILE, model="<b>net", class_names=names)
    specs = {
        "one": hostile,
        "two #1": hostile.but(seed=1),
        "kl": hostile.but(statistic="kl", unbounded=True),
        "places": hostile.but(model="vgg16_places", seed=2),
        "small": Synthetic(dataset="small", class_sizes=(12, 14)),
    }
    for name, spec in specs.items():
        write_run(folder / "runs" / name, spec)
    record = folder / "runs/places/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights_digest": "other"}))
    (folder / "runs/two #1/report.html").write_text("<!DOCTYPE html><title>a run</title>")
    runs = [Run.open(folder / "runs" / name) for name in specs]
    compared = gather(runs)
    write(compared, folder / "out", ["svg"])
    return folder / "out", compared


def test_the_page_is_whole_and_needs_no_network(made: tuple[Path, Comparison]) -> None:
    folder, _ = made
    text = (folder / "compare.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = {f"#{name}" for name in page.ids}
    for reference in page.references:
        local = not reference.startswith("#") and (folder / unquote(reference)).is_file()
        assert reference in inside or reference.startswith("data:") or local, reference
    assert "../runs/two%20%231/report.html" in page.references
    assert len(text) < 4_000_000


def test_the_figures_look_as_approved(made: tuple[Path, Comparison]) -> None:
    drawn = {f"compare/{file.stem}": file.read_text() for file in made[0].glob("*.svg")}
    assert len(drawn) == 11
    assert_looks_approved(**drawn)


def test_names_do_no_harm(made: tuple[Path, Comparison]) -> None:
    text = (made[0] / "compare.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>net" not in text
    assert any(HOSTILE in part for part in Page(text).text)


def test_the_page_says_what_the_tables_say(made: tuple[Path, Comparison]) -> None:
    folder, compared = made
    text = re.sub(r"\s+", " ", " ".join(Page((folder / "compare.html").read_text()).text))
    for pair in compared.pairs.rows(named=True):
        assert pair["note"] in text
        if pair["spearman"] is not None:
            assert f"{pair['spearman']:.3f}".replace("-", "−") in text
    for row in compared.table3.rows(named=True):
        assert f"{row['t_plus']:.3f}" in text
        assert f"{row['kept_plus']:,.0f}" in text
    assert "networks with different weights" in text
    assert "statistic.epsilon" not in text


def test_pairs_of_all_kinds_are_there(made: tuple[Path, Comparison]) -> None:
    _, compared = made
    by = compared.pairs["by"].value_counts().sort("by").rows()
    assert by == [("distribution", 3), ("unit", 3)]


def test_the_layers_of_sixty_pairs_are_in_the_page(made: tuple[Path, Comparison]) -> None:
    _, compared = made
    for count, more in ((60, None), (62, "The layers of 2 more pairs of runs are in")):
        pairs = pl.concat([compared.pairs.filter(by="unit").head(1)] * count)
        figures = {stem: "<svg ></svg>" for stems in _SECTIONS.values() for stem in stems}
        text = render(replace(compared, pairs=pairs), figures, Path("out"), [])
        assert text.count(", layer by layer</summary>") == 60
        assert ("more pairs of runs are in" in text) == (more is not None)
        assert more is None or more in text


def test_many_pairs_become_columns_of_colours(tmp_path: Path) -> None:
    runs = [Run.open(write_run(tmp_path / str(i), Synthetic(seed=i))) for i in range(5)]
    with style.style():
        text = style.svg(fig_agreement.draw(gather(runs).layers, "unit"))
    assert "10  shapes (4) : shapes (5)" in text
    assert_looks_approved(many_pairs=text)


def test_one_run_alone_has_a_page(tmp_path: Path) -> None:
    text = write(gather([Run.open(write_run(tmp_path / "run"))]), tmp_path / "out", []).read_text()
    assert "One run alone has nothing to be compared with" in text


@pytest.mark.skipif(not find(), reason="chromium is not on this machine")
def test_a_browser_opens_the_page_without_complaint(
    made: tuple[Path, Comparison], tmp_path: Path
) -> None:
    command = [
        str(find()), "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-background-networking", f"--user-data-dir={tmp_path}",
        "--enable-logging=stderr", "--dump-dom", (made[0] / "compare.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg") == len(list(made[0].glob("*.svg")))


def test_a_run_is_linked_to_where_its_page_is(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "a run"))
    assert link(run, tmp_path / "out") is None
    (run.path / "report.html").touch()
    assert link(run, tmp_path / "out") == "../a%20run/report.html"
    assert link(run, tmp_path) == "a%20run/report.html"
    assert link(run, tmp_path / "x/y") == "../../a%20run/report.html"


def test_colours_of_runs_have_a_name_that_the_page_gives_a_colour(
    made: tuple[Path, Comparison],
) -> None:
    text = (made[0] / "compare.html").read_text(encoding="utf-8")
    used = set(re.findall(r"var\((--series-\w+)\)", text))
    assert len(used) > 1
    assert used <= set(re.findall(r"(--series-\w+):", text))


def test_colours_of_runs_are_lighter_on_a_dark_screen() -> None:
    dark = _series(3)
    assert len(dark) == 3  # the first, the middle and the last of three; of fewer, some of them
    for colour, light in dark.items():
        for place in (1, 3, 5):
            part, lighter = (int(text[place : place + 2], 16) for text in (colour, light))
            assert lighter == pytest.approx(0.45 * 255 + 0.55 * part, abs=1)

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from tests.report.page.test_data import read
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.config.schema import ReportConfig
from fnx.report import summary, write_report
from fnx.report.page import page as report_page

HOSTILE = '<script>alert("x")</script>&$x_{'
DRAWN = ("fig05_layers", "fig06_distribution", "fig09_presence", "fig09_absence", "fig10_kept")
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Collects what a page refers to, its ids and its text; notices tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_nothing_from_elsewhere(finished: Path) -> None:
    page = Page((finished / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    inside = {f"#{name}" for name in page.ids}
    for reference in page.references:
        local = (finished / reference).is_file() if not reference.startswith("#") else False
        view = reference.startswith(("#/class/", "#/layer/", "#/feature/"))
        assert reference in inside or reference == "data:," or local or view, reference
    assert "@import" not in "".join(page.text)


def test_ids_are_unique(finished: Path) -> None:
    ids = Page((finished / "report.html").read_text(encoding="utf-8")).ids
    assert len(ids) == len(set(ids))


def test_the_page_gives_the_answer_in_numbers_of_the_run(finished: Path) -> None:
    run = Run.open(finished)
    text = re.sub(r"\s+", " ", " ".join(Page((finished / "report.html").read_text()).text))
    for sign in "+-":
        row = run.threshold(sign)
        assert row is not None
        assert f"{row['threshold']:.3f}".replace("-", "−") in text
        assert f"{row['kept']:.1f}" in text
    assert "What tinynet says about the 5 classes of shapes" in text
    assert "image file is truncated" in text
    best = run.top_features.filter(class_id=2, sign="+", rank=1).join(run.features, on="feature_id")
    assert f"{best['layer'].item()}/{best['unit'].item()}" in text


def test_names_do_no_harm(tmp_path: Path) -> None:
    spec = Synthetic(
        dataset=HOSTILE,
        model="<b>net",
        class_sizes=(15, 15),
        class_names=[HOSTILE, "x" * 500],
        failed=[(f"{HOSTILE}/a.jpg", "<img src=x onerror=alert(1)>")],
    )
    path = write_report(Run.open(write_run(tmp_path / "run", spec)), ReportConfig(formats=["svg"]))
    assert path is not None
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert text.count("<script") == 2  # the page's own, and its numbers
    assert "<img" not in text
    assert "<b>net" not in text
    assert "\u2028" not in text
    for chunk in (path.parent / "report/data").iterdir():
        assert chunk.read_bytes().isascii()
        assert b"<" not in chunk.read_bytes()
    assert any(HOSTILE in part for part in page.text)


def test_an_unsigned_unbounded_statistic_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Synthetic(statistic="kl", unbounded=True))
    path = write_report(Run.open(folder), ReportConfig(formats=["png"]))
    assert path is not None
    text, _ = path.read_text(encoding="utf-8").split('id="run-index"')  # scripts follow
    assert "by absence" not in text
    assert "t⁻" not in text
    assert "infinite: not drawn" in text
    assert not (folder / "figures/fig09_absence.png").exists()
    assert "t+ " in summary(Run.open(folder))


def test_two_hundred_classes_stay_small(tmp_path: Path) -> None:
    sizes = tuple(20 + i % 30 for i in range(200))
    names = [f"a class with a rather long name, number {i}" for i in range(200)]
    layers = tuple((f"stages.{i}.blocks.0.conv_pw", 30, "conv") for i in range(40))
    spec = Synthetic(class_sizes=sizes, class_names=names, layers=layers)
    path = write_report(Run.open(write_run(tmp_path / "run", spec)), ReportConfig(formats=[]))
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    assert all(name in text for name in names)
    assert "And 100 more, in <code>classes.parquet</code>" in text  # without scripts


def test_many_failed_images_and_classes_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [(f"{i}.jpg", "truncated") for i in range(4)]
    run = Run.open(write_run(tmp_path / "run", Synthetic(failed=failed)))
    for limit, rest in ((4, None), (3, 1), (1, 3)):
        monkeypatch.setattr(report_page, "MAX_FAILED", limit)
        monkeypatch.setattr(report_page, "MAX_ROWS", limit + 1)
        text = " ".join(" ".join(Page(rendered(run)).text).split())
        assert ("And" in text) == (rest is not None)
        if rest:
            assert f"And {rest} more, in images.parquet" in text
            assert f"And {rest} more, in classes.parquet" in text
        assert ("3.jpg" in text) == (limit == 4)


def rendered(run: Run) -> str:
    """The page of a run without drawings."""
    return report_page.render(run, dict.fromkeys(DRAWN, "<svg ></svg>"), ["png"])


def test_tables_1_and_2_are_in_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Synthetic(dataset="wood", class_sizes=(30, 40, 20)))
    names = "name kind filters parameters neurons features height width receptive_field stride"
    rows = [
        ("input", "input", None, 0, 3072, 0, 32, 32, 1, 1),
        ("conv1_1", "conv", 12, 448, 1200, 12, 10, 8, 3, 2),
        ("fc6", "fc", 20, 1650, 20, 20, None, None, None, None),
        ("other", "other", None, 2, 0, 0, None, None, None, None),
    ]
    pl.DataFrame(rows, schema=names.split(), orient="row").write_parquet(folder / "network.parquet")
    (table2, table1, *_) = tables(rendered(Run.open(folder)), "run")
    assert table2[1:] == [
        ["wood", "90", "3", "20 to 40", "30.0"],
        ["in the paper", "438", "7", "14 to 179", "62.6"],
    ]
    assert table1[1:] == [
        ["input", "32 × 32", "–", "–", "3,072", "–", "–"],
        ["conv1_1", "10 × 8", "12", "448", "1,200", "12", "3 × 3 pixels"],
        ["fc6", "", "20", "1,650", "20", "20", "the whole image"],
        ["norms and others", "", "–", "2", "–", "–", "–"],
        ["Total", "", "32", "2,100", "4,292", "32", ""],
    ]
    alike = Run.open(write_run(tmp_path / "alike", Synthetic(class_sizes=(15, 15))))
    ((_, row), *others) = tables(rendered(alike), "run")
    assert row == ["shapes", "30", "2", "15", "15.0"]
    assert ["layer", "map"] not in [table[0][:2] for table in others]  # no network is known


def tables(text: str, section: str) -> list[list[list[str]]]:
    """The cells of the tables of a section."""
    part = re.search(rf'<section id="{section}">(.*?)</section>', text, re.S)
    assert part is not None
    return [
        [
            [" ".join("".join(Page(f"<p>{cell}</p>").text).split())
             for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S)]
            for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)
        ]
        for table in re.findall(r"<table.*?</table>", part[1], re.S)
    ]  # fmt: skip


def test_a_figures_files_are_linked_to_where_they_are(finished: Path) -> None:
    run = Run.open(finished)
    assert report_page.figure_files(run, "fig05_layers", ["png"]) == ["png", "csv", "parquet"]
    assert report_page.figure_files(run, "nothing", []) == []


def test_the_settings_of_a_run_are_listed(finished: Path) -> None:
    run = Run.open(finished)
    record = replace(run.record, versions={"python": "3.11", "numpy": "2.0"}, threshold={"q": 1})
    assert report_page.settings(Run(run.path, record)) == [
        ("command", "python -m fnx dataset=shapes model=tinynet"),
        ("started", "2024-01-31T12:00:00+00:00"),
        ("data set", "shapes"),
        ("backbone", "tinynet, read post-activation"),
        ("crops", "ten: resize=256, size=224, resize_mode=short_side"),
        ("statistic", "ks: bins=100"),
        ("threshold", ": q=1"),
        ("seed", "0"),
        ("weights", "5ca1ab1e" * 8),
        ("embedding", "outputs/embeddings/shapes-tinynet-0123456789abcdef"),
        ("fingerprint", "0123456789abcdef"),
        ("fnx", "0.1.0"),
        ("libraries", "python 3.11, numpy 2.0"),
    ]
    again = replace(run.record, embedding_reused=True, threshold={"name": "fixed"})
    found = dict(report_page.settings(Run(run.path, again)))
    assert found["embedding"] == "outputs/embeddings/shapes-tinynet-0123456789abcdef (reused)"
    assert found["threshold"] == "fixed"


def test_two_hundred_failed_images_are_listed(tmp_path: Path) -> None:
    failed = [(f"{i}.jpg", "truncated") for i in range(201)]
    run = Run.open(write_run(tmp_path / "run", Synthetic(failed=failed, class_sizes=(5, 5))))
    run.record.config["path"] = Path("Käfer")
    text = " ".join(" ".join(Page(rendered(run)).text).split())
    assert '"path": "Käfer"' in text
    assert "199.jpg" in text
    assert "200.jpg" not in text
    assert "And 1 more, in images.parquet" in text


def test_the_page_draws_the_modes_that_were_asked_for(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    page = report_page.write(run, dict.fromkeys(DRAWN, "<svg ></svg>"), [], "lognormal")
    assert page == run.path / "report.html"
    modes = read(run.path / "report/data/figures.js")["layers"]["+"]["mode"].tolist()
    assert modes == run.layers.filter(sign="+")["lognormal_mode"].to_list()
    assert "Plotly" in (run.path / "report/plotly.min.js").read_text(encoding="utf-8")
    assert "Plotly Technologies" in (run.path / "report/plotly.LICENSE.txt").read_text()


def test_the_page_of_images_in_a_folder_that_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    monkeypatch.setattr(report_page, "render", lambda *_: "<p>caf\udce9</p>")
    assert report_page.write(run, {}).read_bytes() == b"<p>caf\\udce9</p>"


def test_tables_only_writes_no_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert write_report(Run.open(folder), ReportConfig(figures=False)) is None
    assert not (folder / "report.html").exists()
    assert f"tables    {folder}" in summary(Run.open(folder))


def test_the_summary_names_what_matters(finished: Path) -> None:
    run = Run.open(finished)
    text = summary(run)
    text.encode("ascii")
    assert "150 used, 1 failed (b/broken.jpg: image file is truncated)" in text
    plus = run.threshold("+")
    assert plus is not None
    assert f"t+        {plus['threshold']:+.3f} keeps {plus['kept']:,.0f} features" in text
    assert "embedding 61.2" in text
    assert str(finished / "report.html") in text

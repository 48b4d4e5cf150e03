from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.config.schema import ReportConfig
from fnx.report import summary, write_report

HOSTILE = '<script>alert("x")</script>&$x_{'
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

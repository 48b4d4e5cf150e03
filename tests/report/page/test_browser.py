"""The page in a real Chromium: its scripts run, its links lead somewhere, its numbers are right."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis.comparison.two_networks import give_embedding
from tests.browser import find
from tests.report.synthetic import VGG16, Synthetic, write_run

import fnx
from fnx.analysis import Run
from fnx.report.page import page as report_page
from fnx.report.page.html import address

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not find(), reason="chromium is not on this machine")

HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=1>\u2028'\"&<b>"
Open = Callable[..., Any]


def write_page(folder: Path, spec: Synthetic | None = None) -> Path:
    """A run with its page but without the drawn figures, which take the most time to make."""
    return page_of(Run.open(write_run(folder, spec)))


def page_of(run: Run) -> Path:
    names = ["fig05_layers", "fig06_distribution", "fig09_presence", "fig10_kept"]
    if run.signed:
        names.append("fig09_absence")
    svg = '<svg width="4" height="4" viewBox="0 0 4 4"><path d="M0 0 4 4"/></svg>'
    return report_page.write(run, dict.fromkeys(names, svg))


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def window(browser: Any, complaints: list[str]) -> Any:
    """One window for all tests: plotly, once compiled, is then quickly there again."""
    shown = browser.new_page()
    shown.set_default_timeout(60_000)
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))

    def elsewhere(asked: Any) -> None:
        if not asked.url.startswith(("file:", "data:", "blob:")):
            complaints.append(asked.url)

    shown.on("request", elsewhere)
    return shown


@pytest.fixture
def open_page(window: Any, complaints: list[str]) -> Iterator[Open]:
    """Opens a page; whatever it complains about or asks for elsewhere fails the test."""
    complaints.clear()

    def opener(path: Path, at: str = "", width: int = 1400, scheme: str = "light") -> Any:
        window.set_viewport_size({"width": width, "height": 900})
        window.emulate_media(color_scheme=scheme)
        window.goto(path.as_uri() + at)
        return window

    yield opener
    assert complaints == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("browser") / "run")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Synthetic(
        dataset=HOSTILE,
        model=HOSTILE,
        class_sizes=(15, 16, 17),
        class_names=[HOSTILE, "x" * 400, "__proto__"],
        layers=((f"{HOSTILE}/a b", 6, "conv"), ("__proto__", 6, "fc")),
        failed=[(HOSTILE, HOSTILE)],
    )
    return write_page(tmp_path_factory.mktemp("browser") / "hostile", spec)


def figures(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").replace("%", "").strip())


def drawn(shown: Any, where: str) -> None:
    shown.locator(f"{where} .plot").first.scroll_into_view_if_needed()
    shown.wait_for_selector(f"{where} .main-svg")


def at_view(shown: Any, heading: str) -> None:
    title = "document.querySelector('#view:not([hidden]):not([aria-busy]) h1')?.textContent"
    until(shown, f"{title} === {json.dumps(heading)}")


def until(shown: Any, condition: str) -> None:
    """Wait in Python: Playwright's own waiting evaluates text in the page, which refuses that."""
    for _ in range(1200):
        if shown.evaluate(condition):
            return
        shown.wait_for_timeout(50)
    raise TimeoutError(condition)


def test_figures_come_alive_and_series_are_switched(small: Path, open_page: Open) -> None:
    shown = open_page(small)
    drawn(shown, "#fig10_kept")
    traces = "document.querySelector('#fig10_kept .plot').data.length"
    assert shown.evaluate(traces) == 4  # real and random, by presence and by absence
    shown.get_by_role("group", name="Series shown").first.get_by_label("random labels").uncheck()
    until(shown, f"{traces} === 2")
    bars = "document.querySelector('#fig10_kept .plot').data[0].x.length"
    assert shown.evaluate(bars) == 3
    shown.locator(".chooser summary").click()
    shown.locator(".chooser").get_by_label("conv1_2").uncheck()
    until(shown, f"{bars} === 2")
    run = Run.open(small.parent)
    kept = run.layers.filter(sign="+").filter(layer="fc6")["pct_kept"].item()
    assert shown.evaluate("document.querySelector('#fig10_kept .plot').data[0].x[1]") == kept
    drawn(shown, "#fig09_presence")
    picker = shown.locator("#fig09_presence").get_by_role("combobox")
    picker.fill("class 3")
    picker.press("Enter")
    shown.wait_for_selector("#fig09_presence .chips button:has-text('class 3')")
    for name in ("fig05_layers", "fig06_distribution", "fig09_absence"):
        drawn(shown, f"#{name}")


def test_tables_are_sorted_by_a_click_on_a_heading(small: Path, open_page: Open) -> None:
    run, shown = Run.open(small.parent), open_page(small)

    def column(table: str, place: int) -> list[str]:
        return [str(text) for text in shown.eval_on_selector_all(
            f"{table} tbody tr", f"rows => rows.map(row => row.cells[{place}].textContent.trim())"
        )]  # fmt: skip

    both = run.layers.group_by("layer").agg(pl.col("pct_kept").sum()).sort("pct_kept")
    rising = [f"{value:.1f} %" for value in both["pct_kept"]]
    heads = shown.locator("#layers table.sortable thead button")
    heads.nth(3).click()  # numbers: the largest first
    assert column("#layers table.sortable", 3) == rising[::-1]
    assert column("#layers table.sortable", 0) == both["layer"].to_list()[::-1]
    heads.nth(3).click()
    assert column("#layers table.sortable", 3) == rising
    heads.nth(0).click()  # texts: from the first of the alphabet
    assert column("#layers table.sortable", 0) == ["conv1_1", "conv1_2", "fc6"]
    heads.nth(0).click()
    assert column("#layers table.sortable", 0) == ["fc6", "conv1_2", "conv1_1"]
    shown.locator("#class-table thead button").nth(1).click()
    assert column("#class-table", 1) == ["40", "36", "30", "24", "20"]
    shown.locator("#class-table thead button").nth(1).click()
    assert column("#class-table", 0) == [f"class {i}" for i in range(5)]


def test_a_class_is_set_against_another(small: Path, tmp_path: Path, open_page: Open) -> None:
    shown = open_page(small, "#/class/0")
    at_view(shown, "class 0")
    picker = shown.locator("#view").get_by_role("combobox")
    picker.fill("class")
    assert "class 0" not in shown.locator("#view [role=listbox]").inner_text()
    picker.fill("class 3")
    picker.press("Enter")
    at_view(shown, "class 0 against class 3")
    run = Run.open(small.parent)
    apart = np.asarray(run.distances[:, 0] - run.distances[:, 3])
    assert shown.locator(".card code").first.inner_text() == run.feature_labels[int(apart.argmax())]
    assert "--class 0 --against 3" in shown.locator("#view").inner_text()

    values = np.random.default_rng(1).normal(size=(150, 48)).astype(np.float32)
    run = give_embedding(Run.open(write_run(tmp_path / "run")), values)
    shown = open_page(page_of(run), "#/class/3/against/0")
    at_view(shown, "class 3 against class 0")
    labels = np.repeat(range(5), (20, 24, 30, 36, 40))
    rows = np.isin(labels, (0, 3))
    between = fnx.distances(values[rows], labels[rows] == 3)[:, 1]
    difference = np.asarray(run.distances[:, 3] - run.distances[:, 0])
    for table, side in ((0, 1), (1, -1)):
        order = np.argsort(difference)
        both = [side * float(between[i]) for i in (*order[:10], *order[-10:])]
        expected = sorted((value for value in both if value > 0), reverse=True)
        found = shown.locator(f"#view table >> nth={table}").locator("tbody tr")
        texts = [found.nth(i).locator("td").first.inner_text() for i in range(found.count())]
        assert [side * figures(text) for text in texts] == pytest.approx(expected[:10], abs=5e-4)
    shown.get_by_role("link", name="The other way round").click()
    at_view(shown, "class 0 against class 3")


def test_links_lead_from_class_to_feature_to_layer_and_back(small: Path, open_page: Open) -> None:
    shown = open_page(small)
    shown.get_by_role("link", name="class 2", exact=True).click()
    at_view(shown, "class 2")
    place = shown.evaluate("document.querySelector('.card').getAttribute('href')")
    shown.locator(".card").first.click()
    run = Run.open(small.parent)
    best = run.top_features.filter(class_id=2, sign="+", rank=1).join(run.features, on="feature_id")
    label = f"{best['layer'].item()}/{best['unit'].item()}"
    assert place == f"#/feature/{label}"
    at_view(shown, label)
    assert shown.title().startswith(label)
    shown.locator("#view .kicker a").click()
    at_view(shown, best["layer"].item())
    shown.go_back()
    at_view(shown, label)
    shown.go_back()
    at_view(shown, "class 2")
    shown.go_back()
    shown.wait_for_selector("#front:not([hidden])")
    assert shown.evaluate("scrollY") > 0  # where the class was clicked on
    shown.go_forward()
    at_view(shown, "class 2")
    shown.get_by_role("link", name="Next ›").click()
    at_view(shown, "class 3")
    shown.get_by_role("link", name="Thresholds").click()
    shown.wait_for_selector("#front:not([hidden])")
    assert shown.evaluate("document.querySelector('#thresholds').getBoundingClientRect().top") < 200


def test_a_feature_shows_the_numbers_of_the_arrays(small: Path, open_page: Open) -> None:
    run = Run.open(small.parent)
    shown = open_page(small, "#/feature/conv1_2/3")
    at_view(shown, "conv1_2/3")
    row = run.distances[12 + 3]
    cells = shown.eval_on_selector_all(
        "#view tbody tr",
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))",
    )
    assert [name for name, *_ in cells] == [f"class {i}" for i in np.argsort(-row, kind="stable")]
    plus, minus = run.threshold("+"), run.threshold("-")
    assert plus is not None
    assert minus is not None
    for name, images, value, _, speaks in cells:
        ofclass = int(name.split()[1])
        assert int(images) == run.classes["n_images"][ofclass]
        assert figures(value) == pytest.approx(row[ofclass], abs=0.00051)
        above, below = row[ofclass] > plus["threshold"], row[ofclass] < minus["threshold"]
        assert speaks == ("by presence" if above else "by absence" if below else "–")
    text = shown.inner_text("#view")
    random = run.distances_random[:, 12 + 3]
    ends = re.search(r"lies between (\S+) and ([^\s;]+);", text)
    assert ends is not None
    assert figures(ends[1]) == pytest.approx(random.min(), abs=0.00051)
    assert figures(ends[2]) == pytest.approx(random.max(), abs=0.00051)


def test_a_class_and_a_layer_show_what_is_kept(small: Path, open_page: Open) -> None:
    run = Run.open(small.parent)
    shown = open_page(small, "#/class/4")
    at_view(shown, "class 4")
    plus = run.threshold("+")
    assert plus is not None
    kept = run.distances > np.float32(plus["threshold"])
    assert f"{kept[:, 4].sum()} of 48 features are kept by presence" in shown.inner_text("#view")
    drawn(shown, "#view figure")
    shown.goto(small.as_uri() + "#/layer/conv1_1")
    at_view(shown, "conv1_1")
    share = run.layers.filter(sign="+", layer="conv1_1")["pct_kept"].item()
    assert f"{share:.1f} % of its (feature, class) pairs are kept" in shown.inner_text("#view")
    counts = shown.eval_on_selector_all(
        "#view section:last-of-type tbody tr", "rows => rows.map(row => row.cells[1].textContent)"
    )
    assert [int(count) for count in counts] == kept[:12].sum(axis=1).tolist()


def test_distances_are_switched_to_calibrated_ones_and_stay_so(
    open_page: Open, tmp_path: Path
) -> None:
    spec = Synthetic(class_sizes=(10, 24, 30, 60, 140), permutations=5, calibrated=True)
    page = write_page(tmp_path / "run", spec)
    run, shown = Run.open(page.parent), open_page(page)
    assert run.calibrated is not None
    calibrated = np.asarray(run.calibrated)
    for name in ("fig05_layers", "fig06_distribution"):
        drawn(shown, f"#{name}")

    modes = "document.querySelector('#fig05_layers .plot').data[2].x"
    table = run.layers.filter(sign="+")
    assert list(shown.evaluate(modes)) == table["mode"].to_list()
    limits = "document.querySelector('#fig06_distribution .plot').layout.shapes.length"
    assert shown.evaluate(limits) == 2
    shown.locator("#distance-switch input[value=raw]").focus()
    shown.keyboard.press("ArrowRight")
    until(shown, f"{limits} === 0")
    until(shown, f"{modes}[0] === {table['calibrated_mode'][0]}")
    assert list(shown.evaluate(modes)) == table["calibrated_mode"].to_list()
    axis = "document.querySelector('#fig06_distribution .plot').layout.xaxis.title.text"
    assert shown.evaluate(axis).startswith("calibrated D")

    shown.get_by_role("link", name="class 0", exact=True).click()
    at_view(shown, "class 0")
    values = "[...document.querySelectorAll('#view .card b')].slice(0, 3).map((b) => b.textContent)"
    assert [figures(text) for text in shown.evaluate(values)] == pytest.approx(
        np.sort(calibrated[:, 0])[::-1][:3], abs=0.00051
    )
    shown.get_by_label("raw").check()
    raw = np.sort(run.distances[:, 0])[::-1][:3]
    until(shown, f"{values}[0] === '{raw[0]:.3f}'")
    assert [figures(text) for text in shown.evaluate(values)] == pytest.approx(raw, abs=0.00051)
    shown.locator("#view summary").first.click()
    row = shown.locator("#view details tbody tr").first.locator("td.n").all_inner_texts()
    best = int(run.distances[:, 0].argmax())
    assert [figures(text) for text in row] == pytest.approx(
        [1, run.distances[best, 0], calibrated[best, 0]], abs=0.00051
    )
    shown.get_by_label("calibrated").check()
    shown.goto(page.as_uri() + "#/layer/fc6")
    at_view(shown, "fc6")
    drawn(shown, "#view")
    mode = run.layers.filter(layer="fc6", sign="-")["calibrated_mode"].item()
    assert f"calibrated D⁻ has the mode −{-mode:.3f}" in shown.inner_text("#view")
    assert shown.evaluate("document.querySelector('#view .plot').layout.shapes.length") == 0
    pair = shown.locator("#view .halves tbody tr").first.locator("td.n").all_inner_texts()
    assert figures(pair[1]) == pytest.approx(calibrated[28:].max(), abs=0.00051)


def test_a_run_that_is_not_calibrated_has_no_switch(small: Path, open_page: Open) -> None:
    shown = open_page(small, "#/class/0")
    at_view(shown, "class 0")
    assert shown.locator("#distance-switch").count() == 0
    assert "calibrated" not in shown.inner_text("#view")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("#/class/77", "There is no class 77 in this run"),
        ("#/layer/conv9", "There is no layer conv9 in this run"),
        ("#/feature/conv1_1/900", "Layer conv1_1 has no unit 900: it has 12."),
        ("#/feature/%E0%A4%A", "There is no feature"),
        ("#/what", "This page has no address what."),
    ],
)
def test_an_unknown_address_says_so(small: Path, open_page: Open, at: str, said: str) -> None:
    shown = open_page(small, at)
    at_view(shown, "Not in this run")
    assert said in shown.inner_text("#view")


def test_the_search_box_finds_with_the_keyboard(small: Path, open_page: Open) -> None:
    shown = open_page(small)
    for wanted, heading in (("class 1", "class 1"), ("fc6/7", "fc6/7"), ("conv1_2", "conv1_2")):
        shown.keyboard.press("/")
        shown.keyboard.type(wanted)
        shown.keyboard.press("Enter")
        at_view(shown, heading)
    shown.keyboard.press("/")
    shown.keyboard.type("nobody")
    assert shown.inner_text(".found") == "no match"


def test_hostile_names_do_no_harm(hostile: Path, open_page: Open) -> None:
    shown = open_page(hostile)
    drawn(shown, "#fig05_layers")
    shown.locator("#class-table tbody tr:nth-child(1) th a").click()
    at_view(shown, HOSTILE)
    drawn(shown, "#view")
    label = shown.locator("#view .card code").first.text_content()
    shown.locator("#view .card").first.click()
    at_view(shown, label)
    drawn(shown, "#view")
    run = Run.open(hostile.parent)
    for at in (address((run.features["layer"][0],)), "#/layer/__proto__"):
        shown.goto(hostile.as_uri() + at)
        shown.wait_for_selector("#view .halves")
    assert shown.evaluate("typeof hacked") == "undefined"
    assert shown.locator("img").count() == 0
    assert HOSTILE.split("\u2028")[0] in shown.content().replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_does_not_scroll_sideways(
    hostile: Path, open_page: Open, scheme: str
) -> None:
    shown = open_page(hostile, width=390, scheme=scheme)
    drawn(shown, "#fig10_kept")
    for at, heading in (
        ("class/1", "x" * 400),
        ("feature/__proto__/2", "__proto__/2"),
        ("layer/__proto__", "__proto__"),
    ):
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        shown.goto(f"{hostile.as_uri()}#/{at}")
        at_view(shown, heading)
        drawn(shown, "#view")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(246, 246, 244)", "dark": "rgb(20, 21, 22)"}[scheme]


def test_pictures_are_shown_where_there_are_some(open_page: Open, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("conv1_1/2", "classes/0"):
        path = tmp_path / f"run/pictures/{name}.jpg"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (192, 192), "teal").save(path)
    path = write_page(tmp_path / "run")
    shown = open_page(path, "#/feature/conv1_1/2")
    at_view(shown, "conv1_1/2")
    sprite = shown.get_by_alt_text("The image regions on which conv1_1/2 is most active")
    until(shown, "document.querySelector('#view img').naturalWidth === 192")
    assert sprite.count() == 1
    for at, count in (("#/feature/conv1_1/3", 0), ("#/class/1", None), ("#/class/0", None)):
        shown.goto(path.as_uri() + at)
        shown.wait_for_selector("#view:not([aria-busy]) h1")
        if count is not None:
            at_view(shown, "conv1_1/3")
            assert shown.locator("#view img").count() == count
    at_view(shown, "class 0")
    assert shown.get_by_alt_text("Sample images of class 0").count() == 1


def test_alone_the_page_still_says_the_answer(small: Path, browser: Any, tmp_path: Path) -> None:
    alone = tmp_path / "report.html"
    shutil.copy(small, alone)
    shown = browser.new_page()
    shown.goto(alone.as_uri())
    shown.wait_for_selector("#alone:not(:empty)")
    assert "Is the folder report/ still beside this page?" in shown.inner_text("#alone")
    assert shown.locator("#fig10_kept svg").is_visible()
    assert "Features worth keeping" in shown.inner_text("#sums")
    assert shown.locator("#answer svg.depth").is_visible()
    shown.goto(f"{alone.as_uri()}#/class/1")
    at_view(shown, "These numbers could not be loaded")
    shown.close()


def test_an_unsigned_statistic_has_views(open_page: Open, tmp_path: Path) -> None:
    path = write_page(tmp_path / "run", Synthetic(statistic="kl", unbounded=True))
    shown = open_page(path, "#/feature/conv1_1/0")
    at_view(shown, "conv1_1/0")
    drawn(shown, "#view")
    assert "∞" in shown.inner_text("#view")  # the statistic is unbounded
    assert "absence" not in shown.inner_text("#view")
    shown.goto(path.as_uri() + "#/class/0")
    at_view(shown, "class 0")
    assert "absence" not in shown.inner_text("#view")


@pytest.mark.slow
@pytest.mark.parametrize("classes", [200, 1000])
def test_all_of_vgg16_stays_usable(open_page: Open, tmp_path: Path, classes: int) -> None:
    spec = Synthetic(layers=VGG16, class_sizes=tuple(30 + i % 40 for i in range(classes)))
    path = write_page(tmp_path / "run", spec)
    shown = open_page(path)
    until(shown, "performance.getEntriesByName('first-contentful-paint').length")
    timing = shown.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd]"
    )
    print(f"{classes} classes: first paint {timing[0]:.0f} ms, usable {timing[1]:.0f} ms")
    for name in ("fig05_layers", "fig06_distribution", "fig09_presence", "fig09_absence"):
        drawn(shown, f"#{name}")
    assert shown.locator("#class-table tbody tr").count() == 25
    for at, heading in (
        ("class/7", "class 7"),
        ("layer/fc6", "fc6"),
        ("feature/fc7/4095", "fc7/4095"),
    ):
        shown.goto(f"{path.as_uri()}#/{at}")
        at_view(shown, heading)
        drawn(shown, "#view")
        assert shown.locator("#view tbody tr").count() < 200

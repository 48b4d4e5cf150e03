"""What a page owes to everybody: axe-core has no complaint, the keyboard reaches everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from tests.browser import find
from tests.report.page.test_browser import at_view, until
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.advice import ALL, CONFUSIONS, CURVE, ENTRIES, Advice
from fnx.report.comparison.gather import gather
from fnx.report.comparison.page import render as render_comparison
from fnx.report.page import advice as advice_page
from fnx.report.page import page as report_page
from fnx.report.pictures.paths import class_path, sprite_path

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
pytestmark = pytest.mark.skipif(not find(), reason="chromium is not on this machine")

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
VIEWS = {"#/class/1": "class 1", "#/layer/conv1_2": "conv1_2", "#/feature/conv1_2/3": "conv1_2/3"}
SVG = '<svg width="40" height="30" viewBox="0 0 4 3"><path d="M0 0 4 3"/></svg>'
FIGURES = ("fig01_pair", "fig05_layers", "fig06_distribution", "fig10_kept")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with pictures, advice and both pages, and a comparison with another."""
    folder = tmp_path_factory.mktemp("accessible")
    spec = Synthetic(class_sizes=(10, 24, 30, 60), permutations=3, calibrated=True)
    run = Run.open(write_run(folder / "run", spec))
    for layer, unit in run.features.select("layer", "unit").iter_rows():
        _picture(sprite_path(run.path, layer, unit))
    for class_id in range(4):
        _picture(class_path(run.path, class_id))
    advised().write(run.path)
    advice_page.write(run)
    curves = [f"fig09_{word}" for word in ("presence", "absence")]
    report_page.write(run, dict.fromkeys([*FIGURES, *curves], SVG))
    other = Run.open(write_run(folder / "other", spec.but(seed=1)))
    drawn = dict.fromkeys(("fig05", "fig10", "agreement_features"), SVG)
    compared = render_comparison(gather([run, other]), drawn, folder, [])
    (folder / "compare.html").write_text(compared, encoding="utf-8")
    return folder


def _picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (288, 288), "teal").save(file)


def advised() -> Advice:
    """Advice that fills every part of its page."""
    layers = zip(("conv1_1", "conv1_2", "fc6"), (0.4, 0.9, 0.8), strict=True)
    entries = [*((name, "layer", accuracy) for name, accuracy in layers), (ALL, "all", 0.9)]
    rows = [
        {"entry": name, "kind": kind, "depth": depth, "features": 12, "accuracy": accuracy}
        | {"standard_error": 0.02, "knn_accuracy": 0.6, "logme": 0.1, "behind": 0.1}
        | {"recommended": name == "conv1_2", "behind_error": 0.01, "test_accuracy": 0.7}
        for depth, (name, kind, accuracy) in enumerate(entries)
    ]
    curve = [
        {"features": count, "chosen_by": by, "accuracy": 0.5 + count / 50, "standard_error": 0.1}
        for by in ("D", "F-test", "random")
        for count in (4, 16)
    ]
    confused = {"class_name": "class 1", "taken_for": "class 2", "share": 0.1}
    return Advice(
        pl.DataFrame(rows, ENTRIES),
        "conv1_2",
        "The narrowest within one standard error of the best.",
        0.25,
        "accuracy",
        124,
        curve=pl.DataFrame(curve, CURVE),
        confusions=pl.DataFrame([confused | {"told_apart_by": "fc6"}], CONFUSIONS),
        untrained=0.5,
    )


@pytest.fixture(scope="module")
def window(browser: Any) -> Iterator[Any]:
    """A window that takes axe-core in, which the pages' own policy does not."""
    context = browser.new_context(bypass_csp=True, reduced_motion="reduce")
    shown = context.new_page()
    shown.set_default_timeout(60_000)
    yield shown
    context.close()


def open_at(window: Any, page: Path, at: str = "", width: int = 1280, scheme: str = "light") -> Any:
    window.set_viewport_size({"width": width, "height": 844})
    window.emulate_media(color_scheme=scheme)
    window.goto("about:blank")
    window.goto(page.as_uri() + at)
    return window


def settle(shown: Any) -> None:
    """Wait until the charts that are in sight are drawn."""
    shown.wait_for_timeout(150)
    until(shown, "![...document.querySelectorAll('.waiting')].some((note) => {"
          " const { top, bottom } = note.getBoundingClientRect();"
          " return note.offsetParent && top < innerHeight && bottom > 0; })")  # fmt: skip


PAGES = [
    *(("run/report.html", at) for at in ("", *VIEWS)),
    ("run/advice.html", ""),
    ("compare.html", ""),
]
LOOKS = [(390, "dark"), (1280, "light"), (1280, "dark"), (390, "light")]


@pytest.mark.parametrize(
    ("page", "at", "width", "scheme"),
    [  # each page in one look, in all of them where there is time
        pytest.param(*page, *look, marks=() if i % 4 == j else pytest.mark.slow)
        for i, page in enumerate(PAGES)
        for j, look in enumerate(LOOKS)
    ],
)
def test_axe_finds_no_violation(
    folder: Path, window: Any, page: str, at: str, width: int, scheme: str
) -> None:
    shown = open_at(window, folder / page, at, width, scheme)
    if at:
        at_view(shown, VIEWS[at])
    settle(shown)
    shown.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    asked = json.dumps({"runOnly": RULES, "resultTypes": ["violations"]})
    result = shown.evaluate(f"axe.run({asked})")
    assert len(result["passes"]) > 15
    assert [(one["id"], one["nodes"][0]["html"]) for one in result["violations"]] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_links_of_the_navigation_land_where_they_say(folder: Path, window: Any, width: int) -> None:
    shown = open_at(window, folder / "run/report.html", width=width)
    names = shown.eval_on_selector_all("nav .links a", "links => links.map((a) => a.hash)")
    assert len(names) == 7 + 1  # and the images that could not be used
    place = (
        "(() => { const nav = document.querySelector('nav');"
        " const below = getComputedStyle(nav).position === 'sticky' ? nav.offsetHeight : 0;"
        " const top = document.querySelector('{}').getBoundingClientRect().top - below;"
        " return [top, innerHeight + scrollY >= document.documentElement.scrollHeight - 1] })()"
    )
    for name in reversed(names):  # the first of them past everything that is not drawn yet
        shown.locator(f"nav .links a[href='{name}']").click()
        for _ in range(2):  # at once, and when the charts there are drawn
            top, at_the_end = shown.evaluate(place.replace("{}", name))
            assert -2 <= top <= 40 or (at_the_end and top > 0), name
            settle(shown)


@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_and_a_chart_are_above_the_fold(folder: Path, window: Any, width: int) -> None:
    shown = open_at(window, folder / "run/report.html", width=width)
    bottoms = shown.eval_on_selector_all(
        ".portrait:nth-child(-n+3), svg.depth:first-of-type",
        "parts => parts.map((part) => part.getBoundingClientRect().bottom)",
    )
    assert len(bottoms) == 4
    assert max(bottoms) <= 844
    assert shown.locator(".portrait img").first.evaluate("(one) => one.naturalWidth") == 288


def test_nothing_is_clipped_on_a_phone(folder: Path, window: Any) -> None:
    beyond = """[...document.querySelectorAll('body *')].filter((part) => {
      for (let one = part; one; one = one.parentElement)
        if (getComputedStyle(one).overflowX !== 'visible') return false;
      const { right, left, width } = part.getBoundingClientRect();
      return width && right > 0 && !part.closest('svg') && (right > 391 || left < -1); })
      .map((part) => part.outerHTML.slice(0, 120))"""
    for path, at in (
        ("run/report.html", ""),
        *(("run/report.html", at) for at in VIEWS),
        ("run/advice.html", ""),
    ):
        shown = open_at(window, folder / path, at, width=390)
        if at:
            at_view(shown, VIEWS[at])
        assert shown.evaluate(beyond) == [], (path, at)


def test_the_keyboard_reaches_everything_and_is_never_trapped(folder: Path, window: Any) -> None:
    shown = open_at(window, folder / "run/report.html")
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "content"
    shown.goto((folder / "run/report.html").as_uri() + "#/class/1")
    at_view(shown, "class 1")  # its heading has the focus
    settle(shown)
    wanted = shown.evaluate(
        "[...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]"
        ".filter((one) => one.offsetParent && !one.disabled && one.closest('#content') &&"
        " document.activeElement.compareDocumentPosition(one) === Node.DOCUMENT_POSITION_FOLLOWING"
        " && !(one.type === 'radio' && !one.checked) && one.checkVisibility()).length"
    )
    reached = 0
    unmarked = []
    for _ in range(2 * wanted):
        shown.keyboard.press("Tab")
        inside, outline, told = shown.evaluate(
            "(() => { const one = document.activeElement; return [!!one.closest('#content'),"
            " getComputedStyle(one).outlineStyle, one.outerHTML.slice(0, 80)] })()"
        )
        if not inside:
            break
        reached += "modebar-btn" not in told  # plotly's, of the charts that are drawn by now
        if outline == "none":
            unmarked.append(told)
    assert unmarked == []
    assert reached == wanted
    shown.keyboard.press("/")
    shown.keyboard.type("class 2")
    shown.keyboard.press("Escape")
    assert shown.locator(".found").first.is_hidden()
    shown.keyboard.press("Enter")  # a closed list chooses nothing
    assert shown.evaluate("location.hash").endswith("class/1")

"""The documentation: its reference is whole, pages are listed, links lead somewhere, code runs."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.pages import DOCS, blocks

import fnx
from fnx.config import schema

ROOT = DOCS.parent
PAGES = [file.relative_to(DOCS).as_posix() for file in sorted(DOCS.rglob("*.md"))]
REFERENCE = DOCS / "reference"
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated() -> Iterator[dict[str, Callable[[], str]]]:
    """The functions that write the generated parts of the reference."""
    sys.path.insert(0, str(DOCS / "hooks"))
    from generated import PARTS  # type: ignore[import-not-found]

    yield PARTS
    sys.path.remove(str(DOCS / "hooks"))


def keys(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for item in dataclasses.fields(node):
        if dataclasses.is_dataclass(item.default_factory):
            yield from keys(item.default_factory, f"{prefix}{item.name}.")
        elif item.name not in ("statistic", "threshold"):
            yield f"{prefix}{item.name}", item


def test_every_key_has_a_row_with_its_help(generated: dict[str, Callable[[], str]]) -> None:
    told = generated["keys"]()
    rows = {line.split("`")[1]: line for line in told.splitlines() if line.startswith("| `")}
    expected = dict(keys(schema.Config))
    assert len(expected) > 60
    assert rows.keys() == expected.keys()
    for key, item in expected.items():
        assert item.metadata["help"].replace("|", r"\|") in rows[key]
        assert all(f"`{choice}`" in rows[key] for choice in item.metadata["choices"])
    assert rows["crops.resize"].split(" | ")[1:3] == ["int", "`256`"]
    assert rows["crops.resize"].endswith("<br>Allowed: a number from 1 |")
    assert rows["dataset.root"].split(" | ")[1:3] == ["path or null", "`null`"]
    assert rows["model.name"].split(" | ")[2] == "set by the option"


def test_every_option_is_listed(generated: dict[str, Callable[[], str]]) -> None:
    told = generated["options"]()
    for file in (ROOT / "conf").glob("*/*.yaml"):
        assert f"| `{file.stem}`" in told
    assert "`resize_mode=short_side`" in told
    assert "| `array` |  | `model=none`, `dataset.name=" in told


def test_every_statistic_and_strategy_is_told_with_its_parameters(
    restored_registry: None, generated: dict[str, Callable[[], str]]
) -> None:
    statistics, strategies = generated["statistic"](), generated["threshold"]()
    for name in ("ks", "ks_exact", "auroc", "cohen_d", "kl", "mutual_information", "wasserstein"):
        assert f"### `{name}` " in statistics
    assert "| `statistic.epsilon` | float | `1e-10` |" in statistics
    assert "From the plugin package `fnx-transport`." in statistics
    assert "Range `0` … `1`, neutral value `0.5`: presence above, absence below." in statistics
    assert "| `threshold.t_minus` | float or null | `null` |" in strategies
    assert ">>>" not in statistics + strategies


def test_every_command_prints_its_help(generated: dict[str, Callable[[], str]]) -> None:
    from fnx.cli import COMMANDS

    told = generated["command_help"]()
    assert all(f"usage: fnx {name} " in told for name in COMMANDS)
    assert all(f"  {name} " in generated["run_help"]() for name in COMMANDS)


def test_every_public_name_is_in_the_reference() -> None:
    public = {f"fnx.{name}" for name in fnx.__all__} - {"fnx.sklearn", "fnx.__version__"}
    public |= {
        f"fnx.sklearn.{name}"
        for name, found in vars(fnx.sklearn).items()
        if getattr(found, "__module__", "") == "fnx.sklearn" and not name.startswith("_")
    }
    told = re.findall(r"^::: (\S+)$", (REFERENCE / "python.md").read_text(), re.M)
    assert "fnx.sklearn.DistanceSelector" in public
    assert public <= {*told}


def listed(entries: Any) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else listed(value)


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert sorted(listed(config["nav"])) == PAGES


@pytest.mark.parametrize("page", sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("*.md")))
def test_links_outside_of_the_site_lead_somewhere(page: str) -> None:
    for link in _LINK.findall((ROOT / page).read_text()):
        file, _, anchor = link.partition("#")
        if "://" not in link:
            assert (ROOT / page).parent.joinpath(file).exists(), link
            if anchor:
                text = (ROOT / page).parent.joinpath(file).read_text()
                headings = re.findall(r"^#+ (.*)", text, re.M)
                assert anchor in {slug(heading) for heading in headings}, link


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


NOTEBOOKS = [
    page.removesuffix(".md")
    for page in PAGES
    if "\nnotebook: true\n" in (DOCS / page).read_text()[:99]
]
# The others build a network or draw a page; `make docs` runs them all.
QUICK = {"tutorials/statistic"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[] if p in QUICK else [pytest.mark.slow]) for p in NOTEBOOKS],
)
def test_notebooks_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_registry: None
) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [text for kind, _, text in blocks(page) if kind == "python"]
    assert len(cells) >= 3
    for number, cell in enumerate(cells):
        tree = ast.parse(cell)
        exec(compile(tree, f"{page}, cell {number}", "exec"), names)
    plt.close("all")

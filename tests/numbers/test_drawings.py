"""What the figures of a run draw, as was recorded: sizes, places, colours, words and points."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.numbers.drawings import check_drawings
from tests.numbers.recount import Recount
from tests.numbers.runs import undrawn

from fnx.commands import show


def kind_of(counted: Recount) -> str:
    """Which run it is; that without sign is drawn as that without bound."""
    name = counted.folder.parent.name.rstrip("0123456789")
    return name if name != "unsigned" else pytest.skip("drawn as the unbounded one")


def test_figures_of_a_run(counted: Recount) -> None:
    check_drawings(kind_of(counted), counted.folder / "figures")


def test_pictures_of_show(
    counted: Recount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = kind_of(counted)
    with undrawn():
        for name, words in {
            "run": [], "class": ["--class", "bee"], "layer": ["--layer", "neck"],
            "feature": ["--feature", counted.name(15)],
        }.items():  # fmt: skip
            show.main([str(counted.folder), *words, "--picture", str(tmp_path / f"{name}.svg")])
    check_drawings(f"show-{kind}", tmp_path)

"""The walls of the house: who may import what, and how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fnx

HOUSE = Path(fnx.__file__).parent
FILES = sorted(path.relative_to(HOUSE) for path in HOUSE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of all packages that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((HOUSE / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_walls(path: Path) -> None:
    found = imported(path)
    room = path.parts[0]
    if room in ("statistics", "thresholds", "analysis"):
        assert not found & {"torch", "lightning", "hydra", "omegaconf", "wandb"}
    if str(path) not in ("cli.py", "compare.py", "schema.py", "registry.py"):
        assert not found & {"hydra", "omegaconf"}
    if room != "embedding":
        assert "lightning" not in found


def test_one_module_knows_wandb() -> None:
    assert [path.parts[0] for path in FILES if "wandb" in imported(path)] == ["report"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_that_passes_400_lines_is_two_files(path: Path) -> None:
    assert len((HOUSE / path).read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_opens_with_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse((HOUSE / path).read_text()))

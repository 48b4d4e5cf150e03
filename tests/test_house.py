"""How long a file may be; who may import whom is a contract in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

import fnx


def test_a_file_that_passes_400_lines_is_two_files() -> None:
    files = list(Path(fnx.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert [file for file in files if len(file.read_text().splitlines()) > 400] == []


def test_values_that_are_handed_on_do_not_change() -> None:
    """Dataclasses of the rooms that know no network are frozen."""
    for room in ("registry", "statistics", "thresholds", "analysis"):
        for file in (Path(fnx.__file__).parent / room).rglob("*.py"):
            for declared in re.findall(r"^ *@dataclass.*", file.read_text(), re.MULTILINE):
                assert "frozen=True" in declared, file

"""How long a file may be; who may import whom is a contract in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import fnx


def test_a_file_that_passes_400_lines_is_two_files() -> None:
    files = list(Path(fnx.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert [file for file in files if len(file.read_text().splitlines()) > 400] == []

"""The blocks of code of a page of the documentation, for the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Language, title (or "") and text of each block of ``docs/PAGE.md``."""
    return _BLOCK.findall((DOCS / f"{page}.md").read_text())


def write_files(page: str, folder: Path) -> Path:
    """Write the page's titled blocks, which are files, below `folder`; return it."""
    for _, title, text in blocks(page):
        if title:
            (folder / title).parent.mkdir(exist_ok=True)
            (folder / title).write_text(text)
    return folder


def documented_columns() -> dict[str, dict[str, str]]:
    """The type of each column of each Parquet file, as ``docs/reference/files.md`` has them."""
    found: dict[str, dict[str, str]] = {}
    text = (DOCS / "reference/files.md").read_text()
    for part in re.split(r"^##+ ", text, flags=re.M)[1:]:
        for file in re.findall(r"`(\w+)\.parquet`", part.partition("\n")[0]):
            found[file] = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", part, re.M))
    return found

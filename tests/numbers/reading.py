"""Reads what fnx shows as a user sees it: numbers in a text, tables of a page, its data chunks."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

_NUMBER = re.compile(r"(?:(?<![\w.])[+−-])?(?:\d+(?:,\d{3})*(?:\.\d+)?|∞|inf\b)")
_KINDS = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "<u1"}


def numbers(text: str, *without: object) -> list[str]:
    """All numbers of a text in order, a minus as "−"; `without` are texts to be left out."""
    for part in without:
        text = text.replace(str(part), " ")
    found = _NUMBER.findall(text)
    return [number.replace("-", "−").replace("inf", "∞") for number in found]


def written(value: float | None, digits: int = 0, *, sign: bool = False) -> str:
    """A number as fnx writes it for people."""
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−").replace("inf", "∞")


class Document(HTMLParser):
    """The texts and tables of a page by the id of their section (header: ""), without drawings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: dict[str, str] = {"": ""}
        self.tables: dict[str, list[list[list[str]]]] = {"": []}
        self.scripts: dict[str, str] = {}
        self._section, self._script, self._in_table, self._in_svg = "", None, 0, 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("id")
        if tag == "section" and name:
            self._section = name
            self.texts[name], self.tables[name] = "", []
        elif tag in ("script", "style", "title"):
            self._script = name or tag
        elif tag == "svg":
            self._in_svg += 1
        elif tag == "table":
            self._in_table += 1
            self.tables[self._section].append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "title"):
            self._script = None
        self._in_svg -= tag == "svg"
        self._in_table -= tag == "table"
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif self._in_svg:
            return
        elif self._in_table:
            rows = self.tables[self._section][-1]
            if rows and rows[-1]:
                rows[-1][-1] += data
        else:
            self.texts[self._section] += data

    def rows(self, section: str, table: int = 0) -> list[list[str]]:
        """The body of a table of a section, one text for each cell."""
        found = self.tables[section][table]
        return [[" ".join(cell.split()) for cell in row] for row in found if len(row) > 1][1:]


def unpacked(value: Any) -> Any:
    """A value of a page's data with its arrays as NumPy's."""
    if isinstance(value, dict) and "$" in value:
        return np.frombuffer(base64.b64decode(value["b64"]), _KINDS[value["$"]])
    if isinstance(value, dict):
        return {key: unpacked(item) for key, item in value.items()}
    return [unpacked(item) for item in value] if isinstance(value, list) else value


def chunks(folder: Path) -> dict[str, Any]:
    """What a page loads from ``report/data``, by name."""
    found = {}
    for path in folder.glob("report/data/*.js"):
        text = path.read_text(encoding="ascii").strip()
        name, value = json.loads(text.replace("fnxData(", "[", 1).removesuffix(");") + "]")
        assert name == path.stem
        found[name] = unpacked(value)
    return found

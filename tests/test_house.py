"""How long a file may be, and how some calls are written; imports are held by pyproject.toml."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import fnx

HOUSE = Path(fnx.__file__).parent
FILES = {file.relative_to(HOUSE).as_posix(): file.read_text() for file in HOUSE.rglob("*.py")}


@cache
def calls() -> list[tuple[str, str, dict[str | None, str]]]:
    """The file, the function's or method's name and the keywords of each call."""
    return [
        (file, getattr(node.func, "attr", getattr(node.func, "id", "")),
         {word.arg: ast.unparse(word.value) for word in node.keywords})
        for file, text in FILES.items()
        for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
    ]  # fmt: skip


def without(word: str, *names: str) -> dict[str, int]:
    """How many calls of functions of these names each file has without the keyword's being true."""
    return dict(
        Counter(
            file for file, name, words in calls() if name in names and words.get(word) != "True"
        )
    )


def test_a_file_that_passes_400_lines_is_two_files() -> None:
    assert len(FILES) > 100
    assert [file for file, text in FILES.items() if len(text.splitlines()) > 400] == []


def test_values_do_not_change_but_for_a_config_and_a_network_that_is_read() -> None:
    found = {file: set(re.findall(r"@dataclass(?:\(frozen=\w+)?", t)) for file, t in FILES.items()}
    filled = ("config/schema.py", "backbones/trace.py", "backbones/network_table.py")
    assert all("@dataclass" in found.pop(file) for file in filled)
    assert set().union(*found.values()) == {"@dataclass(frozen=True"}


def test_what_goes_together_is_of_one_length() -> None:
    endless_or_optional = {
        "embedding/store.py": 2,
        "images/layouts/delimited.py": 1,
        "images/layouts/food101.py": 1,
        "report/figures/style.py": 1,
        "report/terminal/terminal.py": 1,
        "utils/arrays.py": 1,
    }
    assert without("strict", "zip") == endless_or_optional


def test_rows_stay_in_their_order() -> None:
    dictionaries = ("analysis/pairs.py", "analysis/summary.py", "embedding/embed.py")
    dictionaries += ("report/figures/features.py", "report/page/page.py")
    assert without("maintain_order", "group_by", "partition_by") == dict.fromkeys(dictionaries, 1)
    assert "maintain_order=False" not in "".join(FILES.values())


def test_a_folder_may_be_there_unless_it_must_be_new() -> None:
    new = ("embedding/store.py", "report/page/data.py", "utils/files.py")
    assert without("exist_ok", "mkdir") == dict.fromkeys(new, 1)


def test_threads_are_as_many_as_is_said() -> None:
    # Python's own number is that of the machine's cores, of which a container may have few.
    assert any(name == "ThreadPoolExecutor" for _, name, _ in calls())
    assert [file for file, text in FILES.items() if "ThreadPoolExecutor()" in text] == []

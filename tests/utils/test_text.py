"""What is printed of data."""

from __future__ import annotations

import pytest

from fnx.utils.text import cell, plain, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é 照片 −½", "é 照片 −½"),
        ("a\x00\x07\x1b\x7f\x9b\xadb", "a??????b"),
        ("\u200e\u202a\u202e\u2066\ufeff\udcff", "??????"),
        ("a\n\t\r\u2028\u00a0b", "a     b"),
    ],
)
def test_a_text_is_one_line_that_steers_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert plain(f" {text} ") == " ".join(shown.split())


@pytest.mark.parametrize("text", ["=1", "+a", "-a", "@a", "\ta", "\ra", "=\n"])
def test_a_formula_is_marked(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "+", "-", "a=1", " =1", "1-1"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert cell(text) == text

"""What is printed fits the terminal: its width, its characters and its colours."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import RenderableType

from fnx.report.terminal.terminal import Bar, Terminal, bar, encodable, facts, table, text


class Screen(io.StringIO):
    """A terminal, or a pipe, of an encoding."""

    def __init__(self, encoding: str | None = "utf-8", *, terminal: bool = True) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str | None:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def printed(*parts: RenderableType, stream: io.StringIO | None = None) -> str:
    stream = stream or Screen(terminal=False)
    Terminal(stream).print(parts)
    return stream.getvalue()


def test_colour_is_for_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {"head": "1", "+": "34", "-": "33", "dim": "2"}
    for role, code in roles.items():
        assert printed(text("x", role), stream=Screen()) == f"\033[{code}mx\033[0m\n"
        assert printed(text("x", role)) == "x\n"  # a file or a pipe
    monkeypatch.setenv("TERM", "dumb")
    assert printed(text("x", "+"), stream=Screen()) == "x\n"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(text("x", "head"), stream=Screen()) == "x\n"


@pytest.mark.parametrize(("columns", "width"), [("200", 200), ("61", 61), ("20", 60), ("0", 100)])
def test_the_width_is_the_terminals_but_not_less_than_60(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError))
    assert printed(text("y" * 300)) == "y" * (width - 1) + "…\n"


ROWS: Sequence[Sequence[RenderableType | tuple[str, str]]] = [
    ["漢字" * 20, "1", Bar(1.0)],
    ["ascii", "1,000", Bar(0.5, "-", 0.25)],
    [("é" * 60, "+"), "–"],
]


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_a_table_fits_and_stays_aligned(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = printed(table(ROWS, "~>=", ("name", "number", "bar"))).splitlines()
    assert [cell_len(line) <= int(columns) for line in lines] == [True] * 4
    places = [cell_len(line.partition(word)[0] + word) for line, word in zip(
        lines, ("number", " 1", "1,000", "–"), strict=True
    )]  # fmt: skip
    assert len(set(places)) == 1  # numbers end where their heading ends
    assert all(line.startswith("  ") for line in lines)
    assert lines[1].endswith("█" * (24 if columns == "200" else 8))


def test_names_are_cut_only_where_bars_are_at_their_shortest() -> None:
    (line,) = printed(table([["n" * 60, "+0.5", Bar(1.0)]], "~>=")).splitlines()
    assert line == f"  {'n' * 60}  +0.5  {'█' * 10}"
    (line,) = printed(table([["n" * 70, "+0.5", Bar(1.0)]], "~>=")).splitlines()
    assert line == f"  {'n' * 61}…  +0.5  {'█' * 8}"


def test_a_table_without_bars_is_as_narrow_as_its_texts() -> None:
    assert printed(table([["a", "10"], ["bcd", "9"]], "<>")) == "  a    10\n  bcd   9\n"


def test_facts_are_folded_in_a_column_of_their_own() -> None:
    words = " ".join(["word"] * 20)
    lines = printed(facts([("long name", words), ("a", "b\x1b[31m\nc")])).splitlines()
    assert lines[0] == "  long name  " + " ".join(["word"] * 13)
    assert lines[1] == " " * 13 + " ".join(["word"] * 7)
    assert lines[2] == "  a          b?[31m c"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "███┊█▍ −0.1 …é ∞ 0–9 3 × 4 t⁺"),
        ("latin-1", "###|#  -0.1 ~é inf 0-9 3 x 4 t+"),
        ("ascii", "###|#  -0.1 ~? inf 0-9 3 x 4 t+"),
    ],
)
def test_characters_that_an_encoding_lacks_are_replaced(encoding: str, shown: str) -> None:
    told = "███┊█▍ −0.1 …é ∞ 0–9 3 × 4 t⁺"
    assert encodable(told, encoding) == shown
    assert printed(text(told), stream=Screen(encoding)) == f"{shown}\n"
    assert printed(text(told), stream=Screen(None)) == "###|#  -0.1 ~? inf 0-9 3 x 4 t+\n"


@pytest.mark.parametrize(
    ("share", "mark", "drawn"),
    [
        (0.0, None, "        "),
        (1 / 64, None, "▏       "),
        (0.5, None, "████    "),
        (63 / 64, None, "███████▉"),
        (1.0, None, "████████"),
        (1.7, None, "████████"),
        (-0.2, None, "        "),
        (0.5, 0.0, "┊███    "),
        (0.5, 0.49, "███┊    "),
        (0.5, 0.5, "████┊   "),
        (0.5, 1.0, "████   ┊"),
        (0.5, 1.01, "████    "),
        (0.5, -0.01, "████    "),
    ],
)
def test_a_bar_is_drawn_to_an_eighth_with_its_mark(
    share: float, mark: float | None, drawn: str
) -> None:
    assert bar(share, 8, mark) == drawn

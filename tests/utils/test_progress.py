"""One progress bar: lively on a terminal, seldom in a log file."""

from __future__ import annotations

import io
import sys

import pytest

from fnx.utils.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "seconds"), [(Terminal, 0.1), (io.StringIO, 10.0)])
def test_a_log_file_gets_a_line_every_ten_seconds(
    stream: type[io.StringIO], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    with progress_bar("reading", total=2_000, unit="images", initial=1_500) as bar:
        bar.update(250)
        assert bar.mininterval == seconds
    assert "reading:  88%" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "1750/2000" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert " images/s" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_a_bar_may_be_off_or_late(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("x", total=2, unit="x", enabled=False) as bar:
        assert bar.n == 0
        bar.update(2)
    with progress_bar("x", total=2, unit="x", delay=60.0) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
    with progress_bar("a\x1b[31m", total=2, unit="x"):
        pass
    assert "a?[31m:" in capsys.readouterr().err


def test_a_bar_in_a_pipe_is_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("reading", total=2, unit="images") as bar:
        bar.update(2)
    lines = sys.stderr.getvalue().splitlines(keepends=True)  # type: ignore[attr-defined]
    assert [line[:13] for line in lines] == ["reading:   0%", "reading: 100%"]
    assert all("\r" not in line and line.endswith("\n") for line in lines)

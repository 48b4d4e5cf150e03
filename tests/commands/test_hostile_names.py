"""Names come from data: none steers a terminal or turns a line round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.cli import command
from fnx.report import print_summary

BAD = "\x1b]0;evil\x07\x9b31m\u202edrow\u2066\r\n"
FORMULA = '=HYPERLINK("http://x")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Synthetic(
        dataset=f"data{BAD}",
        model=f"net{BAD}",
        layers=((f"conv{BAD}1", 12, "conv"), ("fc6", 20, "fc")),
        class_names=(FORMULA, f"wren{BAD}", "@cmd", "-1+1", "robin"),
        failed=((f"b/{BAD}.jpg", f"cut{BAD}off"),),
    )
    return write_run(tmp_path_factory.mktemp("hostile") / "run", spec)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--class", "wren"],
        ["--class", "no such"],
        ["--layer", f"conv{BAD}1"],
        ["--feature", f"conv{BAD}1/3", "--all"],
        ["--feature", "fc6/3", "--class", "wren", "--json"],
        ["--layer", f"none{BAD}"],
        ["--picture", f"none{BAD}/x.png"],
    ],
    ids=repr,
)
def test_show_prints_what_can_be_printed(
    folder: Path, words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        command("show", [str(folder), *words])
    printed = "".join(capsys.readouterr())
    assert printed
    assert all(line.isprintable() for line in printed.split("\n")), ascii(printed)


def test_so_do_compare_and_the_summary_of_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Run.open(folder))
    other = write_run(tmp_path / f"other{BAD}", Synthetic(layers=((f"conv{BAD}2", 9, "conv"),)))
    (tmp_path / f"empty{BAD}").mkdir()
    words = [str(folder), str(other), str(tmp_path / f"empty{BAD}"), "--formats", "png"]
    command("compare", [*words, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert "data?]0;evil??31m?drow?" in printed.out
    assert f"skipped {tmp_path}/empty?]0;evil??31m?drow?" in printed.err
    for text in printed:
        lines = text.replace("\r", "\n").split("\n")  # a progress bar's
        assert all(line.isprintable() for line in lines), ascii(text)

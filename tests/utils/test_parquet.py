"""Damaged Parquet files: one line, and nothing on standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fnx.utils import parquet
from fnx.utils.parquet import read_parquet


def test_a_file_is_read_and_what_is_none_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    pl.DataFrame({"a": [1, 2]}).write_parquet(file)
    assert read_parquet(file)["a"].to_list() == [1, 2]
    file.write_bytes(b"PAR1 no")
    for one in (file, tmp_path / "none.parquet"):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            read_parquet(one)


def test_a_panic_of_polars_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(file: Path, **_: object) -> pl.DataFrame:
        os.write(2, b"thread panicked")
        raise pl.exceptions.PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(ValueError, match=r"^it is damaged$"):
        read_parquet(Path("x"))


def test_nothing_is_written_past_python_and_standard_error_works_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with parquet._without_stderr():
        os.write(2, b"noise")
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_a_closed_standard_error_is_no_mistake(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    code = (
        "import os; os.close(2); from pathlib import Path; from fnx.utils.parquet import *;"
        f"print(read_parquet(Path({str(tmp_path / 't.parquet')!r})).height)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n")

"""The page for newcomers does what it says: its files are written and its code is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pages import blocks, write_files

PAGE = "own-statistic"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    return write_files(PAGE, tmp_path)


def run(words: list[str], cwd: Path) -> str:
    environment = {**os.environ, "FNX_PLUGINS": "plugins"}  # or --cfg and --help do not read it
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not loaded" not in done.stderr, done.stderr
    return done.stdout


def test_its_python_runs(workplace: Path) -> None:
    every = [text for kind, title, text in blocks(PAGE) if kind == "python"]
    untitled = [t for k, title, t in blocks(PAGE) if k == "python" and not title]
    assert len(untitled) >= 3
    assert len(every) > len(untitled)
    (workplace / "session.py").write_text("\n".join(untitled))
    run([sys.executable, "session.py"], workplace)


def test_its_commands_compose(workplace: Path) -> None:
    commands = [text.split() for kind, _, text in blocks(PAGE) if kind == "sh"]
    assert len(commands) >= 2
    for command in commands:
        assert command[:3] == ["python", "-m", "fnx"]
        shown = run([sys.executable, *command[1:], "--cfg", "job"], workplace)
        for word in command[3:]:
            key, _, value = word.partition("=")
            assert (
                re.search(rf"\b{key.split('.')[-1]}: {value}", shown) or f"name: {value}" in shown
            )


def test_help_lists_the_plugins_and_their_parameters(workplace: Path) -> None:
    said = run([sys.executable, "-m", "fnx", "--help"], workplace)
    for word in ("total_variation", "statistic.power", "center_shift", "sigmas", "threshold.times"):
        assert word in said

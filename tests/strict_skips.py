"""`--strict-skips=FILE`: a test that is skipped fails, unless the file allows it with a reason."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

Report = pytest.TestReport | pytest.CollectReport


class Allowed(NamedTuple):
    """Tests (a pattern of node ids) that may be skipped for a reason (a pattern), and why."""

    tests: str
    reason: str
    why: str
    platform: str = "*"

    def covers(self, test: str, reason: str) -> bool:
        found = ((test, self.tests), (reason, self.reason), (sys.platform, self.platform))
        return all(fnmatchcase(text, pattern) for text, pattern in found)


def read(path: Path) -> list[Allowed]:
    """Return the entries of a file; a key that is unknown or missing is a TypeError."""
    return [Allowed(**entry) for entry in tomllib.loads(path.read_text("utf-8"))["allowed"]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips",
        metavar="FILE",
        help="fail skipped tests, unless this TOML file allows them (what .ci/run does)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--strict-skips"):
        try:
            allowed = read(config.rootpath / file)
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise pytest.UsageError(f"--strict-skips={file}: {error}") from error
        config.pluginmanager.register(StrictSkips(allowed, file), "strict-skips")


class StrictSkips:
    """Turn the skips of tests and of whole files into failures; expected failures stay."""

    def __init__(self, allowed: list[Allowed], file: str) -> None:
        self.allowed, self.file = allowed, file

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, Report, Report]:
        return self._judged((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, Report, Report]:
        return self._judged((yield))

    def _judged(self, report: Report) -> Report:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            reason = str(reason).removeprefix("Skipped: ")
            if not any(entry.covers(report.nodeid, reason) for entry in self.allowed):
                report.outcome = "failed"
                report.longrepr = f"skipped ({reason}), which {self.file} does not allow"
        return report

"""`--strict-skips`: what it fails, what it lets pass; and the list of allowed skips is sound."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.strict_skips import read

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def only_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of other packages import them, which takes seconds each time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


TESTS = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="no kettle (KETTLE or ../kettle)")
def test_tea(): pass

@pytest.mark.parametrize("cup", ["a", "b"])
def test_cup(cup): pytest.skip("no cups")

@pytest.fixture
def kitchen(): pytest.skip("no kitchen")

def test_kitchen(kitchen): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""
WHOLE_FILE = 'import pytest\npytest.importorskip("no_such_module", reason="no module")\n'
APART = ("-p", "xdist.plugin", "-n", "1")
KETTLE = ("test_it.py::test_tea", "no kettle (KETTLE or ../kettle)")
CUPS = ("test_it.py::test_cup*", "no *")
KITCHEN = ("*", "no kitchen")
MODULE = ("test_whole.py", "no module")


def run(
    pytester: pytest.Pytester, *allowed: tuple[str, ...], words: tuple[str, ...] = ()
) -> pytest.RunResult:
    entry = "[[allowed]]\ntests = '{}'\nreason = '{}'\nwhy = 'x'\n"
    entries = [entry.format(*pair) + "".join(pair[2:]) for pair in allowed]
    (pytester.path / "allowed.toml").write_text("".join(entries))
    pytester.makepyfile(test_it=TESTS, test_whole=WHOLE_FILE)
    loaded = ("-p", "tests.strict_skips", "--strict-skips=allowed.toml", "-ra", *words)
    return pytester.runpytest_inprocess(*loaded)


def test_a_skip_is_a_failure_that_names_its_reason(pytester: pytest.Pytester) -> None:
    done = run(pytester, MODULE)
    done.assert_outcomes(passed=1, failed=2, errors=2, skipped=1, xfailed=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        ["skipped (no kettle (KETTLE or ../kettle)), which allowed.toml does not allow"]
    )


def test_what_is_allowed_stays_skipped_and_is_listed(pytester: pytest.Pytester) -> None:
    done = run(pytester, KETTLE, CUPS, KITCHEN, MODULE)
    done.assert_outcomes(passed=1, skipped=5, xfailed=1)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["SKIPPED *: no kettle (KETTLE or ../kettle)"])


@pytest.mark.parametrize(
    "almost",
    [
        ("test_it.py::test_te", KETTLE[1]),
        ("test_whole.py::*", KETTLE[1]),
        (KETTLE[0], "no kettle"),
        (*KETTLE, "platform = 'no such'\n"),
    ],
)
def test_test_reason_and_platform_must_all_fit(
    pytester: pytest.Pytester, almost: tuple[str, ...]
) -> None:
    done = run(pytester, CUPS, KITCHEN, MODULE, almost)
    done.assert_outcomes(passed=1, errors=1, skipped=4, xfailed=1)


def test_a_file_that_is_skipped_whole_is_an_error(pytester: pytest.Pytester) -> None:
    done = run(pytester, KETTLE, CUPS, KITCHEN)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*skipped (no module), which allowed.toml does not allow"])


def test_so_it_is_in_a_process_of_xdist(pytester: pytest.Pytester) -> None:
    done = run(pytester, KETTLE, KITCHEN, MODULE, words=APART)
    done.assert_outcomes(passed=1, failed=2, skipped=3, xfailed=1)
    done.stdout.fnmatch_lines(["skipped (no cups), which allowed.toml does not allow"])
    done = run(pytester, KETTLE, CUPS, KITCHEN, words=APART)
    assert done.ret != pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["*skipped (no module), which allowed.toml does not allow"])


def test_without_the_option_nothing_changes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TESTS, test_whole=WHOLE_FILE)
    done = pytester.runpytest_inprocess("-p", "tests.strict_skips")
    done.assert_outcomes(passed=1, skipped=5, xfailed=1)


@pytest.mark.parametrize("text", [None, "[", "x = 1", "[[allowed]]\ntests = '*'\nreason = '*'\n"])
def test_a_file_that_cannot_be_used_is_one_line(
    pytester: pytest.Pytester, text: str | None
) -> None:
    if text is not None:
        (pytester.path / "allowed.toml").write_text(text)
    done = pytester.runpytest_inprocess("-p", "tests.strict_skips", "--strict-skips=allowed.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --strict-skips=allowed.toml: *"])


def test_what_is_allowed_is_of_tests_that_are_there_and_says_why() -> None:
    for entry in read(ROOT / "tests/allowed_skips.toml"):
        assert list(ROOT.glob(entry.tests.partition("::")[0])), entry
        assert "::" in entry.tests or entry.tests.endswith("/*"), entry
        assert len(entry.why) > 20, entry
        assert entry.reason.strip("*"), entry

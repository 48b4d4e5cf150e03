"""Errors are one line that says what was found and what is allowed."""

from __future__ import annotations

import pytest

from fnx.errors import (
    ConfigError,
    DataError,
    FnxError,
    MissingDataError,
    PluginError,
    WeightsError,
    reason,
    unknown,
)


def test_every_mistake_that_a_user_can_mend_is_of_one_kind() -> None:
    for kind in (ConfigError, DataError, MissingDataError, WeightsError, PluginError):
        assert issubclass(kind, FnxError)
    assert issubclass(MissingDataError, DataError)


def test_a_name_in_a_message_steers_no_terminal() -> None:
    assert str(DataError("no class 'a\x1b[31m\x9b\u202e'\nat all")) == "no class 'a?[31m??' at all"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kss", "unknown statistic 'kss' (did you mean 'ks'?); allowed: kl, ks, ks_exact"),
        ("magic", "unknown statistic 'magic'; allowed: kl, ks, ks_exact"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, text: str) -> None:
    assert unknown("statistic", name, iter(["ks", "kl", "ks_exact"])) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or directory"),
        (OSError("of\n two  lines"), "of two lines"),
        (OSError(), "OSError"),
        (ValueError("odd"), "ValueError: odd"),
        (MemoryError(), "MemoryError"),
        (ValueError("\udcff"), "ValueError: \\udcff"),
        (OSError("x" * 301), "x" * 300),
    ],
)
def test_a_reason_is_one_short_line(error: BaseException, text: str) -> None:
    assert reason(error) == text

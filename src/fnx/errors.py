"""The mistakes that a user can mend, each in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fnx.utils.text import printable


class FnxError(Exception):
    """A mistake the user can mend: one line, shown without a traceback (exit code 2)."""

    def __str__(self) -> str:
        """Return the line; names in it, which come from data, steer no terminal."""
        return printable(super().__str__())


class ConfigError(FnxError):
    """A key, a value or an option of the configuration that fnx cannot take."""


class DataError(FnxError):
    """Images, labels or arrays that fnx cannot work on."""


class MissingDataError(DataError):
    """A published data set that is not complete on disk, which fetching it mends."""


class WeightsError(FnxError):
    """A weights file that is missing, damaged or made for another network."""


class PluginError(FnxError):
    """A plugin that cannot be loaded, compiled or trusted."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return one line that names an unknown thing, the nearest known ones and what is allowed.

    >>> unknown("statistic", "kss", ["ks", "kl"])
    "unknown statistic 'kss' (did you mean 'ks'?); allowed: kl, ks"
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"unknown {kind} '{name}'{hint}; allowed: {', '.join(names)}"


def reason(error: BaseException) -> str:
    r"""Return why something failed, in one short line.

    >>> reason(FileNotFoundError(2, "No such file or directory", "/somewhere/x.png"))
    'No such file or directory'
    >>> reason(ValueError("of two\nlines"))
    'ValueError: of two lines'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if not text or not isinstance(error, OSError):
        text = f"{kind}: {text}" if text else kind
    return text.encode(errors="backslashreplace").decode()[:300]

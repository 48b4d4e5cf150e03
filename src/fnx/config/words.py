"""The words of the command line as Hydra takes them: a text is that text, whatever it holds.

Hydra reads the value of ``KEY=VALUE`` by a grammar in which brackets, commas, quotes and many other
characters have a meaning, and numbers are numbers. Where a key holds one text (a path, a name, a
pair) only quotes, ``null``, references such as ``${paths.data}`` and, in a sweep, commas keep their
meaning.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, Sweep
from hydra.errors import HydraException

from fnx.config.schema import Config
from fnx.errors import ConfigError
from fnx.utils.files import expand_user

_OVERRIDE = re.compile(r"(\+{0,2})([\w./]+)=(.*)", re.DOTALL)
_HYDRAS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
_NAMES = "|".join(item.name for item in dataclasses.fields(Config))
_GROUPS = {
    "experiment",
    *(item.name for item in dataclasses.fields(Config) if item.type not in ("int", "bool")),
}
_DOLLAR = re.compile(r"(\\*)\$\{")
# The same, where it begins no reference: to a key, to a resolver, or relative to the key.
_NO_REFERENCE = re.compile(rf"(\\*)\$\{{(?!\s*(?:\.|[\w.]+:|(?:{_NAMES}|hydra)[.\[}}]))")


def prepared(words: Sequence[str], *, sweep: bool) -> list[str]:
    """Return the words of a command line as Hydra's grammar takes them.

    A ``+`` before a key or group that is there anyway is left out: Hydra would refuse it.

    Args:
        words: ``KEY=VALUE``, and flags, which stay as they are.
        sweep: whether a comma separates the jobs of a sweep.

    Raises:
        ConfigError: a value that a sweep reads in another way than it may be meant; with the same
            word quoted.

    >>> prepared(["dataset.root=a (1)", "+experiment=paper", "seed=1,2"], sweep=True)
    ['dataset.root="a (1)"', 'experiment=paper', 'seed=1,2']
    """
    return [_prepared(word, sweep=sweep) for word in words]


def quoted(text: str) -> str:
    r"""Return a text in quotes, as Hydra's grammar takes it for that text.

    >>> quoted('a "b"'), quoted("${a}")
    ('"a \\"b\\""', '"\\${a}"')
    """
    return _in_quotes(literal(text))


def literal(text: str, dollars: re.Pattern[str] = _DOLLAR) -> str:
    """Return a text as OmegaConf takes it for that text: it would resolve ``${…}``."""
    return dollars.sub(lambda found: 2 * found[1] + r"\${", text)


def _in_quotes(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def _prepared(word: str, *, sweep: bool) -> str:
    match = _OVERRIDE.fullmatch(word)
    if match is None:
        flag, equals, folder = word.partition("=")
        return flag + equals + expand_user(folder) if flag == "--config-dir" else word
    plus, key, value = match.groups()
    item = _field(key)
    if item is not None or key == "experiment":
        plus = ""
    if key in _HYDRAS or (item is not None and _holds_text(item)):
        if key in _HYDRAS or key == "paths.outputs":
            _check_folder(key, value)
        value = _text(key, value, sweep=sweep)
    elif key in _GROUPS or "/" in key:
        value = _option(key, value)
    return f"{plus}{key}={value}"


def _text(key: str, value: str, *, sweep: bool) -> str:
    """Return the value of a key that holds one text, in quotes where Hydra would alter it."""
    try:
        found = OverridesParser.create().parse_override(f"{key}={value}").value()
    except HydraException:
        if sweep and "," in value:
            _refuse(key, value)
        altered = True
    else:
        if isinstance(found, ChoiceSweep) and found.simple_form:
            if sweep and _exists(value):
                _refuse(key, value)
            altered = not sweep and all(isinstance(one, str) for one in found.list)
        elif isinstance(found, str):
            escaped = found != value.strip() and _exists(value)
            altered = value != value.strip() or escaped or bool(_NO_REFERENCE.search(value))
        else:
            altered = isinstance(found, (bool, int, float, list, dict))
    return _in_quotes(literal(value, _NO_REFERENCE)) if altered else value


def _option(key: str, value: str) -> str:
    """Return names of options, in quotes where Hydra would read numbers, which it refuses."""
    try:
        found = OverridesParser.create().parse_override(f"{key}={value}").value()
    except HydraException:
        return value
    for one in found.list if isinstance(found, ChoiceSweep) else [found]:
        if isinstance(one, list):
            _check_names(key, value, one)
    if isinstance(found, ChoiceSweep) and found.simple_form:
        named = all(isinstance(one, str) for one in found.list)
        return value if named else ",".join(quoted(one.strip()) for one in value.split(","))
    return value if isinstance(found, (str, list, dict, Sweep)) else quoted(value)


def _check_names(key: str, value: str, names: list[Any]) -> None:
    """Refuse a list of what is no name, and one of options of which Hydra would take the last's."""
    if not all(isinstance(name, (str, QuotedString)) for name in names):
        raise ConfigError(f"{key}={value}: must be the name of an option")
    if len(names) > 1 and key in _GROUPS - {"experiment"}:  # recipes go together
        each = ",".join(name if isinstance(name, str) else name.text for name in names)
        raise ConfigError(f"{key}={value}: choose one option, or sweep over them: -m {key}={each}")


def _check_folder(key: str, value: str) -> None:
    """Refuse a folder that Hydra would make elsewhere, or of which it would resolve a part."""
    if not value.strip(" \"'"):
        raise ConfigError(f"{key} is empty: give it as {key}=FOLDER")
    if _NO_REFERENCE.search(value):
        raise ConfigError(f"{key}={value}: choose a folder without '${{' in its name")


def _exists(value: str) -> bool:
    return Path(expand_user(value)).exists()


def _refuse(key: str, value: str) -> None:
    """Refuse a comma of a sweep that may belong to a text, and print both ways to write it."""
    one, several = quoted(value), ",".join(quoted(part) for part in value.split(","))
    raise ConfigError(
        f"{key}={value}: a comma separates the values of a sweep; write"
        f" {shlex.quote(f'{key}={one}')} for one value,"
        f" or {shlex.quote(f'{key}={several}')} for several"
    )


def _field(key: str) -> dataclasses.Field[Any] | None:
    """Return the schema's field of a dotted key, None if there is none."""
    node: Any = Config
    item = None
    for part in key.split("."):
        known = dataclasses.fields(node) if dataclasses.is_dataclass(node) else ()
        item = next((one for one in known if one.name == part), None)
        if item is None:
            return None
        node = item.default_factory
    return item


def _holds_text(item: dataclasses.Field[Any]) -> bool:
    return item.type in ("str", "str | None") and not item.metadata["choices"]

"""Keep secrets out of all that leaves the process: files, logs, trackers, standard output."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fnx.utils.files import write_atomically
from fnx.utils.text import printable

HIDDEN = "[secret]"

# Names of what is secret, in the environment, in an address and in KEY=VALUE; "author", "compass",
# "path" and "monkey" are none.
_TELLTALE = (
    r"(?:token|secret|passw|passphrase|(?<!by)(?<!com)pass(?![a-z])|pwd(?![a-z])|bearer|cookie"
    r"|(?:api|access|private).?key|_key(?![a-z])|credential|auth(?!or(?!i[sz]))|signature"
    r"|(?<![a-z])(?:pat|creds?|sig|dsn|jwt)(?![a-z]))"
)
_VARIABLE = re.compile(rf"{_TELLTALE}|(?<!mon)key$", re.I)
_USERINFO = re.compile(r"(?<=://)(?:[^\s/?#'\"]*|[^\s/:?#'\"]+:(?!\d+/)[^\s?#'\"]*)@")
_QUERY = re.compile(rf"([?&;#][^=&;#\s]*{_TELLTALE}[^=&;#\s]*=)[^&;#\s'\"]+", re.I)
_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[^\s,()\[\]{}'\"]+"
# Lines of a file "NAME: value" too, but no sentence with a colon.
_NAMED = re.compile(
    rf"((?<![\w?&;#])(?:[\w.-]*{_TELLTALE}[\w.-]*=|[\w.-]*(?:passw|secret|authorization)\w*[\"']?:\s+"
    rf"|(?-i:[A-Z\d_]*)(?-i:TOKEN|PASS|PWD|KEY|PAT|AUTH|PASSPHRASE|CREDENTIALS|DSN)[\"']?:\s+)"
    rf"(?:(?:bearer|basic|token)\s+)?)({_VALUE})",
    re.I,
)
# Values that are no secret, as of model.class_token.
_HARMLESS = re.compile(r"[\"']?(?:true|false|null|none|[\d.]*|\?\?\?|\$.*)[\"']?", re.I)
# What the issuers of tokens begin them with, so that they can be found.
_TOKEN = re.compile(
    r"\b(?:gh[opsru]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
_SHORTEST = 8  # a shorter value may stand anywhere by chance


def redacted(value: Any) -> Any:
    """Return `value`, a text or a structure of texts, without secrets.

    Hidden are the user and password of an address; what its query, a word ``KEY=VALUE`` or a line
    ``key: value`` calls a token, a password or the like; tokens that are known by how they begin;
    and everywhere the value of an environment variable with such a name (WANDB_API_KEY, GH_PAT).

    >>> redacted({"url": "https://me:pass@host/x.pth?token=abc&part=2"})
    {'url': 'https://[secret]@host/x.pth?token=[secret]&part=2'}
    >>> redacted("hydra.job.env_set.DB_PASSWORD=abc model.class_token=true")
    'hydra.job.env_set.DB_PASSWORD=[secret] model.class_token=true'
    """
    if isinstance(value, str):
        return _redacted_text(value)
    if isinstance(value, Mapping):
        return {redacted(key): _redacted_item(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redacted(item) for item in value)
    return value


def _redacted_item(key: Any, item: Any) -> Any:
    """Hide a text whose key says that it is a secret."""
    if isinstance(key, str) and isinstance(item, str) and _VARIABLE.search(key):
        return item if _HARMLESS.fullmatch(item) else HIDDEN
    return redacted(item)


def _redacted_text(text: str) -> str:
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _is_secret(name) and not _is_path(value):
            for form in (value, value.replace("'", "''"), json.dumps(value)[1:-1], quote(value)):
                text = text.replace(form, HIDDEN)
    if "=" in text or ":" in text:  # most lines hold neither, and the patterns are slow
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        text = _QUERY.sub(rf"\g<1>{HIDDEN}", text)
        text = _NAMED.sub(_hide_value, text)
    return _TOKEN.sub(HIDDEN, text)


@cache
def _is_secret(name: str) -> bool:
    """Return whether a variable of this name holds a secret; asked for every line printed."""
    return bool(_VARIABLE.search(name))


def _hide_value(found: re.Match[str]) -> str:
    name, value = found.groups()
    mark = value[0] if value[0] in "\"'" else ""
    return found[0] if _HARMLESS.fullmatch(value) else f"{name}{mark}{HIDDEN}{mark}"


def _is_path(value: str) -> bool:
    """Return whether a value is the path of a file, which is no secret."""
    return value.startswith("/") and Path(f"/{value.split('/')[1]}").is_dir()


@contextmanager
def clean_logs() -> Iterator[None]:
    """Log no secrets, and nothing that steers a terminal, whatever handlers there are.

    Warnings are logged too, for libraries warn of names. A log that cannot be written, on a full
    disk, is left without a traceback.
    """
    before = logging.getLogRecordFactory(), logging.raiseExceptions
    if before[0] is _clean_record:  # a job in the process of its command
        yield
        return
    logging.setLogRecordFactory(_clean_record)
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.setLogRecordFactory(before[0])
        logging.raiseExceptions = before[1]


def _clean_record(*arguments: Any, **options: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **options)
    try:
        lines = redacted(record.getMessage()).split("\n")
    except (TypeError, ValueError):  # arguments that do not fit, which logging deals with
        return record
    record.msg, record.args = "\n".join(map(printable, lines)), None
    if record.exc_info:
        record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
    return record


def redact_files(folder: Path, pattern: str) -> None:
    """Rewrite the text files of `folder` that hold a secret."""
    for file in folder.glob(pattern):
        text = file.read_text(encoding="utf-8")
        clean = redacted(text)
        if clean != text:
            write_atomically(file, clean)

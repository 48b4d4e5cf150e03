"""Keep secrets out of what a run leaves: passwords in addresses, and the environment's keys."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fnx.utils.files import write_atomically

HIDDEN = "[secret]"

_TELLTALE = r"(?:token|secret|passw|pwd|api.?key|access.?key|auth|credential|signature|\bsig\b)"
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(rf"([?&;][^=&;#\s]*{_TELLTALE}[^=&;#\s]*=)[^&;#\s'\"]+", re.I)
_VARIABLE = re.compile(r"token|secret|passw|api_?key|access_?key|credential|_key$", re.I)
_SHORTEST = 8  # a shorter value may stand anywhere by chance


def redacted(value: Any) -> Any:
    """Return `value`, a text or a structure of texts, without secrets.

    Hidden are the user and password of an address, what its query calls a token, a key or the like,
    and everywhere the value of an environment variable with such a name (WANDB_API_KEY, HF_TOKEN).

    >>> redacted({"url": "https://me:pass@host/x.pth?token=abc&part=2"})
    {'url': 'https://[secret]@host/x.pth?token=[secret]&part=2'}
    """
    if isinstance(value, str):
        return _redacted_text(value)
    if isinstance(value, Mapping):
        return {redacted(key): redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redacted(item) for item in value)
    return value


def _redacted_text(text: str) -> str:
    for name, value in os.environ.items():
        is_path = value.startswith("/")
        if len(value) >= _SHORTEST and _VARIABLE.search(name) and not is_path:
            text = text.replace(value, HIDDEN)
    text = _USERINFO.sub(f"{HIDDEN}@", text)
    return _QUERY.sub(rf"\g<1>{HIDDEN}", text)


class Redacting(logging.Filter):
    """Let every line of a log through, without its secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the line by its text without secrets."""
        record.msg, record.args = redacted(record.getMessage()), None
        return True


def redact_files(folder: Path, pattern: str) -> None:
    """Rewrite the text files of `folder` that hold a secret."""
    for file in folder.glob(pattern):
        text = file.read_text(encoding="utf-8")
        clean = redacted(text)
        if clean != text:
            write_atomically(file, clean)

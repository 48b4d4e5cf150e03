"""Prepares standard output and error: for any encoding, for readers that leave, without secrets."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from fnx.utils.redact import redacted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Errors of a pipe whose reader has seen enough, and of a terminal that was closed.
_GONE = (errno.EPIPE, errno.EIO)


def prepare_streams() -> None:
    """Let standard output and error take any text; called once, before anything is printed.

    Characters that the encoding does not have are replaced, secrets are hidden, and what nobody
    reads any more is dropped: a reader that leaves ends no work. A stream that the caller closed
    is one that nobody reads, and so no file takes its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream, original = getattr(sys, name), getattr(sys, f"__{name}__")
        if stream is not original:  # a test's or a notebook's, or prepared already
            continue
        with suppress(OSError):
            if stream is not None:
                stream.flush()
        raw = _Raw(number, "w", closefd=False)
        prepared = _Text(
            io.BufferedWriter(raw),
            encoding=None if stream is None else stream.encoding,
            errors="replace",
            line_buffering=name == "stderr" or raw.isatty(),
            write_through=stream is not None and stream.write_through,
        )
        setattr(sys, name, prepared)


def flush_output() -> None:
    """Write what is still to be written to standard output; if that fails, it is dropped.

    Raises:
        OSError: a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError:
        # Or Python would try again as it ends, with lines of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


class _Raw(io.FileIO):
    """The file of a stream, which drops what nobody reads; of errors there is nowhere to tell."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() != 2 and error.errno not in _GONE:
                raise
            return memoryview(data).nbytes


class _Text(io.TextIOWrapper):
    """Text without secrets."""

    def write(self, text: str, /) -> int:
        super().write(redacted(text))
        return len(text)

"""One progress bar for all long work: what is done, how fast, and how long it will still take."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from fnx.utils.text import printable


class _Lines:
    """Standard error for what is drawn over itself on a terminal: a line each time instead."""

    def write(self, text: str) -> None:
        """Write what follows the return to the line's start; the end of a bar is one already."""
        if line := text.strip("\r\n "):
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def progress_bar(
    description: str,
    *,
    total: int,
    unit: str,
    initial: int = 0,
    enabled: bool = True,
    delay: float = 0.0,
) -> Any:
    """Return a tqdm bar on standard error, shown after `delay` seconds.

    In a log file or a pipe it writes a line every ten seconds only.
    """
    return tqdm(
        file=sys.stderr if sys.stderr.isatty() else _Lines(),
        desc=printable(description),
        total=total,
        initial=initial,
        unit=f" {unit}",
        disable=not enabled,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        smoothing=0.1,
        delay=delay,
    )

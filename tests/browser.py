"""Where the system's Chromium or Chrome is; as a script, prints it or fails, for .ci/run."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def find() -> str | None:
    """Return the path of the browser in which pages are tried (CHROMIUM goes first)."""
    named = os.environ.get("CHROMIUM", "")
    return next(filter(None, map(shutil.which, (named, *NAMES, MACOS))), None)


if __name__ == "__main__":
    print(found := find())
    sys.exit(found is None)

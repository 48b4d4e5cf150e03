"""Approved drawings: a figure that looks different from when it was last looked at fails a test.

A change that is meant is approved by looking at the figure, and then
``APPROVE_LOOKS=1 python -m pytest tests/report tests/commands``, which rewrites ``looks.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import matplotlib
import pytest

APPROVED = Path(__file__).with_name("looks.json")


def assert_looks_approved(**drawings: str) -> None:
    """Compare drawings, as SVG text by name, with the approved ones; other versions draw others."""
    approved = json.loads(APPROVED.read_text()) if APPROVED.is_file() else {}
    version = matplotlib.__version__
    found = {
        name: hashlib.sha256(re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S).encode())
        .hexdigest()[:16]
        for name, svg in drawings.items()
    }  # fmt: skip
    if os.environ.get("APPROVE_LOOKS"):
        figures = approved.get("figures", {}) | found
        text = json.dumps(
            {"matplotlib": version, "figures": dict(sorted(figures.items()))}, indent=1
        )
        APPROVED.write_text(text + "\n")
        return
    if approved["matplotlib"] != version:
        pytest.skip(f"approved with matplotlib {approved['matplotlib']}, not {version}")
    different = [name for name in found if found[name] != approved["figures"].get(name)]
    assert not different, f"look at {different}, then see {__file__}"

"""What people look at: figures, the page, the closing summary and the experiment trackers.

All of it is made from a run, in memory or on disk, so that it can be made again later. Nothing
heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fnx.report.pictures.pictures import write_pictures
    from fnx.report.terminal.closing import summary
    from fnx.report.trackers.open import open_tracker
    from fnx.report.trackers.track import track
    from fnx.report.write import write_report

__all__ = [
    "open_tracker",
    "summary",
    "track",
    "write_pictures",
    "write_report",
]

_HOMES = {
    "open_tracker": "fnx.report.trackers.open",
    "summary": "fnx.report.terminal.closing",
    "track": "fnx.report.trackers.track",
    "write_pictures": "fnx.report.pictures.pictures",
    "write_report": "fnx.report.write",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fnx.report' has no attribute {name!r}")

"""What people look at: figures, the page, the closing summary and the experiment trackers.

All of it is made from a run, in memory or on disk, so that it can be made again later.
"""

from fnx.report.terminal.closing import print_summary, summary
from fnx.report.trackers.open import open_tracker
from fnx.report.trackers.track import track
from fnx.report.write import write_report

__all__ = ["open_tracker", "print_summary", "summary", "track", "write_report"]

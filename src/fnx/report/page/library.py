"""plotly beside a page: one file on the disk for all runs of a cache, under a name in each run.

A page loads it from its own folder, for a browser lets a page on the disk load what lies below it,
and a run that is copied, zipped or sent must bring it along: a hard link does both.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import files
from pathlib import Path

from fnx.utils.files import link_or_copy, write_atomically

SHARED = "page"  # folder below paths.cache
FILE = "plotly.min.js"
LICENCE = "plotly.LICENSE.txt"  # which every copy of the file must have beside it


def put(folder: Path, cache: str | None) -> None:
    """Put plotly and its licence into a folder; the file is a link to that of all runs of a cache.

    Args:
        folder: where it is put, in place of an earlier one.
        cache: ``paths.cache``; where it is not there, or cannot be written, the folder gets a file
            of its own.

    Raises:
        OSError: `folder` cannot be written.
    """
    from plotly import __version__
    from plotly.offline import get_plotlyjs

    (licence,) = (file for file in files("plotly") or () if file.match("*.dist-info/*/LICENSE*"))
    write_atomically(folder / LICENCE, licence.read_text(encoding="utf-8"))
    content = get_plotlyjs().encode()
    file = folder / FILE
    if cache is not None and Path(cache).is_dir():
        shared = Path(cache) / SHARED / f"plotly-{__version__}.min.js"
        with suppress(OSError):
            shared.parent.mkdir(exist_ok=True)
            if not shared.is_file() or shared.read_bytes() != content:
                write_atomically(shared, content)
            file.unlink(missing_ok=True)
            link_or_copy(shared, file)
            return
    write_atomically(file, content)

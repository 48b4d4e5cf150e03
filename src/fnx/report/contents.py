"""What lies in a run's folder and how large it is: ``README.txt`` there, and a line of ``show``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fnx.analysis import Run
from fnx.analysis.record import RECORD
from fnx.utils.files import write_atomically
from fnx.utils.text import amount, plain

FILE = "README.txt"
_LARGEST = 3  # parts that a line names

# What a part is, and whether ``python -m fnx report`` makes it again when it was removed.
_PARTS = {
    "report.html": ("the page; open it in a browser", True),
    "advice.html": ("the page of advice, beside it", True),
    "report": ("what the page loads from the disk", True),
    "figures": ("the figures, and the numbers that each draws", True),
    "pictures": ("what activates each feature, and samples of each class", True),
    "distances.npy": ("D of every feature and class, float32", False),
    "distances_random.npy": ("the same under random labels, which t+ and t- come from", False),
    "run.json": ("what was run, with what; a run without it is not finished", False),
}
_TABLES = "tables"


@dataclass(frozen=True)
class Part:
    """A file or folder of a run, or all its tables, in bytes.

    `shared` bytes of these are of files that other runs have too, as links, on the disk only once.
    """

    name: str
    bytes: int
    shared: int = 0


def parts(folder: Path) -> list[Part]:
    """Return what lies in a run's folder, the largest first; links and hidden files count nothing.

    The tables beside ``figures/`` are one part.
    """
    sizes: dict[str, list[int]] = {}
    for entry in folder.iterdir():
        if entry.name[0] == "." or entry.name == FILE:
            continue
        found = sizes.setdefault(_TABLES if entry.suffix == ".parquet" else entry.name, [0, 0])
        for status in _files(entry):
            found[0] += status.st_size
            found[1] += status.st_size * (status.st_nlink > 1)
    ordered = sorted(sizes.items(), key=lambda item: (-item[1][0], item[0]))
    return [Part(name, *both) for name, both in ordered]


def _files(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of all files below a folder."""
    if not path.is_symlink() and path.is_file():
        with suppress(OSError):
            yield path.stat()
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                yield (Path(folder) / name).lstat()


def facts(run: Run) -> list[tuple[str, str]]:
    """Return how large a run's folder is and what is large in it, of a finished run."""
    with suppress(OSError):
        found = parts(run.path)
        if any(part.name == RECORD for part in found):
            large = ", ".join(f"{part.name} {amount(part.bytes)}" for part in found[:_LARGEST])
            return [("disk", f"{amount(sum(part.bytes for part in found))}: {large}, …")]
    return []


def write(run: Run) -> None:
    """Write ``README.txt``: what lies there, how large it is, and what may be removed.

    Raises:
        OSError: a folder that cannot be written.
    """
    found = parts(run.path)
    shared = sum(part.shared for part in found)
    lines = [
        plain(f"A run of fnx: {run.dataset}, {run.model}, {run.statistic}"),
        "",
        *(_line(part) for part in found),
        f"{amount(sum(part.bytes for part in found)):>10}  together"
        + (f", {amount(shared)} of it shared with other runs" if shared else ""),
        "",
        "What is marked * may be removed; this draws it again:",
        "    python -m fnx report THIS_FOLDER",
    ]
    if run.record.embedding and not run.of_array:
        lines += [
            "The values of all images lie apart, in the embedding, which runs share:",
            f"    {plain(run.record.embedding)}",
            "`python -m fnx cache` lists embeddings, their sizes and their runs, and removes them.",
        ]
    write_atomically(run.path / FILE, "\n".join(lines) + "\n")


def _line(part: Part) -> str:
    what, again = _PARTS.get(part.name, ("", False))
    if part.name == _TABLES:
        what = "images, classes, features, thresholds and so on: *.parquet"
    return f"{amount(part.bytes):>10} {'*' if again else ' '}{plain(part.name):<21} {what}".rstrip()

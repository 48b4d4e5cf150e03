"""Images that are files below a folder: how they are named, sorted, opened and stamped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fnx.images.dataset import Stamp, Stream
from fnx.utils.files import open_file

FETCHED = ".fetched-by-fnx"  # marks a folder that was made for a published data set
_DIGITS = re.compile(r"([0-9]+)")
_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_UNDECODED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as Python's os hands them on
_LONGEST = 200  # characters of a path in a message

#: How the parts of a name compare: words without case, numbers by value, then the name itself.
NaturalKey = tuple[tuple[tuple[str | tuple[int, str], ...], str], ...]


def natural_key(path: str) -> NaturalKey:
    """Return a key that sorts as people do: by folder, numbers by value, ignoring case.

    >>> sorted(["b/img10.png", "b/Img9.png", "b/img2.png", "a10/x", "a9/x"], key=natural_key)
    ['a9/x', 'a10/x', 'b/img2.png', 'b/Img9.png', 'b/img10.png']
    """
    return tuple(
        # Words stand at even places and numbers at odd ones, so that like meets like.
        (
            tuple(
                _by_value(part) if place % 2 else part.casefold()
                for place, part in enumerate(_DIGITS.split(name))
            ),
            name,
        )
        for name in path.split("/")
    )


def _by_value(digits: str) -> tuple[int, str]:
    """Return a key that sorts digits as their number, of which Python reads only 4,300 digits."""
    significant = digits.lstrip("0")
    return len(significant), significant


def to_text(name: str) -> str:
    r"""Return a file's name as valid Unicode: bytes that are not UTF-8 become `\xNN`.

    >>> to_text("caf\udce9.png")
    'caf\\xe9.png'
    >>> from_text(to_text("caf\udce9.png")) == "caf\udce9.png"
    True
    """
    marked = _LOOKS_ESCAPED.sub(r"\\x5c", name)
    return _UNDECODED.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", marked)


def from_text(text: str) -> str:
    """Return the file's name of which `to_text` made this text."""

    def character(found: re.Match[str]) -> str:
        byte = int(found[1], 16)
        return chr(0xDC00 + byte) if byte >= 0x80 else chr(byte)

    return _ESCAPED.sub(character, text)


def shown(path: Path | str) -> str:
    """Return a path or name for a message: quoted, in one line, and a long one cut short."""
    text, half = to_text(str(path)) if isinstance(path, Path) else path, _LONGEST // 2
    return repr(text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}")


@dataclass(frozen=True)
class Files:
    """Source of images that are files below `root` (see `fnx.images.dataset.Source`)."""

    root: str

    def file(self, path: str) -> Path:
        """Return where the image with this path in the table lies."""
        return Path(self.root) / from_text(path)

    def stream(self, path: str) -> Stream:
        """Open the file for reading."""
        return open_file(self.file(path))

    def identity(self, path: str) -> tuple[int, ...] | None:
        """Return what tells the file from all others, whatever leads to it; None without a file."""
        try:
            stat = self.file(path).stat()
        except (OSError, ValueError):  # the latter of a name that holds a null byte
            return None
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns

    def stamp(self, path: str) -> Stamp:
        """Return size, mtime and ctime of the file that a link leads to."""
        stat = self.file(path).stat()
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

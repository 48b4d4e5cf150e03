"""Files written whole or not at all, and digests of their content."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path

_blake2b = partial(hashlib.blake2b, digest_size=16)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, whose file replaces `path` when the block ends.

    A reader sees the old file or the new one, never a half, and the bytes are on the disk before
    the name is. If the block raises, the old file stays and the temporary one is removed. Several
    processes, also on several machines, may write the same path: the last one wins.

    Raises:
        OSError: a folder that cannot be written, or a full disk.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def largest_file() -> int | None:
    """Return the bytes that a file may have (``ulimit -f``); None without a limit."""
    if os.name != "posix":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def expand_user(path: str) -> str:
    """Expand ``~`` and ``~user``; what names no user is a file of that name, here.

    >>> expand_user("~no one/a"), expand_user("a/~")
    ('./~no one/a', 'a/~')
    """
    expanded = os.path.expanduser(path)  # noqa: PTH111 - Path's raises without such a user
    return f"./{expanded}" if expanded.startswith("~") else expanded


def new_folder(path: Path) -> Path:
    """Make a folder that no other process has made, and return its path.

    Returns:
        `path`, or where that is taken, `path` with ``-2``, ``-3``, … after its name.

    Raises:
        OSError: a folder that cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = chain([path.name], (f"{path.name}-{number}" for number in count(2)))
    while True:
        folder = path.with_name(next(names))
        with suppress(FileExistsError):
            folder.mkdir()
            return folder


def write_atomically(path: Path, content: str | bytes) -> None:
    r"""Write `content` to `path` as `atomic_path` does; text is encoded as UTF-8.

    Bytes of a path that are not UTF-8 become `\udcNN`, which JSON reads as what they were.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Give a file a second name, which takes no space, or copy it where links are not allowed.

    Whoever writes to one of the names must replace it (see `atomic_path`), for it is one file.

    Raises:
        OSError: no such file, a target that is there, a full disk.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without links; not one's own file
        shutil.copyfile(source, target)


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; what would wait for others, as a pipe, is refused at once.

    Raises:
        OSError: no such file, one that cannot be read, or no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file", str(path))

    def opener(name: str, flags: int) -> int:
        # Should a pipe have taken its place meanwhile, this does not wait for its other end.
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    return open(path, "rb", opener=opener)


def files_called(name: str, below: Path) -> Iterator[Path]:
    """Yield the files of this name below a folder, however deep; no links to folders are followed.

    Unlike `Path.rglob` it needs no recursion, which a thousand nested folders exceed.
    """
    folders = [str(below)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name == name:
                    yield Path(entry.path)


def digest(chunks: Iterable[bytes]) -> str:
    """Return the BLAKE2b digest of the chunks, one after the other, as 32 hexadecimal digits.

    >>> digest([b"ab", b"c"]) == digest([b"abc"])
    True
    """
    total = _blake2b()
    for chunk in chunks:
        total.update(chunk)
    return total.hexdigest()


def file_digest(file: Path | io.BufferedReader | io.BytesIO, algorithm: str | None = None) -> str:
    """Return the hexadecimal digest of a file.

    Args:
        file: its path, or the file itself, opened for reading bytes and at its start.
        algorithm: `sha256` or `md5`, where others publish such a digest; by default the BLAKE2b
            of `digest`.

    Raises:
        OSError: a file that cannot be read.
    """
    if isinstance(file, Path):
        with open_file(file) as stream:
            return file_digest(stream, algorithm)
    return hashlib.file_digest(file, algorithm or _blake2b).hexdigest()

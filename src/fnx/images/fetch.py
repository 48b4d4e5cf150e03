"""Fetching a data set of Table 2: its archives, whole and verified, unpacked into their place."""

from __future__ import annotations

import errno
import gzip
import logging
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urljoin

from fnx.errors import DataError, reason
from fnx.images.official import OFFICIAL, Archive, how_to_fetch
from fnx.images.paths import FETCHED, shown
from fnx.utils.download import download
from fnx.utils.files import file_digest, open_file
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_MB = 1_000_000
_MOST_EXPANSION = 100  # times an archive's size: photographs are compressed already
_LARGEST = 1000 * _MB  # of what is unpacked in any case
_DRIVE = re.compile(r"[A-Za-z]:")


def fetch(layout: str, root: Path) -> None:
    """Fetch a data set of Table 2 and unpack it into `root`.

    Archives that already lie there are used and kept, so that users can bring them; those fetched
    here are removed once unpacked. All is unpacked into a hidden folder and renamed at the end, so
    that half an archive is never taken for data. What lay in its place is kept under another name.

    Raises:
        DataError: an archive that needs an account, cannot be fetched, has another checksum than
            the published one, or is damaged.
    """
    data_set = OFFICIAL[layout]
    brought = [archive for archive in data_set.archives if (root / archive.name).is_file()]
    by_hand = [a.name for a in data_set.archives if not a.public and a not in brought]
    if by_hand:
        raise DataError(
            f"{' and '.join(by_hand)} not found in {shown(root)} (dataset.root): "
            f"{how_to_fetch(layout)}"
        )
    unpacked = root / ".unpacking"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not any(root.iterdir()):  # it is ours: whoever lists the folder above leaves it out
            (root / FETCHED).touch()
        if unpacked.exists():
            shutil.rmtree(unpacked)  # left by an interrupted run
        for archive in data_set.archives:
            file = root / archive.name
            if archive not in brought:
                download(archive.url, file, **archive.checksum)
            for algorithm, expected in archive.checksum.items() if archive in brought else ():
                if (found := file_digest(file, algorithm)) != expected:
                    raise DataError(
                        f"{shown(file)} is not what its authors published: its "
                        f"{algorithm} is {found} where {expected} is expected; remove it"
                    )
            _prepare(archive, file, unpacked / archive.into)
        _move(unpacked, root)
        for archive in data_set.archives:
            if archive not in brought and not _lies_in_place(archive):
                (root / archive.name).unlink()
    except OSError as error:
        raise DataError(
            f"cannot write {data_set.title} to {shown(root)}: {reason(error)}"
        ) from error


def _lies_in_place(archive: Archive) -> bool:
    """Return whether the file is itself data that belongs into the root."""
    return not is_archive(archive.name) and not archive.into


def _prepare(archive: Archive, file: Path, folder: Path) -> None:
    """Bring the data of an archive into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if archive.each:
        _fetch_each(archive, file, folder)
    if not is_archive(archive.name):
        if not _lies_in_place(archive):
            shutil.copyfile(file, folder / archive.name)
        return
    try:
        unpack(file, folder)
        for name in archive.inner:
            inner = folder / name
            if not inner.is_file():
                raise DataError(f"{archive.name} holds no {name}")
            unpack(inner, inner.parent)
            inner.unlink()
    except DataError as error:
        raise DataError(f"{error}; remove {shown(file)} to fetch it anew") from error


def _fetch_each(archive: Archive, file: Path, folder: Path) -> None:
    """Fetch the files that a list names, which lie beside it on the server."""
    with open_file(file) as lines:
        text = lines.read().decode(errors="replace")
    names = list(dict.fromkeys(line.split()[0] for line in text.splitlines() if line.split()))
    kept = file.with_name(f".{file.name}.files")  # an interrupted run goes on with these
    with progress_bar(f"fetching files of {file.name}", total=len(names), unit="files") as bar:
        for name in names:
            if Path(name).name != name or "\\" in name or name == "..":
                raise DataError(f"{file.name} is refused: its file {name!r} leaves the folder")
            download(urljoin(archive.url, quote(name)), kept / name)
            bar.update()
    for name in names:
        (kept / name).rename(folder / name)
    kept.rmdir()


def _move(unpacked: Path, root: Path) -> None:
    """Rename what was unpacked into its place; what lies there gets another name."""
    for item in sorted(unpacked.iterdir()):
        place = root / item.name
        if place.exists():
            number = 1
            while (aside := root / f"{item.name}.incomplete-{number}").exists():
                number += 1
            place.rename(aside)
            log.warning("%s was not complete and is now called %s", place, aside.name)
        item.rename(place)
    unpacked.rmdir()


def is_archive(name: str) -> bool:
    """Return whether a file of this name is unpacked, by its ending."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into `folder`, and nothing outside of it.

    Only files and folders are unpacked, and read to the archive's last byte: a checksum at its end
    counts. What Python's own filters let pass differs between its versions, so none is relied on.

    Raises:
        DataError: an archive that is damaged or cut short; links and special members; names that
            leave the folder or occur twice; far more content than the archive could hold.
        OSError: a folder that cannot be written, or a full disk.
    """
    size = archive.stat().st_size
    bar = progress_bar(f"unpacking {archive.name}", total=round(size / _MB), unit="MB")
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    left = _LARGEST + _MOST_EXPANSION * size
    seen: set[Path] = set()
    try:
        with bar:
            for name, content in members(archive, bar):
                place = folder / _inside(archive, name)
                if content is None:
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                if place in seen:
                    raise DataError(f"{archive.name} is refused: it holds {name!r} twice")
                seen.add(place)
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    while block := content.read(_MB):
                        left -= len(block)
                        if left < 0:
                            raise DataError(
                                f"{archive.name} is refused: it unpacks to more than "
                                f"{_MOST_EXPANSION} times its size"
                            )
                        file.write(block)
    except DataError:
        raise
    except Exception as error:  # a parser may fail in any way in a damaged file
        # The disk's fault is not the archive's, unless that has led to a place before its start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise DataError(f"cannot unpack {archive.name}: {reason(error)}") from error


#: The name and content of each member of an archive; None of a folder.
_Members = Iterator[tuple[str, IO[bytes] | None]]


def _tar_members(archive: Path, bar: Any) -> _Members:
    with archive.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if not (member.isdir() or member.isreg()) or member.issparse():
                    raise DataError(
                        f"{archive.name} is refused: its member {member.name!r} is a link or "
                        "another special file"
                    )
                yield member.name, tar.extractfile(member)
                bar.update(round(raw.tell() / _MB) - bar.n)
            # A damaged header in the middle looks like the end to Python.
            stream.seek(tar.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(f"cannot unpack {archive.name}: it is damaged or cut short")
            while stream.read(_MB):  # gzip's checksum stands at its end
                pass


def _zip_members(archive: Path, bar: Any) -> _Members:
    done = 0
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(
                    f"{archive.name} is refused: its member {member.filename!r} is a link or "
                    "another special file"
                )
            if member.is_dir():
                yield member.filename, None
            else:
                with zipped.open(member) as content:
                    yield member.filename, content
            done += member.compress_size
            bar.update(round(done / _MB) - bar.n)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """Return a member's place below the folder, whatever system the archive was made on."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or any(part == ".." or _DRIVE.match(part) for part in path.parts):
        raise DataError(f"{archive.name} is refused: its member {name!r} leaves the folder")
    return path

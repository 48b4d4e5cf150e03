"""Fetching a data set of Table 2: its archives, whole and verified, unpacked into their place."""

from __future__ import annotations

import logging
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin

from fnx.errors import DataError, reason
from fnx.images.layouts.walk import FETCHED
from fnx.images.official import OFFICIAL, Archive, how_to_fetch
from fnx.images.paths import to_text
from fnx.utils.download import download
from fnx.utils.files import file_digest, open_file
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

_MB = 1_000_000


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
            f"{' and '.join(by_hand)} not found in {to_text(str(root))!r} (dataset.root): "
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
                download(archive.url, file, md5=archive.md5, size=archive.size)
            elif archive.md5 and (found := file_digest(file, "md5")) != archive.md5:
                raise DataError(
                    f"{to_text(str(file))!r} is not what its authors published: its md5 is {found} "
                    f"where {archive.md5} is expected; remove it"
                )
            _prepare(archive, file, unpacked / archive.into)
        _move(unpacked, root)
        for archive in data_set.archives:
            if archive not in brought and not _lies_in_place(archive):
                (root / archive.name).unlink()
    except OSError as error:
        raise DataError(
            f"cannot write {data_set.title} to {to_text(str(root))!r}: {reason(error)}"
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
        raise DataError(f"{error}; remove {to_text(str(file))!r} to fetch it anew") from error


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

    Raises:
        DataError: an archive that is damaged, truncated, or has members that leave the folder.
    """
    total = round(archive.stat().st_size / _MB)
    bar = progress_bar(f"unpacking {archive.name}", total=total, unit="MB")
    extract = _unzip if archive.name.lower().endswith(".zip") else _untar
    try:
        with bar:
            extract(archive, folder, bar)
    except tarfile.FilterError as error:
        raise DataError(f"{archive.name} is refused: {reason(error)}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        raise DataError(f"cannot unpack {archive.name}: {reason(error)}") from error


def _untar(archive: Path, folder: Path, bar: Any) -> None:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            _refuse_outside(archive, member.name)
            # This filter refuses links that lead outside, devices, and too generous permissions.
            tar.extract(member, folder, filter="data")
            bar.update(round(raw.tell() / _MB) - bar.n)


def _unzip(archive: Path, folder: Path, bar: Any) -> None:
    done = 0
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _refuse_outside(archive, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(f"{archive.name} is refused: {member.filename!r} is a link")
            zipped.extract(member, folder)
            done += member.compress_size
            bar.update(round(done / _MB) - bar.n)


def _refuse_outside(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        raise DataError(f"{archive.name} is refused: its member {name!r} leaves the folder")

"""Unpacks .tar, .tar.gz, .tgz and .zip into a folder, and nothing outside of it."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from fnx.errors import DataError
from fnx.images.validate import reason
from fnx.utils.progress import progress_bar

_MB = 1_000_000


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked, by its ending."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, with a progress bar in megabytes of the archive.

    Raises:
        DataError: an archive that is damaged, cut off, or has members that leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = round(archive.stat().st_size / _MB)
    bar = progress_bar(f"unpacking {archive.name}", total=total, unit="MB")
    try:
        with bar:
            if archive.name.lower().endswith(".zip"):
                _unzip(archive, folder, bar)
            else:
                _untar(archive, folder, bar)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        if isinstance(error, tarfile.FilterError):
            raise DataError(f"{archive.name} is refused: {reason(error)}") from error
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

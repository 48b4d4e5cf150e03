"""Fetches a data set of Table 2: its archives, whole and verified, unpacked into their place."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from fnx.errors import ConfigError, DataError
from fnx.images.official import OFFICIAL, Archive, how_to_fetch
from fnx.images.paths import to_text
from fnx.images.unpack import is_archive, unpack
from fnx.images.validate import reason
from fnx.utils.download import download
from fnx.utils.progress import progress_bar

if TYPE_CHECKING:
    from fnx.config.schema import DatasetConfig

log = logging.getLogger(__name__)


def fetch(config: DatasetConfig) -> None:
    """Fetch and unpack a data set of Table 2 into `dataset.root`.

    Archives that already lie there are used, so that one may bring them oneself; those fetched
    here are removed once unpacked. All is unpacked beside its place and renamed into it at the end:
    what is half unpacked is never taken for data. What stood in its place is kept under
    another name.

    Raises:
        ConfigError: no root.
        DataError: an archive that needs an account, cannot be fetched, has another checksum than
            the published one, or is damaged.
    """
    if not config.root:
        raise ConfigError("dataset.root is missing: give it as dataset.root=PATH")
    root = Path(config.root).expanduser().absolute()
    archives = OFFICIAL[config.layout].archives
    brought = [archive for archive in archives if (root / archive.name).is_file()]
    by_hand = [a.name for a in archives if not a.public and a not in brought]
    if by_hand:
        raise DataError(
            f"{' and '.join(by_hand)} not found in {to_text(str(root))!r} (dataset.root): "
            f"{how_to_fetch(config.layout)}"
        )
    unpacked = root / ".unpacking"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if unpacked.exists():
            shutil.rmtree(unpacked)  # what an interrupted run left
        for archive in archives:
            file = root / archive.name
            if archive in brought:
                _verify(file, archive)
            else:
                download(archive.url, file, md5=archive.md5, size=archive.size)
            _prepare(archive, file, unpacked)
        _move(unpacked, root)
        for archive in archives:
            if archive not in brought and not _lies_in_place(archive):
                (root / archive.name).unlink()
    except OSError as error:
        raise DataError(
            f"cannot write {OFFICIAL[config.layout].title} to {to_text(str(root))!r}: "
            f"{reason(error)}"
        ) from error


def _lies_in_place(archive: Archive) -> bool:
    """Whether the file is its own data, and the root its place: nothing to unpack or to move."""
    return not is_archive(archive.name) and not archive.into


def _prepare(archive: Archive, file: Path, unpacked: Path) -> None:
    """Bring what the archive holds into its folder below `unpacked`."""
    folder = unpacked / archive.into
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
    text = file.read_text(encoding="utf-8", errors="replace")
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
    """Rename what was unpacked into its place; what stands there gets another name."""
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


def _verify(file: Path, archive: Archive) -> None:
    """Refuse an archive that somebody brought, if it is not the published one."""
    if archive.md5 is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != archive.md5:
        raise DataError(
            f"{to_text(str(file))!r} is not what its authors published: its md5 is {found} where "
            f"{archive.md5} is expected; remove it"
        )

"""Archives: whatever is in them stays in the folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.images.archives import tar

from fnx.errors import DataError
from fnx.images.fetch import unpack


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_members_come_out_as_they_went_in(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/b.txt", b"content")
    else:
        tar(file, {"a/b.txt": b"content"})
    unpack(file, tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", "..\\outside"])
@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_a_member_that_leaves_the_folder_is_refused(name: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, b"evil")
    else:
        tar(file, {name: b"evil"})
    with pytest.raises(DataError, match="is refused: its member"):
        unpack(file, tmp_path / "out/deeper")
    assert not list(tmp_path.rglob("*outside*"))


def test_links_that_lead_outside_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w") as archive:
        link = tarfile.TarInfo("images")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
        archive.addfile(link)
        info = tarfile.TarInfo("images/x")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="is refused"):
        unpack(file, tmp_path / "out")
    zipped = tmp_path / "a.zip"
    with zipfile.ZipFile(zipped, "w") as archive_:
        member = zipfile.ZipInfo("images")
        member.external_attr = 0o120777 << 16
        archive_.writestr(member, str(tmp_path))
    with pytest.raises(DataError, match="'images' is a link"):
        unpack(zipped, tmp_path / "out")


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".zip"])
def test_what_is_no_archive_or_cut_off_is_one_line(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{ending}"
    file.write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=f"cannot unpack a{ending}: "):
        unpack(file, tmp_path / "out")
    if ending != ".zip":
        tar(file, {f"{n}.txt": bytes(2000) for n in range(5)})
        file.write_bytes(file.read_bytes()[: -8000 if ending == ".tar" else -60])
        with pytest.raises(DataError, match=f"cannot unpack a{ending}: "):
            unpack(file, tmp_path / "out")

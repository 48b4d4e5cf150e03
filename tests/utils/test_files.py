"""Files are written whole or not at all; digests are those of hashlib."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fnx.utils.files import (
    atomic_path,
    digest,
    expand_user,
    file_digest,
    files_called,
    largest_file,
    new_folder,
    open_file,
    write_atomically,
)


@pytest.mark.parametrize("content", ["é\n", "é\n".encode()])
def test_content_takes_the_place_of_the_old_one(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert list(tmp_path.iterdir()) == [path]


def test_paths_that_are_not_utf8_are_kept_in_json(tmp_path: Path) -> None:
    path = "caf\udce9/é"
    write_atomically(tmp_path / "x.json", json.dumps({"root": path}, ensure_ascii=False))
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"root": path}


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_hidden_beside_its_place_and_has_its_ending(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npy") as one, atomic_path(tmp_path / "a.npy") as two:
        assert one != two
        for temporary in (one, two):
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
            assert temporary.suffix == ".npy"
            temporary.touch()


def test_bytes_reach_the_disk_before_the_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (done.append("replace"), replace(self, to))[1]
    )
    write_atomically(tmp_path / "a", "x")
    assert done == ["fsync", "replace"]


def test_digests_are_those_of_hashlib(tmp_path: Path) -> None:
    content = bytes(range(256)) * 300
    (tmp_path / "a").write_bytes(content)
    blake2b = hashlib.blake2b(content, digest_size=16).hexdigest()
    assert digest([content[:7], b"", content[7:]]) == blake2b
    assert file_digest(tmp_path / "a") == blake2b
    assert file_digest(tmp_path / "a", "sha256") == hashlib.sha256(content).hexdigest()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(content).hexdigest()
    assert file_digest(io.BytesIO(content)) == blake2b


def test_a_folder_is_new_with_a_number_after_its_name_if_need_be(tmp_path: Path) -> None:
    path = tmp_path / "a/b.c"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(path), range(8)))
    assert sorted(folder.name for folder in made) == ["b.c", *(f"b.c-{n}" for n in range(2, 9))]
    assert all(folder.parent == path.parent and folder.is_dir() for folder in made)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        new_folder(tmp_path / "file/a")
    assert new_folder(tmp_path / "file") == tmp_path / "file-2"


def test_a_tilde_is_a_home_or_the_name_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    root = os.path.expanduser("~root")  # noqa: PTH111
    assert [expand_user(path) for path in ("~", "~/a b", "~root/a", "a~", "~~", "")] == [
        *("/home/me", "/home/me/a b", f"{root}/a", "a~", "./~~", ""),
    ]


def test_files_of_a_name_are_found_however_deep(tmp_path: Path) -> None:
    for place in ("run.json", "a/run.json", "a/b/run.json", "a/run.json.old", "elsewhere/x"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "c/run.json").mkdir(parents=True)
    found = [str(file.relative_to(tmp_path)) for file in files_called("run.json", tmp_path)]
    assert sorted(found) == ["a/b/run.json", "a/run.json", "run.json"]
    assert list(files_called("run.json", tmp_path / "nowhere")) == []
    deep = tmp_path / "elsewhere"
    with contextlib.chdir(deep):
        for _ in range(1100):
            Path("d").mkdir()
            os.chdir("d")
        Path("run.json").touch()
    try:
        assert len(list(files_called("run.json", deep))) == 1
    finally:
        subprocess.run(["rm", "-r", deep], check=True)  # Python's own has no such depth


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "late pipe"])
def test_only_regular_files_are_opened(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif "pipe" in kind:
        os.mkfifo(path)
    said = {"folder": "Is a directory", "nothing": "No such file"}.get(kind, "not a regular file")
    if kind == "late pipe":  # it took the place of a file meanwhile: then it does not wait
        regular = tmp_path.joinpath("file")
        regular.touch()
        monkeypatch.setattr(Path, "stat", lambda _: os.stat(regular))  # noqa: PTH116
        with open_file(path) as stream:
            assert not stream.read()
        return
    with pytest.raises(OSError, match=said) as caught:
        open_file(path)
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match=said):
        file_digest(path)


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_file(tmp_path / "link") as stream:
        assert stream.read() == b"content"


def test_the_largest_file_is_what_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((resource.RLIM_INFINITY, None), (4096, 4096)):
        monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_FSIZE: (limit, 9)}.get)
        assert largest_file() == expected

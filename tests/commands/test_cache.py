"""`python -m fnx cache`: what is listed, and that nothing else is ever removed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.embedding.stores import FEATURES, fill, tables
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis.record import RunRecord
from fnx.cli import command
from fnx.commands import cache
from fnx.embedding import store
from fnx.embedding.cache import cached, remove, size
from fnx.embedding.fingerprint import fingerprint
from fnx.embedding.manifest import Manifest
from fnx.errors import ConfigError, DataError
from fnx.utils.lock import SharedLock, exclusive_lock

INPUTS = {
    "network": "vgg16",
    "weights": "0f1e",
    "tap": "post",
    "layers": "conv",
    "crops": {"name": "ten", "size": 224},
    "precision": "32-true",
}


def written(folder: Path, name: str, *, finished: bool = True, **others: Any) -> Path:
    """An embedding of 23 images, whose last 7 are missing where it is not finished."""
    inputs = {**INPUTS, **others, "images": name}
    mark = fingerprint(inputs)
    path = folder / f"{name}-{mark}"
    manifest = Manifest(mark, inputs, 23, FEATURES, 8, positions=())
    store.create(path, manifest, *tables())
    zeros = np.ones((23, FEATURES), np.float32), np.ones((23, FEATURES, 2), np.uint8)
    fill(path, manifest, *zeros, [0, 1, 2] if finished else [0, 1])
    if finished:
        store.finish(path, manifest)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A cache with an embedding that a run uses, one that none does, and an unfinished one."""
    monkeypatch.setenv("COLUMNS", "300")  # whatever the length of the folder's name
    folder, outputs = tmp_path / "cache", tmp_path / "outputs"
    used = written(folder, "used")
    written(folder, "alone", layers=["conv1", "conv2"], class_token=True)
    written(folder, "half", finished=False)
    (folder / "checked").mkdir()
    (folder / "checked/x.parquet").write_bytes(b"12345")
    run = write_run(outputs / "runs/one", Synthetic())
    record = RunRecord.read(run)
    replace(record, embedding=str(used), fingerprint=used.name[-12:]).write(run)
    return folder, [f"paths.cache={folder}", f"paths.outputs={outputs}"]


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    cache.main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def names(folder: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder.glob("[!.]*-*"))


def test_json_tells_all(places: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, words = places
    found = told(words, capsys)
    assert found["cache"] == str(folder)
    assert found["others"] == [{"name": "checked", "bytes": 5}]
    alone, half, used = found["embeddings"]
    assert [entry["name"].split("-")[0] for entry in (alone, half, used)] == [
        "alone",
        "half",
        "used",
    ]
    assert [entry["state"] for entry in (alone, half, used)] == [
        "finished",
        "unfinished",
        "finished",
    ]
    assert [entry["rows_done"] for entry in (alone, half, used)] == [23, 16, 23]
    assert {entry["rows"] for entry in (alone, half, used)} == {23}
    assert {entry["features"] for entry in (alone, half, used)} == {FEATURES}
    assert used["runs"] == [f"{folder.parent}/outputs/runs/one"]
    assert (alone["runs"], half["runs"]) == ([], [])
    assert used["recipe"] == INPUTS
    path = Path(used["path"])
    assert used["bytes"] == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    assert used["name"].endswith(used["fingerprint"])
    (one,) = told([*words, alone["fingerprint"]], capsys)["embeddings"]
    assert one == alone


def test_the_table_says_the_same_in_words(places: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, words = places
    os.utime(next(folder.glob("used-*")) / "manifest.json", (1e9, 1e9))
    cache.main(words)
    text = " ".join(capsys.readouterr().out.split())
    assert f"3 embeddings in {folder} (paths.cache, or FNX_CACHE)" in text
    assert "23 × 70" in text
    assert "16 of 23 × 70" in text
    assert "2001-09-09" in text
    assert "beside them: checked (5 bytes, what is known of images that were checked)" in text
    assert "2 used by no finished run below" in text
    assert "python -m fnx cache --remove unused" in text


def test_a_recipe_is_told_in_words(places: Any) -> None:
    folder, _ = places
    alone, half, used = (cache.words(entry) for entry in cached(folder, folder))
    assert used == "vgg16, conv layers, post-activation, ten crops of 224 px, 32-true"
    assert alone == (
        "vgg16, conv1, conv2 layers, post-activation, ten crops of 224 px, 32-true, class token"
    )
    assert half == f"unfinished, {used}"


def test_one_embedding_is_shown_with_its_runs(
    places: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = places
    (used,) = folder.glob("used-*")
    cache.main([used.name, *words])
    text = capsys.readouterr().out
    assert "outputs/runs/one" in text
    assert "0f1e" in text
    assert "alone" not in text


def test_a_reference_embedding_is_used(places: Any) -> None:
    folder, _ = places
    outputs = folder.parent / "outputs"
    run = outputs / "runs/one"
    (alone,) = folder.glob("alone-*")
    replace(RunRecord.read(run), reference_embedding=str(alone)).write(run)
    assert [bool(entry.runs) for entry in cached(folder, outputs)] == [True, False, True]


def test_what_is_named_is_removed_and_nothing_else(
    places: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = places
    (alone,) = folder.glob("alone-*")
    cache.main(["--remove", alone.name, "--yes", *words])
    assert "removed alone-" in capsys.readouterr().out
    assert names(folder) == ["half", "used"]
    assert (folder / "checked/x.parquet").is_file()
    cache.main(["--yes", "--remove", "unused", *words])
    assert names(folder) == ["used"]
    cache.main(["--remove", "unused", "--yes", *words])
    assert "nothing to remove" in capsys.readouterr().out
    (used,) = folder.glob("used-*")
    cache.main(["--remove", used.name[-12:], used.name, *words, "--yes"])
    assert names(folder) == []
    cache.main(words)
    assert f"no embeddings in {folder}" in capsys.readouterr().out


class Answer(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "kept"), [("y\n", False), ("YES\n", False), ("\n", True), ("n\n", True), ("", True)]
)
def test_it_asks_first(
    places: Any,
    answer: str,
    kept: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, words = places
    monkeypatch.setattr(sys, "stdin", Answer(answer))
    cache.main([*words, "--remove", "unused"])
    text = capsys.readouterr().out
    assert "remove 2 (" in text
    assert f"no run below {folder.parent}/outputs uses them" in text
    assert names(folder) == (["alone", "half", "used"] if kept else ["used"])
    assert ("nothing is removed" in text) == kept


def test_used_ones_are_named_as_such(
    places: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = places
    (used,) = folder.glob("used-*")
    monkeypatch.setattr(sys, "stdin", Answer("n"))
    cache.main([*words, "--remove", used.name])
    assert "1 used by runs below" in capsys.readouterr().out


def test_without_a_terminal_nothing_is_removed(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, words = places
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(DataError, match="nobody can be asked here: add --yes"):
        cache.main([*words, "--remove", "unused"])
    assert names(folder) == ["alone", "half", "used"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("checked", "checked is not an embedding of fnx"),
        ("notes-0123456789ab", "notes-0123456789ab is not an embedding of fnx"),
        ("file", "file is not an embedding of fnx"),
        ("link-0123456789ab", "is a link: nothing outside"),
        ("..", "is not an embedding of fnx"),
        (".", "is not an embedding of fnx"),
        ("../precious", "is not an embedding of fnx"),
        ("*", "embedding"),
    ],
)
def test_what_is_no_embedding_or_lies_elsewhere_is_refused(
    places: Any, name: str, said: str
) -> None:
    folder, words = places
    precious = written(folder.parent, "precious")
    precious.rename(folder.parent / "precious")
    (folder / "link-0123456789ab").symlink_to(folder.parent / "precious")
    (folder / "notes-0123456789ab").mkdir()
    (folder / "notes-0123456789ab/thesis.txt").write_text("")
    (folder / "file").write_text("")
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(DataError, match=said):
        cache.main([*words, "--yes", "--remove", "unused", name])
    assert sorted(folder.parent.rglob("*")) == before
    cache.main([*words, "--yes", "--remove", "unused"])
    assert (folder.parent / "precious/manifest.json").is_file()
    assert (folder / "notes-0123456789ab/thesis.txt").is_file()


def test_links_within_an_embedding_are_not_followed(places: Any) -> None:
    folder, words = places
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "a").write_text("")
    (alone,) = folder.glob("alone-*")
    (alone / "shards").symlink_to(outside)
    assert size(alone) < size(alone) + (outside / "a").stat().st_size + 1
    cache.main([*words, "--yes", "--remove", alone.name])
    assert (outside / "a").is_file()
    assert names(folder) == ["half", "used"]


def test_damaged_ones_are_listed_and_can_be_removed(
    places: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = places
    (alone,) = folder.glob("alone-*")
    (alone / "manifest.json").write_text("{")
    (half,) = folder.glob("half-*")
    (half / "manifest.json").unlink()  # as one that was killed before it was begun
    states = {entry["name"]: entry["state"] for entry in told(words, capsys)["embeddings"]}
    assert (states[alone.name], states[half.name]) == ("damaged", "damaged")
    cache.main(words)
    assert "damaged, or of another version" in " ".join(capsys.readouterr().out.split())
    cache.main([*words, "--yes", "--remove", "unused"])
    assert names(folder) == ["used"]
    capsys.readouterr()
    cache.main(words)
    assert capsys.readouterr().out.startswith(f"1 embedding in {folder}")


def test_one_that_is_being_made_or_read_is_left_alone(
    places: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = places
    (alone,), (half,) = folder.glob("alone-*"), folder.glob("half-*")
    reader = SharedLock(alone)
    another = SharedLock(alone)
    with exclusive_lock(half, "extracts", lambda: ""), pytest.raises(DataError) as caught:
        cache.main([*words, "--yes", "--remove", "unused"])
    assert f"{alone} is being read by a run" in str(caught.value)
    assert f"{half} is being made by process {os.getpid()} on" in str(caught.value)
    assert names(folder) == ["alone", "half", "used"]
    assert store.is_whole(alone)
    del reader
    with pytest.raises(DataError, match="is being read"):
        cache.main([*words, "--yes", "--remove", alone.name])
    del another
    cache.main([*words, "--yes", "--remove", "unused"])
    assert names(folder) == ["used"]


def test_a_removal_that_was_interrupted_is_ended_by_the_next(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, words = places
    alone, *_ = cached(folder, folder)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(alone)
    assert names(folder) == ["half", "used"]
    assert list(folder.glob(".removed-*"))
    cache.main([*words, "--yes", "--remove", "unused"])
    assert not list(folder.glob(".removed-*"))


def test_other_keys_are_refused(places: Any) -> None:
    with pytest.raises(ConfigError, match=r"seed=1: allowed are paths.cache=PATH"):
        cache.main(["seed=1"])
    with pytest.raises(DataError, match="unknown embedding"):
        cache.main([*places[1], "nobody"])


def test_names_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a", network="net\x1b[31m\u202e")
    bad = path.rename(tmp_path / f"b\x1b]0;evil\x07-{path.name[-12:]}")
    words = [f"paths.cache={tmp_path}", f"paths.outputs={tmp_path}"]
    for more in ([], ["--json"], [bad.name[-12:]], ["--remove", bad.name[-12:], "--yes"]):
        command("cache", [*words, *more])
        printed = capsys.readouterr().out
        assert printed
        assert all(line.isprintable() for line in printed.split("\n")), ascii(printed)
    assert not bad.exists()


def test_a_run_holds_its_embedding_while_it_lives(tiny: Callable[..., Any], tmp_path: Path) -> None:
    from fnx.embedding import embed
    from fnx.images.open import open_images

    config = tiny("dataset.limit_per_class=1", "model.layers=[conv1.0]")
    folder = Path(config.paths.cache)
    for reused in (False, True):
        embedding, found = embed(open_images(config.dataset, folder), config)
        assert found == reused
        (entry,) = cached(folder, tmp_path)
        with pytest.raises(DataError, match="is being read"):
            remove(entry)
        del embedding
    used = entry.path / "manifest.json"
    os.utime(used, (1e9, 1e9))
    embed(open_images(config.dataset, folder), config)
    assert used.stat().st_mtime > 1.1e9
    remove(entry)
    assert cached(folder, tmp_path) == []


def test_it_is_a_command_that_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from fnx.cli import command; command('cache', []);"
        "assert not {'torch', 'timm', 'lightning', 'matplotlib', 'numba'} & set(sys.modules)"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "no embeddings in outputs/embeddings" in done.stdout

"""Whatever ends a run, the next one goes on: killed, a full disk, a damaged or locked store."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnx.config.schema import Config
from fnx.embedding import Embedding, embed, extraction, store
from fnx.embedding.store import Manifest
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images
from fnx.images.decode import Decoder
from fnx.utils import lock


def opened(config: Config) -> LabelledImages:
    return open_images(config.dataset, Path(config.paths.outputs))


@pytest.mark.parametrize(
    ("moments", "workers"),
    [
        (2, 0),
        pytest.param(20, 0, marks=pytest.mark.slow),
        pytest.param(3, 2, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_the_next_run_goes_on_and_ends_with_the_same_bits(
    moments: int, workers: int, tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    words = [*tiny_words, "dataset.limit_per_class=12", f"trainer.num_workers={workers}"]
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(time.time_ns()), str(moments), *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *killed = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(first["shards"]) == list(range(15))
    assert len(killed) == moments
    for one in killed:
        assert one["identical"], one
        # Noted after its marker is there: a shard that a killed run noted is never done again, and
        # the one that it had written but not noted is the only one that both runs can lack.
        assert one["again"] == [], one
        assert 14 <= len(one["before"]) + len(one["after"]) <= 15, one


@pytest.fixture
def made(tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> tuple[Config, Path]:
    """A finished embedding of five shards."""
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    config = tiny()
    embedding, _ = embed(opened(config), config)
    return config, embedding.path


def shard_files(path: Path, array: str) -> list[Path]:
    return sorted(file for file in (path / f"{array}.zarr/c").rglob("*") if file.is_file())


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    before = file.stat()
    with file.open("r+b") as content:
        content.seek(100)
        content.write(b"by hand")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def removed(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("damage", "array"),
    [
        (truncated, "features"),
        (overwritten, "features"),
        (removed, "features"),
        (overwritten, "positions"),
        (removed, "positions"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_shard_is_found_and_it_alone_is_done_again(
    made: tuple[Config, Path],
    damage: Callable[[Path], None],
    array: str,
    finished: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, path = made
    before = Embedding.open(path)
    values, positions = before.features[:], before.positions[:]
    manifest = before.manifest
    expected = [2]
    if not finished:
        store.reopen(path, manifest, [4])
        expected = [2, 4]
    damage(shard_files(path, array)[2])
    done: list[int] = []
    write = store.write_shard

    def noting(path: Path, manifest: Manifest, shard: int, *blocks: np.ndarray) -> None:
        done.append(shard)
        write(path, manifest, shard, *blocks)

    monkeypatch.setattr(store, "write_shard", noting)
    embedding, reused = embed(opened(config), config)
    assert not reused
    assert done == expected
    assert embedding.extraction is not None
    assert embedding.extraction.images == sum(len(manifest.shard_rows(i)) for i in expected)
    assert "damaged shards are made again: [2]" in caplog.text
    np.testing.assert_array_equal(embedding.features[:], values)
    np.testing.assert_array_equal(embedding.positions[:], positions)
    assert embedding.manifest == manifest
    assert embed(opened(config), config)[1]


@pytest.mark.parametrize(
    "name", ["images.parquet", "features.parquet", "network.parquet", "features.zarr/zarr.json"]
)
def test_a_damaged_table_is_made_again_and_no_image_is_embedded_again(
    made: tuple[Config, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = made
    before, values = Manifest.read(path), Embedding.open(path).features[:]
    overwritten(path / name)
    monkeypatch.setattr(store, "write_shard", None)
    embedding, reused = embed(opened(config), config)
    assert not reused
    assert embedding.extraction is not None
    assert embedding.extraction.images == 0
    assert embedding.manifest == before
    np.testing.assert_array_equal(embedding.features[:], values)
    assert embed(opened(config), config)[1]


def test_a_manifest_of_another_embedding_is_refused(made: tuple[Config, Path]) -> None:
    config, path = made
    manifest = Manifest.read(path)
    dataclasses.replace(manifest, fingerprint="0123456789ab").write(path)
    for _ in range(2):  # whether it is finished or not
        with pytest.raises(DataError, match=r"of another embedding, '0123456789ab'; delete the"):
            embed(opened(config), config)
        unfinished = dataclasses.replace(manifest, complete=False, shards=(), positions=())
        dataclasses.replace(unfinished, fingerprint="0123456789ab").write(path)


def test_a_store_of_an_older_version_is_refused(made: tuple[Config, Path]) -> None:
    config, path = made
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format": 1}))
    with pytest.raises(DataError, match=r"of format 1, this fnx reads format 2: delete the folder"):
        embed(opened(config), config)


@contextmanager
def mounted(*words: str, at: Path) -> Iterator[None]:
    """A file system mounted for a moment; skips where this user may not."""
    done = subprocess.run(["mount", *words, str(at)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_a_finished_store_that_is_read_only_is_used(made: tuple[Config, Path]) -> None:
    config, path = made
    with mounted("--bind", str(path.parent), at=path.parent):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(path.parent)], check=True)
        assert embed(opened(config), config)[1]


def test_an_unfinished_store_that_is_read_only_is_refused(made: tuple[Config, Path]) -> None:
    config, path = made
    store.reopen(path, Manifest.read(path), [0])
    with mounted("--bind", str(path.parent), at=path.parent):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(path.parent)], check=True)
        with pytest.raises(DataError, match=r"cannot be written .*paths.cache=PATH"):
            embed(opened(config), config)
    assert not embed(opened(config), config)[1]


def test_a_full_disk_keeps_what_was_finished(
    made: tuple[Config, Path], tiny: Callable[..., Config], tmp_path: Path
) -> None:
    _, whole = made
    small = tmp_path / "small"
    small.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=128k", "tmpfs", at=small):
        config = tiny(f"paths.cache={small}")
        with pytest.raises(OSError, match="No space left"):
            embed(opened(config), config)
        (path,) = small.glob("digits-*")
        done = len(list((path / "shards").glob("*.json")))
        assert 0 < done < 5
        subprocess.run(["mount", "-o", "remount,size=10m", str(small)], check=True)
        embedding, _ = embed(opened(config), config)
        assert embedding.manifest == Manifest.read(whole)
        del embedding  # which holds a lock on a file there
        gc.collect()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGBUS, marks=pytest.mark.slow)]
)
def test_a_killed_process_that_decodes_ends_in_one_line_and_the_run_resumes(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    config = tiny("trainer.num_workers=1")
    images, main = opened(config), os.getpid()
    last = images.ok()["path"][-1]
    decoded = Decoder.__call__

    def killing(self: Decoder, path: str, *rest: str) -> Image.Image:
        if path == last and os.getpid() != main:
            time.sleep(0.5)  # the shards before are written
            os.kill(os.getpid(), number)
        return decoded(self, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "__call__", killing)
        with pytest.raises(DataError) as caught:
            embed(images, config)
    assert re.fullmatch(
        r"a process that decodes images ended (by signal: [A-Z][\w ]+|unexpectedly) \(out of memory"
        r"\?\): the same command resumes where it stopped; trainer.num_workers=1 takes less memory",
        str(caught.value),
    )
    embedding, _ = embed(images, config)
    assert embedding.extraction is not None
    assert 0 < embedding.extraction.images < images.ok().height
    assert np.isfinite(embedding.features[:]).all()


HOLDER = """
import sys, time
from pathlib import Path
from fnx.utils.lock import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "extracts", lambda: ""):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_run_waits_for_another_says_so_and_takes_over_when_it_dies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e-0123"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    monkeypatch.setattr(lock, "_RETRY_EVERY", 0.01)
    shards = iter(range(100))

    def progress() -> str:
        now = next(shards)
        if now == 3:
            holder.kill()
            holder.wait()
        return f"{now} of 9 shards"

    with caplog.at_level(logging.INFO), lock.exclusive_lock(path, "extracts e-0123", progress):
        pass
    assert f"waiting for process {holder.pid} on" in caplog.text
    assert "which extracts e-0123: 2 of 9 shards" in caplog.text
    assert "the wait is over: no other run extracts e-0123 any more" in caplog.text


def test_what_another_run_finished_meanwhile_is_reused(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    whole = iter([False, True])  # before the wait for the lock, and after it
    embed(opened(config), config)
    monkeypatch.setattr(store, "is_whole", lambda *_: next(whole))
    monkeypatch.setattr(extraction, "extract", None)
    assert embed(opened(config), config)[1]


@pytest.mark.slow
def test_jobs_side_by_side_extract_each_embedding_once(
    tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(100):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{number}.png")
    words = [*tiny_words, "dataset.limit_per_class=null", "crops=ten", "report=tables"]
    words += ["dataset=digits,folder", f"dataset.root={tmp_path}/own"]
    words += ["model.name=test_resnet,test_efficientnet", "statistic=ks,kl"]
    words += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "fnx", "-m", *words, "paths.outputs=outputs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("features into") == 4, done.stderr
    assert "which extracts digits-test_resnet" in done.stderr
    runs = [json.loads(file.read_text()) for file in tmp_path.rglob("run.json")]
    reused = [(run["fingerprint"], run["embedding_reused"]) for run in runs]
    assert len(reused) == len(set(reused)) == 8  # each embedding made by one job, found by another


@pytest.mark.slow
def test_a_job_takes_over_the_extraction_of_one_that_was_killed(
    tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    words = [*tiny_words, "dataset.limit_per_class=null", "crops=ten", "report=tables"]
    command = [sys.executable, "-m", "fnx", *words, "paths.outputs=outputs"]
    with (tmp_path / "first.log").open("w") as said:
        first = subprocess.Popen(command, cwd=tmp_path, stderr=said)
    while "features into" not in (tmp_path / "first.log").read_text():
        assert first.poll() is None
        time.sleep(0.05)
    second = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    seen = ""
    while "waiting for" not in seen:
        seen = second.stderr.readline()
        assert seen, "it did not wait"
    assert f"process {first.pid} on" in seen
    first.kill()
    first.wait()
    rest = second.stderr.read()
    assert second.wait() == 0, rest
    assert "the wait is over" in rest
    assert "features into" in rest

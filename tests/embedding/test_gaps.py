"""An image that a data set holds more than once goes through the network once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fnx.config.schema import Config
from fnx.embedding import Embedding, embed, extraction, store
from fnx.embedding.gaps import Gap, RepeatedRows, shared_out, without_repeats
from fnx.embedding.manifest import Manifest
from fnx.images import open_images

PER_SHARD = 4


def gaps_of(rows: list[list[int]]) -> dict[int, Gap]:
    return {shard: Gap(np.array(some), ("begun",)) for shard, some in enumerate(rows)}


@pytest.mark.parametrize(
    ("ranks", "extracted", "repeats"),
    [
        (1, [[0, 1, 3], [4], [], [13, 15]], [[], [(6, 4)], [(8, 0), (9, 4)], [(12, 1)]]),
        # The second rank, which has the last two shards, does not know what the first extracts.
        (2, [[0, 1, 3], [4], [8, 9], [12, 13, 15]], [[], [(6, 4)], [], []]),
        (9, [[0, 1, 3], [4], [8, 9], [12, 13, 15]], [[], [(6, 4)], [], []]),
    ],
)
def test_a_rank_extracts_an_image_in_the_first_row_that_needs_it(
    ranks: int, extracted: list[list[int]], repeats: list[list[tuple[int, int]]]
) -> None:
    # Row 2 has the image of row 15, but lies in no gap: it is not there to be copied from.
    digests = pl.Series([*"abcdexefaeghbicc"])
    found = without_repeats(gaps_of([[0, 1, 3], [4, 6], [8, 9], [12, 13, 15]]), digests, ranks)
    assert [list(gap.rows) for gap in found.values()] == extracted
    assert [[tuple(pair) for pair in gap.repeats] for gap in found.values()] == repeats
    assert {gap.begun for gap in found.values()} == {("begun",)}
    assert list(found) == [0, 1, 2, 3]


def test_shards_are_shared_out_in_runs() -> None:
    assert shared_out(dict.fromkeys((1, 4, 5), Gap(range(1))), 2) == [[1, 4], [5]]
    assert shared_out({}, 2) == [[], []]
    assert without_repeats({}, pl.Series(["a"]), 2) == {}


def test_what_is_repeated_is_kept_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, positions = rng.random((3, 5), np.float32), rng.integers(0, 256, (3, 5, 2), np.uint8)
    gaps = {
        0: Gap(np.array([0, 2, 3]), ("begun",), np.array([(1, 0)])),
        1: Gap(np.array([], int), (), np.array([(4, 3), (5, 0)])),
    }
    repeated = RepeatedRows(tmp_path, gaps)
    gap, *found = repeated.complete(gaps[0], values, positions)
    assert (list(gap.rows), gap.begun) == ([0, 1, 2, 3], ("begun",))
    np.testing.assert_array_equal(found[0], values[[0, 0, 1, 2]])
    np.testing.assert_array_equal(found[1], positions[[0, 0, 1, 2]])
    gap, *found = repeated.complete(gaps[1], values[:0], positions[:0])
    assert list(gap.rows) == [4, 5]
    np.testing.assert_array_equal(found[0], values[[2, 0]])
    np.testing.assert_array_equal(found[1], positions[[2, 0]])
    repeated.close()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def config(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Config]:
    """24 images: two classes of 9, and one of the last 6 of these once more."""
    rng = np.random.default_rng(0)
    root = tmp_path / "own"
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(9):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "cow").mkdir()
    for number in range(3, 9):
        shutil.copy(root / f"bee/{number}.png", root / f"cow/{number}.png")
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: PER_SHARD)

    def of(*words: str) -> Config:
        own = ("dataset=folder", f"dataset.root={root}", "dataset.limit_per_class=null")
        return tiny(*own, *words)

    return of


def embedded(config: Config) -> Embedding:
    return embed(open_images(config.dataset, Path(config.paths.cache)), config)[0]


def counts(embedding: Embedding) -> tuple[int, int]:
    assert embedding.extraction is not None
    return embedding.extraction.images, embedding.extraction.copied


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows whose images went through the network in this process."""
    rows: list[int] = []
    step = extraction.Extractor.predict_step

    def noting(self: Any, batch: Any, number: int) -> Any:
        rows.extend(batch.rows)
        return step(self, batch, number)

    monkeypatch.setattr(extraction.Extractor, "predict_step", noting)
    return rows


@pytest.fixture
def plain(config: Callable[..., Config], tmp_path: Path) -> Embedding:
    """What comes out where every image goes through the network."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(extraction, "without_repeats", lambda gaps, *_: gaps)
        made = embedded(config(f"paths.cache={tmp_path}/plain"))
    assert counts(made) == (24, 0)
    return made


def test_no_image_goes_through_the_network_twice(
    config: Callable[..., Config], plain: Embedding, passed: list[int]
) -> None:
    made = embedded(config())
    assert passed == list(range(18))
    assert counts(made) == (18, 6)
    np.testing.assert_array_equal(made.features[18:], made.features[12:18])
    assert made.manifest == plain.manifest  # with the digests of all files


def test_an_interrupted_run_copies_from_what_it_has_written(
    config: Callable[..., Config],
    plain: Embedding,
    passed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = store.write_shard

    def failing(path: Path, manifest: Manifest, shard: int, *blocks: np.ndarray) -> None:
        if shard == 4:
            raise OSError("the disk is full")
        write(path, manifest, shard, *blocks)

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_shard", failing)
        with pytest.raises(OSError, match="disk is full"):
            embedded(config())
    passed.clear()
    made = embedded(config())
    assert passed == [16, 17]
    assert counts(made) == (2, 6)
    assert made.manifest == plain.manifest
    assert not list(made.path.glob(".*"))


@pytest.mark.slow
def test_two_processes_each_extract_an_image_once(
    config: Callable[..., Config], plain: Embedding
) -> None:
    own = config()
    own.trainer.strategy, own.trainer.devices = "ddp", 2
    made = embedded(own)
    # Shards 3 to 5 are the second's, and so are rows 12 to 17 with those that repeat them.
    assert counts(made) == (18, 6)
    assert made.manifest == plain.manifest

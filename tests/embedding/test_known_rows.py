"""Rows of other embeddings: found by contents and recipe, copied to the bit, verified, no more."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.embedding.stores import FEATURES, fill, tables

from fnx.config.schema import Config
from fnx.embedding import Embedding, embed, extraction, known_rows, reading, store
from fnx.embedding.fingerprint import fingerprint
from fnx.embedding.known_rows import KnownRows, Source
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError
from fnx.images.dataset import TABLE_SCHEMA, LabelledImages, contents_digest
from fnx.images.open import open_images
from fnx.images.paths import Files

RECIPE = {"tap": "post", "weights": "0f"}


def rows_of(numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The values and positions that the network would give for images of these numbers."""
    values = [np.random.default_rng(n).normal(size=FEATURES) for n in numbers]
    places = [np.random.default_rng(n).integers(1, 256, (FEATURES, 2)) for n in numbers]
    return np.array(values, np.float32), np.array(places, np.uint8)


def images_of(numbers: Sequence[int], special: Sequence[int] = (), **decoding: Any) -> Any:
    """A data set of images whose contents are these numbers, with a failed one in between."""
    digests = [f"{number:032x}" for number in numbers]
    digests.insert(1, "")
    table = pl.DataFrame(
        {
            "image_id": range(len(digests)),
            "path": [f"{place}.png" for place in range(len(digests))],
            "class_id": [place % 2 for place in range(len(digests))],
            "class_name": ["even" if place % 2 == 0 else "odd" for place in range(len(digests))],
            "split": None,
            "status": ["ok" if one else "failed" for one in digests],
            "error": None,
            "digest": [one or None for one in digests],
        },
        schema=TABLE_SCHEMA,
    )
    return LabelledImages(
        "own",
        table,
        ("even", "odd"),
        Files(""),
        decoding=decoding,
        special=frozenset(f"{number:032x}" for number in special),
    )


def inputs_of(images: LabelledImages, **others: Any) -> dict[str, Any]:
    decoding = {"decoding": dict(images.decoding)} if images.decoding else {}
    own = {"images": images.digest(), "n_images": images.ok().height}
    return {**RECIPE, **own, **decoding, **others}


def written(
    cache: Path,
    numbers: Sequence[int],
    *,
    per_shard: int = 4,
    shards: Sequence[int] | None = None,
    images: LabelledImages | None = None,
    with_positions: bool = True,
    **others: Any,
) -> Path:
    """An embedding of images of these numbers; unfinished where only some `shards` are named."""
    images = images or images_of(numbers)
    inputs = inputs_of(images, **others)
    mark = fingerprint(inputs)
    manifest = Manifest(
        mark, inputs, len(numbers), FEATURES, per_shard, positions=() if with_positions else None
    )
    path = cache / f"own-{mark}"
    store.create(path, manifest, images.table, tables()[1])
    every = range(manifest.n_shards)
    fill(path, manifest, *rows_of(numbers), list(every if shards is None else shards))
    if shards is None:
        store.finish(path, manifest)
    return path


def known(cache: Path, images: LabelledImages, **others: Any) -> KnownRows:
    return known_rows.find(cache, cache / "new", images, inputs_of(images, **others))


def held(found: KnownRows) -> list[bool]:
    return [bool(source >= 0) for source in found.source]


def new(cache: Path, images: LabelledImages, per_shard: int = 3) -> tuple[Path, Manifest]:
    """A store of these images without any shard."""
    rows = images.ok().height
    manifest = Manifest("0" * 12, inputs_of(images), rows, FEATURES, per_shard, positions=())
    store.create(cache / "new", manifest, images.table, tables()[1])
    return cache / "new", manifest


def completed(path: Path, manifest: Manifest, gaps: Any, numbers: Sequence[int]) -> Embedding:
    """What the network does after the copying."""
    values, positions = rows_of(numbers)
    for shard, gap in gaps.items():
        rows = list(gap.rows)
        store.complete_shard(path, manifest, shard, gap, values[rows], positions[rows])
    store.finish(path, manifest)
    assert store.is_whole(path)
    return Embedding.open(path)


def has_the_bits_of(embedding: Embedding, numbers: Sequence[int]) -> None:
    values, positions = rows_of(numbers)
    np.testing.assert_array_equal(embedding.features[:], values)
    assert embedding.positions is not None
    np.testing.assert_array_equal(embedding.positions[:], positions)


def test_rows_are_copied_from_several_embeddings_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, range(10))
    written(tmp_path, [20, 21, 22, 23, 3], per_shard=2)
    numbers = [23, 7, 0, 40, 41, 42, 9, 22, 1, 2, 3]
    images = images_of(numbers)
    found = known(tmp_path, images)
    assert held(found) == [True] * 3 + [False] * 3 + [True] * 5
    path, manifest = new(tmp_path, images)
    reads: list[tuple[int, int]] = []
    read = Source.read

    def noting(self: Source, shard: int) -> Any:
        reads.append((self.manifest.rows, shard))
        return read(self, shard)

    monkeypatch.setattr(Source, "read", noting)
    copied = known_rows.fill(path, manifest, found)
    assert copied.rows == 8
    assert {shard: list(gap.rows) for shard, gap in copied.gaps.items()} == {1: [3, 4, 5]}
    assert copied.gaps[1].begun == ()
    assert sorted(reads) == [(5, 1), (10, 0), (10, 1), (10, 2)]  # each once for all shards
    has_the_bits_of(completed(path, manifest, copied.gaps, numbers), numbers)


@pytest.mark.parametrize("available", [1 << 40, 0])
def test_a_shard_of_which_some_rows_are_known_is_completed(
    tmp_path: Path, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_rows, "available_memory", lambda: available)
    written(tmp_path, range(10))
    numbers = [0, 50, 1, 2, 3, 4, 51, 5, 52]
    images = images_of(numbers)
    path, manifest = new(tmp_path, images)
    copied = known_rows.fill(path, manifest, known(tmp_path, images))
    assert copied.rows == 6
    assert {shard: list(gap.rows) for shard, gap in copied.gaps.items()} == {0: [1], 2: [6, 8]}
    assert [len(gap.begun) for gap in copied.gaps.values()] == [2, 2]
    assert store.missing_shards(path, manifest) == [0, 2]
    has_the_bits_of(completed(path, manifest, copied.gaps, numbers), numbers)


def test_a_begun_shard_is_begun_anew_by_the_next_run_with_what_is_known_then(
    tmp_path: Path,
) -> None:
    first, second = written(tmp_path, range(4)), written(tmp_path, [4, 5, 6])
    numbers = [0, 5, 50]
    images = images_of(numbers)
    path, manifest = new(tmp_path, images)
    before = known_rows.fill(path, manifest, known(tmp_path, images))
    assert list(before.gaps[0].rows) == [2]
    shutil.rmtree(second)  # and the run was killed
    after = known_rows.fill(path, manifest, known(tmp_path, images))
    assert list(after.gaps[0].rows) == [1, 2]
    shutil.rmtree(first)
    last = known_rows.fill(path, manifest, known(tmp_path, images))
    assert (last.rows, list(last.gaps[0].rows), last.gaps[0].begun) == (0, [0, 1, 2], ())
    has_the_bits_of(completed(path, manifest, after.gaps, numbers), numbers)


@pytest.mark.parametrize("array", ["features", "positions"])
def test_a_shard_that_changed_before_it_was_complete_is_not_finished(
    tmp_path: Path, array: str
) -> None:
    written(tmp_path, range(10))
    images = images_of([0, 50, 1])
    path, manifest = new(tmp_path, images)
    copied = known_rows.fill(path, manifest, known(tmp_path, images))
    damage(path, array, 0)
    values, positions = rows_of([50])
    with pytest.raises(DataError, match=r"shard 0 was changed .*; the same command makes it again"):
        store.complete_shard(path, manifest, 0, copied.gaps[0], values, positions)
    assert store.missing_shards(path, manifest) == [0]


def damage(path: Path, array: str, shard: int) -> None:
    (file,) = (f for f in (path / f"{array}.zarr/c/{shard}").rglob("*") if f.is_file())
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)


def removed(path: Path, array: str, shard: int) -> None:
    shutil.rmtree(path / f"{array}.zarr/c/{shard}")


@pytest.mark.parametrize("harm", [damage, removed])
@pytest.mark.parametrize("array", ["features", "positions"])
@pytest.mark.parametrize("shards", [None, [0, 1, 2]])
def test_a_damaged_shard_is_never_copied(
    tmp_path: Path, harm: Any, array: str, shards: list[int] | None, caplog: Any
) -> None:
    source = written(tmp_path, range(10), shards=shards)
    harm(source, array, 1)
    numbers = [*range(10), 30]
    images = images_of(numbers)
    path, manifest = new(tmp_path, images)
    copied = known_rows.fill(path, manifest, known(tmp_path, images))
    assert copied.rows == 6
    assert "4 rows of other embeddings are damaged or gone" in caplog.text
    assert [row for gap in copied.gaps.values() for row in gap.rows] == [4, 5, 6, 7, 10]
    has_the_bits_of(completed(path, manifest, copied.gaps, numbers), numbers)


def test_a_source_that_is_removed_meanwhile_is_extracted(tmp_path: Path) -> None:
    source = written(tmp_path, range(10))
    images = images_of(range(10))
    found = known(tmp_path, images)
    shutil.rmtree(source)
    path, manifest = new(tmp_path, images)
    copied = known_rows.fill(path, manifest, found)
    assert copied.rows == 0
    assert [row for gap in copied.gaps.values() for row in gap.rows] == list(range(10))
    assert known_rows.assemble(tmp_path / "other", images, inputs_of(images), found) is None


def test_a_shard_that_is_removed_while_it_is_read_is_not_taken_for_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(path := written(tmp_path, range(10)), Manifest.read(path))
    assert source.read(0) is not None
    read = reading.read_blocks

    def removing(*arguments: Any) -> Any:
        shutil.rmtree(path)
        return read(*arguments)

    monkeypatch.setattr(reading, "read_blocks", removing)
    assert source.read(1) is None


def test_the_finished_shards_of_an_unfinished_embedding_are_copied(tmp_path: Path) -> None:
    written(tmp_path, range(10), shards=[2, 0])
    images = images_of(range(10))
    assert held(known(tmp_path, images)) == [True] * 4 + [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    "others", [{"tap": "pre"}, {"weights": "1f"}, {"precision": "bf16-true"}, {"format": 3}]
)
def test_another_recipe_gives_no_rows(tmp_path: Path, others: dict[str, Any]) -> None:
    written(tmp_path, range(10))
    images = images_of(range(10))
    assert not any(held(known(tmp_path, images, **others)))
    assert all(held(known(tmp_path, images)))


def test_an_embedding_without_positions_gives_no_rows(tmp_path: Path) -> None:
    written(tmp_path, range(10), with_positions=False)
    assert not any(held(known(tmp_path, images_of(range(10)))))


RANGE = {"intensity_range": {"integer": [0, 4095]}}


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (RANGE, RANGE, [True, True]),
        ({}, {}, [True, True]),
        (RANGE, {}, [True, False]),
        ({}, RANGE, [True, False]),
        ({"intensity_range": {"integer": [0, 1023]}}, RANGE, [True, False]),
        ({}, {"upright_tiff": True}, [True, False]),
        (RANGE, RANGE | {"upright_tiff": True}, [True, False]),
    ],
)
def test_rows_that_depend_on_the_decoding_are_taken_only_from_one_of_the_same(
    tmp_path: Path, theirs: dict[str, Any], ours: dict[str, Any], expected: list[bool]
) -> None:
    written(tmp_path, [1, 2], images=images_of([1, 2], special=[2], **theirs))
    assert held(known(tmp_path, images_of([1, 2], special=[2], **ours))) == expected


def test_what_is_not_known_of_a_source_for_certain_is_not_taken(tmp_path: Path) -> None:
    path = written(tmp_path, range(10))
    images = images_of(range(10))

    def certain() -> bool:
        return any(held(known(tmp_path, images)))

    assert certain()
    stored = pl.read_parquet(path / "images.parquet")
    for table in (
        stored.drop("digest"),
        stored.head(8),
        stored.with_columns(digest=pl.lit(None, pl.String)),
        stored.with_columns(pl.col("digest").reverse()),
    ):
        table.write_parquet(path / "images.parquet")
        assert not certain()
    (path / "images.parquet").write_bytes(b"PAR1")
    assert not certain()
    stored.write_parquet(path / "images.parquet")
    assert certain()
    (path / "manifest.json").write_text("{}")
    assert not certain()


def of_older_version(path: Path) -> Path:
    """Give an embedding the fingerprint that a version had which knew labels too."""
    content = json.loads((path / "manifest.json").read_text())
    content["inputs"]["images"] = "labels and all"
    content["fingerprint"] = fingerprint(content["inputs"])
    del content["digest"]
    other = path.with_name(f"older-{content['fingerprint']}")
    path.rename(other)
    (other / "manifest.json").write_text(json.dumps(content))
    return other


def test_an_older_embedding_of_the_same_contents_is_the_same(tmp_path: Path) -> None:
    older = of_older_version(written(tmp_path, range(10)))
    images = images_of(range(10))
    path, inputs = known_rows.locate(tmp_path, "n", images, inputs_of(images))
    assert path == older
    assert fingerprint(inputs) == Manifest.read(older).fingerprint
    assert store.is_whole(path, fingerprint(inputs))
    for other in (images_of([1, 0, *range(2, 10)]), images_of(range(9)), images_of(range(1, 11))):
        wanted = inputs_of(other)
        place = tmp_path / f"n-{fingerprint(wanted)}"
        assert known_rows.locate(tmp_path, "n", other, wanted) == (place, wanted)
    decoded = inputs_of(images, decoding=RANGE)
    assert known_rows.locate(tmp_path, "n", images, decoded)[0] != older
    assert known_rows.locate(tmp_path, "n", images, inputs_of(images, tap="pre"))[0] != older
    made = written(tmp_path, range(10))  # now there are both
    assert known_rows.locate(tmp_path, "n", images, inputs_of(images))[0] == made


def test_hidden_folders_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, range(10))
    path.rename(tmp_path / f".{path.name}")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/manifest.json").write_text("[]")
    (tmp_path / "file").write_text("")
    assert list(known_rows.stored(tmp_path)) == []
    images = images_of(range(10))
    assert known_rows.locate(tmp_path, "n", images, inputs_of(images))[0] == tmp_path / (
        f"n-{fingerprint(inputs_of(images))}"
    )
    assert list(known_rows.stored(tmp_path / "none")) == []


def test_an_embedding_of_known_rows_is_assembled_and_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(tmp_path, range(100), per_shard=70)
    store.add_table(first, "network.parquet", pl.DataFrame({"name": ["conv1"]}))
    numbers = list(range(90, -1, -1))
    images = images_of(numbers)
    inputs, path = inputs_of(images), tmp_path / "target"
    found = known(tmp_path, images)
    assert found.all
    write = store.write_shard

    def killed(path: Path, manifest: Manifest, shard: int, *blocks: Any) -> None:
        write(path, manifest, shard, *blocks)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            known_rows.assemble(path, images, inputs, found)
    assert store.missing_shards(path, Manifest.read(path)) == [1]
    copied = known_rows.assemble(path, images, inputs, found)
    assert copied is not None
    assert (copied.rows, copied.gaps) == (21, {})  # of 91, in shards of 70
    assert store.is_whole(path)
    known_rows.add_network_tables(path, tmp_path, inputs)
    embedding = Embedding.open(path)
    has_the_bits_of(embedding, numbers)
    assert embedding.network is not None
    assert embedding.feature_table.equals(tables()[1])
    assert embedding.images.equals(images.table)


def test_few_rows_of_a_source_do_not_make_small_shards(tmp_path: Path) -> None:
    written(tmp_path, range(10), per_shard=2)
    images = images_of(range(9))
    known_rows.assemble(tmp_path / "t", images, inputs_of(images), known(tmp_path, images))
    assert Manifest.read(tmp_path / "t").rows_per_shard == 9


def test_contents_are_told_by_their_order() -> None:
    assert contents_digest(pl.Series(["ab", "c"])) != contents_digest(pl.Series(["a", "bc"]))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three classes of six images each."""
    root = tmp_path / "own"
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def opened(config: Config) -> LabelledImages:
    return open_images(config.dataset, Path(config.paths.cache))


@pytest.fixture
def of(tiny: Callable[..., Config], own: Path) -> Callable[..., Config]:
    def of_own(*words: str) -> Config:
        words = ("dataset=folder", f"dataset.root={own}", "dataset.limit_per_class=null", *words)
        return tiny(*words)

    return of_own


def test_other_labels_names_subsets_and_new_images_cost_only_what_is_new(
    of: Callable[..., Config], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 4)
    config = of()
    before, reused = embed(opened(config), config)
    assert not reused
    assert before.extraction is not None
    assert (before.extraction.images, before.extraction.copied) == (18, 0)

    # Another name that sorts the same: the very same embedding, with the labels of now.
    (own / "bee").rename(own / "bumblebee")
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "extract", None)
        renamed, reused = embed(opened(config), config)
        assert reused
        assert renamed.path == before.path
        assert renamed.class_names == ("ant", "bumblebee", "cow")
        assert Embedding.open(before.path).class_names == ("ant", "bee", "cow")
        assert renamed.labels.tolist() == before.labels.tolist()

        # One that sorts otherwise, and a subset: copied, no network.
        (own / "ant").rename(own / "wasp")
        moved, reused = embed(opened(config), config)
        assert not reused
        assert moved.extraction is not None
        assert (moved.extraction.images, moved.extraction.copied) == (0, 18)
        order = [*range(6, 18), *range(6)]
        np.testing.assert_array_equal(moved.features[:], before.features[:][order])
        assert moved.positions is not None
        assert before.positions is not None
        np.testing.assert_array_equal(moved.positions[:], before.positions[:][order])
        assert moved.network is not None
        few, reused = embed(opened(of("dataset.limit_per_class=2")), config)
        assert not reused
        assert few.extraction is not None
        assert (few.extraction.images, few.extraction.copied) == (0, 6)

    # A new class in the middle, and one image in two classes' folders less.
    shutil.copytree(own / "cow", own / "cat")
    for file in (own / "cat").iterdir():
        Image.open(file).rotate(90).save(file)
    (own / "bumblebee/3.png").unlink()
    grown, reused = embed(opened(config), config)
    assert not reused
    assert grown.extraction is not None
    assert (grown.extraction.images, grown.extraction.copied) == (6, 17)
    alone = of(f"paths.cache={tmp_path}/alone")
    fresh, _ = embed(opened(alone), alone)
    assert fresh.extraction is not None
    assert fresh.extraction.copied == 0
    assert grown.manifest == fresh.manifest  # with the digests of all shards and files
    assert grown.labels.tolist() == fresh.labels.tolist()


@pytest.mark.slow
def test_two_processes_complete_what_was_copied(
    of: Callable[..., Config], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 4)
    embed(opened(of("dataset.limit_per_class=4")), of())
    alone = of(f"paths.cache={tmp_path}/alone")
    fresh, _ = embed(opened(alone), alone)
    config = of()
    config.trainer.strategy, config.trainer.devices = "ddp", 2
    grown, _ = embed(opened(config), config)
    assert grown.extraction is not None
    assert (grown.extraction.images, grown.extraction.copied) == (6, 12)
    assert grown.manifest == fresh.manifest


def test_a_damaged_source_is_extracted_after_all(
    of: Callable[..., Config], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 4)
    config = of()
    before, _ = embed(opened(config), config)
    damage(before.path, "features", 2)
    (own / "ant").rename(own / "wasp")
    moved, reused = embed(opened(config), config)
    assert not reused
    assert moved.extraction is not None
    assert (moved.extraction.images, moved.extraction.copied) == (4, 14)


def test_no_torch_is_imported_where_every_row_is_known(
    of: Callable[..., Config], own: Path, tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    config = of()
    embed(opened(config), config)
    (own / "ant").rename(own / "wasp")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fnx.config.compose import compose\n"
        "from fnx.embedding import embed\n"
        "from fnx.images import open_images\n"
        "config = compose(sys.argv[1:])\n"
        "images = open_images(config.dataset, Path(config.paths.cache))\n"
        "made, reused = embed(images, config)\n"
        "assert made.extraction.copied == 18, made.extraction\n"
        "heavy = {'torch', 'timm', 'lightning', 'matplotlib', 'numba'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    words = [*tiny_words, "dataset=folder", f"dataset.root={own}", "dataset.limit_per_class=null"]
    subprocess.run(
        [sys.executable, "-c", script, *words, f"paths.cache={config.paths.cache}"],
        check=True,
        cwd=tmp_path,
    )


def test_images_of_more_than_8_bits_are_told(own: Path, of: Callable[..., Config]) -> None:
    assert opened(of()).special == frozenset()
    Image.new("I;16", (9, 7), 4000).save(own / "ant/0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 7)).save(own / "ant/1.tif", exif=exif)
    images = opened(of())
    table = images.table.filter(pl.col("path").is_in(["ant/0.png", "ant/1.tif"]))
    assert images.special == frozenset(table["digest"])
    assert len(images.special) == 2
    assert dataclasses.asdict(images)["decoding"]["upright_tiff"]

"""Top-activating images: the order of the feature's own values, and the box of where it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image
from polars.testing import assert_frame_equal

from fnx.backbones.backbone import Preprocessing
from fnx.config.compose import reference_dataset
from fnx.config.schema import Config
from fnx.embedding import Embedding, embed, store
from fnx.embedding.store import Manifest
from fnx.images import LabelledImages, open_images
from fnx.images.crops import Crops
from fnx.images.reference import open_reference, reference_crops
from fnx.report.pictures import top_images as module
from fnx.report.pictures.ranking import highest
from fnx.report.pictures.top_images import BOX, positions_at, rank, top_images

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "k", "expected"),
    [
        ([1, 5, 3, 5, 4], 3, [1, 3, 4]),
        ([1, 5, 3, 5, 4], 9, [1, 3, 4, 2, 0]),
        ([2, 7, 7, 7, 7], 2, [1, 2]),  # equal ones in their order
        ([0, 2, 0, 1, 0], 3, [1, 3]),  # an image of 0 does not activate it
        ([-1, -3, 0, -2], 2, [0, 3]),  # some activations are negative
        ([NAN, 1, INF, 2, -INF], 4, [3, 1]),
        ([4, 4, 4], 2, []),  # one value for all says nothing
        ([0, 0, 0], 2, []),
        ([NAN, NAN], 2, []),
    ],
)
def test_the_highest_values_come_first(values: list[float], k: int, expected: list[int]) -> None:
    column = np.array(values, np.float32)
    block = np.column_stack([column, column[::-1], np.zeros_like(column)])
    mine, reverse, nothing = highest(block, k).tolist()
    assert mine == expected + [-1] * (k - len(expected))
    assert sorted(column[::-1][reverse[: len(expected)]]) == sorted(column[expected])
    assert nothing == [-1] * k


def made(folder: Path, values: np.ndarray, positions: np.ndarray | None, shards: int) -> Embedding:
    """An embedding of one layer with the given values, float32 (N, F)."""
    rows, features = values.shape
    known = None if positions is None else ()
    manifest = Manifest("m", {}, rows, features, -(-rows // shards), positions=known)
    images = pl.DataFrame(
        {
            "image_id": range(rows),
            "path": [f"{row}.png" for row in range(rows)],
            "class_name": ["a" if row % 2 else "b" for row in range(rows)],
            "status": "ok",
        }
    )
    table = pl.DataFrame({"feature_id": range(features), "layer": "conv", "unit": range(features)})
    store.create(folder, manifest, images, table)
    for shard in range(manifest.n_shards):
        part = slice(manifest.shard_rows(shard).start, manifest.shard_rows(shard).stop)
        there = None if positions is None else positions[part]
        store.write_shard(folder, manifest, shard, values[part], there)
    store.finish(folder, manifest)
    return Embedding.open(folder)


def test_ranks_are_those_of_a_plain_sort_of_the_chosen_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 6, (40, 130)).astype(np.float32)  # three chunks, and many ties
    embedding = made(tmp_path / "e", values, None, 3)
    rows = np.flatnonzero(np.arange(40) % 3 != 1)
    table = rank(embedding, rows, 4)
    assert table.columns == ["feature_id", "rank", "row", "activation"]
    for feature in range(130):
        expected = sorted(rows.tolist(), key=lambda row, f=feature: (-values[row, f], row))[:4]
        found = table.filter(feature_id=feature)
        assert found["row"].to_list() == expected
        assert found["rank"].to_list() == [1, 2, 3, 4]
        assert found["activation"].to_list() == values[expected, feature].tolist()


def test_features_are_read_by_whole_chunks_of_64_columns(tmp_path: Path) -> None:
    embedding = made(tmp_path / "e", np.ones((4, 130), np.float32), None, 1)
    read: list[tuple[int, int]] = []

    class Watched:
        dtype = np.dtype(np.float32)

        def __init__(self, *shape: int) -> None:
            self.shape = shape

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            read.append((key[1].start, key[1].stop))
            return np.ones((4, 130, 2), np.float32)[(*key, 0)]

    embedding.__dict__["features"] = Watched(4, 130)
    assert rank(embedding, np.arange(4), 2).is_empty()
    assert sorted(read) == [(0, 64), (64, 128), (128, 130)]  # several at once
    read.clear()
    positions_at(Watched(4, 130, 2), np.zeros(3, int), np.array([129, 64, 129]))
    assert read == [(64, 128), (128, 192)]


def test_positions_are_those_of_their_rows_and_features() -> None:
    positions = np.random.default_rng(0).integers(0, 256, (5, 200, 2), np.uint8)
    rows, features = np.array([4, 0, 2, 4, 1]), np.array([199, 0, 64, 63, 64])
    found = positions_at(positions, rows, features)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, positions[rows, features])


def opened(config: Config) -> LabelledImages:
    return open_images(config.dataset, Path(config.paths.cache))


def plain_maps(config: Config, images: LabelledImages) -> list[list[torch.Tensor]]:
    """Maps (views, units, H, W) of conv1.0 and conv1.3 after their ReLU, image by image."""
    torch.manual_seed(config.seed)
    network = timm.create_model("test_resnet", pretrained=False).eval()
    cfg = network.pretrained_cfg
    prepared = Preprocessing("RGB", 1.0, tuple(cfg["mean"]), tuple(cfg["std"]))
    crops = Crops(**vars(config.crops))
    found = []
    for path in images.ok()["path"]:
        with images.open(path) as image, torch.no_grad():
            views = crops.views(crops.resized(image))
            first = torch.relu(network.conv1[1](network.conv1[0](prepared(views))))
            found.append([first, torch.relu(network.conv1[4](network.conv1[3](first)))])
    return found


def centre_of(maps: torch.Tensor) -> torch.Tensor:
    """The maps (units, H, W) of the unmirrored centre, or of the whole image."""
    return maps[4 if len(maps) == 10 else 0]


@pytest.mark.parametrize("crops", ["center", "ten"])
def test_they_are_those_of_a_plain_loop(
    tiny: Callable[..., Config], tmp_path: Path, crops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(f"crops={crops}", "report.pictures_per_feature=5", "model.layers=[conv1.0]")
    images = opened(config)
    embedding, _ = embed(images, config)
    # What the units see lies beside the embedding: neither timm nor the network is needed.
    monkeypatch.delattr("fnx.backbones.receptive.receptive_fields")
    table = top_images(embedding, images, config, None, tmp_path)
    assert table.columns == [
        "feature_id", "rank", "image_id", "activation", *BOX, "view",
        "path", "class_name", "dataset",
    ]  # fmt: skip
    maps = [first for first, _ in plain_maps(config, images)]
    values = torch.stack([one.mean((0, 2, 3)) for one in maps]).numpy()
    highest = torch.stack([centre_of(one).flatten(1).argmax(1) for one in maps]).numpy()
    places = np.stack([highest // maps[0].shape[3], highest % maps[0].shape[3]], 2)
    np.testing.assert_allclose(embedding.features[:], values, rtol=1e-4, atol=1e-6)
    ok = images.ok()
    same = 0
    for feature in range(values.shape[1]):
        rows = table.filter(feature_id=feature)
        order = np.argsort(-embedding.features[:, feature], kind="stable")[:5]
        assert rows["image_id"].to_list() == ok["image_id"].gather(order).to_list()
        assert rows["path"].to_list() == ok["path"].gather(order).to_list()
        assert rows["class_name"].to_list() == ok["class_name"].gather(order).to_list()
        np.testing.assert_allclose(rows["activation"], values[order, feature], rtol=1e-4)
        # conv1.0 sees 3 × 3 pixels, moves by 2, and begins one pixel outside.
        tops_lefts = 2 * places[order, feature] - 1
        boxes = rows.select(BOX).to_numpy()
        np.testing.assert_array_equal(boxes[:, 2:] - boxes[:, :2], 3)
        same += int((boxes[:, :2] == tops_lefts).all(1).sum())
    assert same > 0.97 * table.height  # highest values that differ in their last bits only
    assert table["view"].unique().to_list() == [4 if crops == "ten" else 0]
    assert table["dataset"].unique().to_list() == ["digits"]


def test_an_embedding_without_positions_finds_those_of_the_shown_images_alone(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("crops=ten", "report.pictures_per_feature=2", "model.layers=[conv1.0,layer1.*]")
    images = opened(config)
    embedding, _ = embed(images, config)
    new = top_images(embedding, images, config, None, tmp_path)
    older = dataclasses.replace(embedding.manifest, positions=None)
    older.write(embedding.path)
    found, reused = embed(images, config)
    assert reused
    assert found.positions is None
    passed: list[int] = []
    embed_centre = module.embed_centre

    def noting(images: LabelledImages, *rest: object) -> object:
        passed.append(images.ok().height)
        return embed_centre(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "embed_centre", noting)
    old = top_images(found, images, config, [3, 9], tmp_path / "..")
    shown = pl.col("feature_id").is_in([3, 9])
    assert passed == [new.filter(shown)["path"].n_unique()]
    assert 1 < passed[0] < images.ok().height
    assert_frame_equal(old.drop(BOX), new.drop(BOX))
    assert old.filter(~shown)["top"].null_count() == old.filter(~shown).height
    # The centre alone goes through the network in other microbatches: last bits differ.
    boxes, expected = (t.filter(shown).select(BOX).to_numpy() for t in (old, new))
    assert (boxes == expected).all(1).mean() >= 0.75
    assert {entry.name for entry in tmp_path.iterdir()} == {"outputs"}, "nothing is kept"
    every = top_images(found, images, config, None, tmp_path)
    assert (every.select(BOX).to_numpy() == new.select(BOX).to_numpy()).all(1).mean() > 0.9
    nothing = top_images(found, images, config, [], tmp_path)
    assert nothing.select(BOX).null_count().row(0) == (new.height,) * 4


def spotted(root: Path, places: dict[str, tuple[int, int]], shape: tuple[int, int]) -> None:
    """Dark images with a bright patch of 4 × 4 pixels each."""
    root.mkdir(parents=True)
    for name, (top, left) in places.items():
        pixels = np.full((*shape, 3), 20, np.uint8)
        pixels[top : top + 4, left : left + 4] = 250
        Image.fromarray(pixels).save(root / f"{name}.png")


PLACES = {"middle": (30, 30), "corner": (0, 0), "edge": (20, 60), "left": (12, 4)}


@pytest.mark.parametrize(
    ("crops", "shape"),
    [("center", (64, 64)), ("ten", (64, 64)), ("dense", (64, 64)), ("dense", (64, 91))],
)
def test_the_box_holds_what_activates_the_unit(
    tiny: Callable[..., Config], tmp_path: Path, crops: str, shape: tuple[int, int]
) -> None:
    spotted(tmp_path / "spots", PLACES, shape)
    Image.new("RGB", shape[::-1], (20, 20, 20)).save(tmp_path / "spots/dark.png")
    config = tiny(
        "model.layers=[conv1.0,conv1.3]",
        f"crops={crops}",
        f"crops.resize={70 if crops == 'ten' else 64}",
        "crops.size=64",
        "report.reference_crops=null",
        f"report.reference_dataset={tmp_path}/spots",
    )
    reference = open_reference(opened(config), config, reference_dataset(config))
    assert reference is not None
    assert reference.ok()["class_name"].to_list() == [None] * 5
    config = dataclasses.replace(config, crops=reference_crops(config))
    embedding, _ = embed(reference, config)
    assert embedding.path.name.startswith("spots-test_resnet-")
    table = top_images(embedding, reference, config, None, tmp_path)
    assert set(table["dataset"]) == {"spots"}
    maps = plain_maps(config, reference)
    peaks = np.stack([np.concatenate([centre_of(m).amax((1, 2)) for m in two]) for two in maps])
    dark = peaks[reference.ok()["path"].to_list().index("dark.png")]
    higher = peaks[table["image_id"], table["feature_id"]] > dark[table["feature_id"]] + 1e-3
    # What is higher in an image than in the dark one is so by its patch.
    table = table.filter(pl.Series(higher))
    assert table["path"].n_unique() == 4
    assert table.height > 40
    seen = Crops(**vars(config.crops))
    for row in table.rows(named=True):
        with reference.open(row["path"]) as image:
            view = np.asarray(seen.part(image, (0, 0, *seen.view_size(image))))
        assert row["view"] == seen.centre
        inside = view[max(0, row["top"]) : row["bottom"], max(0, row["left"]) : row["right"]]
        assert inside.max() > 40, row  # a resized patch is blurred


def test_a_layer_that_sees_everything_is_shown_whole_in_the_view_s_own_shape(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    spotted(tmp_path / "spots/a", PLACES, (40, 60))
    spotted(tmp_path / "spots/b", PLACES, (50, 40))
    config = tiny("model.layers=[fc]", "crops=dense", "crops.resize=40", "crops.size=40")
    config.report.reference_dataset = f"{tmp_path}/spots"
    reference = open_reference(opened(config), config, reference_dataset(config))
    assert reference is not None
    embedding, _ = embed(reference, dataclasses.replace(config, crops=reference_crops(config)))
    (tmp_path / "spots/a/left.png").unlink()  # its shape can no longer be read
    table = top_images(embedding, reference, config, None, tmp_path)
    for row in table.rows(named=True):
        expected = (0, 0, 40, 60) if row["path"].startswith("a") else (0, 0, 50, 40)
        if row["path"] == "a/left.png":
            expected = (0, 0, 40, 40)
        assert tuple(row[name] for name in BOX) == expected
    assert table["path"].n_unique() == 8

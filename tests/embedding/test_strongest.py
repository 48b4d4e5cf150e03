"""What excites each unit most: a plain loop's answer, whatever cut the work into pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from torch import Tensor, nn

from fnx.backbones.backbone import Preprocessing
from fnx.backbones.pooling import peaks
from fnx.config.schema import Config
from fnx.embedding import extraction, strongest, targets
from fnx.embedding.embed import Strongest, find_strongest
from fnx.embedding.store import Manifest
from fnx.errors import DataError
from fnx.images.crops import Crops
from fnx.images.dataset import LabelledImages
from fnx.images.open import open_images
from fnx.images.reference import open_reference
from fnx.images.torch_dataset import Batch


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_peak_is_the_first_of_the_highest_values(
    memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    # Few different values, so that many are equal.
    value = torch.randint(-3, 4, (3, 20, 5, 7)).to(dtype).contiguous(memory_format=memory_format)
    found = peaks(value, channels_last=False, images=3)
    for image in range(3):
        for unit in range(20):
            cells = value[image, unit].tolist()
            best = max(max(row) for row in cells)
            places = [(r, c) for r, row in enumerate(cells) for c, x in enumerate(row) if x == best]
            assert found[image, :, unit].tolist() == [best, *places[0]]
    last = value.movedim(1, -1)
    assert torch.equal(peaks(last, channels_last=True, images=3), found)


def test_tokens_and_windows_give_their_position_among_all_of_the_image() -> None:
    tokens = torch.zeros(2, 6, 4)  # images, tokens of which one is the class's, units
    tokens[1, 0] = 9
    tokens[1, 4] = 2
    found = peaks(tokens, channels_last=True, images=2, prefix=1)
    assert found[1, :, 0].tolist() == [2, 3, -1]
    windows = torch.zeros(6, 5, 4)  # three windows of each of two images
    windows[4, 2, 1] = 7
    found = peaks(windows, channels_last=True, images=2)
    assert found[1, :, 1].tolist() == [7, 1 * 5 + 2, -1]
    assert peaks(torch.ones(2, 3), channels_last=False, images=2)[:, 1:].eq(0).all()


def plain_loop(config: Config, images: LabelledImages, k: int) -> dict[str, list[list[tuple]]]:
    """For each convolution of test_resnet's stem: per unit (−peak, image, view, row, column)."""
    torch.manual_seed(config.seed)
    network = timm.create_model("test_resnet", pretrained=False).eval()
    cfg = network.pretrained_cfg
    prepared = Preprocessing("RGB", 1.0, tuple(cfg["mean"]), tuple(cfg["std"]))
    crops = Crops(**vars(config.crops))
    units: list[list[tuple]] = []
    for row, path in enumerate(images.ok()["path"]):
        with images.open(path) as image, torch.no_grad():
            views = crops.views(crops.resized(image))
            maps = torch.relu(network.conv1[1](network.conv1[0](prepared(views))))
        for unit in range(maps.shape[1]):
            of_unit = maps[:, unit]
            view, r, c = np.unravel_index(int(of_unit.argmax()), of_unit.shape)
            if row == 0:
                units.append([])
            units[unit].append((-float(of_unit.max()), row, int(view), int(r), int(c)))
    return {"conv1.0": [sorted(found)[:k] for found in units]}


@pytest.mark.parametrize("crops", ["center", "ten"])
def test_it_finds_what_a_plain_loop_finds(tiny: Callable[..., Config], crops: str) -> None:
    config = tiny(
        f"crops={crops}",
        "report.reference_crops=null",
        "report.pictures_per_feature=5",
        "model.layers=[conv1.0]",
    )
    images = open_images(config.dataset, Path(config.paths.cache))
    found = find_strongest(images, config)
    expected = plain_loop(config, images, 5)["conv1.0"]
    ids = images.ok()["image_id"].to_list()
    size = 3  # of conv1.0's field, whose stride is 2
    for unit, best in enumerate(expected):
        rows = found.table.filter(feature_id=unit)
        best = [one for one in best if one[0] != 0]
        assert rows["rank"].to_list() == list(range(1, len(best) + 1))
        np.testing.assert_allclose(rows["activation"], [-one[0] for one in best], rtol=1e-5)
        assert rows["image_id"].to_list() == [ids[one[1]] for one in best]
        assert rows["view"].to_list() == [one[2] for one in best]
        boxes = [(2 * r - 1, 2 * c - 1, 2 * r - 1 + size, 2 * c - 1 + size) for *_, r, c in best]
        assert rows.select("top", "left", "bottom", "right").rows() == boxes
    assert set(found.images["image_id"]) == set(found.table["image_id"])
    assert found.table.filter(pl.col("activation") == 0).is_empty()


def test_it_is_found_again_without_a_network(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    images = open_images(config.dataset, Path(config.paths.cache))
    first = find_strongest(images, config)
    monkeypatch.setattr("fnx.backbones.build", None)
    again = find_strongest(images, config)
    assert again.path == first.path
    assert first.path.name.startswith("strongest-digits-test_resnet-")
    assert not (first.path / "shards").exists()
    other = tiny("report.pictures_per_feature=3")
    with pytest.raises(TypeError):  # another k is another search
        find_strongest(images, other)


def test_an_interrupted_search_goes_on_and_ends_with_the_same_bits(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("report.pictures_per_feature=4")
    images = open_images(config.dataset, Path(config.paths.cache))
    whole = find_strongest(images, config)

    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    other = tiny("report.pictures_per_feature=4", f"paths.cache={tmp_path}/other")
    write, written = strongest.write_shard, []

    def failing(path: Path, shard: int, found: np.ndarray) -> None:
        if len(written) == 3:
            raise OSError("killed")
        write(path, shard, found)
        written.append(shard)

    with monkeypatch.context() as patched:
        patched.setattr(strongest, "write_shard", failing)
        with pytest.raises(OSError, match="killed"):
            find_strongest(images, other)
    (path,) = (tmp_path / "other").glob("strongest-*")
    with pytest.raises(DataError, match="not finished"):
        Strongest.open(path)
    (path / "shards/000001.peaks").write_bytes(b"damaged by hand")

    later: list[int] = []

    def counting(path: Path, shard: int, found: np.ndarray) -> None:
        write(path, shard, found)
        later.append(shard)

    monkeypatch.setattr(strongest, "write_shard", counting)
    resumed = find_strongest(images, other)
    assert later == [1, 3, 4]
    assert_frame_equal(resumed.table, whole.table)
    assert resumed.manifest.shards == whole.manifest.shards  # the tables' bytes


def test_a_damaged_result_is_searched_anew(tiny: Callable[..., Config]) -> None:
    config = tiny("model.layers=[conv1.0]")
    images = open_images(config.dataset, Path(config.paths.cache))
    before = find_strongest(images, config)
    kept = before.table
    (before.path / "strongest.parquet").write_bytes(b"")
    assert_frame_equal(find_strongest(images, config).table, kept)


def test_batch_size_and_threads_change_no_bit(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("crops=ten", "report.reference_crops=null", "dataset.limit_per_class=2")
    config = tiny(*words)
    images = open_images(config.dataset, Path(config.paths.cache))
    expected = find_strongest(images, config).manifest.shards
    for number, batch in enumerate((1, 7, 1000)):
        monkeypatch.setattr(extraction, "_threads", lambda _, n=number: n + 1)
        other = tiny(
            *words, f"trainer.batch_size={batch}", f"paths.cache={config.paths.cache}{number}"
        )
        assert find_strongest(images, other).manifest.shards == expected


@pytest.mark.slow
def test_two_ranks_change_no_bit(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    config = tiny()
    images = open_images(config.dataset, Path(config.paths.cache))
    one = find_strongest(images, config)
    shared = tiny(f"paths.cache={config.paths.cache}-two", "trainer.devices=2")
    two = find_strongest(images, shared)
    assert two.path != one.path
    assert two.manifest.shards == one.manifest.shards


def collected(k: int, shards: int, rows: int, batch: int, values: Tensor, path: Path) -> np.ndarray:
    """What the shards' collectors and the merge make of values (N, F)."""
    manifest = Manifest("", {"strongest": k}, len(values), values.shape[1], rows)
    (path / "shards").mkdir(parents=True, exist_ok=True)
    peaks = np.empty((0, values.shape[1]), strongest.PEAK)
    for shard in range(shards):
        mine = manifest.shard_rows(shard)
        collector = targets.Peaks(k, Crops("center", 4, 4)).collector(path, manifest, shard)
        for start in range(mine.start, mine.stop, batch):
            some = torch.arange(start, min(start + batch, mine.stop))
            found = torch.zeros(len(some), 4, values.shape[1])
            found[:, 0] = values[some]
            found[:, 1] = some[:, None]  # so that what belongs together must stay so
            given = Batch(some, [(4, 4)] * len(some), torch.empty(0, dtype=torch.uint8))
            collector.add(given, found)
            assert collector.values.shape[0] <= k  # type: ignore[attr-defined]
        collector.write()
        read = strongest.read_shard(path, shard)
        assert read is not None
        peaks = strongest.merged(peaks, read, k)
    return peaks


@pytest.mark.parametrize(("rows", "batch"), [(100, 100), (100, 7), (16, 5), (3, 2)])
def test_equal_peaks_go_to_the_earlier_image(rows: int, batch: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    values = torch.randint(0, 6, (100, 40)).float()
    values[17] = torch.nan  # a network that overflows excites nothing
    peaks = collected(9, -(-100 // rows), rows, batch, values, tmp_path)
    for unit in range(40):
        column = [(-v, i) for i, v in enumerate(values[:, unit].tolist()) if v == v]
        expected = sorted(column)[:9]
        assert peaks["activation"][:, unit].tolist() == [-v for v, _ in expected]
        assert peaks["image"][:, unit].tolist() == [i for _, i in expected]
        assert peaks["row"][:, unit].tolist() == [i for _, i in expected]


def spotted(root: Path, places: dict[str, tuple[int, int]], side: int = 64) -> None:
    """Dark images with a bright patch of 4 × 4 pixels at a place each."""
    root.mkdir(parents=True)
    for name, (top, left) in places.items():
        pixels = np.full((side, side, 3), 20, np.uint8)
        pixels[top : top + 4, left : left + 4] = 250
        Image.fromarray(pixels).save(root / f"{name}.png")


PLACES = {"middle": (30, 30), "corner": (0, 0), "edge": (20, 60), "left": (12, 4)}


@pytest.mark.parametrize("crops", ["center", "dense", "ten"])
def test_the_box_of_the_peak_holds_what_excites_the_unit(
    tiny: Callable[..., Config], tmp_path: Path, crops: str
) -> None:
    spotted(tmp_path / "spots", PLACES)
    Image.new("RGB", (64, 64), (20, 20, 20)).save(tmp_path / "spots/dark.png")
    resize = 70 if crops == "ten" else 64
    config = tiny(
        "model.layers=[conv1.0,conv1.3]",
        f"crops={crops}",
        f"crops.resize={resize}",
        "crops.size=64",
        "report.reference_crops=null",
        f"report.reference_dataset={tmp_path}/spots",
    )
    images = open_images(config.dataset, Path(config.paths.cache))
    reference = open_reference(images, config)
    assert reference is not None
    assert reference.ok()["class_name"].to_list() == [None] * 5
    found = find_strongest(reference, config)
    table = found.table.join(found.images, on="image_id")
    dark = table.filter(path="dark.png").select("feature_id", dark="activation")
    table = table.join(dark, on="feature_id", how="left").with_columns(pl.col("dark").fill_null(0))
    # What an image does to a unit beyond what the dark one does, its patch did.
    table = table.filter(pl.col("activation") > pl.col("dark") + 1e-3)
    assert table["path"].n_unique() == 4
    assert table.height > 40
    seen = Crops(**vars(config.crops))
    for row in table.rows(named=True):
        with reference.open(row["path"]) as image:
            view = seen.view(image, row["view"])
        inside = view[max(0, row["top"]) : row["bottom"], max(0, row["left"]) : row["right"]]
        assert inside.max() > 100, row


def test_a_view_without_torch_is_the_network_s() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (50, 61, 3), np.uint8))
    for name in ("ten", "five", "center", "dense"):
        crops = Crops(name, 40, 40 if name == "dense" else 32)
        views = crops.views(crops.resized(image))
        for number, view in enumerate(views):
            seen = crops.view(image, number)
            np.testing.assert_array_equal(seen, view.permute(1, 2, 0).numpy())


def test_what_it_keeps_does_not_grow_with_the_images() -> None:
    k, features = 9, 1000
    values = torch.rand(100, features)
    manifest = Manifest("", {"strongest": k}, 100, features, 100)
    collector = targets.Peaks(k, Crops("center", 4, 4)).collector(Path(), manifest, 0)
    sizes = []
    for row in range(100):
        found = torch.zeros(1, 4, features)
        found[:, 0] = values[row]
        collector.add(Batch(torch.tensor([row]), [(4, 4)], torch.empty(0)), found)
        sizes.append(collector.values.numel() + collector.places.numel())  # type: ignore[attr-defined]
    assert max(sizes) == sizes[-1] == sizes[k] == 5 * k * features


def test_the_reference_images_are_what_was_asked_for(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny("report.reference_limit_per_class=2")
    images = open_images(config.dataset, Path(config.paths.cache))
    own = open_reference(images, config)
    assert own is not None
    assert own.ok()["class_id"].value_counts()["count"].to_list() == [2] * 10
    assert set(own.ok()["image_id"]) <= set(images.ok()["image_id"])
    named = open_reference(images, tiny("report.reference_dataset=digits"))
    assert named is not None
    assert named.ok().height == 500  # dataset=digits' own limit, 50 a class
    for path in ("a/1.png", "a/2.png", "a/3.png", "b/deep/1.png", "beside.png", "too.png"):
        (tmp_path / "mixed" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "mixed" / path)
    (tmp_path / "mixed/notes.txt").write_text("no image")
    mixed = tiny(f"report.reference_dataset={tmp_path}/mixed", "report.reference_limit_per_class=2")
    folder = open_reference(images, mixed)
    assert folder is not None
    assert folder.ok()["class_name"].to_list() == ["a", "a", "b", None, None]
    assert folder.table.filter(status="failed")["path"].to_list() == ["notes.txt"]
    assert open_reference(images, tiny("report.pictures=none")) is None


def test_real_units_of_vgg16_equal_a_plain_loop(
    compose: Callable[..., Config], shared_data: Path
) -> None:
    config = compose(
        "dataset=folder",
        f"dataset.root={shared_data}/dtd/images",
        "dataset.limit_per_class=1",
        "model=vgg16",
        "model.layers=[conv1_2,conv3_1]",
        f"model.weights.path={shared_data}/weights/vgg16_imagenet_conv.pth",
        "crops=center",
        "trainer=cpu",
        "trainer.num_workers=0",
        "report.pictures_per_feature=3",
    )
    images = open_images(config.dataset, Path(config.paths.cache))
    found = find_strongest(images, config)
    weights = torch.load(shared_data / "weights/vgg16_imagenet_conv.pth", weights_only=True)
    net = timm.create_model("vgg16", pretrained=False)
    net.load_state_dict(weights, strict=False)
    net.eval()
    mean, std = net.pretrained_cfg["mean"], net.pretrained_cfg["std"]
    prepared = Preprocessing("RGB", 1.0, tuple(mean), tuple(std))
    crops = Crops(**vars(config.crops))
    best = []
    with torch.no_grad():
        for path in images.ok()["path"]:
            with images.open(path) as image:
                value = prepared(crops.views(crops.resized(image)))
            for index, module in enumerate(net.features[:12]):
                value = nn.functional.relu(value) if isinstance(module, nn.ReLU) else module(value)
                if index == 3:
                    first = value.amax((2, 3))[0]
            best.append(torch.cat([first, value.amax((2, 3))[0]]))
    peaks = torch.stack(best)
    order = (-peaks).sort(dim=0, stable=True).indices[:3]
    for row in found.table.rows(named=True):
        image = int(order[row["rank"] - 1, row["feature_id"]])
        expected = float(peaks[image, row["feature_id"]])
        assert row["activation"] == pytest.approx(expected, rel=1e-3)
    sides = found.table.select(pl.col("bottom") - pl.col("top"))["bottom"].unique().to_list()
    assert sorted(sides) == [5, 24]

"""The pictures behind features: right pixels, right places, and no crash where an image is gone."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.report.synthetic import Synthetic, write_run

from fnx import app
from fnx.analysis import Run
from fnx.analysis.pairs import check_pair, shown_pairs
from fnx.config.schema import Config
from fnx.embedding import Embedding
from fnx.images.crops import Crops
from fnx.images.decode import Decoder
from fnx.images.paths import Files
from fnx.report.figures import features as fig_features
from fnx.report.figures import style
from fnx.report.pictures import pictures
from fnx.report.pictures.paths import class_path, sprite_path
from fnx.report.pictures.pictures import GREY, TILE, cut_out, cut_tiles, tiles, within
from fnx.utils import forked

AS_IT_IS = Crops("dense", TILE, TILE)  # the view is the image, whose short side is that of a tile


def test_a_box_is_cut_where_it_lies_and_grey_beyond_the_border() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (TILE, 2 * TILE, 3), np.uint8)

    def cut(*box: int) -> Any:
        return cut_out(Image.fromarray(pixels), AS_IT_IS, box)

    np.testing.assert_array_equal(cut(0, 7, TILE, 7 + TILE), pixels[:, 7 : 7 + TILE])
    over = cut(-10, 2 * TILE - 20, TILE - 10, 3 * TILE - 20)
    np.testing.assert_array_equal(over[10:, :20], pixels[: TILE - 10, -20:])
    assert (over[:10] == GREY).all()
    assert (over[:, 20:] == GREY).all()
    assert (cut(5 * TILE, 0, 6 * TILE, TILE) == GREY).all()


def test_what_is_enlarged_are_the_pixels_that_the_network_sees() -> None:
    pixels = np.zeros((8 * TILE, 8 * TILE, 3), np.uint8)
    pixels[:, ::2] = 250  # stripes too fine for the view, whose pixels are all alike
    crops = Crops("center", TILE, TILE)
    for side in (4, TILE // 2, TILE):
        tile = cut_out(Image.fromarray(pixels), crops, (0, 0, side, side))
        assert np.ptp(tile) <= 10  # a border pixel has half of its stripes


def test_what_is_larger_than_a_tile_is_made_smaller_with_its_frame() -> None:
    crops = Crops("center", 2 * TILE, 2 * TILE)
    white = Image.new("RGB", (300, 200), "white")
    half = cut_out(white, crops, (TILE, -TILE, 3 * TILE, TILE))  # its upper right quarter is seen
    assert (half[: TILE // 2, TILE // 2 :] == 255).all()
    assert (half[TILE // 2 :] == GREY).all()
    assert (half[:, : TILE // 2] == GREY).all()


def test_what_is_not_square_keeps_its_shape() -> None:
    white = Image.new("RGB", (TILE, TILE), "white")
    for box, axis in (((0, 0, 48, 96), 0), ((0, 0, 96, 48), 1)):
        tile = cut_out(white, Crops("center", TILE, TILE), box)
        assert tile.shape == (TILE, TILE, 3)
        seen = np.flatnonzero((tile != GREY).all((1 - axis, 2)))
        assert seen.tolist() == list(range(TILE // 4, TILE - TILE // 4))


class Opening:
    """Images of any path, opened by a function."""

    largest = 3_000

    def __init__(self, opener: Callable[..., Image.Image]) -> None:
        self.open = opener


def test_each_image_is_decoded_once_and_not_larger_than_it_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[str, int | None]] = []

    def opener(path: str, content_digest: str | None = None, *, side: int | None = None) -> Any:
        opened.append((path, side))
        if path == "gone":
            raise FileNotFoundError(path)
        return Image.new("RGB", (40, 40), path)

    paths = ("red", "blue", "gone")
    cuts = {p: [(3 * i + k, (0, 0, 4, 4)) for i in range(50)] for k, p in enumerate(paths)}
    found = np.empty((150, TILE, TILE, 3), np.uint8)
    monkeypatch.setattr(forked, "workers", lambda *_: 1)  # so that the calls are counted here
    images: Any = Opening(opener)
    cut_tiles(cuts, images, Crops("center", 36, 32), found)
    assert sorted(opened) == [("blue", 36), ("gone", 36), ("red", 36)]
    opened.clear()
    cut_tiles(cuts, images, Crops("dense", 32, 32), np.empty_like(found))
    assert sorted(opened) == [("blue", None), ("gone", None), ("red", None)]
    for k, colour in enumerate([(255, 0, 0), (0, 0, 255), (GREY,) * 3]):
        assert (found[k::3] == colour).all()


@pytest.mark.parametrize("processes", [1, 2])
def test_tiles_and_what_is_said_of_them_do_not_depend_on_the_processes(
    processes: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opener(path: str, content_digest: str | None = None, *, side: int | None = None) -> Any:
        if path.startswith("no"):
            raise FileNotFoundError(path)
        return Image.new("RGB", (40, 40), f"#{path}")

    class Bar:
        counts: list[int] = []  # noqa: RUF012

        def update(self, count: int) -> None:
            self.counts.append(count)

    needed = []

    def workers(tasks: int, each: int) -> int:
        needed.append((tasks, each))
        return processes

    monkeypatch.setattr(forked, "workers", workers)
    images: Any = Opening(opener)
    Bar.counts.clear()
    paths = ["0000ff", "no 2", *(f"{i:06x}" for i in range(60)), "no 1"]
    cuts = {path: [(k, (0, 0, 4, 4))] * (1 + k % 2) for k, path in enumerate(paths)}
    found = forked.empty((len(paths), TILE, TILE, 3))
    cut_tiles(cuts, images, Crops("center", 36, 32), found, Bar())
    assert needed == [(len(paths), 30_000)]  # bytes for the largest
    for k, path in enumerate(paths):
        colour = (GREY,) * 3 if path.startswith("no") else tuple(bytes.fromhex(path))
        assert (found[k] == colour).all(), path
    assert Bar.counts == [1 + k % 2 for k in range(len(paths))]
    assert [record.getMessage() for record in caplog.records] == [
        "pictures are grey where images can no longer be read (2, the first: 'no 1')"
    ]


def test_a_box_that_holds_the_whole_view_is_the_view(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (TILE, TILE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = np.empty((2, TILE, TILE, 3), np.uint8)
    images: Any = Opening(Decoder(Files(str(tmp_path))))
    cuts = {"a.png": [(0, (-500, -300, 700, 900)), (1, (0, 0, TILE, TILE))]}
    cut_tiles(cuts, images, Crops("center", TILE, TILE), found)
    np.testing.assert_array_equal(found[0], pixels)
    np.testing.assert_array_equal(found[1], pixels)


class Colours:
    """Images of one colour each: `path` is its name. Those of `gone` cannot be opened."""

    largest = TILE**2

    def __init__(self, paths: Sequence[str], class_ids: Sequence[int], *gone: str) -> None:
        self.table, self.gone = pl.DataFrame({"class_id": class_ids, "path": paths}), gone
        self.opened: list[str] = []

    def ok(self) -> pl.DataFrame:
        return self.table

    def open(self, path: str, *, side: int) -> Image.Image:
        assert side == TILE
        self.opened.append(path)
        if path in self.gone:
            raise FileNotFoundError(path)
        return Image.new("RGB", (TILE, TILE), f"#{path}")


def colours(sprite: Path) -> list[str]:
    """The colour of the middle of each tile, to 4 bits: JPEG changes the rest."""
    middles = [tile[20:-20, 20:-20].mean((0, 1)) for tile in tiles(sprite)]
    return ["".join(f"{round(value / 17):x}" for value in middle) for middle in middles]


def test_each_feature_has_a_grid_of_its_tiles_in_order_of_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.open(
        write_run(tmp_path / "run", Synthetic(layers=(("a", 2, "conv"), ("b", 3, "fc"))))
    )
    shown = {1: ["f00", "0f0", "00f", "fff"], 0: ["0f0"], 4: ["00f", "f00"], 2: ["000", "fff"]}
    rows = [(feature, path, 0, 0, TILE, TILE) for feature, some in shown.items() for path in some]
    names = ["feature_id", "path", "top", "left", "bottom", "right"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    three = 3 * 4 * TILE * TILE * 3  # features of four tiles
    monkeypatch.setattr(pictures, "available_memory", lambda: round(three / pictures._MEMORY_SHARE))
    monkeypatch.setattr(forked, "workers", lambda *_: 1)  # so that what is opened is noted here
    images: Any = Colours([], [], "fff")
    pictures.draw_features(run, table, images, Crops("center", TILE, TILE))
    grey = "888"
    expected = {
        "a/1": ["f00", "0f0", "00f", grey, grey, grey],
        "a/0": ["0f0", grey, grey],
        "b/2": ["00f", "f00", grey],
        "b/0": ["000", grey, grey],
    }
    files = {name: run.path / f"pictures/{name}.jpg" for name in expected}
    assert {name: colours(file) for name, file in files.items()} == expected
    with Image.open(files["a/1"]) as image:
        assert image.size == (3 * TILE, 2 * TILE)
    assert sorted((run.path / "pictures").rglob("*.jpg")) == sorted(files.values())
    assert sorted(images.opened) == ["000", "00f", "0f0", "f00", "fff", "fff"]  # in two parts
    assert caplog.text.count("grey where images can no longer be read (1, the first: 'fff')") == 2


@pytest.mark.parametrize("asked", ["top", "all"])
def test_features_are_drawn_that_are_asked_for(
    asked: str, tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = (("conv", 40, "conv"), ("fc", 40, "fc"))
    run = Run.open(write_run(tmp_path / "run", Synthetic(layers=layers, class_sizes=(9, 9))))
    table = pl.DataFrame({"feature_id": range(80)})
    found: dict[str, Any] = {}

    def ranked(*given: Any) -> pl.DataFrame:
        found["shown"], found["size"] = given[3], given[2].crops.size
        return table

    def drawn(_: Run, rows: pl.DataFrame, *rest: Any) -> None:
        found["drawn"], found["views"] = set(rows["feature_id"]), rest[1].size

    monkeypatch.setattr(pictures, "top_images", ranked)
    monkeypatch.setattr(pictures, "draw_features", drawn)
    monkeypatch.setattr(pictures, "draw_classes", lambda *_: None)
    config, images = tiny(f"report.pictures={asked}"), Colours([], [])
    written: Any = pictures.write_pictures
    assert written(run, images, images, None, config) is table
    shown = pictures.shown_features(run)
    assert len(shown) < 80
    assert found["shown"] == (shown if asked == "top" else None)
    assert found["drawn"] == (shown if asked == "top" else set(range(80)))
    assert found["size"] == found["views"]
    assert pl.read_parquet(run.path / "top_images.parquet").equals(table)
    assert written(run, images, None, None, config) is None


def test_a_class_shows_nine_images_at_even_distances(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    many = [f"{number:x}8f" for number in range(12)]  # 12 images: every third one is left out
    images: Any = Colours([*many, "f00", "0f0", "00f", "ff0"], [7] * 12 + [2] * 4, "00f")
    pictures.draw_classes(run, images)
    assert colours(class_path(run.path, 7)) == [many[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
    assert colours(class_path(run.path, 2)) == ["f00", "0f0", "888", "ff0", "888", "888"]
    pictures.draw_classes(run, images)  # over those of an earlier report


def test_the_features_farthest_out_of_each_layer_always_have_a_picture(tmp_path: Path) -> None:
    run = Run.open(
        write_run(tmp_path / "run", Synthetic(layers=(("a", 30, "conv"), ("b", 9, "fc"))))
    )
    real, expected = np.asarray(run.distances), set()
    for rows in (range(30), range(30, 39)):
        expected |= set(sorted(rows, key=lambda row: -real[row].max())[:6])
        expected |= set(sorted(rows, key=lambda row: real[row].min())[:6])
    assert pictures.layers_extremes(run) == expected
    pairs = {*shown_pairs(run)["feature_id"], *run.top_features["feature_id"]}
    assert pictures.shown_features(run) == expected | pairs


@pytest.mark.parametrize("layer", ["../up", "a/b", "..", "a b", "\u00fc", "classes", "c:\\d"])
def test_no_layer_s_name_leads_elsewhere(layer: str, tmp_path: Path) -> None:
    path = sprite_path(tmp_path, layer, 3)
    assert path.parent.parent == tmp_path / "pictures"
    assert path.parent.name.isascii()
    assert path.parent != class_path(tmp_path, 0).parent
    others = {sprite_path(tmp_path, other, 3) for other in ("a_b", "_up", "_", "c_d", "__up")}
    assert path not in others


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_at: Callable[..., Config]) -> Run:
    folder = tmp_path_factory.mktemp("run")
    return app.run(tiny_at(folder, "report.reference_limit_per_class=2"), folder / "first")


def test_a_run_has_the_pictures_of_its_top_features(run: Run) -> None:
    table = run.top_images
    assert table is not None
    own = run.images.select("image_id", "path", "class_name")
    assert table.join(own, on=own.columns, how="semi").height == table.height
    limited = own.filter(pl.int_range(pl.len()).over("class_name") < 2)
    assert set(table["path"]) == set(limited["path"])
    assert run.embedding_path is not None
    values = Embedding.open(run.embedding_path).features[:]
    limited_rows = values[limited["image_id"].to_numpy()]
    active = (limited_rows != limited_rows[0]).any(0)
    assert set(table["feature_id"]) == set(np.flatnonzero(active))
    counts = dict(table.group_by("feature_id").len().iter_rows())
    assert max(counts.values()) == 9
    wanted = run.features.join(run.top_features, on="feature_id", how="semi")
    for feature, layer, unit in wanted.select("feature_id", "layer", "unit").iter_rows():
        assert len(tiles(sprite_path(run.path, layer, unit))) >= counts.get(feature, 0)
        assert sprite_path(run.path, layer, unit).is_file() == (feature in counts)
    made = len(list((run.path / "pictures").rglob("*.jpg")))
    assert made < run.features.height
    for class_id in range(10):
        assert len(tiles(class_path(run.path, class_id))) == 6  # of four images, in two rows


def test_a_tile_is_the_box_of_its_image(run: Run, tiny_at: Callable[..., Config]) -> None:
    from fnx.images.open import open_images

    config = tiny_at(run.path.parent)
    images = open_images(config.dataset, run.path.parent)
    crops = Crops("center", config.crops.resize, config.crops.size)
    assert run.top_images is not None
    rows = run.top_images.join(run.features, on="feature_id")
    checked = 0
    for row in rows.filter(pl.col("rank") <= 2).rows(named=True)[::7]:
        sprite = tiles(sprite_path(run.path, row["layer"], row["unit"]))
        if not sprite:
            continue
        assert row["view"] == crops.centre
        with images.open(row["path"]) as image:
            box = row["top"], row["left"], row["bottom"], row["right"]
            expected = cut_out(image, crops, within(box, crops.view_size(image)))
        # JPEG changes pixels a little, and at borders of tiles more.
        assert np.abs(sprite[row["rank"] - 1].astype(int) - expected).mean() < 6
        checked += 1
    assert checked > 20


def test_the_figures_show_the_best_pair_of_each_layer(run: Run) -> None:
    for sign, best in (("+", np.argmax), ("-", np.argmin)):
        table = fig_features.table(run, sign)
        assert table.height == min(8, run.features["layer"].n_unique())
        for row in table.rows(named=True):
            ids = run.features.filter(layer=row["layer"])["feature_id"].to_numpy()
            block = np.asarray(run.distances[ids])
            assert row["distance"] == block.flat[best(block)]
            assert run.distances[row["feature_id"], row["class_id"]] == row["distance"]
        name = "features_presence" if sign == "+" else "features_absence"
        svg = (run.path / f"figures/{name}.svg").read_text()
        assert "<image" in svg
        assert "<text" in svg
        assert "digits" in svg
        assert (run.path / f"figures/{name}.png").is_file()


def test_pairs_can_be_chosen(run: Run, tiny_at: Callable[..., Config]) -> None:
    layer = run.features["layer"][0]
    words = (f"report.pairs=['{layer}/3:7','{layer}/4:2']", "report.reference_limit_per_class=2")
    words += ("report.formats=[]",)
    chosen = app.run(tiny_at(run.path.parent, *words), run.path.parent / "chosen")
    table = shown_pairs(chosen)
    assert set(table.select("layer", "unit", "class_name").rows()) == {
        (layer, 3, "7"),
        (layer, 4, "2"),
    }
    for row in table.rows(named=True):
        assert (row["distance"] < 0) == (row["sign"] == "-")
        assert row["distance"] == run.distances[row["feature_id"], row["class_id"]]
    files = {sprite_path(chosen.path, layer, unit).is_file() for unit in (3, 4)}
    assert files == {True}


def test_pairs_are_read_whatever_a_class_is_called() -> None:
    assert check_pair("blocks/0/2:a/b: c") == ("blocks/0", 2, "a/b: c")


@pytest.mark.slow
def test_all_features_or_none(run: Run, tiny_at: Callable[..., Config]) -> None:
    words = ("report.reference_limit_per_class=2", "model.layers=[conv1.0]")
    folder = run.path.parent
    every = app.run(
        tiny_at(folder, *words, "report.pictures=all", "report.formats=[]"), folder / "all"
    )
    assert every.top_images is not None
    fired = every.top_images["feature_id"].n_unique()
    assert len(list((every.path / "pictures").glob("conv1.0/*.jpg"))) == fired
    none = app.run(tiny_at(folder, *words, "report.pictures=none"), folder / "no")
    assert not (none.path / "pictures").exists()
    assert none.top_images is None
    assert not list((none.path / "figures").glob("features_*"))


def test_an_image_that_vanished_is_grey(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "r").mkdir()
    for number in range(4):
        pixels = rng.integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "r" / f"{number}.png")
    words = (f"report.reference_dataset={tmp_path}/r", "model.layers=[conv1.0]")
    config = tiny(*words, "report.formats=[]")
    before = app.run(config, tmp_path / "before")
    from fnx.config.compose import reference_dataset
    from fnx.images.open import open_images
    from fnx.images.reference import open_reference

    images = open_images(config.dataset, tmp_path)
    reference = open_reference(images, config, reference_dataset(config))
    (tmp_path / "r/2.png").unlink()
    with caplog.at_level(logging.WARNING):
        pictures.draw_features(before, before.top_images, reference, Crops("center", 40, 32))
    assert "can no longer be read (1, the first: '2.png')" in caplog.text
    rows = before.top_images.join(before.features, on="feature_id").filter(path="2.png")
    assert rows.height
    for row in rows.rows(named=True):
        sprite = tiles(sprite_path(before.path, row["layer"], row["unit"]))
        if sprite:
            assert np.abs(sprite[row["rank"] - 1].astype(int)[16:80, 16:80] - GREY).max() < 12


def test_a_feature_that_nothing_excites_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Synthetic())
    run = Run.open(folder)
    (folder / "pictures").mkdir()
    none = {"feature_id": pl.Int64, "rank": pl.Int32, "activation": pl.Float64}
    none |= dict.fromkeys(("path", "class_name", "dataset"), pl.String)
    pl.DataFrame(schema=none).write_parquet(folder / "top_images.parquet")
    with style.style():
        for sign in "+-":
            figure = fig_features.draw(run, sign, fig_features.table(run, sign))
            assert "no reference image" in style.svg(figure)


def test_a_run_without_pictures_has_no_figures_of_features(finished: Path) -> None:
    assert not list((finished / "figures").glob("features_*"))


def test_nothing_of_the_network_is_imported_to_cut_and_to_draw() -> None:
    modules = "embedding images.reference report.pictures.pictures report.figures.features analysis"
    imports = "; ".join(f"import fnx.{module}" for module in modules.split())
    heavy = "print(sorted({'torch', 'timm', 'lightning'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; {heavy}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"

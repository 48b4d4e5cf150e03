"""Files that the world is full of: each is a right row or a failed one with its reason.

The rows are compared one by one with a plain loop of Pillow and timm that shares no code with fnx.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from fnx.config.schema import Config
from fnx.embedding.embed import Embedding, embed
from fnx.errors import DataError
from fnx.images.open import open_images

Pixels = np.ndarray


def noise(seed: int, height: int = 50, width: int = 60) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that unpacks to more pixels than any memory holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6)))


def write_good(root: Path) -> dict[str, Pixels]:
    """Readable images, by their path in the table, each with the RGB pixels that it must give."""
    expected: dict[str, Pixels] = {}

    def saved(
        name: str, image: Image.Image, pixels: Pixels, table: str = "", **options: object
    ) -> None:
        image.save(root / name, **options)
        expected[table or name] = pixels

    names = ["a/with space.png", "a/x.png", "b/x.png", "a/emoji 🦜.png", "a/new\nline.png"]
    for seed, name in enumerate(names):
        saved(name, Image.fromarray(noise(seed)), noise(seed))
    latin = os.fsdecode(b"a/caf\xe9.png")
    saved(latin, Image.fromarray(noise(10)), noise(10), table=r"a/caf\xe9.png")

    dot = np.full((1, 1, 3), (200, 10, 90), np.uint8)
    saved("b/dot.png", Image.fromarray(dot), dot)
    saved("b/really a png.jpg", Image.fromarray(noise(11)), noise(11), format="png")

    grey = np.random.default_rng(12).integers(0, 256, (40, 70), dtype=np.uint16)
    wide = Image.frombytes("I;16", (70, 40), (grey * 257).astype("<u2").tobytes())
    saved("b/sixteen bits.png", wide, np.repeat(grey[..., None], 3, 2).astype(np.uint8))

    half = np.dstack([noise(13), np.where(np.arange(60) < 30, 0, 255)[None].repeat(50, 0)])
    on_white = np.where(half[..., 3:] == 0, 255, half[..., :3]).astype(np.uint8)
    saved("b/transparent.png", Image.fromarray(half.astype(np.uint8), "RGBA"), on_white)

    frames = [Image.new("RGB", (45, 45), color) for color in ("navy", "lime", "blue")]
    saved(
        "b/animated.gif",
        frames[0],
        np.full((45, 45, 3), (0, 0, 128), np.uint8),
        save_all=True,
        append_images=frames[1:],
        duration=100,
    )

    ink = Image.fromarray(np.full((50, 60, 4), (0, 255, 255, 0), np.uint8), "CMYK")
    ink.save(root / "b/cmyk.tif")
    expected["b/cmyk.tif"] = np.full((50, 60, 3), (255, 0, 0), np.uint8)

    Image.fromarray(noise(14)).save(
        root / "b/broken exif.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"
    )
    with Image.open(root / "b/broken exif.jpg") as image:
        expected["b/broken exif.jpg"] = np.asarray(image.convert("RGB"))

    Image.fromarray(noise(1)).save(root.parent / "outside.png")
    (root / "b/link.png").symlink_to(root.parent / "outside.png")
    expected["b/link.png"] = noise(1)
    return expected


def write_bad(root: Path) -> dict[str, str]:
    """Files that are no usable image, by path, each with words of the reason."""
    Image.fromarray(noise(20, 200, 200)).save(root / "a/whole.jpg")
    content = (root / "a/whole.jpg").read_bytes()
    (root / "a/whole.jpg").unlink()
    (root / "a/truncated.jpg").write_bytes(content[: len(content) // 2])
    (root / "a/empty.png").touch()
    (root / "a/text.jpg").write_text("not an image at all\n")
    (root / "a/bomb.png").write_bytes(png_bomb(100_000, 100_000))
    Image.new("RGB", (1, 30_000)).save(root / "a/thread.png")
    (root / "a/itself.png").symlink_to("itself.png")
    (root / "a/nowhere.png").symlink_to("gone.png")
    reasons = {
        "a/truncated.jpg": "truncated",
        "a/empty.png": "the file is empty",
        "a/text.jpg": "not an image",
        "a/bomb.png": "10,000,000,000 pixels: more than dataset.max_pixels=178956970",
        "a/thread.png": "1 × 30000 pixels: too long",
        "a/itself.png": "symbolic links",
        "a/nowhere.png": "No such file",
    }
    if os.geteuid() != 0:  # root may read everything
        Image.new("RGB", (9, 9)).save(root / "a/secret.png")
        (root / "a/secret.png").chmod(0)
        reasons["a/secret.png"] = "Permission denied"
    (root / "b/round").symlink_to(root, target_is_directory=True)  # folders in circles
    return reasons


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
    return tmp_path / "images"


def plain_row(network: torch.nn.Module, pixels: Pixels) -> np.ndarray:
    """One image through the stem of the network, by hand: resize, ten crops, mean."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (int(40 * width / short), int(40 * height / short))
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    width, height = size
    tops = [0, 0, height - 32, height - 32, round((height - 32) / 2)]
    lefts = [0, width - 32, 0, width - 32, round((width - 32) / 2)]
    total = 0.0
    for top, left in zip(tops, lefts, strict=True):
        crop = resized[top : top + 32, left : left + 32]
        for view in (crop, crop[:, ::-1]):
            values = (view / 255 - network.pretrained_cfg["mean"]) / network.pretrained_cfg["std"]
            batch = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]
            with torch.no_grad():
                first = network.conv1[1](network.conv1[0](batch))
            total = total + first.mean((0, 2, 3)).double().numpy()
    return total / 10


@pytest.mark.parametrize("workers", [0, 2])
def test_every_row_is_that_of_a_plain_loop_and_every_failure_has_its_reason(
    root: Path, tiny: Callable[..., Config], workers: int
) -> None:
    good, bad = write_good(root), write_bad(root)
    config = tiny(
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.limit_per_class=null",
        "crops=ten",
        "model.layers=[conv1.0]",
        "model.tap=pre",
        f"trainer.num_workers={workers}",
    )
    images = open_images(config.dataset, Path(config.paths.cache))
    table = images.table
    failed = {row["path"]: row["error"] for row in table.to_dicts() if row["status"] == "failed"}
    assert failed.keys() == bad.keys()
    for path, words in bad.items():
        assert words in failed[path], (path, failed[path])
        assert "\n" not in failed[path]

    embedding, _ = embed(images, config)
    embedding = Embedding.open(embedding.path)
    paths = embedding.images.filter(status="ok")["path"].to_list()
    assert sorted(paths) == sorted(good)
    torch.manual_seed(config.seed)
    network = timm.create_model("test_resnet", pretrained=False).eval()
    for row, path in enumerate(paths):
        expected = plain_row(network, good[path])
        np.testing.assert_allclose(
            embedding.features[row], expected, rtol=1e-4, atol=2e-5, err_msg=path
        )
    # Rows must not merely be right on average: no two of them are alike.
    others = np.unique(np.round(np.asarray(embedding.features[:]), 6), axis=0)
    assert len(others) == len(paths) - 1  # the link shows the same image as a/x.png


def test_a_changed_image_is_noticed_though_its_size_and_time_are_the_same(
    root: Path, tiny: Callable[..., Config]
) -> None:
    for name in ("a", "b"):
        Image.fromarray(noise(ord(name))).save(root / name / "x.bmp")
    config = tiny("dataset=folder", f"dataset.root={root}", "dataset.limit_per_class=null")

    def opened() -> str:
        return open_images(config.dataset, Path(config.paths.cache)).digest()

    before, stat = opened(), (root / "a/x.bmp").stat()
    assert opened() == before
    Image.fromarray(noise(99)).save(root / "a/x.bmp")
    os.utime(root / "a/x.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = (root / "a/x.bmp").stat()
    assert (after.st_size, after.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert opened() != before


def test_an_image_deleted_after_the_check_is_named_and_the_run_after_does_without(
    root: Path, tiny: Callable[..., Config]
) -> None:
    for seed, name in enumerate(("a/0", "a/1", "b/0", "b/1")):
        Image.fromarray(noise(seed)).save(root / f"{name}.png")
    config = tiny("dataset=folder", f"dataset.root={root}", "dataset.limit_per_class=null")
    images = open_images(config.dataset, Path(config.paths.cache))
    (root / "b/1.png").unlink()
    with pytest.raises(DataError, match=r"image 'b/1.png' could be read when it was checked"):
        embed(images, config)
    images = open_images(config.dataset, Path(config.paths.cache))
    assert embed(images, config)[0].features.shape[0] == 3


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_replaced_after_the_check_is_named_and_the_run_after_takes_it(
    root: Path, tiny: Callable[..., Config], workers: int
) -> None:
    """A row belongs to the bytes that were decoded, whatever size and times the file has."""
    for name, seed in {"a/0": 7, "a/1": 1, "b/0": 2, "b/1": 3}.items():
        Image.fromarray(noise(seed)).save(root / f"{name}.bmp")
    config = tiny(
        "dataset=folder", f"dataset.root={root}", "dataset.limit_per_class=null", "crops=center"
    )
    config.trainer.num_workers = workers
    images = open_images(config.dataset, Path(config.paths.cache))
    stat = (root / "b/1.bmp").stat()
    Image.fromarray(noise(7)).save(root / "b/1.bmp")
    os.utime(root / "b/1.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match=r"image 'b/1.bmp' .* now cannot: it was replaced in the"):
        embed(images, config)
    again = open_images(config.dataset, Path(config.paths.cache))
    rows = embed(again, config)[0].features[:]
    assert again.digest() != images.digest()
    np.testing.assert_array_equal(rows[0], rows[3])
    assert not np.array_equal(rows[1], rows[2])

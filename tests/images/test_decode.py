"""Whatever Pillow opens becomes 8-bit RGB, the right way up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fnx.images.decode import to_rgb
from fnx.images.paths import Files

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (6, 8), np.uint8)
ALPHA = np.random.default_rng(2).integers(0, 256, (6, 8), np.uint8)


def decoded(path: Path) -> NDArray[np.int64]:
    with Files(str(path.parent))(path.name) as image:
        rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    return np.asarray(rgb).astype(np.int64)


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return share * colour + (1 - share) * 255


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif", "webp"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"grey.{ending}"
    Image.fromarray(GREY).save(file, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(decoded(file), np.stack([GREY] * 3, -1))


def test_rgb_is_left_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(decoded(tmp_path / "rgb.png"), RGB)


def test_black_and_white_of_one_bit(tmp_path: Path) -> None:
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(decoded(tmp_path / "bits.png")[..., 0], bits * 255)


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(decoded(tmp_path / "palette.png"), image.convert("RGB"))


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_transparent_colour_of_a_palette_becomes_white(tmp_path: Path, ending: str) -> None:
    index = np.array([[0, 1], [1, 2]], np.uint8)
    image = Image.fromarray(index, mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    file = tmp_path / f"palette.{ending}"
    image.save(file, transparency=1)
    white, first, last = [255] * 3, [10, 20, 30], [70, 80, 90]
    assert decoded(file).tolist() == [[first, white], [white, last]]


def test_alpha_of_a_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([0, 0, 0] * 3)
    image.save(tmp_path / "palette.png", transparency=bytes([0, 102, 255]))
    assert decoded(tmp_path / "palette.png")[0, :, 0].tolist() == [255, 153, 0]


def test_rgba_is_laid_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / "rgba.png")
    np.testing.assert_allclose(decoded(tmp_path / "rgba.png"), on_white(RGB, ALPHA), atol=1)


def test_opaque_rgba_keeps_its_colours_exactly(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.full_like(ALPHA, 255)])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(decoded(tmp_path / "rgba.png"), RGB)


def test_premultiplied_grey_is_laid_on_white() -> None:
    image = Image.merge("LA", [Image.new("L", (1, 1), 200), Image.new("L", (1, 1), 51)])
    assert to_rgb(image.convert("La")).getpixel((0, 0)) == (244, 244, 244)


def test_grey_with_alpha_is_laid_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([GREY, ALPHA])).save(tmp_path / "la.png")
    expected = on_white(np.stack([GREY] * 3, -1), ALPHA)
    np.testing.assert_allclose(decoded(tmp_path / "la.png"), expected, atol=1)


def test_transparent_colour_of_rgb_becomes_white(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert (decoded(tmp_path / "key.png") == 255).all()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    """Cyan ink takes away red, whether the file stores its inks inverted (Adobe) or not."""
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "cyan.jpg", quality=95)
    with Image.open(tmp_path / "cyan.jpg") as image:
        assert image.mode == "CMYK"
    np.testing.assert_allclose(decoded(tmp_path / "cyan.jpg")[8, 8], [0, 255, 255], atol=4)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_divided_by_257(tmp_path: Path, ending: str) -> None:
    values = np.array([[0, 128, 129, 257], [32896, 65279, 65406, 65535]], np.uint16)
    file = tmp_path / f"deep.{ending}"
    Image.fromarray(values).save(file)
    expected = [[0, 0, 1, 1], [128, 254, 254, 255]]
    assert decoded(file)[..., 0].tolist() == expected


def test_16_bit_big_endian_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 0x0180, 0xFF00]], ">u2")
    Image.frombytes("I;16B", (3, 1), values.tobytes()).save(tmp_path / "big.tif")
    assert decoded(tmp_path / "big.tif")[0, :, 0].tolist() == [0, 1, 254]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 0.498, 0.502], [0, 127, 128]),
        ([0.0, 1.0, 2.0], [0, 1, 2]),
        ([0.0, 51.4, 254.6], [0, 51, 255]),
        ([0.0, 1.0, 255.0], [0, 1, 255]),
        ([0.0, 129.0, 256.0], [0, 1, 1]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([1.0, 257.0, 65536.0], [0, 1, 255]),
        ([65535.0, 65536.0, 65537.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
        ([0.5, np.nan, 1.0], [128, 128, 255]),
        ([0.0, np.inf, 1.0], [0, 255, 255]),
        ([0.5, -np.inf, 1.0], [128, 128, 255]),
        ([0.5, 0.5, 0.5], [128, 128, 128]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([-3.0, -3.0, -3.0], [0, 0, 0]),
        ([0.0, 1e30, 2e30], [0, 128, 255]),
    ],
)
def test_floats_by_the_range_they_fit_in(
    tmp_path: Path, values: list[float], expected: list[int]
) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "float.tif")
    assert decoded(tmp_path / "float.tif")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 257, 65535], [0, 1, 255]),
        ([0, 128, 129], [0, 0, 1]),
        ([-5, 0, 5], [0, 128, 255]),
        ([32768, 49152, 65536], [0, 128, 255]),
        ([0, 1, 2**31 - 1], [0, 0, 255]),
    ],
)
def test_32_bit_integers_by_the_range_they_fit_in(
    tmp_path: Path, values: list[int], expected: list[int]
) -> None:
    Image.fromarray(np.array([values], np.int32)).save(tmp_path / "int.tif")
    assert decoded(tmp_path / "int.tif")[0, :, 0].tolist() == expected


# How the pixels of an image with each EXIF orientation are laid upright (Exif 2.32, tag 0x0112).
UPRIGHT: dict[int, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("ending", "mode", "options"),
    [
        ("jpg", "RGB", {}),
        ("jpg", "L", {"progressive": True}),
        ("png", "RGB", {}),
        ("png", "P", {}),
        ("png", "LA", {}),
        ("png", "I;16", {}),
        ("webp", "RGBA", {"lossless": True}),
        ("tif", "RGB", {}),
        ("tif", "L", {}),
        ("tif", "RGB", {"compression": "tiff_lzw"}),
        ("tif", "I;16", {}),
        ("tif", "F", {"compression": "tiff_deflate"}),
    ],
)
def test_an_image_is_turned_upright_once(
    tmp_path: Path, orientation: int, ending: str, mode: str, options: dict[str, Any]
) -> None:
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(RGB).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"lying.{ending}", **options)
    image.save(tmp_path / f"turned.{ending}", exif=exif, **options)
    expected = UPRIGHT[orientation](decoded(tmp_path / f"lying.{ending}"))
    np.testing.assert_array_equal(decoded(tmp_path / f"turned.{ending}"), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_broken_exif_leaves_the_image_as_it_lies(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(RGB).save(tmp_path / "broken.jpg", exif=exif)
    assert decoded(tmp_path / "broken.jpg").shape == RGB.shape


def test_orientation_that_does_not_exist(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 42
    Image.fromarray(RGB).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(decoded(tmp_path / "odd.png"), RGB)


@pytest.mark.parametrize("ending", ["gif", "png", "tif", "webp"])
def test_first_frame_of_an_animation(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = tmp_path / f"moving.{ending}"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decoded(file)[0, 0], [255, 0, 0], atol=2)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert decoded(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]

"""Whatever Pillow opens becomes 8-bit RGB, the right way up."""

from __future__ import annotations

import io
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import _Tile
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from fnx.config.schema import MAX_PIXELS
from fnx.images import decode
from fnx.images.decode import (
    FORMATS,
    Decoder,
    UnreadableImageError,
    bytes_needed,
    open_image,
    to_rgb,
)
from fnx.images.paths import Files
from fnx.utils import memory
from fnx.utils.files import digest

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (6, 8), np.uint8)
# As Pillow's own readers of these formats take them.
WMF = (
    b"\xd7\xcd\xc6\x9a\0\0"
    + struct.pack("<4hH", 0, 0, 99, 99, 72)
    + bytes(6)
    + b"\1\0\t\0"
    + bytes(99)
)
EMF = b"\1\0\0\0" + struct.pack("<9I", 88, *[0, 0, 99, 99] * 2) + b" EMF" + bytes(99)
ALPHA = np.random.default_rng(2).integers(0, 256, (6, 8), np.uint8)


def decoded(path: Path) -> NDArray[np.int64]:
    rgb = Decoder(Files(str(path.parent)))(path.name)
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
        ([0.0, 1.0, 2.0], [0, 128, 255]),
        ([0.0, 51.4, 254.6], [0, 51, 255]),
        ([0.0, 1.0, 255.0], [0, 1, 255]),
        ([0.0, 129.0, 256.0], [0, 32, 64]),
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
        ([0, 128, 129], [0, 128, 129]),
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


# Each format that Pillow writes with an orientation, in the modes that it takes there.
ORIENTED = {
    "jpg": ["L", "RGB", "CMYK"],
    "mpo": ["L", "RGB"],
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "webp": ["RGB", "RGBA"],
    "avif": ["RGB", "RGBA"],
    "tif": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "webp": {"lossless": True},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>'


def of_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(GREY.astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.merge("LAB", Image.fromarray(RGB).split())
    return Image.fromarray(RGB).convert(mode)


def assert_upright(
    folder: Path, ending: str, image: Image.Image, orientation: int, **tags: Any
) -> None:
    """Saved with `tags`, an image is decoded as it is without them, and then turned."""
    options = OPTIONS.get(ending, {})
    image.save(folder / f"lying.{ending}", **options)
    image.save(folder / f"turned.{ending}", **options, **tags)
    expected = UPRIGHT[orientation](decoded(folder / f"lying.{ending}"))
    np.testing.assert_array_equal(decoded(folder / f"turned.{ending}"), expected)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("ending", "mode"), [(ending, mode) for ending, modes in ORIENTED.items() for mode in modes]
)
def test_an_image_is_turned_upright_once(
    tmp_path: Path, orientation: int, ending: str, mode: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_upright(tmp_path, ending, of_mode(mode), orientation, exif=exif)


@pytest.mark.parametrize("orientation", [2, 6])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "group4"])
def test_a_compressed_tiff_is_turned_upright_once(
    tmp_path: Path, orientation: int, compression: str
) -> None:
    image = of_mode("1" if compression == "group4" else "RGB")
    tags = {"tiffinfo": {0x0112: orientation}, "compression": compression}
    assert_upright(tmp_path, "tif", image, orientation, **tags)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "avif", "tif"])
@pytest.mark.parametrize("both", [False, True])
def test_an_orientation_in_xmp_counts_once(tmp_path: Path, ending: str, both: bool) -> None:
    tags: dict[str, Any] = {"xmp": XMP % 6}
    if ending == "tif":
        tags = {"tiffinfo": {700: XMP % 6, **({0x0112: 6} if both else {})}}
    elif both:
        tags["exif"] = Image.Exif()
        tags["exif"][0x0112] = 6
    if ending == "png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", tags.pop("xmp").decode())
        tags["pnginfo"] = text
    assert_upright(tmp_path, ending, Image.fromarray(RGB), 6, **tags)


def test_what_is_upright_stays_so_when_it_is_converted_again(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    once = Decoder(Files(str(tmp_path)))("turned.png")
    np.testing.assert_array_equal(to_rgb(once), np.rot90(RGB, -1))
    assert once.info == {}
    with Image.open(tmp_path / "turned.png") as image:
        assert to_rgb(image).info == {}


def test_an_rgb_image_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", dpi=(72, 72))
    monkeypatch.setattr(Image.Image, "convert", None)
    np.testing.assert_array_equal(Decoder(Files(str(tmp_path)))("a.tif"), RGB)


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


def test_nothing_is_opened_that_is_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its name: Pillow would start Ghostscript for PostScript, and hand on a metafile."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(os, "system", started)
    Image.fromarray(RGB).save(tmp_path / "a.eps")
    dos = b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, 9999) + bytes(18)
    programs = {
        "a.jpg": (tmp_path / "a.eps").read_bytes(),
        "b.png": b"",
        "c.jpg": WMF,
        "d.gif": EMF,
    }
    programs["b.png"] = dos + programs["a.jpg"]
    for name, content in programs.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r"PostScript|metafile"):
            Decoder(Files(str(tmp_path)))(name)


def test_formats_that_are_opened_are_known_to_pillow_and_decoded_by_it() -> None:
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)
    assert len(set(FORMATS)) == len(FORMATS)
    stubs = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC"}
    assert not stubs & set(FORMATS)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC image: .*pillow-heif"),
        (b"\0\0\0\x18ftypheix", "HEIC image: .*pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", "HEIC image: .*pillow-heif"),
        (b"\0\0\0\x18ftypcrx ", "RAW file: .*rawpy"),
        (b"\0\0\0\x18ftypisom", "a video: .*package av"),
        (b"\0\0\0\x18ftypqt  ", "a video: .*package av"),
        (b"RIFF\1\2\3\4AVI LIST", "a video: .*package av"),
        (b"\x1aE\xdf\xa3 webm", "a video: .*package av"),
        (b"\0\0\1\xba", "a video: .*package av"),
        (bytes(128) + b"DICM", "DICOM file: .*pydicom"),
        (b"%PDF-1.4\n", "PDF file: .*pypdfium2"),
        (b"\n\n%PDF-1.4\n", "PDF file: .*pypdfium2"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing: .*cairosvg"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --><SVG>", "SVG drawing: .*cairosvg"),
        (b"<!DOCTYPE html><html><body>404", "HTML page, as a failed download"),
        (b"II*\0\x10\0\0\0CR\2\0", "RAW file: .*rawpy"),
        (b"IIRO\x08\0", "RAW file: .*rawpy"),
        (b"FUJIFILMCCD-RAW 0201", "RAW file: .*rawpy"),
        (b"%!PS-Adobe-3.0\n", "PostScript, which is a program and not run"),
        (b"\xff\x0a\x10", "JPEG XL image: .*pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL image: .*pillow-jxl-plugin"),
        (b"v/1\1\2\0\0\0", "OpenEXR image: .*OpenEXR"),
        (bytes(344) + b"n+1\0", "NIfTI volume: .*nibabel"),
        (b"\x93NUMPY\1\0", "NumPy array: .*fromarray"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS: `git lfs pull`"),
        (b"x" * 300, "not an image, or of a format that Pillow does not know"),
        (b"x" * 1025 + b"%PDF-", "not an image, or of a format that Pillow does not know"),
        (b"x<svg>", "not an image, or of a format that Pillow does not know"),
    ],
)
def test_what_is_no_raster_image_is_named_with_what_reads_it(head: bytes, words: str) -> None:
    with pytest.raises(UnreadableImageError, match=words) as caught:
        open_image(io.BytesIO(head))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tags", "raw"),
    [
        ({50706: b"\1\4\0\0"}, True),  # DNGVersion
        ({254: 1, 330: 8}, True),  # a preview, with the picture in a SubIFD
        ({254: 1}, False),
        ({254: 2, 330: 8}, False),
        ({330: 8}, False),
    ],
)
def test_the_preview_in_a_raw_file_is_not_taken_for_its_picture(
    tmp_path: Path, tags: dict[int, Any], raw: bool
) -> None:
    file = tmp_path / "x.tif"
    info = ImageFileDirectory_v2()
    info.update(tags)
    Image.fromarray(RGB).save(file, tiffinfo=info)
    with file.open("rb") as stream:
        if not raw:
            assert open_image(stream).size == (8, 6)
            return
        with pytest.raises(UnreadableImageError, match=r"a camera's RAW file: .*rawpy"):
            open_image(stream)


@pytest.mark.parametrize(
    ("pillow", "ours", "allowed", "after"),
    [
        (24, 48, True, 24),
        (24, 47, False, 24),
        (23, 48, True, 48),  # twice Pillow's own is less: it is raised
        (23, 47, False, 47),
        (10, 48, True, 48),
        (10, 20, False, 10),
        (None, 48, True, None),
        (None, 47, False, None),
    ],
)
def test_the_limit_of_pixels_is_the_one_given(
    pillow: int | None, ours: int, allowed: bool, after: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow)
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG")
    if allowed:
        assert open_image(stream, ours).size == (8, 6)
    else:
        with pytest.raises(UnreadableImageError) as caught:
            open_image(stream, ours)
        assert str(caught.value) == f"48 pixels: more than dataset.max_pixels={ours}"
    assert after == Image.MAX_IMAGE_PIXELS


def test_pillow_s_own_limit_is_the_usual_one() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("side", "size"), [(None, (240, 320)), (250, (240, 320)), (90, (120, 160)), (1, (30, 40))]
)
def test_a_jpeg_is_decoded_no_larger_than_asked_for(
    side: int | None, size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[:, :160] = 250  # bright on the left, which is above once it is turned upright
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name, exif=turned)
    decoder = Decoder(Files(str(tmp_path)))
    found = decoder("a.jpg", side=side)
    assert found.size == size
    up, down = np.split(np.asarray(found).astype(int), 2)
    assert abs(up - 250).max() <= 2
    assert down.max() <= 2
    assert decoder("a.png", side=side).size == (240, 320)


def test_bytes_of_another_digest_are_not_decoded(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    mark = digest([(tmp_path / "a.png").read_bytes()])
    decoder = Decoder(Files(str(tmp_path)))
    np.testing.assert_array_equal(decoder("a.png", mark), RGB)
    Image.fromarray(RGB[::-1]).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="it was replaced in the meantime"):
        decoder("a.png", mark)


@pytest.mark.parametrize(
    ("mode", "per_pixel"),
    [("1", 5), ("L", 5), ("P", 5), ("I;16", 6), ("RGB", 4), ("RGBA", 8), ("CMYK", 8), ("F", 8)],
)
def test_memory_is_that_of_the_image_and_of_its_rgb(mode: str, per_pixel: int) -> None:
    assert bytes_needed(Image.new(mode, (7, 3))) == 21 * per_pixel


def test_colours_of_16_bits_need_memory_for_both_bytes() -> None:
    image = Image.new("RGB", (7, 3))
    for mode, per_pixel in (("RGB;16B", 12), ("RGB", 4)):
        image.tile = [_Tile("raw", (0, 0, 7, 3), 0, (mode, 0, 1))]  # type: ignore[attr-defined]
        assert bytes_needed(image) == 21 * per_pixel


def test_images_are_decoded_within_the_memory_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(memory, "_ALWAYS_THERE", 0)
    for left in (192, 191):  # 6 × 8 pixels of 4 bytes
        monkeypatch.setattr(memory, "available_memory", lambda left=left: left)
        if left == 192:
            assert Decoder(Files(str(tmp_path)))("a.png").size == (8, 6)
            continue
        with pytest.raises(OSError, match="it needs 0 MB of memory"):
            Decoder(Files(str(tmp_path)))("a.png")


def test_half_of_the_memory_is_for_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "available_memory", lambda: 1001)
    assert decode.budget.__wrapped__()._total == 500
    assert decode.budget() is decode.budget()


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert decoded(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]

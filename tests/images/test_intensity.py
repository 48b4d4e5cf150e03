"""The range of images of more than 8 bits is settled once for a data set."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fnx.config.schema import Config, DatasetConfig
from fnx.embedding.fingerprint import shaping_inputs
from fnx.images import LabelledImages, intensity, open_images
from fnx.images.decode import to_rgb
from fnx.images.intensity import Extent, extent_of, few_levels, settle, strips, unusual

# Grey values of 8 bits, each of which has to come out of every way to store them.
SCENE = np.random.default_rng(0).integers(0, 255, (6, 5), np.uint8).astype(np.float64)
SCENE[0, :2] = 0, 255
DARK = SCENE / 4


def write(folder: Path, **scenes: NDArray[np.generic]) -> DatasetConfig:
    """A class for each of the arrays, which are saved as they are."""
    for name, values in scenes.items():
        (folder / name).mkdir(parents=True)
        Image.fromarray(values).save(folder / name / "1.tif")
    return DatasetConfig(name="own", layout="folder", root=str(folder))


def greys(images: LabelledImages) -> list[NDArray[np.int64]]:
    return [np.asarray(images.open(path))[..., 0].astype(int) for path in images.ok()["path"]]


@pytest.mark.parametrize(
    ("stored", "chosen"),
    [
        (lambda grey: (grey * 257).astype(np.uint16), None),
        (lambda grey: (grey / 255).astype(np.float32), None),
        (lambda grey: (grey * 16.05).astype(np.uint16), {"integer": [0, 4095]}),
        (lambda grey: (grey * 4).astype(np.uint16), {"integer": [0, 1023]}),
        (lambda grey: (grey * 64).astype(np.uint16), {"integer": [0, 16383]}),
        (lambda grey: grey.astype(np.uint16), {"integer": [0, 255]}),
        (lambda grey: (grey * 16 + 2**15).astype(np.uint16), {"integer": [2**15, 2**15 + 4095]}),
        (lambda grey: (grey * 16 - 1024).astype(np.int32), {"integer": [-1024, 3056]}),
        (lambda grey: (grey / 255 * 1.0001).astype(np.float32), {"float": [0, 1]}),
        (lambda grey: grey.astype(np.float32), {"float": [0, 255]}),
        (lambda grey: (grey * 16).astype(np.float32), {"float": [0, 4095]}),
        (lambda grey: (grey / 127.5 - 1).astype(np.float32), {"float": [-1, 1]}),
        (lambda grey: (grey * 1e6).astype(np.float32), {"float": [0, 255e6]}),
    ],
    ids=[
        "16",
        "0-1",
        "12",
        "10",
        "14",
        "8",
        "offset",
        "signed",
        "1.0001",
        "255",
        "f12",
        "-1",
        "1e6",
    ],
)
def test_grey_values_survive_every_way_to_store_them(
    tmp_path: Path,
    tiny: Callable[..., Config],
    stored: Callable[[NDArray[np.float64]], NDArray[np.generic]],
    chosen: dict[str, list[float]] | None,
) -> None:
    """Also of the dark image, which alone would seem to have another range."""
    images = open_images(write(tmp_path / "own", a=stored(SCENE), b=stored(DARK)), tmp_path)
    bright, dark = greys(images)
    np.testing.assert_allclose(bright, SCENE, atol=1)
    np.testing.assert_allclose(dark, DARK, atol=1)
    expected = {} if chosen is None else {"decoding": {"intensity_range": chosen}}
    inputs = shaping_inputs(images, tiny(), "w")
    assert {key: inputs[key] for key in inputs.keys() & {"decoding"}} == expected
    assert images.decoding == expected.get("decoding", {})


def test_a_given_range_holds_for_all_and_is_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 100, 150, 200, 9999]], np.uint16)
    config = write(tmp_path / "own", a=values, b=values.astype(np.float32))
    config.intensity_range = [100, 200]
    images = open_images(config, tmp_path)
    assert [grey.tolist() for grey in greys(images)] == [[[0, 0, 128, 255, 255]]] * 2
    given = {"integer": [100, 200], "float": [100, 200]}
    assert images.decoding == {"intensity_range": given}


def test_images_of_8_bits_know_no_range(tmp_path: Path) -> None:
    config = write(tmp_path / "own", a=SCENE.astype(np.uint8), b=DARK.astype(np.uint8))
    config.intensity_range = [0, 10]
    images = open_images(config, tmp_path)
    np.testing.assert_array_equal(greys(images)[1], DARK.astype(np.uint8))
    assert images.decoding == {}


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (Extent("integer", 0, 1), (0, 1)),
        (Extent("integer", 0, 2), (0, 2)),
        (Extent("integer", 3, 15), (3, 15)),
        (Extent("integer", 0, 16), (0, 255)),
        (Extent("integer", 0, 255), (0, 255)),
        (Extent("integer", 0, 256), (0, 1023)),
        (Extent("integer", 0, 1024), (0, 4095)),
        (Extent("integer", 0, 4096), (0, 16383)),
        (Extent("integer", 0, 16384), (0, 65535)),
        (Extent("integer", 1, 65536), (1, 65536)),
        (Extent("integer", -1, 9), (-1, 9)),
        (Extent("integer", 7, 7), (7, 8)),
        (Extent("integer", 32767, 33000), (0, 65535)),
        (Extent("integer", 32768, 33000), (32768, 33023)),
        (Extent("integer", 32768, 49151), (32768, 49151)),
        (Extent("integer", 32768, 49152), (0, 65535)),
        (Extent("float", 0, 0.001), (0, 1)),
        (Extent("float", -0.01, 1), (0, 1)),
        (Extent("float", -0.011, 1), (-0.011, 1)),
        (Extent("float", 0, 1.01), (0, 1)),
        (Extent("float", 0, 1.011), (0, 1.011)),
        (Extent("float", 0, 15.9), (0, 15.9)),
        (Extent("float", 0, 16), (0, 255)),
        (Extent("float", 40000, 40100), (0, 65535)),
        (Extent("float", -3, -3), (-3, -2)),
        (Extent("float", 0, 0), (0, 1)),
    ],
)
def test_the_range_is_the_smallest_usual_one_or_what_is_there(
    extent: Extent, expected: tuple[float, float]
) -> None:
    assert settle([extent]) == {extent.kind: expected}


def test_all_images_of_a_kind_share_one_range() -> None:
    extents = [Extent("integer", 5, 900), Extent("integer", 0, 80), Extent("float", 0, 0.5)]
    assert settle(extents) == {"integer": (0, 1023), "float": (0, 1)}
    assert settle(extents, (2, 3)) == {"integer": (2, 3), "float": (2, 3)}
    assert settle([]) == {}


@pytest.mark.parametrize(
    ("extent", "given", "expected"),
    [
        (Extent("integer", 0, 65535), None, []),
        (Extent("integer", 0, 65535), (0, 65534), ["integer"]),
        (Extent("integer", 0, 4095), (0, 65535), []),
        (Extent("integer", -1, 4095), (0, 65535), ["integer"]),
        (Extent("integer", 0, 65536), (0, 65535), ["integer"]),
        (Extent("float", 0, 1), None, []),
        (Extent("float", 0, 1.001), None, ["float"]),
        (Extent("float", 0, 0.5), (0, 0.5), ["float"]),
    ],
)
def test_a_range_shapes_an_embedding_unless_older_versions_had_it(
    extent: Extent, given: tuple[float, float] | None, expected: list[str]
) -> None:
    assert unusual(settle([extent], given), [extent]) == expected


def test_values_that_are_not_finite_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "_PIXELS_AT_ONCE", 2)  # a strip for each row
    values = np.array([[np.nan, 3], [-np.inf, 2], [np.nan, np.inf]], np.float32)
    assert extent_of(Image.fromarray(values)) == Extent("float", 2, 3)
    assert extent_of(Image.fromarray(values[:1, :1])) == Extent("float", 0, 0)
    assert extent_of(Image.new("RGB", (1, 1))) is None


def test_strips_make_up_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(SCENE.astype(np.uint8))
    for at_once, tops in ((10, [0, 2, 4]), (4, [0, 1, 2, 3, 4, 5]), (25, [0, 5]), (30, [0])):
        monkeypatch.setattr(intensity, "_PIXELS_AT_ONCE", at_once)
        found = list(strips(image))
        assert [top for top, _ in found] == tops
        np.testing.assert_array_equal(np.vstack([part for _, part in found]), image)


@pytest.mark.parametrize("mode", ["F", "I", "RGBA", "LA", "P"])
def test_an_image_is_converted_alike_in_one_piece_and_in_many(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = Image.fromarray(DARK.astype(np.uint8))
    image = Image.fromarray(SCENE.astype(np.uint8)).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(alpha)
    if mode == "P":
        image.info["transparency"] = 7
    whole = np.asarray(to_rgb(image))
    monkeypatch.setattr(intensity, "_PIXELS_AT_ONCE", 10)
    np.testing.assert_array_equal(to_rgb(image), whole)


def level_warnings(*extents: Extent, range: tuple[float, float]) -> list[str]:
    return few_levels(dict.fromkeys([extents[0].kind], range), extents)


def test_few_levels_of_grey_are_warned_of() -> None:
    hot = [Extent("integer", 5, 4000)] * 2 + [Extent("integer", 0, 65535)]  # one hot pixel
    (line,) = level_warnings(*hot, range=(0, 65535))
    assert line == (
        "images of 16 bits: 0 … 65535 becomes 0 … 255, which leaves half of the 3 at most 16 "
        "levels of 256; most lie in 5 … 4000: choose dataset.intensity_range=[LOW,HIGH]"
    )
    assert level_warnings(Extent("float", 0, 30.9), range=(0, 255)) != []
    assert level_warnings(Extent("float", 0, 31), range=(0, 255)) == []
    assert level_warnings(Extent("float", -100, 31), range=(0, 255)) == []
    assert level_warnings(Extent("float", 240, 300), range=(0, 255)) != []
    assert level_warnings(Extent("float", 300, 400), range=(0, 255)) != []
    assert level_warnings(Extent("integer", 0, 30), range=(0, 30)) != []  # 31 numbers
    assert level_warnings(Extent("integer", 0, 31), range=(0, 31)) == []


def test_the_warning_names_the_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write(tmp_path / "own", a=(SCENE / 300).astype(np.float32), b=np.float32(DARK / 2550))
    open_images(config, tmp_path)
    assert "grey" not in caplog.text
    config.intensity_range = [0, 100]
    with caplog.at_level(logging.WARNING):
        open_images(config, tmp_path)
    assert "own: images of floats: 0 … 100 becomes 0 … 255" in caplog.text


def png(values: NDArray[np.uint16]) -> bytes:
    """Colours of 16 bits, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width, channels = values.shape
    kind = {3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values: NDArray[np.uint16], order: str, deflated: bool) -> bytes:
    """The same as a TIFF of one strip, of either order of bytes, turned by 180 degrees."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflated else data
    data += b"\0" * (len(data) % 2)
    at = 8 + len(data)
    bits = struct.pack(f"{order}4H", 16, 16, 16, 16)
    tags = [(256, width), (257, height), (258, at), (259, 8 if deflated else 1), (262, 2), (273, 8)]
    tags += [(274, 3), (277, channels), (278, height), (279, len(data))]
    tags += [(338, 2)] if channels == 4 else []
    entries = [
        struct.pack(f"{order}HHII", tag, *((3, channels) if tag == 258 else (4, 1)), value)
        for tag, value in tags
    ]
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at + 8)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries)
    return header + data + bits + directory + bytes(4)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "encode",
    [
        png,
        lambda values: tiff(values[::-1, ::-1], "<", False),
        lambda values: tiff(values[::-1, ::-1], ">", False),
        lambda values: tiff(values[::-1, ::-1], "<", True),
        lambda values: tiff(values[::-1, ::-1], ">", True),
    ],
    ids=["png", "tiff<", "tiff>", "deflated<", "deflated>"],
)
def test_colours_of_12_bits_keep_their_levels(
    tmp_path: Path, channels: int, encode: Callable[[NDArray[np.uint16]], bytes]
) -> None:
    rng = np.random.default_rng(channels)
    colours = rng.integers(0, 4096, (7, 5, channels)).astype(np.uint16)
    colours[..., 3:] = 65535
    colours[0, 0, :3] = 4095, 0, 2048
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "1").write_bytes(encode(colours))
    images = open_images(DatasetConfig("own", "folder", root=str(tmp_path / "own")), tmp_path)
    assert images.decoding.get("intensity_range") == {"integer": [0, 4095]}
    expected = np.rint(colours[..., :3] / 4095 * 255)
    np.testing.assert_array_equal(images.open("a/1"), expected)


def test_colours_of_16_bits_are_what_pillow_makes_of_them(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (7, 5, 3)).astype(np.uint16)
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "1").write_bytes(png(colours))
    images = open_images(DatasetConfig("own", "folder", root=str(tmp_path / "own")), tmp_path)
    np.testing.assert_array_equal(images.open("a/1"), colours >> 8)
    assert images.decoding == {}

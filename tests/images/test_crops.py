"""Crops are slices of one resized image, in a fixed order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from fnx.config.schema import CropsConfig
from fnx.errors import ConfigError, DataError
from fnx.images.crops import Crops


def photo(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def plain_loop(image: Image.Image, resize: int, size: int) -> torch.Tensor:
    """Ten crops as one would write them down: cut and mirror ten images."""
    width, height = image.size
    if width < height:
        image = image.resize((resize, int(resize * height / width)), Image.Resampling.BILINEAR)
    else:
        image = image.resize((int(resize * width / height), resize), Image.Resampling.BILINEAR)
    width, height = image.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    places = [(0, 0), (width - size, 0), (0, height - size), (width - size, height - size)]
    crops = [image.crop((x, y, x + size, y + size)) for x, y in [*places, (left, top)]]
    return torch.stack([pixels(crop) for crop in crops + [ImageOps.mirror(crop) for crop in crops]])


SIZES = [(40, 30), (30, 40), (33, 33), (17, 101), (101, 17), (1, 1), (5, 3), (24, 24), (1, 7)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("resize", "size"), [(24, 16), (24, 17), (25, 16), (24, 24), (3, 1)])
def test_ten_crops_equal_a_plain_loop(width: int, height: int, resize: int, size: int) -> None:
    image = photo(width, height)
    crops = Crops("ten", resize, size)
    views = crops.views(crops.resized(image))
    assert views.dtype == torch.uint8
    assert views.shape == (10, 3, size, size)
    assert torch.equal(views, plain_loop(image, resize, size))


@pytest.mark.parametrize(("width", "height"), [(40, 30), (33, 57)])
def test_ten_crops_are_torchvisions(width: int, height: int) -> None:
    """torchvision mirrors the image and cuts it; we cut it and mirror the crops: left is right."""
    crops = Crops("ten", 24, 16)
    image = crops.resized(photo(width, height))
    views, theirs = crops.views(image), torch.stack(tv.ten_crop(image, [16, 16]))
    assert torch.equal(views[:5], theirs[:5])
    assert torch.equal(views[5:9], theirs[[6, 5, 8, 7]])
    assert torch.equal(views[9], theirs[4].flip(-1))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_resize_is_torchvisions(width: int, height: int) -> None:
    image = photo(width, height)
    theirs = tv.resize(image, [24], InterpolationMode.BILINEAR)
    assert torch.equal(Crops("center", 24, 24).resized(image), pixels(theirs))


def test_squash_makes_any_image_square() -> None:
    image = photo(50, 20)
    squashed = Crops("ten", 24, 16, "squash").resized(image)
    expected = image.resize((24, 24), Image.Resampling.BILINEAR)
    assert torch.equal(squashed, pixels(expected))


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = photo(24, 31)
    assert torch.equal(Crops("ten", 24, 16).resized(image), pixels(image))


def test_five_and_center_are_parts_of_ten() -> None:
    ten, five, center = (Crops(name, 24, 16) for name in ("ten", "five", "center"))
    image = ten.resized(photo(40, 31))
    assert torch.equal(five.views(image), ten.views(image)[:5])
    assert torch.equal(center.views(image), ten.views(image)[4:5])
    assert [crops.count for crops in (ten, five, center)] == [10, 5, 1]


def test_dense_is_the_whole_image_and_its_mirror_in_its_own_shape() -> None:
    dense = Crops("dense", 24, 24)
    image = dense.resized(photo(40, 31))
    views = dense.views(image)
    assert views.shape == (2, 3, 24, 30)
    assert torch.equal(views[0], image)
    assert torch.equal(views[1], image.flip(-1))
    assert (dense.count, dense.whole) == (2, True)
    assert not any(Crops(name).whole for name in ("ten", "five", "center"))


def test_example_views_are_black() -> None:
    views = Crops("ten", 24, 16).example(7)
    assert views.shape == (7, 3, 16, 16)
    assert views.dtype == torch.uint8
    assert not views.any()


@pytest.mark.parametrize("name", ["ten", "five", "center"])
def test_windows_are_views_of_the_image(name: str) -> None:
    crops = Crops(name, 24, 16)
    image = crops.resized(photo(40, 31))
    windows = crops.windows(image)
    assert len(windows) == min(crops.count, 5)
    for window in windows:
        assert window.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40), st.data())
def test_no_image_is_smaller_than_its_crop(
    width: int, height: int, resize: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, resize))
    mode = data.draw(st.sampled_from(["short_side", "squash"]))
    crops = Crops("ten", resize, size, mode)
    resized = crops.resized(Image.new("RGB", (width, height)))
    assert min(resized.shape[1:]) == resize
    assert crops.views(resized).shape == (10, 3, size, size)


def test_floats_keep_their_type() -> None:
    image = torch.rand(3, 20, 30, dtype=torch.float64)
    views = Crops("ten", 20, 8).views(image)
    assert views.dtype == torch.float64
    assert torch.equal(views[0], image[:, :8, :8])


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    crops = Crops("ten", 24, 16)
    with pytest.raises(DataError, match="an image of 20 × 15 pixels has no crop of 16 × 16"):
        crops.views(torch.zeros(3, 15, 20))
    with pytest.raises(DataError, match="an image of 15 × 20 pixels"):
        crops.views(torch.zeros(3, 20, 15))
    assert crops.views(torch.zeros(3, 16, 16)).shape == (10, 3, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tenn", 24, 16), "unknown crops 'tenn' .did you mean 'ten'"),
        (("ten", 24, 25), "crops.size=25: must be between 1 and crops.resize=24"),
        (("ten", 24, 0), "crops.size=0"),
        (
            ("ten", 24, 16, "stretch"),
            "unknown crops.resize_mode 'stretch'; allowed: short_side, sq",
        ),
        (("dense", 24, 16), "crops.size=16: crops=dense cuts nothing off.* crops.resize=24$"),
    ],
)
def test_impossible_crops_are_refused(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Crops(*arguments)


def test_crops_are_made_from_their_configuration_and_travel_to_workers() -> None:
    crops = Crops(**vars(CropsConfig(name="five")))
    assert crops == Crops("five") == Crops("five", 256, 224, "short_side")
    assert pickle.loads(pickle.dumps(crops)) == crops


@pytest.mark.parametrize("mode", ["short_side", "squash"])
@pytest.mark.parametrize("name", ["ten", "five", "center", "dense"])
@pytest.mark.parametrize("size", [(61, 50), (50, 61), (40, 40)])
def test_a_part_of_the_centre_view_is_what_the_network_sees_there(
    size: tuple[int, int], name: str, mode: str
) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8))
    crops = Crops(name, 40, 40 if name == "dense" else 32, mode)
    view = crops.views(crops.resized(image))[crops.centre].permute(1, 2, 0).numpy()
    assert crops.view_size(image) == view.shape[1::-1]
    for left, top, right, bottom in [(0, 0, *view.shape[1::-1]), (3, 5, 4, 9), (30, 2, 32, 32)]:
        part = np.asarray(crops.part(image, (left, top, right, bottom)))
        seen = view[top:bottom, left:right]
        assert part.shape == seen.shape
        # Equal but for the last bit of a sum.
        assert np.abs(part.astype(int) - seen).max() <= 1


@pytest.mark.parametrize("size", [(41, 53), (53, 41)])
def test_a_view_ends_where_its_image_does_whatever_its_factor_is_rounded_to(
    size: tuple[int, int],
) -> None:
    image, crops = Image.new("RGB", size), Crops("dense", 40, 40)
    longest = max(crops.view_size(image))
    assert longest * (max(size) / longest) > max(size)
    assert crops.part(image, (0, 0, *crops.view_size(image))).size == crops.view_size(image)


def test_a_part_can_be_made_smaller_at_once() -> None:
    columns = np.broadcast_to(np.linspace(0, 250, 80)[None, :, None], (60, 80, 3)).astype(np.uint8)
    image, crops = Image.fromarray(columns), Crops("ten", 40, 32)
    view = crops.views(crops.resized(image))[crops.centre].permute(1, 2, 0).numpy()
    half = np.asarray(crops.part(image, (2, 4, 22, 24), (10, 10)))
    assert np.abs(half - view[4:24, 2:22].reshape(10, 2, 10, 2, 3).mean((1, 3))).max() < 2

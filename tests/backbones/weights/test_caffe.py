"""Caffe's weights: read as protobuf wrote them, and put into the network that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backbones.weights.caffe_files import write
from torch import Tensor
from torch.nn import functional

from fnx.backbones.build import build
from fnx.backbones.weights import caffe
from fnx.backbones.weights.caffe import read_caffemodel
from fnx.backbones.weights.load import read_state_dict
from fnx.backbones.weights.locate import locate
from fnx.config.schema import Config, ModelConfig
from fnx.errors import WeightsError

Layers = dict[str, tuple[Tensor, Tensor]]

VGG16 = (2, 2, 3, 3, 3)
VGG19 = (2, 2, 4, 4, 4)
FILTERS = (64, 128, 256, 512, 512)
PLACES_MEAN = (104.05, 112.51, 116.68)  # B, G, R


def vgg(blocks: tuple[int, ...], *, blocks_read: int = 5, fc: bool = False) -> Layers:
    """Random weights under Caffe's names, of a size that keeps activations near 1."""
    generator = torch.Generator().manual_seed(3)

    def tensors(*shape: int) -> tuple[Tensor, Tensor]:
        inputs = torch.Size(shape[1:]).numel()
        weight = torch.randn(*shape, generator=generator) * (2 / inputs) ** 0.5
        return weight, torch.randn(shape[0], generator=generator) * 0.1

    layers, width = {}, 3
    for block, (count, filters) in enumerate(zip(blocks, FILTERS, strict=True), start=1):
        for number in range(1, count + 1):
            if block <= blocks_read:
                layers[f"conv{block}_{number}"] = tensors(filters, width, 3, 3)
            width = filters
    # Caffe's first layer sees 0–255, so its weights are as much smaller.
    layers["conv1_1"] = (layers["conv1_1"][0] / 100, layers["conv1_1"][1])
    if fc:
        layers |= {"fc6": tensors(4096, 512 * 49), "fc7": tensors(4096, 4096)}
        layers |= {"fc8a": tensors(365, 4096)}
    return layers


def plain(layers: Layers, pixels: Tensor, mean: tuple[float, ...]) -> Tensor:
    """The network written out: what Caffe computes from RGB pixels, pooled as in the paper."""
    x = pixels.flip(1).float() - torch.tensor(mean)[:, None, None]
    rows = []
    for name, (weight, bias) in layers.items():
        if name.startswith("conv"):
            if name != "conv1_1" and name.endswith("_1"):
                x = functional.max_pool2d(x, 2)
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            rows.append(x.mean((2, 3)))
        elif name in ("fc6", "fc7"):
            x = functional.max_pool2d(x, 2).flatten(1) if name == "fc6" else x
            x = functional.relu(functional.linear(x, weight, bias))
            rows.append(x)
    return torch.cat(rows, 1)


def pixels(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)


def embedded(config: ModelConfig, images: Tensor) -> Tensor:
    backbone = build(config, locate(config, 0), image_size=images.shape[-1], seed=0)
    rows: Tensor = backbone(images)
    return rows


@pytest.fixture(scope="module")
def small() -> Layers:
    return vgg(VGG16, blocks_read=2)


@pytest.mark.parametrize("v1", [True, False])
@pytest.mark.parametrize("numbers", ["packed", "unpacked", "double"])
def test_tensors_are_as_protobuf_wrote_them(
    tmp_path: Path, small: Layers, v1: bool, numbers: str
) -> None:
    path = write(
        tmp_path / "w.caffemodel",
        small,
        v1=v1,
        packed=numbers != "unpacked",
        double=numbers == "double",
    )
    read = read_caffemodel(path)
    expected = {
        f"{name}.{kind}": tensor
        for name, tensors in small.items()
        for kind, tensor in zip(("weight", "bias"), tensors, strict=True)
    }
    assert list(read) == list(expected)
    for name, tensor in read.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name])


def test_inner_products_of_the_old_layout_are_matrices(tmp_path: Path) -> None:
    layers = {"fc6": (torch.randn(5, 7), torch.randn(5))}
    read = read_caffemodel(write(tmp_path / "w.caffemodel", layers, v1=True))
    assert {name: tuple(value.shape) for name, value in read.items()} == {
        "fc6.weight": (5, 7),
        "fc6.bias": (5,),
    }


@pytest.mark.parametrize(
    ("option", "v1", "mean"),
    [("vgg16_places", False, PLACES_MEAN), ("vgg16_caffe", True, (103.939, 116.779, 123.68))],
)
def test_the_option_s_network_is_caffe_s_on_bgr_pixels_less_their_mean(
    tmp_path: Path,
    compose: Callable[..., Config],
    small: Layers,
    option: str,
    v1: bool,
    mean: tuple[float, ...],
) -> None:
    path = write(tmp_path / "w.caffemodel", small, v1=v1)
    model = compose(
        f"model={option}", f"model.weights.path={path}", "model.layers=[conv1_*,conv2_*]"
    ).model
    images = pixels(32)
    rows, expected = embedded(model, images), plain(small, images, mean)
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-5)
    swapped = embedded(model, images.flip(1))
    assert not torch.allclose(swapped, expected, rtol=1e-2, atol=1e-2)  # the order matters


@pytest.mark.slow
@pytest.mark.parametrize("v1", [True, False])
def test_the_full_layout_of_vgg16_gives_the_same_forward_pass(
    tmp_path: Path, compose: Callable[..., Config], v1: bool
) -> None:
    layers = vgg(VGG16, fc=True)
    path = write(tmp_path / "w.caffemodel", layers, v1=v1)
    model = compose("model=vgg16_places", f"model.weights.path={path}").model
    images = pixels(224)
    rows = embedded(model, images)
    assert rows.shape == (2, 12_416)
    expected = plain(layers, images, PLACES_MEAN)
    first = 0
    for weight, _ in list(layers.values())[:-1]:  # rounding grows with a layer's values
        part = slice(first, first := first + len(weight))
        error = (rows[:, part] - expected[:, part]).abs().max()
        assert error <= 1e-5 * expected[:, part].abs().max()
    assert first == 12_416


def test_a_file_of_another_network_is_refused_with_the_layers_it_lacks(
    tmp_path: Path, compose: Callable[..., Config]
) -> None:
    sixteen = {name: (w[:1, :1], b[:1]) for name, (w, b) in vgg(VGG16).items()}
    path = write(tmp_path / "w.caffemodel", sixteen, v1=False)
    model = compose("model=vgg19_places", f"model.weights.path={path}", "model.layers=conv").model
    with pytest.raises(WeightsError, match=r"6 missing: .*\(conv3_4\).*of another shape") as caught:
        embedded(model, pixels(32))
    assert "\n" not in str(caught.value)

    nineteen = {name: (w[:1, :1], b[:1]) for name, (w, b) in vgg(VGG19).items()}
    path = write(tmp_path / "w.caffemodel", nineteen, v1=True)
    model = compose("model=vgg16_caffe", f"model.weights.path={path}", "model.layers=conv").model
    with pytest.raises(WeightsError, match=r"unexpected: conv3_4.weight"):
        embedded(model, pixels(32))


def test_the_map_of_names_is_complete_both_ways() -> None:
    from fnx.backbones.architectures import NAME_MAPS
    from fnx.backbones.networks import create

    for name, blocks in (("vgg16", VGG16), ("vgg19", VGG19)):
        caffe = [f"conv{b}_{n}" for b, count in enumerate(blocks, 1) for n in range(1, count + 1)]
        keras = [name.replace("conv", "block").replace("_", "_conv") for name in caffe]
        with torch.device("meta"):
            wanted = set(create(name, 224).state_dict())
            for layers in ([*caffe, "fc6", "fc7", "fc8"], [*keras, "fc1", "fc2", "predictions"]):
                state = {f"{n}.{k}": torch.empty(1) for n in layers for k in ("weight", "bias")}
                assert set(NAME_MAPS[name](state)) == wanted


@pytest.mark.parametrize("v1", [True, False])
def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(
    tmp_path: Path, small: Layers, v1: bool
) -> None:
    whole = write(tmp_path / "w.caffemodel", small, v1=v1).read_bytes()
    cut = tmp_path / "cut.caffemodel"
    for part in (0.0001, 0.01, 0.3, 0.5, 0.9, 0.9999):
        cut.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(
            WeightsError, match=r"cut.caffemodel cannot be read as weights"
        ) as caught:
            read_state_dict(cut)
        assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_no_other_file_is_taken_for_one(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        read_state_dict(path)


def test_a_blob_that_does_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    from tests.backbones.weights.caffe_files import message

    net = message("NetParameter")
    blob = net.layer.add(name="conv1_1").blobs.add()
    blob.shape.dim.extend([2, 3])
    blob.data.extend([1.0] * 5)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match=r"blob 0 of layer conv1_1 has 5 values .* \(2, 3\)"):
        read_state_dict(path)


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds bytes; its length in three groups of seven bits."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


def test_tags_that_alternate_take_no_longer_than_others(tmp_path: Path) -> None:
    """Floats of two tags in turn: each would be a look at all that follows."""
    alternating = b"\x2dABCD\x35ABCD" * 60_000
    path = tmp_path / "w.caffemodel"
    path.write_bytes(field(2, field(6, alternating)))
    with pytest.raises(WeightsError, match=r"has 60000 values where its shape"):
        read_state_dict(path)


@pytest.mark.parametrize("run", [1, 2, 15, 16, 17, 47, 48, 49, 1000])
def test_a_run_of_floats_ends_where_another_tag_stands(tmp_path: Path, run: int) -> None:
    values = b"".join(b"\x2d" + np.float32(value).tobytes() for value in range(run))
    shape = field(7, field(1, bytes([run & 127 | 128, run >> 7])))
    for rest in (b"", b"\x35ABCD", b"\x00"):
        path = tmp_path / "w.caffemodel"
        path.write_bytes(field(2, field(4, b"conv") + field(6, shape + values + rest)))
        if rest == b"\x00":
            with pytest.raises(WeightsError, match="damaged at byte"):
                read_state_dict(path)
        else:
            assert read_state_dict(path)[""]["conv.weight"].tolist() == list(range(run))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x08\x01" * 21, "it has more than 20 fields, or is no .caffemodel"),
        (field(2, field(6, b"\x08\x01" * 19)), "it has more than 20 fields"),
        (field(2, field(4, b"a" * 1_001)), "a layer's name has 1,001 letters"),
        (field(2, field(6, field(7, field(1, b"\x01" * 33)))), "layer  has more than 32 axes"),
        (
            field(2, field(6, field(7, field(1, b"\x01" * 32)))),
            "has 0 values where its shape (1, 1",
        ),
    ],
)
def test_what_no_network_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    monkeypatch.setattr(caffe, "_MOST_FIELDS", 20)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert said in str(caught.value)


def test_as_many_fields_and_letters_as_allowed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caffe, "_MOST_FIELDS", 6)
    path = tmp_path / "w.caffemodel"
    blob = field(7, field(1, b"\x01")) + b"\x2d" + np.float32(3).tobytes()  # 3 fields
    path.write_bytes(field(2, field(4, b"a" * 1_000) + field(6, blob)))
    assert read_state_dict(path)[""]["a" * 1_000 + ".weight"].tolist() == [3]
    monkeypatch.setattr(caffe, "_MOST_FIELDS", 5)
    with pytest.raises(WeightsError, match="more than 5 fields"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "place"), [(b"\x80", 1), (b"\x08" + b"\xff" * 10 + b"\x01", 11), (b"\x08", 1)]
)
def test_a_number_without_an_end_is_named_by_its_place(
    tmp_path: Path, content: bytes, place: int
) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"it is cut short or damaged at byte {place}$"):
        read_state_dict(path)

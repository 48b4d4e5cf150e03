"""Receptive fields: the paper's sizes, and each box against the gradient of the unit's value."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tests.backbones.families import FAMILIES
from tests.backbones.gradients import bounds, box, dependence, transparent, within
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.nn import functional

from fnx.backbones.layers import Layer
from fnx.backbones.networks import traced, untrained
from fnx.backbones.receptive import ReceptiveField, fields_of, receptive_fields
from fnx.backbones.trace import trace

VGG16_SIZES = (3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196)
VGG19_SIZES = (3, 5, 10, 14, 24, 32, 40, 48, 68, 84, 100, 116, 156, 188, 220, 252)


@pytest.mark.parametrize(("name", "sizes"), [("vgg16", VGG16_SIZES), ("vgg19", VGG19_SIZES)])
def test_sizes_of_vgg_are_the_papers(name: str, sizes: tuple[int, ...]) -> None:
    fields = receptive_fields(name, 224)
    convolutions = [field for layer, field in fields.items() if layer.startswith("conv")]
    assert [field.size for field in convolutions] == [(size, size) for size in sizes]
    assert not any(field.whole for field in convolutions)
    assert fields["fc6"].whole
    assert fields["fc7"].box(0, 0, (224, 224)) == (0, 0, 224, 224)
    assert fields["conv5_3"].map == (14, 14)
    assert fields["conv5_3"].stride == (16, 16)


def agree(
    net: nn.Module, image: tuple[int, int], names: Sequence[str], *, full: bool = True
) -> dict[str, ReceptiveField]:
    """Check the middle and the corners of some layers against gradients; `full`: no hole inside."""
    seen = trace(net, torch.zeros(2, 3, *image))
    prefixes = {path: readings[0].prefix for path, readings in seen.readings.items()}
    fields = fields_of(net, seen.layers, image, prefixes=prefixes)
    net = transparent(net)
    for name in names:
        field = fields[name]
        count = field.map[0] * field.map[1]
        middle = field.map[0] // 2 * field.map[1] + field.map[1] // 2
        places = sorted({0, middle, count - 1})
        found = dependence(net, name, [place + prefixes[name] for place in places], image)
        for place, pixels in zip(places, found, strict=True):
            expected = box(field, place, image)
            assert bounds(pixels) == expected, (name, place, field)
            if full:
                top, left, bottom, right = expected
                assert pixels[top:bottom, left:right].all(), (name, place)
    return fields


def test_vgg16_depends_on_its_boxes() -> None:
    blocks = [(2, 2), (2, 3), (3, 4), (3, 4), (3, 4)]  # of two to four filters each
    thin = [x for count, filters in blocks for x in (*[filters] * count, "M")]
    net = VGG(thin, num_classes=2)
    net.pre_logits = nn.Identity()  # type: ignore[assignment]
    net.head = nn.Identity()  # type: ignore[assignment]
    layers = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    fields = agree(net, (224, 208), [layers[i] for i in (0, 2, 6, 9, 10, 12)])
    assert [fields[name].size[0] for name in layers] == list(VGG16_SIZES)


def test_the_fully_connected_layers_of_vgg_depend_on_the_whole_image() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)
            self.fc6 = nn.Conv2d(2, 3, 7)
            self.fc7 = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.adaptive_avg_pool2d(self.conv(x), 7)
            return self.fc7(self.fc6(x))  # type: ignore[no-any-return]

    fields = agree(Head(), (20, 30), ["conv", "fc6", "fc7"])
    assert fields["fc6"].whole
    assert fields["fc7"].whole


def test_resnet_depends_on_its_boxes() -> None:
    net = ResNet(BasicBlock, [2, 2, 2, 2], channels=(4, 4, 4, 4), num_classes=2)
    names = [
        *("conv1", "layer1.0.conv1", "layer1.1.conv2", "layer2.0.downsample.0"),
        *("layer2.1.conv1", "layer3.0.conv2", "layer3.1.conv2", "layer4.1.conv2", "fc"),
    ]
    fields = agree(net, (224, 288), names, full=False)
    assert fields["layer2.0.downsample.0"].size == (43, 43)
    assert fields["layer4.1.conv2"].size == (435, 435)


@pytest.mark.parametrize(
    ("name", "image", "chosen"),
    [
        (
            "tf_efficientnet_lite0",
            (96, 96),
            ("conv_stem", "blocks.1.0.conv_dw", "blocks.2.0.conv_dw", "blocks.3.1.conv_pwl"),
        ),
        (
            "mobilenetv3_small_050",
            (96, 96),
            ("blocks.0.0.conv_pw", "blocks.1.1.conv_dw", "blocks.2.0.conv_pwl"),
        ),
        (
            "convnext_atto",
            (96, 128),
            ("stem.0", "stages.0.blocks.1.mlp.fc1", "stages.1.blocks.0.conv_dw"),
        ),
        pytest.param(
            "swin_tiny_patch4_window7_224",
            (224, 224),
            ("patch_embed.proj", "layers.0.blocks.0.attn.qkv", "layers.0.blocks.0.attn.proj"),
            marks=pytest.mark.slow,
        ),
        ("test_vit", (160, 160), ("patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.attn.proj")),
    ],
)
def test_networks_of_timm_depend_on_their_boxes(
    name: str, image: tuple[int, int], chosen: tuple[str, ...]
) -> None:
    fields = agree(untrained(name, image[0], seed=0), image, chosen, full=False)
    assert all(min(fields[layer].size) < min(image) for layer in chosen[:-1])


class Windows(nn.Module):
    """Attention within shifted windows, as in Swin, without its mask."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.patch = nn.Conv2d(3, 2, 2, stride=2)
        self.qkv = nn.Linear(2, 6)
        self.out = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        b, h, w, c = x.shape
        x = x.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(x).chunk(3, -1)
        x = torch.softmax(q @ k.transpose(-2, -1), -1) @ v
        x = x.view(b, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return self.out(torch.roll(x, (self.shift, self.shift), (1, 2)))  # type: ignore[no-any-return]


class Branches(nn.Module):
    """Branches of different fields, joined by a sum and side by side, and a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 2, (1, 7), padding=(0, 3))
        self.tall = nn.Conv2d(3, 2, (5, 1), padding=(2, 0))
        self.apart = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.joined = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide, tall = self.wide(x), self.tall(x)
        side = self.apart(torch.cat([wide, tall], 1))
        return self.joined(side[:, :2] + functional.avg_pool2d(tall, 3, 1, 1))  # type: ignore[no-any-return]


class Shuffled(nn.Module):
    """A map folded into channels, put back larger, and cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 16, 3, padding=1)
        self.last = nn.Conv2d(4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pixel_shuffle(self.conv(functional.pixel_unshuffle(x, 2)), 2)
        return self.last(functional.pad(x, (1, 0, 0, 2))[:, :, 3:-1, ::3].flip(2))  # type: ignore[no-any-return]


class Unfolded(nn.Module):
    """Neighbourhoods taken apart by torch's unfold, each mixed by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(27, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(functional.unfold(x, 3, stride=2, padding=1).transpose(1, 2))  # type: ignore[no-any-return]


class Chain(nn.Sequential):
    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(nn.Conv2d(3, 2, 3, padding=1), *modules, nn.Conv2d(2, 3, 1))


SMALL_NETWORKS: dict[str, nn.Module] = {
    "dilated": Chain(nn.Conv2d(2, 2, 3, dilation=(2, 3), padding=(2, 3))),
    "strided": Chain(nn.Conv2d(2, 2, 5, stride=(2, 3), padding=2), nn.Conv2d(2, 2, 3, padding=1)),
    "transposed": Chain(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)),
    "transposed, odd": Chain(nn.ConvTranspose2d(2, 2, 3, 3, 1, output_padding=1, dilation=2)),
    "same": Chain(nn.Conv2d(2, 2, 4, padding="same")),
    "ceil mode": Chain(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(2, 2, 3, padding=1)),
    "average pool": Chain(nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "adaptive pool": Chain(nn.AdaptiveAvgPool2d((5, 7))),
    "reflected": Chain(nn.ReflectionPad2d((2, 0, 1, 0)), nn.Conv2d(2, 2, 3)),
    "constant padding": Chain(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(2, 2, 3, stride=2)),
    "nearest": Chain(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1)),
    "bilinear": Chain(nn.Upsample((31, 40), mode="bilinear"), nn.Conv2d(2, 2, 3, padding=1)),
    "bicubic": Chain(nn.Upsample((31, 40), mode="bicubic", align_corners=True)),
    "windows": Windows(0),
    "shifted windows": Windows(2),
    "branches": Branches(),
    "shuffled": Shuffled(),
    "unfolded": Unfolded(),
}
# Where it is cut in what is padded, or interpolation gives an element no weight, a box is a bound.
BOUNDS = ("dilated", "bicubic")


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_every_layer_depends_on_its_boxes(name: str) -> None:
    net, image = SMALL_NETWORKS[name], (24, 32)
    seen = trace(net.eval(), torch.zeros(1, 3, *image))
    fields = fields_of(net, seen.layers, image)
    assert fields.keys() == {layer.name for layer in seen.layers}
    net = transparent(net)
    for layer, field in fields.items():
        count = field.map[0] * field.map[1]
        places = sorted({0, count - 1, *range(0, count, 17 if count > 100 else 1)})
        exact = 0
        for place, pixels in zip(places, dependence(net, layer, places, image), strict=True):
            if not pixels.any():  # a position that sees padding alone
                continue
            real, expected = bounds(pixels), box(field, place, image)
            exact += real == expected
            assert within(real, expected), (layer, place, field)
            assert real == expected or name in BOUNDS, (layer, place, field)
        assert exact


def test_gates_and_norms_over_the_map_are_left_out_though_they_see_the_whole_image() -> None:
    image, layer = (96, 96), "blocks.1.1.conv_dw"
    net = untrained("mobilenetv3_small_050", 96, seed=0)
    field = agree(net, image, [layer], full=False)[layer]
    assert max(field.size) < 96
    gated = transparent(untrained("mobilenetv3_small_050", 96, seed=0), gates=True)
    (pixels,) = dependence(gated, layer, [0], image)
    assert pixels.all()

    normed = Chain(nn.GroupNorm(1, 2))
    assert fields_of(normed, [Layer("2", 3, "conv", "2")], image)["2"].size == (3, 3)
    (pixels,) = dependence(transparent(normed), "2", [0], image)
    assert pixels.all()


def test_what_is_written_into_a_part_of_a_tensor_is_not_lost() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)
            self.last = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            value = self.conv(x)
            kept = torch.zeros_like(value)
            kept[:, :1] = value[:, :1]
            return self.last(kept)  # type: ignore[no-any-return]

    assert fields_of(Written(), [Layer("last", 2, "conv", "last")], (9, 9))["last"].whole


def test_the_fields_of_an_oblong_image() -> None:
    square = receptive_fields("resnet10t", 64)
    oblong = receptive_fields("resnet10t", 64, (64, 160))
    assert oblong["layer2.0.conv1"].map == (8, 20)
    assert oblong["layer2.0.conv1"].size == square["layer2.0.conv1"].size
    assert oblong["fc"].box(0, 0, (64, 160)) == (0, 0, 64, 160)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_timm_has_fields(family: str) -> None:
    name, size = FAMILIES[family]
    fields = receptive_fields(name, size)
    names = {layer.name for layer in traced(name, size).layers}
    assert fields.keys() == names
    for layer, field in fields.items():
        assert field.map[0] * field.map[1] > 0
        top, left, bottom, right = field.box(0, 0, (size, size))
        assert top < bottom, layer
        assert left < right, layer
        assert field.whole or top < size, layer


#: Networks whose fields are checked layer by layer: branches, dense, dilated and split ones.
CHECKED = {
    "densenet121": 96,
    "inception_v3": 128,
    "hrnet_w18_small": 96,
    "res2net50_14w_8s": 96,
    "regnetx_002": 96,
    "mobilenetv2_050": 96,
    "selecsls42": 96,
    "cs3darknet_s": 96,
    "efficientvit_b0": 96,
    "pvt_v2_b0": 96,
    "dla46_c": 96,
    "xception41": 96,
    "fastvit_t8": 96,
    "mambaout_femto": 96,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_no_unit_sees_beyond_its_box(name: str) -> None:
    image = (CHECKED[name], CHECKED[name])
    net = untrained(name, image[0], seed=0)
    seen = trace(net, torch.zeros(2, 3, *image))
    fields = fields_of(net, seen.layers, image)
    net = transparent(net)
    for layer in seen.layers[:: max(1, len(seen.layers) // 12)]:
        field = fields[layer.name]
        count = field.map[0] * field.map[1]
        places = sorted({0, count // 2, count - 1})
        for place, pixels in zip(places, dependence(net, layer.name, places, image), strict=True):
            if not pixels.any():
                continue
            real, expected = bounds(pixels), box(field, place, image)
            assert within(real, expected), (layer.name, place, field)

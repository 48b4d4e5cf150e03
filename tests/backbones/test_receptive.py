"""Receptive fields: the paper's sizes, recorded boxes, and gradients of whole networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from tests.backbones.families import FAMILIES
from tests.backbones.gradients import bounds, box, dependence, transparent
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn import functional

from fnx.backbones import receptive
from fnx.backbones.fields import ReceptiveField, as_table, from_table
from fnx.backbones.networks import traced, untrained
from fnx.backbones.receptive import _Line, measure_fields, receptive_fields
from fnx.backbones.trace import trace

VGG16_SIZES = (3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196)
VGG19_SIZES = (3, 5, 10, 14, 24, 32, 40, 48, 68, 84, 100, 116, 156, 188, 220, 252)

Box = tuple[int, int, int, int]


@pytest.mark.parametrize(("name", "sizes"), [("vgg16", VGG16_SIZES), ("vgg19", VGG19_SIZES)])
def test_sizes_of_vgg_are_the_papers(name: str, sizes: tuple[int, ...]) -> None:
    fields = receptive_fields(name, 224)
    assert [field.size for field in fields.values() if field] == [(size, size) for size in sizes]
    last = fields["conv5_3" if name == "vgg16" else "conv5_4"]
    assert last is not None
    assert (last.stride, last.map) == ((16, 16), (14, 14))
    assert fields["fc6"] is None
    assert fields["fc7"] is None


#: Layer, position, and its box as a network was once interpreted, operation by operation.
RECORDED: dict[str, list[tuple[str, tuple[int, int], Box]]] = {
    "vgg16": [
        ("conv1_1", (0, 0), (-1, -1, 2, 2)),
        ("conv1_1", (223, 223), (222, 222, 225, 225)),
        ("conv3_3", (1, 0), (-14, -18, 26, 22)),
        ("conv3_3", (28, 18), (94, 54, 134, 94)),
        ("conv3_3", (55, 55), (202, 202, 242, 242)),
        ("conv5_3", (0, 0), (-90, -90, 106, 106)),
        ("conv5_3", (7, 4), (22, -26, 218, 170)),
        ("conv5_3", (13, 13), (118, 118, 314, 314)),
    ],
    "resnet18": [
        ("conv1", (0, 0), (-3, -3, 4, 4)),
        ("conv1", (111, 111), (219, 219, 226, 226)),
        ("layer1.1.conv2", (28, 18), (91, 51, 134, 94)),
        ("layer2.0.downsample.0", (27, 27), (195, 195, 238, 238)),
        ("layer3.0.conv2", (1, 0), (-57, -73, 90, 74)),
        ("layer4.1.conv2", (0, 0), (-217, -217, 218, 218)),
        ("layer4.1.conv2", (3, 2), (-121, -153, 314, 282)),
        ("layer4.1.conv2", (6, 6), (-25, -25, 410, 410)),
    ],
    "tf_efficientnet_lite0": [
        ("conv_stem", (0, 0), (0, 0, 3, 3)),
        ("conv_stem", (111, 111), (222, 222, 225, 225)),
        ("blocks.1.0.conv_dw", (28, 18), (110, 70, 121, 81)),
        ("blocks.3.1.conv_pwl", (13, 13), (166, 166, 281, 281)),
        ("blocks.5.0.conv_dw", (1, 0), (-138, -170, 265, 233)),
        ("conv_head", (0, 0), (-394, -394, 457, 457)),
        ("conv_head", (3, 2), (-298, -330, 553, 521)),
        ("conv_head", (6, 6), (-202, -202, 649, 649)),
    ],
}


@pytest.mark.parametrize("name", RECORDED)
def test_boxes_are_those_recorded(name: str) -> None:
    fields = receptive_fields(name, 224)
    for layer, position, expected in RECORDED[name]:
        field = fields[layer]
        assert field is not None, layer
        assert field.box(*position) == expected, (layer, position)
    classifier = {"resnet18": "fc", "tf_efficientnet_lite0": "classifier", "vgg16": "fc7"}[name]
    assert fields[classifier] is None


def test_a_box_is_counted_from_the_first_down_and_to_the_right() -> None:
    field = ReceptiveField((3, 5), (2, 4), (-1, -3), (112, 56))
    assert field.box(2, 3) == (3, 9, 6, 14)


def test_fields_are_kept_in_a_table() -> None:
    fields = {"whole": None, "conv": ReceptiveField((3, 5), (2, 4), (-1, -3), (112, 56))}
    table = as_table(fields)
    assert table.columns[1:] == [
        "size_down", "size_right", "stride_down", "stride_right",
        "start_down", "start_right", "map_down", "map_right",
    ]  # fmt: skip
    assert table.rows() == [("whole", *[None] * 8), ("conv", 3, 5, 2, 4, -1, -3, 112, 56)]
    assert from_table(table) == fields


def test_boxes_of_many_positions_are_those_of_each() -> None:
    field = ReceptiveField((3, 5), (2, 4), (-1, -3), (112, 56))
    assert field.boxes(np.array([[2, 3], [0, 1]])).tolist() == [[3, 9, 6, 14], [-1, 1, 2, 6]]


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        # Boxes of 5 pixels, 2 apart, from -2 on: [-2, 3), [0, 5), [2, 7) … [16, 21), in 20 pixels.
        ({0: (0, 3), 1: (0, 5), 2: (2, 7), 9: (16, 20)}, (5, 2, -2)),
        ({0: (1, 3), 1: (0, 5), 2: (2, 7), 9: (16, 19)}, (5, 2, -2)),  # beyond the image: not seen
        ({0: (0, 3), 1: (0, 5), 2: (3, 7), 9: (16, 20)}, None),  # begins too late
        ({0: (0, 3), 1: (0, 5), 2: (2, 8), 9: (16, 20)}, None),  # ends too late
        ({0: (0, 3), 1: (0, 3), 2: (0, 3), 9: (16, 20)}, None),  # windows
        ({0: (0, 15), 1: (0, 17), 2: (0, 19), 9: (1, 20)}, (32, 2, -17)),
        ({0: (0, 15), 1: (0, 17), 2: (0, 19), 9: (0, 20)}, None),  # no edge begins in the image
        ({0: (0, 16), 1: (0, 18), 2: (0, 20), 9: (1, 20)}, None),  # the third may end beyond
        ({0: (0, 4), 1: (3, 7)}, (4, 3, 0)),  # two positions alone
        ({0: (0, 4), 1: (0, 20), 2: (0, 4), 9: (16, 20)}, None),  # the second sees most
    ],
)
def test_a_grid_is_found_from_four_boxes(
    edges: dict[int, tuple[int, int]], expected: tuple[int, int, int] | None
) -> None:
    assert _Line(max(edges) + 1, 20, edges).grid() == expected


def agree(net: nn.Module, side: int, names: Sequence[str]) -> dict[str, ReceptiveField | None]:
    """Check four positions of some layers against the gradients of a network of their own."""
    image = (side, side)
    seen = trace(net.eval(), torch.zeros(2, 3, *image))
    prefixes = {path: readings[0].prefix for path, readings in seen.readings.items()}
    fields = measure_fields(copy.deepcopy(net), list(seen.readings), side, prefixes)
    net = transparent(net)
    for name in names:
        field = fields[name]
        assert field is not None, name
        rows, columns = field.map
        places = sorted({0, 1, rows // 2 * columns + columns // 3, rows * columns - 1})
        found = dependence(net, name, [place + prefixes[name] for place in places], image)
        for place, pixels in zip(places, found, strict=True):
            assert bounds(pixels) == box(field, place, image), (name, place, field)
    return fields


def test_resnet_depends_on_its_boxes() -> None:
    net = ResNet(BasicBlock, [2, 2, 2, 2], channels=(4, 4, 4, 4), num_classes=2)
    names = ["conv1", "layer1.1.conv2", "layer2.0.downsample.0", "layer3.0.conv2"]
    fields = agree(net, 224, [*names, "layer4.1.conv2"])
    assert fields["fc"] is None


@pytest.mark.parametrize(
    ("name", "side", "chosen"),
    [
        pytest.param(
            "tf_efficientnet_lite0",
            96,
            ("blocks.1.0.conv_dw", "blocks.3.1.conv_pwl"),
            marks=pytest.mark.slow,
        ),
        ("mobilenetv3_small_050", 96, ("blocks.0.0.conv_pw", "blocks.1.1.conv_dw")),
        pytest.param(
            "convnext_atto", 96, ("stem.0", "stages.0.blocks.1.mlp.fc1"), marks=pytest.mark.slow
        ),
        pytest.param(
            "test_vit", 160, ("patch_embed.proj", "blocks.0.attn.qkv"), marks=pytest.mark.slow
        ),
    ],
)
def test_networks_of_timm_depend_on_their_boxes(
    name: str, side: int, chosen: tuple[str, ...]
) -> None:
    fields = agree(untrained(name, side, seed=0), side, chosen)
    assert None in fields.values()


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


class Chain(nn.Sequential):
    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(nn.Conv2d(3, 2, 3, padding=1), *modules, nn.Conv2d(2, 3, 1))


NETWORKS: dict[str, nn.Module] = {
    "dilated": Chain(nn.Conv2d(2, 2, 3, dilation=(2, 3), padding=(2, 3))),
    "strided": Chain(nn.Conv2d(2, 2, 5, stride=(2, 3), padding=2), nn.Conv2d(2, 2, 3, padding=1)),
    "same": Chain(nn.Conv2d(2, 2, 4, padding="same")),
    "transposed": Chain(nn.ConvTranspose2d(2, 2, 2), nn.ReLU6()),
    "max pool": Chain(nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, padding=1)),
    "ceil mode": Chain(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(2, 2, 3)),
    "average pool": Chain(nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "padded": Chain(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 2, 3, stride=2)),
    "norms": Chain(nn.BatchNorm2d(2), nn.Hardswish(), nn.GroupNorm(1, 2), nn.Sigmoid()),
    "grouped": Chain(nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.Conv2d(4, 2, 1)),
    "branches": Branches(),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_depends_on_its_boxes(name: str) -> None:
    net = NETWORKS[name]
    layers = [path for path, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    if name == "norms":  # whose statistics over the map are left out
        fields = measure_fields(net, layers, 32, {})
        assert all(field and field.size == (3, 3) for field in fields.values())
    else:
        agree(net, 32, layers)


@pytest.mark.parametrize(
    "net",
    [
        Chain(nn.AdaptiveAvgPool2d(5)),
        Chain(nn.Upsample(scale_factor=2)),
        Chain(nn.AdaptiveMaxPool2d(1)),
        Windows(0),
        Windows(2),
    ],
)
def test_what_is_no_regular_grid_has_no_field(net: nn.Module) -> None:
    paths = [path for path, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    fields = list(measure_fields(net.eval(), paths, 32, {}).values())
    assert fields[0] is not None
    assert fields[0].map in ((32, 32), (16, 16))
    assert fields[1:] == [None] * (len(paths) - 1)


class Gated(nn.Module):
    """Squeeze-and-excitation in one of the two layouts, and a layer after it."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
        self.gate = nn.Linear(2, 2)
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))
        if self.channels_last:
            return self.last((x.permute(0, 2, 3, 1) * gate[:, None, None]).permute(0, 3, 1, 2))  # type: ignore[no-any-return]
        x *= gate[:, :, None, None]
        return self.last(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("channels_last", [True, False])
def test_gates_are_left_out_though_they_see_the_whole_image(channels_last: bool) -> None:
    net = Gated(channels_last=channels_last)
    fields = measure_fields(copy.deepcopy(net), ["conv", "last"], 16, {})
    assert fields["last"] == fields["conv"] != None  # noqa: E711
    (pixels,) = dependence(transparent(net, gates=True), "last", [0], (16, 16))
    assert pixels.all()


def test_a_network_that_cannot_be_measured_has_no_fields() -> None:
    class Refusing(nn.Module):
        def __init__(self, least: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 15)
            self.least = least

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2] >= self.least
            return self.conv(x)  # type: ignore[no-any-return]

    assert measure_fields(Refusing(100), ["conv"], 32, {}) == {"conv": None}
    found = measure_fields(Refusing(0), ["conv"], 32, {})["conv"]
    assert found == ReceptiveField((15, 15), (1, 1), (0, 0), (18, 18))


class Attention(nn.Module):
    """Patches, two blocks of attention among them, and a layer that looks at the patches alone."""

    def __init__(self, *, fused: bool = True, softmax: bool = True) -> None:
        super().__init__()
        self.patches, self.apart = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 2, 3, padding=1)
        self.first, self.second = nn.Linear(4, 12), nn.Linear(4, 12)
        self.out = nn.Linear(4, 4)
        self.fused, self.softmax = fused, softmax

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        tokens = x.flatten(2).transpose(1, 2)
        for layer in (self.first, self.second):
            query, key, value = layer(tokens).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
            if self.fused:
                seen = functional.scaled_dot_product_attention(query, key, value)
            else:
                weights = query @ key.transpose(-2, -1)
                seen = (weights.softmax(-1) if self.softmax else weights) @ value
            tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        return self.apart(x)  # type: ignore[no-any-return]


class AttentionOfMaps(nn.Module):
    """Attention among the positions of a map, added to it, and layers before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.out = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)
        self.after = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        seen = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.after(x + self.out(seen[:, 0].transpose(1, 2).reshape(x.shape)))  # type: ignore[no-any-return]


def test_attention_that_is_added_to_a_map_is_no_gate() -> None:
    fields = measure_fields(AttentionOfMaps(), ["before", "out", "after"], 32, {})
    assert fields["before"] == ReceptiveField((4, 4), (4, 4), (0, 0), (8, 8))
    assert (fields["out"], fields["after"]) == (None, None)


@pytest.mark.parametrize(("fused", "softmax"), [(True, True), (False, True), (False, False)])
def test_attention_sees_the_whole_image_and_nothing_else_does(fused: bool, softmax: bool) -> None:
    net = Attention(fused=fused, softmax=softmax)
    modules = ["patches", "first", "out", "second", "apart"]
    assert measure_fields(net, modules, 32, {}) == {
        "patches": ReceptiveField((4, 4), (4, 4), (0, 0), (8, 8)),
        "first": ReceptiveField((4, 4), (4, 4), (0, 0), (8, 8)),
        "out": None,
        "second": None,
        "apart": ReceptiveField((12, 12), (4, 4), (-4, -4), (8, 8)),
    }


class AttentionOfChannels(nn.Module):
    """Channels mixed as a map as a whole says: a softmax of values that are all the same here."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, channels, 4, 4)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.before(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens).chunk(3, -1)
        weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
        return self.out((weights @ value.transpose(1, 2)).transpose(1, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("channels", [5, 6, 8, 12])
def test_attention_among_channels_is_a_gate(channels: int) -> None:
    fields = measure_fields(AttentionOfChannels(channels), ["before", "qkv", "out"], 40, {})
    assert set(fields.values()) == {ReceptiveField((4, 4), (4, 4), (0, 0), (10, 10))}


@pytest.mark.parametrize("fused", [True, False])
def test_no_table_of_all_pairs_of_tokens_is_kept(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = ["patches", "first", "out", "second", "apart"]
    monkeypatch.setattr(receptive, "_MOST_BYTES", 1 << 23)
    # 1,024 tokens: 8 MB for each head of each of four images
    fields = measure_fields(Attention(fused=fused), modules, 128, {})
    assert [path for path, field in fields.items() if field] == ["patches", "first", "apart"]


def test_what_would_keep_too_much_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ["patches", "first", "out", "second", "apart"]
    monkeypatch.setattr(receptive, "_MOST_BYTES", 1 << 20)
    fields = measure_fields(Attention(fused=False, softmax=False), modules, 128, {})
    assert [path for path, field in fields.items() if field] == ["patches", "first"]


class Norm(nn.Module):
    """A norm over the channels that is made of small functions."""

    def __init__(self, norm: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x, x.pow(2).mean(1, keepdim=True))


class Sign(nn.Module):
    """A function whose gradient is 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sign()


@pytest.mark.parametrize(
    "norm",
    [
        lambda x, square: x * torch.rsqrt(square),
        lambda x, square: x / square.sqrt(),
        lambda x, square: x * (1 / torch.sqrt(square)),
        lambda x, square: x * square**-0.5,
        lambda x, square: x * square.pow(0.5).reciprocal(),
        lambda x, square: x * square.pow(-0.5),
        lambda x, square: x * (1 - square),
        lambda x, square: x + (-square) * 0.5,
        lambda x, square: x * 2**-square,
    ],
)
def test_a_norm_made_of_small_functions_hides_nothing(
    norm: Callable[[Tensor, Tensor], Tensor],
) -> None:
    # Kernels of 4 and 16 weights, whose sums are exactly 1: of parts that cancel, nothing is left.
    net = nn.Sequential(nn.Conv2d(3, 2, 4, 4), Norm(norm), nn.Conv2d(2, 2, 2), Norm(norm))
    net.append(nn.Conv2d(2, 2, 1))
    fields = measure_fields(net, ["0", "2", "4"], 32, {})
    assert [field and field.size for field in fields.values()] == [(4, 4), (8, 8), (8, 8)]


def test_what_cancels_is_not_taken_for_the_whole_image() -> None:
    line = _Line(8, 8, dict.fromkeys(range(8), (0, 0)))
    assert not line.whole
    assert line.grid() is None
    net = Chain(Sign(), nn.Conv2d(2, 2, 3))
    layers = [path for path, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    fields = list(measure_fields(net, layers, 32, {}).values())
    assert fields[0] is not None
    assert fields[1:] == [None] * (len(layers) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_timm_is_survived(family: str) -> None:
    name, size = FAMILIES[family]
    fields = receptive_fields(name, size)
    assert fields.keys() == {layer.name for layer in traced(name, size).layers}
    for field in fields.values():
        assert field is None or min(*field.size, *field.stride, *field.map) > 0

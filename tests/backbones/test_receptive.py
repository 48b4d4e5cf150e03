"""Receptive fields: the paper's sizes, and each box against the gradient of the unit's value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import timm
import torch
from tests.backbones.families import FAMILIES
from tests.backbones.gradients import bounds, box, dependence, transparent
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.nn import functional

from fnx.backbones.layers import Layer
from fnx.backbones.networks import untrained
from fnx.backbones.receptive import ReceptiveField, fields_of, receptive_fields
from fnx.backbones.tracing import trace

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
        for position in {0, count // 2 + field.map[1] // 2, count - 1}:
            pixels = dependence(net, name, position + prefixes[name], image)
            expected = box(field, position, image)
            assert bounds(pixels) == expected, (name, position, field)
            if full:
                top, left, bottom, right = expected
                assert pixels[top:bottom, left:right].all(), (name, position)
    return fields


def test_vgg16_depends_on_its_boxes() -> None:
    blocks = [(2, 2), (2, 3), (3, 4), (3, 4), (3, 4)]  # of two to four filters each
    thin = [x for count, filters in blocks for x in (*[filters] * count, "M")]
    net = VGG(thin, num_classes=2)
    net.pre_logits = nn.Identity()  # type: ignore[assignment]
    net.head = nn.Identity()  # type: ignore[assignment]
    names = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    fields = agree(net, (224, 256), names)
    assert [fields[name].size[0] for name in names] == list(VGG16_SIZES)


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
        ("test_vit", (160, 160), ("patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.attn.proj")),
    ],
)
def test_networks_of_timm_depend_on_their_boxes(
    name: str, image: tuple[int, int], chosen: tuple[str, ...]
) -> None:
    fields = agree(untrained(name, image[0], seed=0), image, chosen, full=False)
    assert all(min(fields[layer].size) < min(image) for layer in chosen[:-1])

"""A compiled backbone gives the rows of the plain one."""

from __future__ import annotations

import shutil

import pytest
import timm
import torch
from torch import nn

from fnx.backbones.backbone import Backbone, Preprocessing, plan
from fnx.backbones.compiled import CompiledBackbone
from fnx.backbones.layers import select
from fnx.backbones.trace import trace
from fnx.embedding.microbatches import Batching, Microbatches
from fnx.images.crops import Crops

IMAGES, SIDE = 6, 64


class Twice(nn.Module):
    """One convolution called twice, whose feature is the mean over the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(self.act(self.conv(x))))


def backbone(net: nn.Module, tap: str = "post") -> Backbone:
    found = trace(net.eval(), torch.zeros(2, 3, SIDE, SIDE))
    layers = select(found.layers, "all")
    half = (0.5, 0.5, 0.5)
    return Backbone(
        net,
        layers=layers,
        taps=plan(found, layers, tap),
        preprocessing=Preprocessing("RGB", 1.0, half, half),
        weights_digest="",
    )


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "twice":
        return Twice()
    sized = {"img_size": SIDE} if "vit" in name else {}
    return timm.create_model(name, pretrained=False, **sized)


def pixels(count: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "tap"),
    [
        pytest.param("test_resnet", "post", marks=pytest.mark.slow),
        pytest.param("test_vit", "pre", marks=pytest.mark.slow),
        ("twice", "post"),
    ],
)
def test_rows_are_those_of_the_plain_network(name: str, tap: str) -> None:
    plain = backbone(made(name), tap)
    compiled = CompiledBackbone(plain, IMAGES, backend="aot_eager")
    given = pixels(IMAGES)
    expected = plain(given)
    for _ in range(2):  # compiled, then run again
        torch.testing.assert_close(compiled(given), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(plain(given), expected), "the plain network is left as it was"
    views = slice(1, None, 3)
    rows, positions = compiled.with_positions(given, views)
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(positions, plain.with_positions(given, views)[1])
    assert positions.shape == (2, plain.n_features, 2)
    assert positions.any()


@pytest.mark.slow
def test_microbatches_fill_a_batch_up_to_the_size_that_was_compiled() -> None:
    plain = backbone(made("test_resnet"))
    crops = Crops("ten", SIDE, SIDE)
    cut = Batching(views=20, threads=0, images=2)
    images = list(pixels(3))
    with (
        Microbatches(plain, crops, cut) as usual,
        Microbatches(plain, crops, cut, compile_with="aot_eager") as compiled,
    ):
        rows, positions = compiled(images)
        expected, where = usual(images)
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(positions, where)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_kernels_round_a_little_differently(dtype: torch.dtype) -> None:
    plain = backbone(made("test_resnet")).to(dtype)
    given = pixels(IMAGES)
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.05}
    torch.testing.assert_close(CompiledBackbone(plain, IMAGES)(given), plain(given), **near)

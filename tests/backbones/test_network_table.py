"""Table 1: generated from the network, and compared with what the paper prints."""

from __future__ import annotations

import polars as pl
import pytest
from tests.backbones.test_receptive import VGG16_SIZES
from torch import Tensor, nn

from fnx.backbones.architectures import known_layers
from fnx.backbones.network_table import SCHEMA, _outputs, network_table
from fnx.backbones.networks import untrained

# The paper's Table 1: filters, parameters, neurons, embedding features, as printed.
PRINTED = """
input - - 150K -
conv1_1 64 1.7K 3.2M 64
conv1_2 64 36K 3.2M 64
pool1 - - 802K -
conv2_1 128 73K 1.6M 128
conv2_2 128 147K 1.6M 128
pool2 - - 401K -
conv3_1 256 300K 802K 256
conv3_2 256 600K 802K 256
conv3_3 256 600K 802K 256
pool3 - - 200K -
conv4_1 512 1.1M 401K 512
conv4_2 512 2.3M 401K 512
conv4_3 512 2.3M 401K 512
pool4 - - 100K -
conv5_1 512 2.3M 100K 512
conv5_2 512 2.3M 100K 512
conv5_3 512 2.3M 100K 512
pool5 - - 25K -
fc6 4,096 103M 4K 4,096
fc7 4,096 17M 4K 4,096
output 1,000 4M 1K -
"""


def rounded(value: int, printed: str) -> bool:
    """Whether a number is one printed, which is cut or rounded, the thousands of conv3 to 100K."""
    unit = {"K": 1_000, "M": 1_000_000}.get(printed[-1], 1)
    number = printed.rstrip("KM").replace(",", "")
    step = unit / 10 ** len(number.partition(".")[2])
    coarse = 100_000 if printed in ("300K", "600K") else step
    return abs(value - float(number) * unit) < coarse


@pytest.fixture(scope="module")
def vgg16() -> pl.DataFrame:
    features = {layer.name: layer.units for layer in known_layers("vgg16") or []}
    return network_table("vgg16", 224, features)


def test_vgg16_is_as_the_paper_prints_it(vgg16: pl.DataFrame) -> None:
    lines = [line.split() for line in PRINTED.strip().splitlines()]
    assert vgg16["name"].to_list() == [line[0] for line in lines]
    for row, (name, *cells) in zip(vgg16.rows(named=True), lines, strict=True):
        keys = ("filters", "parameters", "neurons", "features")
        for key, printed in zip(keys, cells, strict=True):
            if printed == "-":
                assert not row[key], (name, key)
            else:
                assert rounded(row[key], printed), (name, key, row[key], printed)


def test_totals_of_vgg16(vgg16: pl.DataFrame) -> None:
    assert vgg16.schema == pl.Schema(SCHEMA)
    assert vgg16["parameters"].sum() == 138_357_544
    assert vgg16["features"].sum() == 12_416
    assert vgg16["filters"].sum() == 13_416
    assert vgg16["neurons"].sum() == 15_237_608
    convolutions = vgg16.filter(pl.col("kind") == "conv")
    assert tuple(convolutions["receptive_field"]) == VGG16_SIZES
    assert vgg16.filter(pl.col("kind") == "fc")["receptive_field"].null_count() == 3


@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(n, marks=pytest.mark.slow) for n in ("test_convnext", "test_vit"))],
)
def test_parameters_of_any_network_add_up(name: str) -> None:
    table = network_table(name, 160, {})
    expected = sum(p.numel() for p in untrained(name, 160, seed=0).parameters())
    assert table["parameters"].sum() == expected
    assert table["name"].is_unique().all()
    assert table["kind"].is_in(["input", "conv", "pool", "fc", "other"]).all()


def test_a_stage_has_its_filters_parameters_neurons_map_and_field() -> None:
    table = network_table("resnet18", 224, {"conv1": 64, "layer1.0.conv1": 5})
    assert table.row(0) == ("input", "input", None, 0, 3 * 224**2, 0, 224, 224, 1, 1)
    assert table.rows()[1:5] == [
        ("conv1", "conv", 64, 9408, 64 * 112**2, 64, 112, 112, 7, 2),
        ("maxpool", "pool", None, 0, 64 * 56**2, 0, 56, 56, 11, 4),
        ("layer1.0.conv1", "conv", 64, 36_864, 64 * 56**2, 5, 56, 56, 19, 4),
        ("layer1.0.conv2", "conv", 64, 36_864, 64 * 56**2, 0, 56, 56, 27, 4),
    ]
    assert table.rows()[-4:] == [
        ("layer4.1.conv2", "conv", 512, 2_359_296, 512 * 7**2, 0, 7, 7, 435, 32),
        ("global_pool", "pool", None, 0, 512, 0, None, None, None, None),
        ("fc", "fc", 1000, 513_000, 1000, 0, None, None, None, None),
        ("other", "other", None, 9600, 0, 0, None, None, None, None),
    ]
    assert table.filter(kind="pool")["name"].to_list() == ["maxpool", "global_pool"]
    tokens = network_table("test_vit", 160, {})
    assert tokens.rows()[1:4] == [
        ("patch_embed.proj", "conv", 64, 49_216, 6400, 0, 10, 10, 16, 16),
        ("blocks.0.attn.qkv", "fc", 192, 12_480, 101 * 192, 0, None, None, 16, 16),
        ("blocks.0.attn.proj", "fc", 64, 4160, 101 * 64, 0, None, None, None, None),
    ]
    assert tokens.rows()[-1] == ("other", "other", None, 8192, 0, 0, None, None, None, None)


def test_a_module_may_be_called_by_keyword_or_without_a_tensor() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.text = nn.Conv2d(3, 2, 1), nn.AvgPool2d(2), Pooled()

        def forward(self, x: Tensor) -> Tensor:
            return self.text("mean", self.pool(self.pool(input=self.conv(input=x))))  # type: ignore[no-any-return]

    class Pooled(nn.Module):
        """A pool that is told what to do before what to do it to."""

        def forward(self, _: str, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    Pooled.__name__ = "TextPool"
    outputs, parameters = _outputs(Named(), 8)
    assert parameters == 8
    found = {path: (o.plane, o.smaller, o.neurons) for path, o in outputs.items()}
    assert found == {
        "conv": ((8, 8), False, 128),
        "pool": ((4, 4), False, 32 + 8),  # what went in is not known; of two calls
        "text": (None, False, 2),
    }

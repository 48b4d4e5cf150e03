"""Table 1: generated from the network, and compared with what the paper prints."""

from __future__ import annotations

import polars as pl
import pytest
from tests.backbones.test_receptive import VGG16_SIZES

from fnx.backbones.architectures import known_layers
from fnx.backbones.network_table import SCHEMA, network_table
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


@pytest.mark.parametrize("name", ["resnet18", "test_convnext", "test_vit"])
def test_parameters_of_any_network_add_up(name: str) -> None:
    table = network_table(name, 160, {})
    expected = sum(p.numel() for p in untrained(name, 160, seed=0).parameters())
    assert table["parameters"].sum() == expected
    assert table["name"].is_unique().all()
    assert table["kind"].is_in(["input", "conv", "pool", "fc", "other"]).all()


def test_pools_and_maps_of_resnet() -> None:
    table = network_table("resnet18", 224, {"conv1": 64})
    assert table["name"].to_list()[:3] == ["input", "conv1", "maxpool"]
    pools = table.filter(pl.col("kind") == "pool")
    assert pools.select("name", "neurons", "height", "receptive_field").rows() == [
        ("maxpool", 64 * 56 * 56, 56, 11),
        ("global_pool", 512, None, None),
    ]
    assert table["features"].sum() == 64

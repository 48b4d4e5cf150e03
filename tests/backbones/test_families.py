"""Any backbone: a small network of each of timm's families, from pixels to features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from tests.backbones.families import FAMILIES, look, row

from fnx.backbones.build import build
from fnx.backbones.weights.locate import locate
from fnx.config.schema import ModelConfig, WeightsConfig

TABLE = Path(__file__).parents[2] / "docs/backbones.md"

QUICK = ("convnext", "deit", "efficientnet", "ghostnet", "regnet", "resnet", "swin_transformer")


def _marked(family: str) -> object:
    return family if family in QUICK else pytest.param(family, marks=pytest.mark.slow)


@pytest.mark.parametrize("family", [_marked(family) for family in FAMILIES])
def test_a_network_of_the_family_gives_a_row_for_each_image(family: str) -> None:
    name, size = FAMILIES[family]
    config = ModelConfig(name=name, timm_name=name, weights=WeightsConfig(source="random"))
    backbone = build(config, locate(config, 0), image_size=size, seed=0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
    rows = backbone(pixels)
    assert rows.shape == (2, sum(layer.units for layer in backbone.layers))
    assert rows.isfinite().all()
    assert not torch.equal(rows[0], rows[1])
    assert len({layer.name for layer in backbone.layers}) == len(backbone.layers)


@pytest.mark.parametrize("family", [_marked(family) for family in FAMILIES])
def test_the_table_of_the_documentation_is_what_is_found(family: str) -> None:
    table = TABLE.read_text(encoding="utf-8")
    if f"(timm\n{timm.__version__})" not in table:
        pytest.skip("the table was made with another timm")
    assert row(family, *FAMILIES[family]) in table.splitlines()


def test_every_family_is_in_the_table() -> None:
    table = TABLE.read_text(encoding="utf-8")
    rows = [" ".join(line.split()[:5]) for line in table.splitlines() if line.count("|") == 9]
    assert rows[2:] == [f"| {family} | `{name}` |" for family, (name, _) in FAMILIES.items()]
    if f"(timm\n{timm.__version__})" in table:
        assert set(FAMILIES) == set(timm.list_modules())


def test_activations_called_as_functions_are_noticed() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.act = torch.nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.gelu(self.act(self.conv(x)))

    from tests.backbones.families import _functional

    with _functional() as mode:
        Net()(torch.zeros(1, 3, 5, 5))
    assert mode.found == {"gelu in Net"}
    assert look("resnet10t", 176).functional == []

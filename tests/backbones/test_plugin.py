"""Networks of plugins: any torch module becomes a backbone like timm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fnx.backbones import build, layer_names, plugin
from fnx.backbones.networks import map_sizes
from fnx.backbones.receptive import receptive_fields
from fnx.backbones.weights.locate import locate
from fnx.config.schema import ModelConfig
from fnx.errors import ConfigError, PluginError
from fnx.registry import backbone, backbones

pytestmark = pytest.mark.usefixtures("restored_registry")


class Dictionary(nn.Module):
    """A sparse autoencoder's: no layer of torch's, and a dictionary for an output."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 24))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"latents": (tokens @ self.weight).relu()}


class Branched(nn.Module):
    """Maps, tokens, a signal, a clip, a tuple and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.dictionary = Dictionary()
        self.recurrent = nn.LSTM(8, 5, batch_first=True)
        self.time_first = nn.Linear(8, 7)
        self.signal = nn.Conv1d(8, 6, 3)
        self.clip = nn.Conv3d(1, 4, (3, 1, 1))
        self.head = nn.Linear(24, 10)
        self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.stem(images)
        signal = maps.flatten(2)
        tokens = signal.mT
        self.recurrent(tokens)
        self.time_first(tokens.transpose(0, 1))
        self.signal(signal)
        self.clip(images[:, None])
        return {"logits": self.head(self.dictionary(tokens)["latents"].mean(1))}


def registered(function: Callable[..., nn.Module], **values: Any) -> ModelConfig:
    """The config of ``model=NAME``, as it is composed."""
    entry = backbones.get(function.__name__)
    config = entry.config_class()(**values)
    config.timm_name = entry.call_name(config)
    assert isinstance(config, ModelConfig)
    return config


def pixels(count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def test_a_row_is_what_the_network_computes_in_every_layer() -> None:
    nets = []

    @backbone("branched", mean=(0, 0, 0), std=(1, 1, 1), classifier="head", modules="recurrent")
    def branched() -> nn.Module:
        nets.append(Branched())
        return nets[-1]

    config = registered(branched)
    layers = layer_names(config, 32)
    assert [(layer.name, layer.units, layer.kind) for layer in layers] == [
        ("stem", 8, "conv"),
        ("recurrent", 5, "other"),
        ("signal", 6, "conv"),
        ("clip", 4, "conv"),
        ("dictionary", 24, "other"),
    ]
    net = build(config, locate(config, 0), image_size=32, seed=0)
    images = pixels()
    rows = net(images)
    (own,) = nets  # made once, whatever asked for it
    with torch.no_grad():
        maps = own.stem(images.float() / 255)
        tokens = maps.flatten(2).mT
        expected = [
            maps.mean((2, 3)),
            own.recurrent(tokens)[0].mean(1),
            own.signal(maps.flatten(2)).mean(2),
            own.clip(images[:, None].float() / 255).mean((2, 3, 4)),
            own.dictionary(tokens)["latents"].mean(1),
        ]
    torch.testing.assert_close(rows, torch.cat(expected, 1))
    named = registered(branched, layers=["head"])
    assert [layer.output for layer in layer_names(named, 32)] == [True]
    for layer, why in (("time_first", "no row per image"), ("unused", "not called")):
        with pytest.raises(ConfigError, match=f"'{layer}' cannot be read: .*{why}"):
            layer_names(registered(branched, layers=[layer]), 32)


def test_maps_and_receptive_fields_are_found_and_a_new_definition_replaces_them() -> None:
    def define(stride: int) -> ModelConfig:
        @backbone("again")
        def again() -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 4, 4, stride=stride), nn.Conv2d(4, 4, 3))

        return registered(again)

    for stride, side, size in ((4, 8, 12), (2, 15, 8)):
        name = define(stride).timm_name
        assert map_sizes(name, 32, (32, 32))["0"] == (side, side)
        field = receptive_fields(name, 32)["1"]
        assert field is not None
        assert (field.size, field.stride) == ((size, size), (stride, stride))


def test_the_digest_follows_weights_buffers_structure_and_preprocessing() -> None:
    seen = set()
    plain = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.BatchNorm2d(2))
    for change in range(6):
        net = plugin.copy.deepcopy(plain)
        if change == 1:
            net[0].weight.data[1, 2, 0, 0] += 1e-3
        if change == 2:
            net[2].running_mean += 1e-3
        if change == 3:
            net[1] = nn.GELU()
        preprocessing = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.5 if change == 4 else 0.25)}

        @backbone("digested")
        def digested(net: str = "") -> object:
            return made, preprocessing  # noqa: B023 - called at once

        made = net
        seen.add(locate(registered(digested), 0).digest)
    assert len(seen) == 5  # the last is the first again


def test_parameters_are_keys_and_part_of_the_name() -> None:
    @backbone("wide")
    def wide(width: int = 4) -> nn.Module:
        return nn.Conv2d(3, width, 3)

    assert [layer.units for layer in layer_names(registered(wide, width=6), 32)] == [6]
    assert registered(wide, width=6).timm_name == 'plugin:wide{"width": 6}'
    assert registered(wide).timm_name != registered(wide, width=6).timm_name


def test_preprocessing_is_read_off_what_describes_it() -> None:
    class Processor:
        image_mean = (0.1, 0.2, 0.3)
        image_std = np.array([0.4, 0.5, 0.6])

    @backbone("processed")
    def processed(std: bool = True) -> object:
        return nn.Conv2d(3, 2, 3), Processor() if std else {"mean": (0, 0, 0), "std": (1, 1, 0)}

    def prepared(**values: Any) -> Any:
        config = registered(processed, **values)
        return build(config, locate(config, 0), image_size=32, seed=0).preprocessing

    assert (prepared().mean, prepared().std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    with pytest.raises(PluginError, match="no three numbers std or image_std"):
        prepared(std=False)


def test_class_tokens_are_left_out_of_squares_of_patches() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 4, 8, stride=8)
            self.mix = nn.Linear(4, 3)

        def forward(self, images: Tensor) -> tuple[Tensor]:
            tokens = self.patches(images).flatten(2).mT
            return (self.mix(torch.cat([torch.full_like(tokens[:, :1], 1e3), tokens], 1)),)

    nets: list[nn.Module] = []

    @backbone("tokens", prefix_tokens=1, mean=(0, 0, 0), std=(1, 1, 1))
    def tokens() -> nn.Module:
        nets.append(Tokens())
        return nets[-1]

    def rows(**values: Any) -> Tensor:
        config = registered(tokens, layers=["mix"], **values)
        return build(config, locate(config, 0), image_size=32, seed=0)(images)

    images = pixels()
    left_out, averaged = rows(), rows(class_token=True)
    with torch.no_grad():
        (mixed,) = nets[0](images.float() / 255)
    torch.testing.assert_close(left_out, mixed[:, 1:].mean(1))
    torch.testing.assert_close(averaged, mixed.mean(1))


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("a path", "returned str: must be a torch.nn.Module"),
        (nn.ReLU(), "without parameters"),
        (FileNotFoundError("weights.npz"), "failed: FileNotFoundError: weights.npz"),
        (nn.Embedding(2, 2), "takes no images of 32 px"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_by_name(returned: object, why: str) -> None:
    @backbone("broken")
    def broken() -> object:
        if isinstance(returned, Exception):
            raise returned
        return returned

    with pytest.raises((PluginError, ConfigError), match=why):
        layer_names(registered(broken), 32)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"channels": "RBG"}, "allowed: RGB, BGR"),
        ({"mean": (0, 0)}, "must be 3 numbers"),
        ({"std": (1, 0, 1)}, "std not 0"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(PluginError, match=f"model 'odd': .*{why}"):
        backbone("odd", **arguments)
    with pytest.raises(PluginError, match="'layers' is fnx's own parameter"):

        @backbone("odd")
        def odd(layers: int = 2) -> nn.Module: ...


def test_modules_and_classifiers_that_are_not_there_are_refused() -> None:
    for argument in ("modules", "classifier"):

        @backbone("missing", **{argument: "encoder.*"})
        def missing() -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 2, 3))

        with pytest.raises(PluginError, match=r"it has no .*encoder\.\*"):
            layer_names(registered(missing), 32)


def test_weights_come_from_the_function_alone() -> None:
    @backbone("alone")
    def alone() -> nn.Module:
        return nn.Conv2d(3, 2, 3)

    config = registered(alone)
    config.weights.source = "hub"
    with pytest.raises(ConfigError, match="source=hub: weights of a plugin's network come from"):
        locate(config, 0)
    with pytest.raises(ConfigError, match="source=function"):
        locate(ModelConfig("x", "resnet18", weights=type(config.weights)("function")), 0)

"""Names of layers: what exists, what is chosen, what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fnx.backbones.architectures import known_layers
from fnx.backbones.build import layer_names
from fnx.backbones.layers import select
from fnx.config.schema import ModelConfig
from fnx.errors import ConfigError


def model(timm_name: str, layers: object = "all") -> ModelConfig:
    return ModelConfig(name=timm_name, timm_name=timm_name, layers=layers)


@pytest.mark.parametrize(
    ("name", "layers", "features", "convolutional"),
    [("vgg16.tv_in1k", 15, 12_416, 4_224), ("vgg19.tv_in1k", 18, 13_696, 5_504)],
)
def test_vgg_has_the_paper_s_layers_and_features(
    name: str, layers: int, features: int, convolutional: int
) -> None:
    found = layer_names(model(name), 224)
    assert len(found) == layers
    assert sum(layer.units for layer in found) == features
    assert sum(layer.units for layer in found if layer.kind == "conv") == convolutional
    assert [found[0].name, found[2].name, found[-1].name] == ["conv1_1", "conv2_1", "fc7"]


def test_known_layers_need_neither_torch_nor_timm() -> None:
    code = """
import sys
import fnx.backbones, fnx.backbones.weights.locate
from fnx.backbones.weights.locate import locate
from fnx.config.schema import ModelConfig, WeightsConfig
for name in ("vgg16.tv_in1k", "tf_efficientnet_lite0"):
    config = ModelConfig(name=name, timm_name=name, weights=WeightsConfig(source="random"))
    fnx.backbones.layer_names(config, 224)
    locate(config, 0)
sys.exit(bool({"torch", "timm"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "vgg11_bn", "tf_efficientnet_lite0"])
def test_known_layers_are_those_of_the_network_in_the_order_they_run(name: str) -> None:
    import torch

    from fnx.backbones.networks import create
    from fnx.backbones.trace import trace

    with torch.device("meta"):
        seen = trace(create(name, 224), torch.empty(3, 3, 224, 224, device="meta")).layers
    known = known_layers(name)
    assert known is not None
    fc8 = {"head.fc"}  # VGG's output is no layer of the paper
    assert [(layer.module, layer.units) for layer in known] == [
        (layer.module, layer.units) for layer in seen if layer.module not in fc8
    ]


def test_layers_are_chosen_by_kind_name_and_glob_in_the_network_s_order() -> None:
    vgg = known_layers("vgg16")
    assert vgg is not None
    assert [layer.name for layer in select(vgg, "fc")] == ["fc6", "fc7"]
    assert [layer.name for layer in select(vgg, ["fc7", "conv1_*"])] == [
        "conv1_1",
        "conv1_2",
        "fc7",
    ]
    assert [layer.name for layer in select(vgg, "conv4_3")] == ["conv4_3"]
    assert len(select(vgg, ["conv", "fc6"])) == 14


def test_the_classifier_is_read_only_when_it_is_named() -> None:
    names = [layer.name for layer in layer_names(model("tf_efficientnet_lite0"), 224)]
    assert names[-1] == "conv_head"
    assert layer_names(model("tf_efficientnet_lite0", ["classifier"]), 224)[0].units == 1000


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (model("vgg16", ["conv4_3", "conv4_4"]), r"'conv4_4'.*did you mean 'conv4_3'.*fc7"),
        (model("vgg16", ["pool*"]), r"unknown layer 'pool\*'"),
        (model("vgg16", []), "model.layers"),
        (model("vgg16", 3), "model.layers=3"),
        (model("tf_efficientnet_lite0", "fc"), "unknown layer 'fc'"),
        (model("resnet81"), r"no model 'resnet81' \(did you mean resnet18"),
        (model("resnet18.nobody"), r"'nobody' for resnet18; allowed: .*a1_in1k"),
        (model("vit_tiny_patch16_224", ["block"]), "unknown layer 'block'"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(config: ModelConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        layer_names(config, 224)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "takes"), [("test_resnet", 32, True), ("test_vit", 160, False)]
)
def test_a_network_may_take_squares_only(name: str, size: int, takes: bool) -> None:
    from fnx.backbones.networks import takes_oblong

    assert takes_oblong(name, size) is takes

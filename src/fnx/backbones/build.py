"""Pretrained networks as functions from pixels to one row of features an image.

`layer_names` looks before any work, without torch for the architectures that fnx
knows by heart; `fnx.backbones.weights.locate.locate` finds the weights; `build` puts them together.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fnx.backbones.architectures import known_layers
from fnx.backbones.layers import Layer, select

if TYPE_CHECKING:
    from fnx.backbones.backbone import Backbone
    from fnx.backbones.weights.locate import WeightsFile
    from fnx.config.schema import ModelConfig

log = logging.getLogger(__name__)


def layer_names(config: ModelConfig, image_size: int) -> list[Layer]:
    """Return the layers that `config` asks for, in the order of the embedding's columns.

    Needs no weights, and neither torch nor timm for VGG and EfficientNet-Lite0.

    Raises:
        ConfigError: a layer or a timm name that does not exist; images too small for the network.
    """
    layers = known_layers(config.timm_name)
    if layers is None:
        from fnx.backbones.networks import traced

        trace = traced(config.timm_name, image_size)
        return select(trace.layers, config.layers, trace.unseen)
    return select(layers, config.layers)


def build(config: ModelConfig, weights: WeightsFile, *, image_size: int, seed: int) -> Backbone:
    """Build a backbone with its weights, on the CPU and in evaluation mode.

    It will be given squares of `image_size` pixels; `seed` is that of an untrained network.

    Raises:
        ConfigError: a layer or a timm name that does not exist; images too small for the network.
        WeightsError: a file that is damaged or does not fit, with the tensors it lacks.
    """
    from torch import nn

    from fnx.backbones.backbone import Backbone, plan
    from fnx.backbones.networks import preprocessing, traced, uninitialised, untrained
    from fnx.backbones.weights.load import load, read_state_dict

    trace = traced(config.timm_name, image_size)
    layers = select(trace.layers, config.layers, trace.unseen)
    taps = plan(trace, layers, config.tap, class_token=config.class_token)
    last = max(tap.site.time for tap in taps)
    if weights.path is None:
        net = untrained(config.timm_name, image_size, seed)
    else:
        net = uninitialised(config.timm_name, image_size)
        load(
            net,
            read_state_dict(weights.path),
            timm_name=config.timm_name,
            source=weights.source,
            needed=lambda module: trace.needs(module, last),
            layer_names={layer.module: layer.name for layer in trace.layers},
        )
    for path in trace.beyond(last):
        # Never reached, so their weights (VGG's fc6 alone is 411 MB) need not be kept.
        net.set_submodule(path, nn.Identity())
    if config.input_size not in (None, image_size):
        log.warning(
            "%s was trained on images of %d px and is given %d (crops.size)",
            config.name,
            config.input_size,
            image_size,
        )
    if trace.unseen:
        some = ", ".join(list(trace.unseen)[:5]) + (", …" if len(trace.unseen) > 5 else "")
        log.warning("%s: no hook can read %d layers (%s)", config.name, len(trace.unseen), some)
    return Backbone(
        net,
        layers=layers,
        taps=taps,
        preprocessing=preprocessing(config),
        weights_digest=weights.digest,
    )

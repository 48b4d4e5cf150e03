"""Pretrained networks as functions from pixels to one row of features per image."""

from fnx.backbones.build import build, check_layers, layer_names
from fnx.backbones.layers import Layer

__all__ = ["Layer", "build", "check_layers", "layer_names"]

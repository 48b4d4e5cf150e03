"""Pretrained networks as functions from pixels to one row of features per image."""

from fnx.backbones.build import build, layer_names
from fnx.backbones.layers import Layer

__all__ = ["Layer", "build", "layer_names"]

"""Weights of Keras: a reader of .h5 files, of weights alone or of a whole model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# Keras 1 wrote block1_conv1_W_1:0, Keras 2 and tf.keras write block1_conv1/kernel:0.
_OLD = re.compile(r"_(?P<kind>[Wb])(_\d+)?$")
_MOST_EXPANSION = 20  # times a file's size: weights hardly compress
_OLD_KINDS = {"W": "kernel", "b": "bias"}


def read_keras(path: Path) -> dict[str, Tensor]:
    """Tensors of a Keras file as ``<layer>.kernel`` and ``<layer>.bias``, in Keras' own layouts.

    Kernels are (height, width, in, out) for convolutions and (in, out) for dense layers.

    Raises:
        OSError: a file that is cut short or no HDF5.
        ValueError: far more values than the file could hold.
    """
    import h5py
    import torch

    tensors: dict[str, Tensor] = {}
    left = _MOST_EXPANSION * path.stat().st_size
    with h5py.File(path, "r") as file:
        layers = file.get("model_weights", file)

        def visit(name: str, node: Any) -> None:
            nonlocal left
            if not isinstance(node, h5py.Dataset):
                return
            left -= node.nbytes
            if left < 0:
                raise ValueError(f"it holds more than {_MOST_EXPANSION} times its size")
            layer, kind = name.split("/", 1)[0], name.rpartition("/")[2].partition(":")[0]
            if old := _OLD.search(kind):
                kind = _OLD_KINDS[old["kind"]]
            tensors[f"{layer}.{kind}"] = torch.from_numpy(np.asarray(node, np.float32))

        for layer, group in layers.items():
            if layer != "optimizer_weights" and isinstance(group, h5py.Group):
                group.visititems(lambda name, node, layer=layer: visit(f"{layer}/{name}", node))
    return tensors

"""Caffe's files as Caffe writes them: by protobuf, from the parts of caffe.proto that matter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

_FLOAT, _INT32, _INT64, _STRING, _MESSAGE, _DOUBLE = 2, 5, 3, 9, 11, 1
_OPTIONAL, _REPEATED = 1, 3

# caffe.proto: message -> (field, number, type or message, repeated, packed)
_PROTO: dict[str, list[tuple[str, int, int | str, bool, bool]]] = {
    "BlobShape": [("dim", 1, _INT64, True, True)],
    "BlobProto": [
        ("num", 1, _INT32, False, False),
        ("channels", 2, _INT32, False, False),
        ("height", 3, _INT32, False, False),
        ("width", 4, _INT32, False, False),
        ("data", 5, _FLOAT, True, True),
        ("diff", 6, _FLOAT, True, True),
        ("shape", 7, "BlobShape", False, False),
        ("double_data", 8, _DOUBLE, True, True),
    ],
    "V1LayerParameter": [
        ("bottom", 2, _STRING, True, False),
        ("top", 3, _STRING, True, False),
        ("name", 4, _STRING, False, False),
        ("type", 5, _INT32, False, False),
        ("blobs", 6, "BlobProto", True, False),
        ("blobs_lr", 7, _FLOAT, True, False),
    ],
    "LayerParameter": [
        ("name", 1, _STRING, False, False),
        ("type", 2, _STRING, False, False),
        ("bottom", 3, _STRING, True, False),
        ("blobs", 7, "BlobProto", True, False),
    ],
    "NetParameter": [
        ("name", 1, _STRING, False, False),
        ("layers", 2, "V1LayerParameter", True, False),
        ("input", 3, _STRING, True, False),
        ("input_dim", 4, _INT32, True, False),
        ("layer", 100, "LayerParameter", True, False),
    ],
}


def message(name: str, *, packed: bool = True) -> Any:
    """A new message of Caffe's; `packed=False` writes each float with a tag of its own."""
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = "caffe_packed" if packed else "caffe_unpacked"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto2"
    )
    for title, fields in _PROTO.items():
        described = file.message_type.add(name=title)
        for field, number, kind, repeated, compact in fields:
            added = described.field.add(
                name=field, number=number, label=_REPEATED if repeated else _OPTIONAL
            )
            if isinstance(kind, str):
                added.type, added.type_name = _MESSAGE, f".{package}.{kind}"
            else:
                added.type = kind
            if compact:
                added.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))()


def write(
    path: Path,
    layers: Mapping[str, tuple[Tensor, ...]],
    *,
    v1: bool,
    packed: bool = True,
    double: bool = False,
) -> Path:
    """A .caffemodel: layers without weights between those with, as in a net that was trained.

    Args:
        path: the file.
        layers: blobs (weight, bias) of each layer.
        v1: the older layer messages, whose blobs have four sizes: Oxford's; else Places365's.
        packed: whether floats follow each other without tags.
        double: whether numbers are doubles.
    """
    net = message("NetParameter", packed=packed)
    net.name = "VGG"
    add = net.layers.add if v1 else net.layer.add
    add(name="data")
    for name, tensors in layers.items():
        layer = add(name=name, bottom=["below"])
        for tensor in tensors:
            blob = layer.blobs.add()
            values = tensor.numpy().ravel()
            if double:
                blob.double_data.extend(values.astype(np.float64))
            else:
                blob.data.extend(values)
            if v1:
                sizes = (1,) * (4 - tensor.ndim) + tuple(tensor.shape)
                blob.num, blob.channels, blob.height, blob.width = sizes
            else:
                blob.shape.dim.extend(tensor.shape)
        if v1:
            layer.blobs_lr.extend([1.0, 2.0])
        add(name=f"relu_{name}")
    if v1:
        net.input_dim.extend([10, 3, 224, 224])
    path.write_bytes(net.SerializeToString())
    return path

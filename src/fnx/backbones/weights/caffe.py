"""Weights of Caffe: a reader of .caffemodel files that needs neither Caffe nor protobuf.

A .caffemodel is one message of protobuf's wire format: fields, each a number, a wire type and a
value. The field numbers are those of Caffe's ``caffe.proto`` (NetParameter and below).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# NetParameter: `layers` (V1LayerParameter, until 2014) and `layer` (LayerParameter); with each the
# numbers of its fields `name` and `blobs`.
_LAYERS = {2: (4, 6), 100: (1, 7)}
_BLOB_SHAPE, _BLOB_DATA, _BLOB_DOUBLES = 7, 5, 8
_BLOB_LEGACY = (1, 2, 3, 4)  # num, channels, height, width: a blob's shape before `shape`

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_NAMES = ("weight", "bias")  # of a layer's first two blobs, in Caffe's order

# A float that is not packed, with the tag that stands before it.
_TAGGED = np.dtype([("tag", "u1"), ("value", "<f4")])

_MOST_FIELDS = 1_000_000  # in a file: a hundred times as many as the largest network has
_MOST_AXES = 32  # as Caffe has it
_LONGEST_NAME = 1_000

Span = tuple[int, int]  # where a message or an array begins and ends in the file


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """Tensors of a .caffemodel as ``<layer>.weight`` and ``<layer>.bias``.

    Convolutions are (out, in, height, width) and inner products (out, in), as in torch; the layers'
    names and the order of conv1_1's input channels (BGR) are the file's. Tensors are float32 and
    lie in the memory-mapped file, not in memory, until they are used.

    Raises:
        ValueError: a file that is cut short or no .caffemodel.
    """
    with path.open("rb") as file:
        # A private map: torch asks for memory that may be written, and the file stays as it is.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    tensors: dict[str, Tensor] = {}
    budget = iter(range(_MOST_FIELDS))
    for number, wire, value in _fields(data, (0, len(data)), budget):
        if number not in _LAYERS or wire != _BYTES:
            continue
        name_field, blobs_field = _LAYERS[number]
        name, blobs = "", []
        for inner, inner_wire, part in _fields(data, value, budget):
            if inner == name_field and inner_wire == _BYTES:
                start, end = part
                if end - start > _LONGEST_NAME:
                    raise ValueError(f"a layer's name has {end - start:,} letters")
                name = data[start:end].decode()
            elif inner == blobs_field and inner_wire == _BYTES:
                blobs.append(part)
        for index, span in enumerate(blobs):
            kind = _NAMES[index] if index < len(_NAMES) else str(index)
            tensors[f"{name}.{kind}"] = _blob(data, span, budget, f"blob {index} of layer {name}")
    if not tensors:
        raise ValueError("it holds no layers with weights, or is no .caffemodel")
    return tensors


def _blob(data: mmap.mmap, span: Span, budget: Iterator[int], what: str) -> Tensor:
    """Return a BlobProto as a tensor on the file's own bytes."""
    import torch

    sizes: list[int] | None = None
    legacy: dict[int, int] = {}
    values: list[NDArray[np.floating[Any]]] = []
    for number, wire, value in _fields(data, span, budget):
        if number == _BLOB_SHAPE and wire == _BYTES:
            sizes = _dimensions(data, value, budget)
        elif number in _BLOB_LEGACY and isinstance(value, int):
            legacy[number] = value
        elif number in (_BLOB_DATA, _BLOB_DOUBLES) and wire == _BYTES:
            start, end = value
            kind = "<f4" if number == _BLOB_DATA else "<f8"
            count = (end - start) // np.dtype(kind).itemsize
            values.append(np.frombuffer(data, kind, count, start))
        elif number == _BLOB_DATA and wire == _FOUR_BYTES:  # not packed: a tag before each value
            start, end = value
            pairs = np.frombuffer(data, _TAGGED, (end - start) // _TAGGED.itemsize, start)
            values.append(pairs["value"].copy())
    if sizes is None:
        sizes = [legacy.get(number, 1) for number in _BLOB_LEGACY]
        # Always four axes then: (1, 1, out, in) for an inner product, (1, 1, 1, out) for a bias.
        if sizes[:2] == [1, 1]:
            sizes = sizes[3:] if sizes[2] == 1 else sizes[2:]
    if len(sizes) > _MOST_AXES:
        raise ValueError(f"{what} has more than {_MOST_AXES} axes")
    found = sum(len(part) for part in values)
    if found != math.prod(sizes):
        raise ValueError(f"{what} has {found} values where its shape {tuple(sizes)} says otherwise")
    array = values[0] if len(values) == 1 else np.concatenate(values or [np.zeros(0)])
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).reshape(sizes)


def _dimensions(data: mmap.mmap, span: Span, budget: Iterator[int]) -> list[int]:
    """Return the sizes of a BlobShape, packed or not, of one axis more than is allowed at most."""
    sizes: list[int] = []
    for number, _, value in _fields(data, span, budget):
        if number != 1 or len(sizes) > _MOST_AXES:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        position, end = value
        while position < end and len(sizes) <= _MOST_AXES:
            size, position = _varint(data, position, end)
            sizes.append(size)
    return sizes


def _fields(data: mmap.mmap, span: Span, budget: Iterator[int]) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field; of all but integers its `Span`.

    Each takes one of `budget`, the fields that a file may have.

    Floats that follow each other unpacked come as one field that begins at the first tag, for a
    layer has millions of them.
    """
    position, end = span
    while position < end:
        if next(budget, None) is None:
            raise ValueError(f"it has more than {_MOST_FIELDS:,} fields, or is no .caffemodel")
        start = position
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        value: int | Span
        if number == 0 or wire not in (_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES):
            raise ValueError(f"it is no .caffemodel, or damaged at byte {start:,}")
        if wire == _VARINT:
            value, position = _varint(data, position, end)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position, end)
            value = (position, position + length)
        elif wire == _EIGHT_BYTES:
            value = (position, position + 8)
        else:
            alone = tag > 0x7F  # a tag of two bytes, which no field of interest has
            floats = 1 if alone else _run(data, start, end, tag)
            value = (position, position + 4) if alone else (start, start + 5 * floats)
        position = value[1]
        if position > end:
            raise ValueError(
                f"it is cut short or damaged: what begins at byte {start:,} needs "
                f"{position - end:,} bytes more"
            )
        yield number, wire, value


def _run(data: mmap.mmap, start: int, end: int, tag: int) -> int:
    """Return how many unpacked floats of the same tag follow each other, at least 1.

    Looks twice as far each time, so that many short runs do not take a look at all the rest each.
    """
    count, step, most = 0, 16, (end - start) // _TAGGED.itemsize
    while count < most:
        pairs = np.frombuffer(
            data, _TAGGED, min(step, most - count), start + count * _TAGGED.itemsize
        )
        others = pairs["tag"] != tag
        if others.any():
            return max(count + int(others.argmax()), 1)
        count += len(pairs)
        step *= 2
    return max(count, 1)


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """Read an integer in groups of seven bits, the lowest first; return where it ends too."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
    raise ValueError(f"it is cut short or damaged at byte {position:,}")

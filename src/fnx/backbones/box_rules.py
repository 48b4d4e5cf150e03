"""What each of torch's operations does to the boxes of its inputs.

A rule takes the operation, its arguments by name, its outputs, and what gives a tensor's boxes; it
returns the boxes of the outputs (one or a list), or None where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from fnx.backbones.box_windows import (
    adaptive_pool,
    convolution,
    interpolated,
    nearest,
    pool,
    unfolded,
)
from fnx.backbones.boxes import Boxes, Rule, beyond, least_kept, united, varies


def pointwise(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes:
    """Each element depends on those of the operands at its place, but for gates."""
    shape = outputs[0].shape
    operands = [a for a in tree_flatten(list(named.values()))[0] if of(a) is not None]
    spread = [tuple(edge.expand(shape) for edge in of(a)) for a in operands]
    gates = [_is_gate(operands, spread, i) for i in range(len(operands))]
    return united([own for own, gate in zip(spread, gates, strict=True) if not gate], shape)


def _is_gate(operands: Sequence[Tensor], boxes: Sequence[Boxes], which: int) -> bool:
    """Whether an operand is one summary of the image, broadcast over the map of another."""
    own, ndim = operands[which], boxes[which][0].ndim
    sizes = [1] * (ndim - own.ndim) + list(own.shape)
    strides = [0] * (ndim - own.ndim) + list(own.stride())
    repeated = [
        dim
        for dim, whole in enumerate(boxes[which][0].shape)
        if whole > 1 and (sizes[dim] == 1 or strides[dim] == 0)
    ]
    if not repeated or any(varies(edge, range(ndim)) for edge in boxes[which]):
        return False
    others = [other for i, other in enumerate(boxes) if i != which]
    return any(varies(edge, repeated) for other in others for edge in other)


def _constant(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    return [None] * len(outputs)


def _same(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
    own: Boxes | None = of(next(iter(named.values())))
    return own if own is not None and own[0].shape == outputs[0].shape else None


def _copied(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
    own = of(named["src"])
    return None if own is None else tuple(edge.expand(outputs[0].shape) for edge in own)


def _along(*names: str, channel: Callable[[dict[str, Any]], int] | None = None) -> Rule:
    """Every element depends on all that share its other coordinates."""

    def rule(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
        own = of(next(iter(named.values())))
        dim = channel(named) if channel else next((named[n] for n in names if n in named), -1)
        if own is None:
            return None
        return tuple(Tensor.expand(least_kept(edge, [dim]), outputs[0].shape) for edge in own)

    return rule


# Elements that move -------------------------------------------------------------------------------


def _moved(func: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """The same operation done to the boxes; what does not come from the image has empty ones."""
    others = [v for v in tree_flatten(list(named.values())[1:])[0] if isinstance(v, Tensor)]
    if any(other.device.type == "meta" or of(other) is not None for other in others):
        return None  # indices whose values nobody knows, or that are made from the image

    def edge_of(tensor: Any, edge: int) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        own = of(tensor)
        return torch.tensor(math.inf).expand(tensor.shape) if own is None else own[edge]

    first, found = next(iter(named)), []
    for edge in range(4):
        value = tree_map(lambda tensor, edge=edge: edge_of(tensor, edge), named[first])
        moved = func(**{**named, first: value})
        found.append(list(moved) if isinstance(moved, (list, tuple)) else [moved])
    return [tuple(parts) for parts in zip(*found, strict=True)]


def _viewed(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
    own = of(named["self"])
    if outputs[0].numel() != own[0].numel():  # seen as another type
        return None
    return tuple(edge.reshape(outputs[0].shape) for edge in own)


def _padded(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes:
    pads, found = named["pad"], []
    for edge in of(named["self"]):
        for i in range(len(pads) // 2):
            edge = beyond(edge, edge.ndim - 1 - i, pads[2 * i], pads[2 * i + 1])
        found.append(edge)
    return tuple(found)


# Sums over elements -------------------------------------------------------------------------------


def reduction(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """A sum, mean, maximum or deviation depends on all that it goes over."""
    own = of(next(iter(named.values())))
    dims = named["dim"]
    dims = [dims] if isinstance(dims, int) else list(dims or range(own[0].ndim))
    shape = [1 if d in {x % own[0].ndim for x in dims} else s for d, s in enumerate(own[0].shape)]
    found = tuple(
        Tensor.expand(least_kept(edge, dims), shape).reshape(outputs[0].shape) for edge in own
    )
    return [found] * len(outputs)


def _product(left: str, right: str) -> Rule:
    """A product of matrices: a row of the one and a column of the other."""

    def rule(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
        parts = []
        for name, dim in ((left, -1), (right, -2)):
            if (own := of(named[name])) is not None:
                dim = dim if own[0].ndim > 1 else -1
                parts.append(tuple(least_kept(edge, [dim]) for edge in own))
        if (own := of(named.get("self"))) is not None and left != "self":  # what is added to it
            parts.append(own)
        shape = outputs[0].shape
        return united([tuple(e.expand(shape) for e in own) for own in parts], shape)

    return rule


def attention(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """Each query's own box, and those of all keys and values beside it."""
    shape, parts = outputs[0].shape, []
    for name, dims in (("query", [-1]), ("key", [-2, -1]), ("value", [-2, -1])):
        if (own := of(named[name])) is not None:
            if own[0].shape[:-2] != shape[:-2]:  # heads that share keys
                return None
            parts.append(tuple(least_kept(edge, dims).expand(shape) for edge in own))
    return united(parts, shape)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("permute", "transpose", "t", "expand", "unsqueeze", "squeeze", "select", "slice"),
            *("split", "split_with_sizes", "unbind", "flip", "roll", "repeat", "unfold", "cat"),
            *("stack", "index", "index_select", "gather", "pixel_shuffle", "pixel_unshuffle"),
            *("channel_shuffle", "diagonal", "reflection_pad2d", "replication_pad2d", "alias"),
        ),
        _moved,
    ),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _viewed),
    **dict.fromkeys(
        (
            *("clone", "detach", "_to_copy", "lift_fresh", "contiguous", "dropout"),
            *("native_batch_norm", "_native_batch_norm_legit_no_training"),
            *("_native_batch_norm_legit", "cudnn_batch_norm", "miopen_batch_norm"),
            *("_batch_norm_no_update", "_batch_norm_with_update", "native_dropout"),
        ),
        _same,
    ),
    # Element by element, though torch does not say so of them.
    **dict.fromkeys(("hardswish", "mish", "_prelu_kernel", "rsub"), pointwise),
    **dict.fromkeys(
        ("ones_like", "zeros_like", "empty_like", "new_zeros", "new_ones", "new_empty"), _constant
    ),
    "copy": _copied,
    "constant_pad_nd": _padded,
    "native_group_norm": _along(channel=lambda named: 1),
    "native_layer_norm": _along(channel=lambda named: -len(named["normalized_shape"])),
    "_fused_rms_norm": _along(channel=lambda named: -len(named["normalized_shape"])),
    **dict.fromkeys(
        ("_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "logcumsumexp"),
        _along("dim"),
    ),
    "convolution": convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "max_pool2d"), pool),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), adaptive_pool
    ),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), nearest),
    "im2col": unfolded,
    "upsample_bilinear2d": interpolated(1),
    "upsample_bicubic2d": interpolated(2),
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2"),
    "baddbmm": _product("batch1", "batch2"),
}

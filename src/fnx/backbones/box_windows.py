"""Boxes after operations that slide a window over a map: convolutions, pools, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fnx.backbones.boxes import Boxes, Rule, beyond, narrowed


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _slid(
    edge: Tensor, out: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any = 1
) -> Tensor:
    """The least over each window of the last two dimensions, (N, C, H, W) to (N, C, *out)."""
    kernel, padding, dilation = _pair(kernel), _pair(padding), _pair(dilation)
    stride = _pair(stride) if stride else kernel
    for axis in range(2):
        reach = (out[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        after = reach - padding[axis] - edge.shape[2 + axis]
        edge = beyond(edge, 2 + axis, padding[axis], max(0, after))
    slid = -functional.max_pool2d(-edge, kernel, stride, 0, dilation)
    return slid[..., : out[0], : out[1]]


def pool(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """Means and maxima over windows of a fixed size."""
    own, out = of(named["self"]), outputs[0]
    if out.ndim != 4:
        return None
    windows = (named["kernel_size"], named.get("stride"), named.get("padding", 0))
    found = tuple(
        Tensor.expand(
            _slid(_flat(edge), out.shape[2:], *windows, dilation=named.get("dilation", 1)),
            out.shape,
        )
        for edge in own
    )
    return [found] * len(outputs)


def adaptive_pool(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """Means and maxima over windows that share a map out evenly."""
    out = outputs[0]
    found = tuple(
        Tensor.expand(-functional.adaptive_max_pool2d(-_flat(edge), out.shape[-2:]), out.shape)
        for edge in of(named["self"])
    )
    return [found] * len(outputs)


def _flat(edge: Tensor) -> Tensor:
    """Narrowed but in the last two dimensions, which a window needs."""
    return narrowed(edge).expand(*narrowed(edge).shape[:-2], *edge.shape[-2:])


def convolution(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """A convolution, transposed or not: all channels of the group, all elements of the window."""
    own, out, weight = of(named["input"]), outputs[0], named["weight"]
    if own is None or out.ndim != 4:
        return None
    groups, kernel = named["groups"], weight.shape[2:]
    found = []
    for edge in own:
        value = _flat(edge)
        if value.shape[1] > 1:  # else all channels are alike
            value = value.reshape(len(value), groups, -1, *value.shape[2:]).amin(2)
        if named["transposed"]:
            value = _spread(value, out.shape[2:], kernel, named)
        else:
            value = _slid(
                value, out.shape[2:], kernel, named["stride"], named["padding"], named["dilation"]
            )
        if value.shape[1] > 1:
            each = out.shape[1] // groups
            value = value.unsqueeze(2).expand(-1, -1, each, -1, -1).flatten(1, 2)
        found.append(Tensor.expand(value, out.shape))
    return tuple(found)


def _spread(value: Tensor, out: Sequence[int], kernel: Any, named: dict[str, Any]) -> Tensor:
    """A transposed convolution's windows: the input's elements, `stride` apart, slid over."""
    stride, padding, dilation = (_pair(named[k]) for k in ("stride", "padding", "dilation"))
    before = []
    for axis in range(2):
        reach = dilation[axis] * (kernel[axis] - 1)
        more = -(-reach // stride[axis])
        value = beyond(value, 2 + axis, more, more)
        apart = value.new_full(
            [
                *value.shape[: 2 + axis],
                value.shape[2 + axis] * stride[axis],
                *value.shape[3 + axis :],
            ],
            math.inf,
        )
        apart.narrow(2 + axis, 0, apart.shape[2 + axis])[
            (slice(None),) * (2 + axis) + (slice(None, None, stride[axis]),)
        ] = value
        value = apart
        # Output o takes inputs i with i · stride = o + padding − dilation · tap.
        before.append(more * stride[axis] + padding[axis] - reach)
    value = value[..., max(0, before[0]) :, max(0, before[1]) :]
    return _slid(value, out, kernel, 1, 0, dilation)


def unfolded(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
    """Neighbourhoods side by side as channels."""
    found = []
    for edge in of(named["self"]):
        if edge.ndim != 4:
            return None
        for axis, padding in enumerate(_pair(named["padding"])):
            edge = beyond(edge, 2 + axis, padding, padding)
        size, dilation, stride = (named[k] for k in ("kernel_size", "dilation", "stride"))
        found.append(functional.unfold(edge, size, dilation, 0, stride))
    return tuple(found)


def nearest(func: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """Interpolation that repeats elements."""
    first = next(iter(named))
    return tuple(func(**{**named, first: edge.contiguous()}) for edge in of(named[first]))


def interpolated(reach: int) -> Rule:
    """Bilinear (reach 1) and bicubic (2) interpolation: the elements on each side."""

    def rule(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
        own, out = of(next(iter(named.values()))), outputs[0]
        if own is None or out.ndim != 4:
            return None
        found = []
        for edge in own:
            value = _flat(edge)
            for axis in (2, 3):
                value = _between(value, axis, out.shape[axis], reach, named["align_corners"])
            found.append(Tensor.expand(value, out.shape))
        return tuple(found)

    return rule


def _between(value: Tensor, axis: int, count: int, reach: int, corners: bool) -> Tensor:
    size = value.shape[axis]
    if count == size:
        return value
    place = torch.arange(count, dtype=torch.float64)
    if corners:
        place = place * (size - 1) / max(1, count - 1)
    else:
        place = (place + 0.5) * size / count - 0.5
    first = place.floor().long() - reach + 1
    taps = [(first + tap).clamp(0, size - 1) for tap in range(2 * reach)]
    return reduce(torch.minimum, [value.index_select(axis, tap) for tap in taps])

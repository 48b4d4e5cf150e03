"""What an element of a network's maps depends on: its functions made simple and positive."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class DependenceOnly(TorchFunctionMode):
    """Makes a network's functions simple ones that depend on the same elements of their inputs.

    What follows is linear with positive weights, so that nothing cancels and no activation is flat;
    a layer's units are computed once, as a tensor expanded over them. Left out are gates (one value
    per channel of a whole map, as of squeeze-and-excitation) and the statistics of norms, through
    which every unit depends a little on the whole image.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        rule = _RULES.get(getattr(func, "__name__", ""))
        first = args[0] if args and isinstance(args[0], (list, tuple)) else args
        if rule is None or not any(isinstance(a, Tensor) and a.requires_grad for a in first):
            return func(*args, **(kwargs or {}))
        return rule(func, *args, **(kwargs or {}))


def expand(value: Tensor, *shape: int) -> Tensor:
    """Expand a tensor as its method does, so that `narrowed` finds the one that was expanded."""
    expanded = value.expand(*shape)
    expanded.unexpanded = value  # type: ignore[attr-defined]
    return expanded


def narrowed(value: Tensor, *dims: int) -> Tensor:
    """Undo an expansion over `dims`, all but the first by default."""
    dims = dims or tuple(range(1, value.ndim))
    # Taking the original is the same as narrowing, and does without gradients of full size.
    thin: Tensor = getattr(value, "unexpanded", value)
    if any(thin.shape[dim] != value.shape[dim] for dim in set(range(value.ndim)) - set(dims)):
        thin = value
    for dim in dims:
        if thin.stride(dim) == 0 and thin.shape[dim] > 1:
            thin = thin.narrow(dim, 0, 1)
    return thin


def _first(func: Any, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return value


def _sum(func: Any, *args: Any, **_: Any) -> Tensor:
    tensors = [value for value in args if isinstance(value, Tensor)]
    shape = np.broadcast_shapes(*(value.shape for value in tensors))
    seen = [narrowed(value) for value in tensors if value.requires_grad]
    parts = [value for value in seen if not any(_gates(value, other) for other in seen)]
    return expand(functools.reduce(operator.add, parts), *shape)


def _gates(value: Tensor, other: Tensor) -> bool:
    """Tell whether `value` holds one value per channel of the map `other`, of either layout."""
    return value.ndim == other.ndim == 4 and any(
        value.shape[a] == value.shape[b] == 1 and other.shape[a] > 1 and other.shape[b] > 1
        for a, b in ((2, 3), (1, 2))
    )


def _convolution(
    func: Any,
    value: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    value = narrowed(value, 1)
    groups = 1 if value.shape[1] == 1 else groups
    value = value.reshape(len(value), groups, -1, *value.shape[2:]).mean(2).flatten(0, 1)[:, None]
    kernel = value.new_full((1, 1, *weight.shape[2:]), 1 / weight[0, 0].numel())
    found: Tensor = func(value, kernel, None, stride, padding, dilation)
    found = found.reshape(-1, groups, *found.shape[1:])
    if groups == 1:
        return expand(found[:, 0], -1, len(weight), *found.shape[3:])
    return found.expand(-1, -1, len(weight) // groups, *found.shape[3:]).flatten(1, 2)


def _linear(func: Any, value: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    mean = narrowed(value, value.ndim - 1).mean(-1, keepdim=True)
    return expand(mean, *value.shape[:-1], len(weight))


def _per_channel(func: Any, value: Tensor, /, *args: Any, **named: Any) -> Tensor:
    found: Tensor = func(narrowed(value, 1), *args, **named)
    return expand(found, -1, value.shape[1], *found.shape[2:])


def _pad(func: Any, value: Tensor, pad: Any, /, *args: Any, **named: Any) -> Tensor:
    rule = _per_channel if len(pad) <= 2 * (value.ndim - 2) else operator.call
    return rule(func, value, pad, *args, **named)


def _max_pool(
    func: Any,
    value: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    **_: Any,
) -> Tensor:
    mean = functional.avg_pool2d
    return _per_channel(mean, value, kernel_size, stride, padding, ceil_mode)


def _adaptive_max_pool(func: Any, value: Tensor, output_size: Any, **_: Any) -> Tensor:
    return _per_channel(functional.adaptive_avg_pool2d, value, output_size)


def _concatenated(func: Any, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return channels that each depend on all tensors, as do those of the layer that comes next."""
    if dim != 1 or tensors[0].ndim != 4:
        return torch.cat(tuple(tensors), dim)
    channels = sum(value.shape[1] for value in tensors)
    parts = [narrowed(value, 1).mean(1, keepdim=True) for value in tensors if value.requires_grad]
    return expand(functools.reduce(operator.add, parts), -1, channels, -1, -1)


def _attention(func: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Return tokens that each depend on one of `query`, and on all of `key` and `value`.

    As if nothing were masked; the table of all pairs of tokens, which may fill the memory, is not
    made.
    """
    shape = *query.shape[:-1], value.shape[-1]
    mixed = (-2,) if value.ndim < 4 else (-3, -2)  # tokens, and heads, whose number may differ
    parts = [narrowed(whole).mean(mixed, keepdim=True) for whole in (key, value)]
    seen = [part for part in (narrowed(query), *parts) if part.requires_grad]
    return expand(functools.reduce(operator.add, seen), *shape)


def _reshape(func: Any, value: Tensor, *shape: Any) -> Tensor:
    return value.reshape(*shape)


_RULES: Mapping[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    "linear": _linear,
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "interpolate"), _per_channel),
    "pad": _pad,
    "max_pool2d": _max_pool,
    "adaptive_max_pool2d": _adaptive_max_pool,
    "cat": _concatenated,
    "scaled_dot_product_attention": _attention,
    "view": _reshape,
    **dict.fromkeys(
        (
            *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"),
            *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "gelu", "silu", "hardswish"),
            *("leaky_relu", "elu", "mish", "sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_"),
        ),
        _first,
    ),
    **dict.fromkeys(
        (
            *("add", "add_", "__add__", "__iadd__", "__radd__", "sub", "sub_", "__isub__"),
            *("mul", "mul_", "__mul__", "__imul__", "__rmul__", "div", "div_", "__truediv__"),
            # Those of one tensor as well, which may fall where it grows, as norms made of them do.
            *("__rsub__", "__rdiv__", "neg", "reciprocal", "rsqrt", "sqrt", "square", "exp"),
            *("pow", "__rpow__"),
        ),
        _sum,
    ),
}

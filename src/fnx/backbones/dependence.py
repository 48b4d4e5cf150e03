"""What an element of a network's maps depends on: its functions made simple and positive."""

from __future__ import annotations

import functools
import math
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
    per channel of a whole map, as of squeeze-and-excitation), the weights of attention and the
    statistics of norms, through which every unit depends a little on the whole image.
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


def _unexpanded(value: Tensor) -> Tensor:
    """Return the tensor that was expanded by `expand`; another one as it is."""
    original: Tensor = getattr(value, "unexpanded", value)
    return original


def narrowed(value: Tensor, *dims: int) -> Tensor:
    """Undo an expansion over `dims`, all but the first by default."""
    dims = dims or tuple(range(1, value.ndim))
    # Taking the original is the same as narrowing, and does without gradients of full size.
    thin = _unexpanded(value)
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
    thin = _unexpanded(value)
    padded = {value.ndim - 1 - i // 2 for i, size in enumerate(pad) if size}
    if thin is not value and all(thin.shape[dim] == value.shape[dim] for dim in padded):
        return _moved(func, value, pad, *args, **named)
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


def _softmax(func: Any, value: Tensor, dim: int | None = None, *_: Any, **__: Any) -> Tensor:
    """Return equal weights: those of attention tell how much of what is seen, not what is seen.

    Attention among channels is a gate so. Gradients of equal weights cancel, but for rounding.
    """
    return value.new_tensor(1 / value.shape[-1 if dim is None else dim]).expand(value.shape)


def _moved(func: Any, value: Tensor, /, *args: Any, **named: Any) -> Tensor:
    """Order or shift the elements of the tensor that was expanded."""
    found: Tensor = func(_unexpanded(value), *args, **named)
    return expand(found, *_shape_of(func, value, *args, **named))


def _roll(func: Any, value: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    return _moved(func, value, shifts, dims) if dims != () else func(value, shifts)


def _parts(func: Any, value: Tensor, /, *args: Any, **named: Any) -> Sequence[Tensor]:
    """Take apart the tensor that was expanded; along a dimension of it all parts are the same."""
    thin, unbound = _unexpanded(value), func.__name__ == "unbind"
    dim = named.get("dim", ([0, *args] if unbound else [0, 0, *args[1:]])[-1])
    shapes = [part.shape for part in func(_unmade(value), *args, **named)]
    if thin.shape[dim] == value.shape[dim]:
        parts = func(thin, *args, **named)
    else:
        parts = [thin.squeeze(dim) if unbound else thin] * len(shapes)
    return tuple(expand(part, *shape) for part, shape in zip(parts, shapes, strict=True))


def _item(func: Any, value: Tensor, index: Any) -> Tensor:
    """Index the tensor that was expanded; along a dimension of it all items are the same."""
    thin = _unexpanded(value)
    keys = list(index) if isinstance(index, tuple) else [index]
    if not all(type(key) in (int, slice, type(...)) for key in keys):
        found: Tensor = func(value, index)
        return found
    at = keys.index(...) if ... in keys else len(keys)
    keys[at : at + 1] = [slice(None)] * (value.ndim - len(keys) + (at < len(keys)))
    for dim, key in enumerate(keys):
        if thin.shape[dim] != value.shape[dim]:
            keys[dim] = 0 if isinstance(key, int) else slice(None)
    return expand(func(thin, tuple(keys)), *_shape_of(func, value, index))


def _reshape(func: Any, value: Tensor, /, *args: Any, **named: Any) -> Tensor:
    """Reshape the tensor that was expanded, where no new dimension is expanded in part."""
    if args and isinstance(args[0], torch.dtype):
        found: Tensor = func(value, *args, **named)
        return found
    shape = _shape_of(func, value, *args, **named)
    thin = _unexpanded(value)
    small = _unexpanded_shape(thin.shape, value.shape, shape)
    return value.reshape(shape) if small is None else expand(thin.reshape(small), *shape)


def _unexpanded_shape(
    thin: Sequence[int], old: Sequence[int], new: Sequence[int]
) -> list[int] | None:
    """Return the shape of `thin`, which `old` is expanded from, where `old` is reshaped to `new`.

    None where a new dimension would be expanded in part.

    >>> _unexpanded_shape((4, 5, 7, 1), (4, 5, 7, 6), (20, 7, 3, 2))
    [20, 7, 1, 1]
    """
    found: list[int] = []
    before, after = 0, 0
    while before < len(old) or after < len(new):  # dimensions that begin and end together
        first, first_new = before, after
        before, after = min(before + 1, len(old)), min(after + 1, len(new))
        while (size := math.prod(old[first:before])) != (other := math.prod(new[first_new:after])):
            before, after = before + (size < other), after + (size > other)
        if thin[first:before] == old[first:before]:
            found += new[first_new:after]
        elif math.prod(thin[first:before]) == 1:
            found += [1] * (after - first_new)
        else:
            return None
    return found


def _shape_of(func: Any, value: Tensor, /, *args: Any, **named: Any) -> torch.Size:
    found: Tensor = func(_unmade(value), *args, **named)
    return found.shape


def _unmade(value: Tensor) -> Tensor:
    return torch.empty(value.shape, device="meta")


_RULES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    "linear": _linear,
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "interpolate"), _per_channel),
    "pad": _pad,
    "max_pool2d": _max_pool,
    "adaptive_max_pool2d": _adaptive_max_pool,
    "cat": _concatenated,
    "scaled_dot_product_attention": _attention,
    "softmax": _softmax,
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten"), _reshape),
    **dict.fromkeys(("permute", "transpose", "movedim", "swapaxes", "swapdims"), _moved),
    **dict.fromkeys(("unbind", "split", "chunk"), _parts),
    "roll": _roll,
    "__getitem__": _item,
    "contiguous": _first,
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

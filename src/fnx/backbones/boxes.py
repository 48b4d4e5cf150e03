"""Which pixels each value of a forward pass depends on, followed from tensor to tensor.

Beside every tensor that comes from the image go four of the same shape: the edges of the box of
pixels that each element depends on. What moves elements (reshapes, windows, rolls, concatenations)
moves the boxes; what mixes elements (convolutions, pools, products, softmax) unites them. So
nothing has to be known of a network's layout, and an operation without a rule is still sound: each
of its outputs depends on the union of all its inputs.

Where a map is padded its boxes go on beyond its edge at their own distance, so that they are as
large at the border as inside; cut to the image they are what a unit can see.

Three things are left out, for they would make the whole image of every box: what is broadcast from
one value a channel to a whole map (squeeze-and-excitation and its kin, global context), the means
and deviations over a map that group, instance and global response norms divide by, and weights that
are themselves made from the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten

Boxes = tuple[Tensor, ...]
"""top, left, −bottom and −right of each element's box: the union of boxes is the minimum of each.
An element that depends on no pixel has +inf in all four."""

Rule = Callable[[Any, dict[str, Any], Sequence[Tensor], Callable[[Any], "Boxes | None"]], Any]


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, keeps the boxes of every tensor that comes from the `images` given."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._boxes: Any = WeakTensorKeyDictionary()
        height, width = images.shape[-2:]
        rows = torch.arange(height, dtype=torch.float32)[:, None].expand(images.shape)
        columns = torch.arange(width, dtype=torch.float32).expand(images.shape)
        self._boxes[images] = (rows, columns, -rows - 1, -columns - 1)

    def of(self, value: Any) -> Boxes | None:
        """The boxes of a tensor; None for what does not come from the image."""
        found: Boxes | None = self._boxes.get(value) if isinstance(value, Tensor) else None
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, and give its outputs their boxes."""
        kwargs = kwargs or {}
        names = [argument.name for argument in func._schema.arguments]
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        boxes = [own for a in tree_flatten(named)[0] if (own := self.of(a)) is not None]
        target = named.get("self")
        before = self.of(target)
        result = func(*args, **kwargs)
        outputs = [r for r in tree_flatten(result)[0] if isinstance(r, Tensor)]
        if not boxes or not outputs:
            return result
        found = self._apply(func, named, outputs, boxes)
        for output, own in zip(outputs, found, strict=True):
            if own is not None:
                self._boxes[output] = own
        if func._schema.is_mutable and isinstance(target, Tensor) and target._is_view():
            self._into_base(target, before)
        return result

    def _apply(
        self, func: Any, named: dict[str, Any], outputs: Sequence[Tensor], boxes: Sequence[Any]
    ) -> list[Boxes | None]:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
        if rule is None and name.startswith("_scaled_dot_product"):
            rule = _attention
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = _pointwise
        if rule is None and torch.Tag.reduction in func.tags and "dim" in named:
            rule = _reduction
        found = None if rule is None else rule(func, named, outputs, self.of)
        if found is None:
            found = [_everything(boxes, output) for output in outputs]
        elif found and isinstance(found[0], Tensor):
            found = [found]
        found = [*found, *[None] * (len(outputs) - len(found))]
        for output, own in zip(outputs, found, strict=True):
            assert own is None or own[0].shape == output.shape, (name, own[0].shape, output.shape)
        return found

    def _into_base(self, view: Tensor, before: Boxes | None) -> None:
        """What is written into a part of a tensor is somewhere in the tensor from now on."""
        base, written = view._base, self.of(view)
        if base is not None and written is not None and written is not before:
            known = [written, *([own] if (own := self.of(base)) is not None else [])]
            self._boxes[base] = _everything(known, base)


def _everything(boxes: Sequence[Boxes], output: Tensor) -> Boxes:
    """Every element of `output` depends on all that is in `boxes`."""
    return tuple(
        reduce(torch.minimum, [_narrowed(own[edge]).amin() for own in boxes]).expand(output.shape)
        for edge in range(4)
    )


def _narrowed(value: Tensor) -> Tensor:
    """Without the repetitions of a dimension along which a tensor was expanded."""
    for dim, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        if size > 1 and stride == 0:
            value = value.narrow(dim, 0, 1)
    return value


def least(value: Tensor, dim: int) -> Tensor:
    """The minimum over a dimension, which goes."""
    whole = value.select(dim, 0).shape
    return _narrowed(value).amin(dim).expand(whole)


def _least(value: Tensor, dims: Sequence[int]) -> Tensor:
    """The minimum over some dimensions, which stay."""
    return _narrowed(value).amin(tuple(dims), keepdim=True)


# Elements that stay where they are ----------------------------------------------------------------


def _pointwise(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes:
    shape = outputs[0].shape
    operands = [a for a in tree_flatten(list(named.values()))[0] if of(a) is not None]
    spread = [tuple(edge.expand(shape) for edge in of(a)) for a in operands]
    gates = [_is_gate(operands, spread, i) for i in range(len(operands))]
    return _united([own for own, gate in zip(spread, gates, strict=True) if not gate], shape)


def _united(parts: Sequence[Boxes], shape: Sequence[int]) -> Boxes:
    if len(parts) == 1:
        return parts[0]
    return tuple(
        reduce(torch.minimum, [_narrowed(own[edge]) for own in parts]).expand(tuple(shape))
        for edge in range(4)
    )


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
    if not repeated or any(_varies(edge, range(ndim)) for edge in boxes[which]):
        return False
    others = [other for i, other in enumerate(boxes) if i != which]
    return any(_varies(edge, repeated) for other in others for edge in other)


def _varies(edge: Tensor, dims: Sequence[int]) -> bool:
    value = _narrowed(edge)
    return bool((value.amin(tuple(dims)) != value.amax(tuple(dims))).any())


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
        return tuple(Tensor.expand(_least(edge, [dim]), outputs[0].shape) for edge in own)

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


def _beyond(value: Tensor, dim: int, before: int, after: int) -> Tensor:
    """`value` continued along a dimension at its own distance (negative: cut)."""
    size = value.shape[dim]
    if before < 0 or after < 0:
        value = value.narrow(dim, max(0, -before), size + min(0, before) + min(0, after))
    parts, last = [value], value.shape[dim] - 1

    def continued(edge: int, inner: int, count: int) -> Tensor:
        start = value.narrow(dim, edge, 1)
        # Boxes that are not finite depend on nothing, and neither do those beyond them.
        step = (start - value.narrow(dim, inner, 1)).nan_to_num(0, posinf=math.inf, neginf=0)
        shape = [1] * value.ndim
        shape[dim] = count
        return start + step * torch.arange(1, count + 1, dtype=value.dtype).reshape(shape)

    if before > 0:
        parts.insert(0, continued(0, min(1, last), before).flip(dim))
    if after > 0:
        parts.append(continued(last, max(0, last - 1), after))
    return torch.cat(parts, dim) if len(parts) > 1 else value


def _padded(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes:
    pads, found = named["pad"], []
    for edge in of(named["self"]):
        for i in range(len(pads) // 2):
            edge = _beyond(edge, edge.ndim - 1 - i, pads[2 * i], pads[2 * i + 1])
        found.append(edge)
    return tuple(found)


# Windows ------------------------------------------------------------------------------------------


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
        edge = _beyond(edge, 2 + axis, padding[axis], max(0, after))
    slid = -functional.max_pool2d(-edge, kernel, stride, 0, dilation)
    return slid[..., : out[0], : out[1]]


def _pool(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
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


def _adaptive(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    out = outputs[0]
    found = tuple(
        Tensor.expand(-functional.adaptive_max_pool2d(-_flat(edge), out.shape[-2:]), out.shape)
        for edge in of(named["self"])
    )
    return [found] * len(outputs)


def _flat(edge: Tensor) -> Tensor:
    """Narrowed but in the last two dimensions, which a window needs."""
    return _narrowed(edge).expand(*_narrowed(edge).shape[:-2], *edge.shape[-2:])


def _convolution(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
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
        value = _beyond(value, 2 + axis, more, more)
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


def _unfolded(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
    """Neighbourhoods side by side as channels."""
    found = []
    for edge in of(named["self"]):
        if edge.ndim != 4:
            return None
        for axis, padding in enumerate(_pair(named["padding"])):
            edge = _beyond(edge, 2 + axis, padding, padding)
        size, dilation, stride = (named[k] for k in ("kernel_size", "dilation", "stride"))
        found.append(functional.unfold(edge, size, dilation, 0, stride))
    return tuple(found)


def _nearest(func: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    first = next(iter(named))
    return tuple(func(**{**named, first: edge.contiguous()}) for edge in of(named[first]))


def _interpolated(reach: int) -> Rule:
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


# Sums over elements -------------------------------------------------------------------------------


def _reduction(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    own = of(next(iter(named.values())))
    dims = named["dim"]
    dims = [dims] if isinstance(dims, int) else list(dims or range(own[0].ndim))
    shape = [1 if d in {x % own[0].ndim for x in dims} else s for d, s in enumerate(own[0].shape)]
    found = tuple(
        Tensor.expand(_least(edge, dims), shape).reshape(outputs[0].shape) for edge in own
    )
    return [found] * len(outputs)


def _product(left: str, right: str) -> Rule:
    """A product of matrices: a row of the one and a column of the other."""

    def rule(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Boxes | None:
        parts = []
        for name, dim in ((left, -1), (right, -2)):
            if (own := of(named[name])) is not None:
                dim = dim if own[0].ndim > 1 else -1
                parts.append(tuple(_least(edge, [dim]) for edge in own))
        if (own := of(named.get("self"))) is not None and left != "self":  # what is added to it
            parts.append(own)
        shape = outputs[0].shape
        return _united([tuple(e.expand(shape) for e in own) for own in parts], shape)

    return rule


def _attention(_: Any, named: dict[str, Any], outputs: Sequence[Tensor], of: Any) -> Any:
    """Each query's own box, and those of all keys and values beside it."""
    shape, parts = outputs[0].shape, []
    for name, dims in (("query", [-1]), ("key", [-2, -1]), ("value", [-2, -1])):
        if (own := of(named[name])) is not None:
            if own[0].shape[:-2] != shape[:-2]:  # heads that share keys
                return None
            parts.append(tuple(_least(edge, dims).expand(shape) for edge in own))
    return _united(parts, shape)


_RULES: dict[str, Rule] = {
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
    **dict.fromkeys(("hardswish", "mish", "_prelu_kernel", "rsub"), _pointwise),
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
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "max_pool2d"), _pool),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive
    ),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), _nearest),
    "im2col": _unfolded,
    "upsample_bilinear2d": _interpolated(1),
    "upsample_bicubic2d": _interpolated(2),
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2"),
    "baddbmm": _product("batch1", "batch2"),
}

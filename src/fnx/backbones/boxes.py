"""Boxes of pixels beside the elements of a tensor, and how they are united and continued."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

Boxes = tuple[Tensor, ...]
"""top, left, −bottom and −right of each element's box: the union of boxes is the minimum of each.
An element that depends on no pixel has +inf in all four."""

Rule = Callable[[Any, dict[str, Any], Sequence[Tensor], Callable[[Any], Boxes | None]], Any]


def everything(boxes: Sequence[Boxes], output: Tensor) -> Boxes:
    """Every element of `output` depends on all that is in `boxes`."""
    return tuple(
        reduce(torch.minimum, [narrowed(own[edge]).amin() for own in boxes]).expand(output.shape)
        for edge in range(4)
    )


def narrowed(value: Tensor) -> Tensor:
    """Without the repetitions of a dimension along which a tensor was expanded."""
    for dim, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        if size > 1 and stride == 0:
            value = value.narrow(dim, 0, 1)
    return value


def least(value: Tensor, dim: int) -> Tensor:
    """The minimum over a dimension, which goes."""
    whole = value.select(dim, 0).shape
    return narrowed(value).amin(dim).expand(whole)


def least_kept(value: Tensor, dims: Sequence[int]) -> Tensor:
    """The minimum over some dimensions, which stay."""
    return narrowed(value).amin(tuple(dims), keepdim=True)


def united(parts: Sequence[Boxes], shape: Sequence[int]) -> Boxes:
    """The union of several boxes at each place of `shape`."""
    if len(parts) == 1:
        return parts[0]
    return tuple(
        reduce(torch.minimum, [narrowed(own[edge]) for own in parts]).expand(tuple(shape))
        for edge in range(4)
    )


def varies(edge: Tensor, dims: Sequence[int]) -> bool:
    """Whether an edge changes along some dimensions."""
    value = narrowed(edge)
    return bool((value.amin(tuple(dims)) != value.amax(tuple(dims))).any())


def beyond(value: Tensor, dim: int, before: int, after: int) -> Tensor:
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

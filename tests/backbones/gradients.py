"""What a unit of a network really depends on: where the gradient of its value is not 0.

An independent way to receptive fields: a network whose weights are all positive, so that nothing
cancels, is asked for the derivative of a unit by every pixel. Maxima, which depend on one pixel
each, are made means over the same windows; activations, which may be flat, made steep everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fnx.backbones.fields import ReceptiveField
from fnx.backbones.trace import is_activation

Box = tuple[int, int, int, int]


def transparent(net: nn.Module, *, gates: bool = False) -> nn.Module:
    """`net` in float64 with positive weights; without squeeze-and-excitation unless `gates`."""
    generator = torch.Generator().manual_seed(0)
    for path, module in list(net.named_modules()):
        other: nn.Module | None = None
        if isinstance(module, nn.MaxPool2d):
            assert module.dilation == 1
            other = nn.AvgPool2d(
                module.kernel_size, module.stride, module.padding, ceil_mode=module.ceil_mode
            )
        elif path and is_activation(module):
            other = nn.Softplus()
        elif not gates and type(module).__name__ in ("SqueezeExcite", "SEModule"):
            other = nn.Identity()
        if other is not None:
            net.set_submodule(path, other)
    for parameter in net.parameters():
        scale = 2 / max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
        parameter.data = scale * (0.2 + torch.rand(parameter.shape, generator=generator))
    return net.double().eval()


def values(net: nn.Module, module: str, images: Tensor) -> Tensor:
    """A layer's output on `images`."""
    kept: list[Tensor] = []
    handle = net.get_submodule(module).register_forward_hook(lambda m, a, out: kept.append(out))
    net(images)
    handle.remove()
    return kept[0]


def dependence(
    net: nn.Module, module: str, positions: Sequence[int], image: tuple[int, int]
) -> list[NDArray[np.bool_]]:
    """Which pixels the units of a layer depend on, at some positions of its flattened map.

    Class tokens count as positions.
    """
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(1, 3, *image, generator=generator, dtype=torch.float64).requires_grad_()
    value = values(net, module, images)
    if isinstance(net.get_submodule(module), nn.Linear):
        value = value.movedim(-1, 1)
    units = value.movedim(1, 0).flatten(1)
    weights = 0.5 + torch.rand(len(units), generator=generator, dtype=torch.float64)
    found = []
    for position in positions:
        score = units[:, position] @ weights
        (gradient,) = torch.autograd.grad(score, images, retain_graph=True)
        found.append((gradient[0] != 0).any(0).numpy())
    return found


def bounds(pixels: NDArray[np.bool_]) -> Box:
    """Top, left, bottom and right of what is true."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def box(field: ReceptiveField, position: int, image: tuple[int, int]) -> Box:
    """The box of a position, cut to the image."""
    top, left, bottom, right = field.box(*divmod(position, field.map[1]))
    return max(top, 0), max(left, 0), min(bottom, image[0]), min(right, image[1])


def within(one: Box, other: Box) -> bool:
    """Whether a box lies in another."""
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]

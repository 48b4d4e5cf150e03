"""Receptive fields: the pixels that each unit of each layer can see, from the executed network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fnx.backbones.boxes import Boxes, least
from fnx.backbones.following import Following
from fnx.backbones.layers import Layer


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see of an image, at each position of the layer's map.

    It is what `fnx.backbones.following` follows: squeeze-and-excitation, which makes every unit
    depend on the whole image a little, is left out, as is the distribution of a map that a norm
    divides by.

    Attributes:
        size: height and width in pixels, the largest over the positions.
        stride: pixels from one position to the next, down and to the right (0: all see the same).
        start: top and left edge of the first position's field; negative where it begins in padding.
        whole: whether every position sees the whole image.
        map: rows and columns of the layer's map. A layer without rows and columns (tokens of
            windows, for instance) has one row with all its positions.
        boxes: int32 (rows · columns, 4), top, left, bottom and right of each position, where they
            are not a regular grid of equal boxes; else None.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    whole: bool
    map: tuple[int, int]
    boxes: NDArray[np.int32] | None = dataclasses.field(default=None, repr=False, compare=False)

    def box(self, row: int, column: int, image: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of the field of one position, in pixels of the image.

        It is as large at the border as inside, and so may reach beyond the image: what is inside
        is what the unit sees.

        Args:
            row: row of the position in the layer's map, from 0.
            column: likewise. Position p of a flattened map is ``divmod(p, field.map[1])``.
            image: height and width of the image, which is the box of a layer that sees it whole.

        >>> field = ReceptiveField((3, 3), (1, 1), (-1, -1), whole=False, map=(224, 224))
        >>> field.box(0, 10, (224, 224))
        (-1, 9, 2, 12)
        """
        if self.whole:
            return (0, 0, *image)
        if self.boxes is not None:
            top, left, bottom, right = map(int, self.boxes[row * self.map[1] + column])
            return top, left, bottom, right
        top = self.start[0] + row * self.stride[0]
        left = self.start[1] + column * self.stride[1]
        return top, left, top + self.size[0], left + self.size[1]


def receptive_fields(
    timm_name: str, image_size: int, image: tuple[int, int] | None = None
) -> dict[str, ReceptiveField]:
    """The receptive field of every layer of a network, by the layer's name.

    The network is run once on torch's meta device, where nothing is computed and no weights are
    needed.

    Args:
        timm_name: the network.
        image_size: side in pixels of the images it is built for.
        image: height and width of the image it is run on, if it is not a square of `image_size`.

    Raises:
        ConfigError: unknown name, or a network that takes no images of this size.

    >>> receptive_fields("vgg16", 224)["conv2_1"].size
    (10, 10)
    """
    from fnx.backbones.networks import looked_at, traced

    trace = traced(timm_name, image_size)
    prefixes = {path: readings[0].prefix for path, readings in trace.readings.items()}
    return looked_at(
        timm_name,
        image_size,
        lambda net: fields_of(
            net, trace.layers, image or (image_size, image_size), prefixes=prefixes
        ),
    )


def fields_of(
    net: nn.Module,
    layers: Sequence[Layer],
    image: tuple[int, int],
    *,
    prefixes: Mapping[str, int] | None = None,
) -> dict[str, ReceptiveField]:
    """The receptive fields of some layers of a network, on any device.

    Args:
        net: the network, in evaluation mode.
        layers: convolutions and linear layers of it.
        image: height and width of the images.
        prefixes: class and register tokens in front of a layer's map (by module), left out.
    """
    modules = {layer.module for layer in layers}
    found = outputs(net, image, lambda path, module: path in modules, prefixes=prefixes)
    return {layer.name: found[layer.module].field for layer in layers if layer.module in found}


@dataclass(frozen=True)
class Output:
    """What a module gives for one image.

    Attributes:
        field: what each position of it sees.
        plane: rows and columns of its map; None where it has none, as tokens and windows.
        neurons: number of values, of all calls.
        smaller: whether it has fewer positions than what went in.
        seen: whether it depends on the image at all.
    """

    field: ReceptiveField
    plane: tuple[int, int] | None
    neurons: int
    smaller: bool
    seen: bool


def outputs(
    net: nn.Module,
    image: tuple[int, int],
    chosen: Callable[[str, nn.Module], bool],
    *,
    prefixes: Mapping[str, int] | None = None,
) -> dict[str, Output]:
    """What some modules give for an image, in the order in which they are first called.

    Args:
        net: the network, in evaluation mode, on any device.
        image: height and width.
        chosen: whether a module, with its path, is asked for.
        prefixes: class and register tokens in front of a module's map, left out.
    """
    parameter = next(net.parameters(), torch.empty(0))
    images = torch.zeros(1, 3, *image, dtype=parameter.dtype, device=parameter.device)
    found: dict[str, Output] = {}
    with Following(images) as following:

        def read(path: str, module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim < 2:
                return
            boxes = following.of(output)
            prefix = (prefixes or {}).get(path, 0)
            last = isinstance(module, nn.Linear)
            field = _field(boxes, image, last=last, prefix=prefix)
            entered = inputs[0] if inputs and isinstance(inputs[0], Tensor) else output
            now = Output(
                field=field,
                plane=field.map if output.ndim == 4 and len(output) == 1 else None,
                neurons=output.numel(),
                smaller=output.shape[2:].numel() < entered.shape[2:].numel(),
                seen=boxes is not None,
            )
            if (before := found.get(path)) is not None:  # called again: its feature is of all calls
                same = before.field == field and before.field.boxes is None
                field = before.field if same else _whole(image, field.map)
                now = replace(before, field=field, neurons=before.neurons + now.neurons)
            found[path] = now

        handles = [
            module.register_forward_hook(lambda m, a, out, p=path: read(p, m, a, out))
            for path, module in net.named_modules()
            if chosen(path, module)
        ]
        try:
            with torch.no_grad():
                net(images)
        finally:
            for handle in handles:
                handle.remove()
    return found


def _whole(image: tuple[int, int], layout: tuple[int, int]) -> ReceptiveField:
    return ReceptiveField(image, (0, 0), (0, 0), whole=True, map=layout)


def _field(
    boxes: Boxes | None, image: tuple[int, int], *, last: bool, prefix: int
) -> ReceptiveField:
    """The field of a layer from the boxes of its output, (B', C, …) or, with `last`, (B', …, C)."""
    if boxes is None:  # made of parameters alone
        return _whole(image, (1, 1))
    values = torch.stack([least(edge, -1 if last else 1) for edge in boxes], -1)  # (B', …, 4)
    layout = values.shape[:-1]
    edges = values.reshape(len(values), -1, 4)[:, prefix:].reshape(-1, 4).double().numpy()
    edges[:, 2:] *= -1
    edges[~np.isfinite(edges).all(1)] = (0, 0, *image)  # sees nothing, so no place is its own
    if len(layout) == 3 and layout[0] == 1:
        rows, columns = layout[1:]
    else:
        rows, columns = _raster(edges)
    return _regular(edges.astype(np.int64), rows, columns, image)


def _raster(edges: NDArray[np.float64]) -> tuple[int, int]:
    """Rows and columns of tokens that go over the image line by line; else one row."""
    columns = int((edges[:, 0] == edges[0, 0]).argmin()) or len(edges)
    if len(edges) % columns == 0:
        grid = edges.reshape(-1, columns, 4)
        tops, lefts = grid[:, :1, 0], grid[:1, :, 1]
        lined_up = (grid[..., 0] == tops).all() and (grid[..., 1] == lefts).all()
        if lined_up and (np.diff(tops, axis=0) > 0).all() and (np.diff(lefts) > 0).all():
            return len(grid), columns
    return 1, len(edges)


def _regular(
    edges: NDArray[np.int64], rows: int, columns: int, image: tuple[int, int]
) -> ReceptiveField:
    """The field as sizes and strides where its boxes are a regular grid, else box by box."""
    height, width = image
    covers = bool((edges[:, :2] <= 0).all() and (edges[:, 2:] >= (height, width)).all())
    if covers and (edges == edges[0]).all():
        return _whole(image, (rows, columns))
    grid = edges.reshape(rows, columns, 4)
    size = (int((edges[:, 2] - edges[:, 0]).max()), int((edges[:, 3] - edges[:, 1]).max()))
    stride = (_step(grid[:, 0, 0], height), _step(grid[0, :, 1], width))
    start = (int(grid[0, 0, 0]), int(grid[0, 0, 1]))
    tops = start[0] + stride[0] * np.arange(rows)[:, None]
    lefts = start[1] + stride[1] * np.arange(columns)
    expected = np.stack(np.broadcast_arrays(tops, lefts, tops + size[0], lefts + size[1]), axis=-1)
    if (grid == expected).all():
        return ReceptiveField(size, stride, start, whole=False, map=(rows, columns))
    if covers:
        return _whole(image, (rows, columns))
    return ReceptiveField(
        size, stride, start, whole=False, map=(rows, columns), boxes=edges.astype(np.int32)
    )


def _step(starts: NDArray[np.int64], side: int) -> int:
    """Pixels between two positions; a lone position has the whole side to itself."""
    if len(starts) == 1:
        return side
    return round(float(starts[-1] - starts[0]) / (len(starts) - 1))

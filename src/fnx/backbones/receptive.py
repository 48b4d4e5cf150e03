"""Receptive fields: the pixels that each unit of a layer can see, measured by gradients."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from fnx.backbones.dependence import DependenceOnly, expand, narrowed
from fnx.backbones.fields import ReceptiveField
from fnx.backbones.networks import traced, uninitialised
from fnx.backbones.plugin import definition
from fnx.backbones.pooling import token_grid
from fnx.backbones.trace import is_stage, tensor_of
from fnx.utils.progress import progress_bar

log = logging.getLogger(__name__)

#: Added to one side where fields do not fit into the image: a multiple of the strides that occur,
#: so that a network that pads by the size of its input pads alike.
_LONGER = 960

#: Bytes that a pass may keep for its gradients. Layers behind them are not measured: they follow
#: attention that makes a table of all pairs of its tokens, and so see the whole image or windows.
_MOST_BYTES = 1 << 28

#: Size, stride and start along one axis.
Grid = tuple[int, int, int]


class _TooLargeError(Exception):
    """A pass keeps too much for its gradients."""


def receptive_fields(timm_name: str, image_size: int) -> dict[str, ReceptiveField | None]:
    """Return the receptive field of every layer of a network, by the layer's name.

    It is None for a layer that sees the whole image, that sees other parts of it than a regular
    grid of boxes (windows of attention), or that could not be measured: all are shown whole.

    Raises:
        ConfigError: unknown name, or a network that takes no images of this size.

    >>> receptive_fields("resnet18", 224)["layer2.0.conv1"].size
    (51, 51)
    """
    fields = stage_fields(timm_name, image_size)
    layers = traced(timm_name, image_size).layers
    return {layer.name: fields.get(layer.module) for layer in layers}


def stage_fields(timm_name: str, image_size: int) -> Mapping[str, ReceptiveField | None]:
    """Return the receptive fields of all layers and pools of a network, by module path."""
    return _stage_fields(timm_name, image_size, definition(timm_name))


@functools.cache
def _stage_fields(
    timm_name: str, image_size: int, definition: object
) -> Mapping[str, ReceptiveField | None]:
    trace = traced(timm_name, image_size)
    prefixes = {path: readings[0].prefix for path, readings in trace.readings.items()}
    net = uninitialised(timm_name, image_size)
    read = {layer.module for layer in trace.layers}
    stages = [path for path, module in net.named_modules() if path in read or is_stage(module)]
    return measure_fields(net, stages, image_size, prefixes, trace.linear)


def measure_fields(
    net: nn.Module,
    modules: Collection[str],
    side: int,
    prefixes: Mapping[str, int],
    channels_last: Collection[str] = (),
) -> dict[str, ReceptiveField | None]:
    """Measure the receptive fields of some modules, by path, of a network that is used up by it.

    The non-zero box of the gradient at four positions of a map gives size, stride and start, where
    each edge is seen at two of them. Where the image is too small for that, a longer one is taken.

    Args:
        net: the network in evaluation mode; its weights do not matter.
        modules: paths of the modules.
        side: side in pixels of the square images.
        prefixes: class and register tokens in front of a module's map.
        channels_last: modules beside linear layers whose units are the last axis.
    """
    net = net.requires_grad_(False)
    for parameter in net.parameters():
        parameter.data = torch.ones((), dtype=torch.float64).expand(parameter.shape)
    net = net.double()
    maps: dict[str, tuple[int, int]] = {}
    grids: dict[str, list[Grid | None]] = {path: [None, None] for path in modules}
    narrow = 64 + side % 64
    for image in ((side, side), (side + _LONGER, narrow), (narrow, side + _LONGER)):
        left = [path for path in modules if None in grids[path] and maps.get(path) != (1, 1)]
        if image[1] > image[0]:  # those without rows have no field, whatever their columns
            left = [path for path in left if grids[path][0] is not None]
        try:
            measured = _measure(net, left, image, prefixes, channels_last) if left else {}
        except Exception as error:  # takes no such images, or has functions without a gradient
            log.debug("receptive fields are not known from images of %s: %s", image, error)
            break
        for path, lines in measured.items():
            layout = maps.setdefault(path, (lines[0].count, lines[1].count))
            for axis, line in enumerate(lines):
                if (grid := line.grid()) is None or grids[path][axis] is not None:
                    continue
                # Else the map does not grow with the image, as behind a pool to a fixed size.
                if abs(line.count - layout[axis] - (image[axis] - side) / grid[1]) < 1:
                    grids[path][axis] = grid
    fields: dict[str, ReceptiveField | None] = {}
    for path, (rows, columns) in grids.items():
        fields[path] = None
        if rows is not None and columns is not None:
            size, stride, start = zip(rows, columns, strict=True)
            fields[path] = ReceptiveField(size, stride, start, maps[path])
    return fields


@dataclass(frozen=True)
class _Line:
    """The boxes of some positions along one axis of a map.

    Attributes:
        count: positions of the map on this axis.
        length: pixels of the image on this axis.
        edges: first pixel of each box and the one after its last, by position.
    """

    count: int
    length: int
    edges: Mapping[int, tuple[int, int]]

    @property
    def whole(self) -> bool:
        """Whether every position sees the whole axis."""
        return all(edges == (0, self.length) for edges in self.edges.values())

    def grid(self) -> Grid | None:
        """Return size, stride and start if the boxes are those of a regular grid, cut at the edges.

        None where they are not, and where the image is too small to tell.
        """
        last = self.count - 1
        end, next_end, third_end = (self.edges[min(place, last)][1] for place in range(3))
        begin, stride = self.edges[last][0], next_end - end
        if third_end == self.length or begin == 0 or stride < 1 or third_end < next_end:
            return None
        start = begin - last * stride
        for position, (first, after) in self.edges.items():
            top, bottom = start + position * stride, end + position * stride
            if (top > 0 and first != top) or (bottom < self.length and after != bottom):
                return None
        return end - start, stride, start


def _measure(
    net: nn.Module,
    modules: Collection[str],
    image: tuple[int, int],
    prefixes: Mapping[str, int],
    channels_last: Collection[str],
) -> dict[str, tuple[_Line, _Line]]:
    """Find the boxes of four positions of the modules' maps, along both axes, on some image."""
    # One image for each position, so that one gradient shows all four.
    images = torch.ones(4, 1, *image, dtype=torch.float64, requires_grad=True)
    everything = images.mean((1, 2, 3))
    lines: dict[str, tuple[_Line, _Line]] = {}

    def look(path: str, module: nn.Module, output: Any) -> Tensor | None:
        value = tensor_of(output)
        if path in lines or value is None or not value.requires_grad:
            return None
        units = -1 if isinstance(module, nn.Linear) or path in channels_last else 1
        found = _as_map(value.movedim(units, 1), prefixes.get(path, 0), image)
        if found is None:
            return None
        lines[path] = _lines(found, images)
        bar.update()
        if value is not output or not all(line.whole for line in lines[path]):
            return None
        # What comes later sees the whole image through it, and need not go through it any more.
        shape = list(value.shape)
        shape[units] = 1
        seen = everything.reshape(-1, *[1] * (value.ndim - 1)).expand(shape)
        return expand(seen.clone(), *value.shape)  # not one value for the map, as a gate has

    kept: set[int] = set()
    room = _MOST_BYTES

    def keep(saved: Tensor) -> Tensor:
        nonlocal room
        storage = saved.untyped_storage()
        if storage.data_ptr() not in kept:
            kept.add(storage.data_ptr())
            room -= storage.nbytes()
        if room < 0:
            raise _TooLargeError
        return saved

    with (
        progress_bar("receptive fields", total=len(modules), unit="layers", delay=1.0) as bar,
        ExitStack() as hooks,
        suppress(_TooLargeError),
        saved_tensors_hooks(keep, lambda saved: saved),
        torch.enable_grad(),
        DependenceOnly(),
    ):
        for path in modules:
            module = net.get_submodule(path)
            hook = module.register_forward_hook(lambda m, _, out, p=path: look(p, m, out))
            hooks.enter_context(hook)
        net(images.expand(-1, 3, -1, -1))
    return lines


def _lines(value: Tensor, images: Tensor) -> tuple[_Line, _Line]:
    """Return the boxes of the first three and the last position of a map on its diagonal."""
    places = [[min(place, n - 1) for place in (0, 1, 2, n)] for n in value.shape[1:]]
    score = value[range(4), places[0], places[1]].sum()
    (gradient,) = torch.autograd.grad(score, images, retain_graph=True)
    seen = gradient[:, 0] != 0
    rows, columns = (
        _Line(n, length, dict(zip(at, _extent(seen.any(other)), strict=True)))
        for n, length, at, other in zip(
            value.shape[1:], images.shape[2:], places, (2, 1), strict=True
        )
    )
    return rows, columns


def _as_map(value: Tensor, prefix: int, image: tuple[int, int]) -> Tensor | None:
    """Sum (4, units, …) over the units of a layer: (4, rows, columns), None if it has no map."""
    value = narrowed(value).sum(1)
    if len(value) != 4:
        return None
    if value.ndim == 2:
        value = value[:, prefix:]
        value = value.reshape(4, *token_grid(value.shape[1], image))
    return value if value.ndim == 3 else None


def _extent(seen: Tensor) -> list[tuple[int, int]]:
    """Return the first true place of each row and the one after the last; 0, 0 where there is none.

    A unit sees nothing where what the network makes of its inputs cancels, as far as is known here.
    """
    first = seen.int().argmax(1)
    after = (seen.shape[1] - seen.flip(1).int().argmax(1)) * seen.any(1)
    return list(zip(first.tolist(), after.tolist(), strict=True))

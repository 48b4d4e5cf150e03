"""Where each layer of a network can be read: one forward pass, followed tensor by tensor.

A layer's value after its activation is another module's output, and which module that is stands
nowhere in the network's description. Hooks on all modules see the ways of the tensors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fnx.backbones.layers import Layer

_DROPS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DropPath", "DropBlock2d", "Identity")
_NO_ACTIVATION = ("MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin", "GLU")


@dataclass(frozen=True)
class Site:
    """One moment of a forward pass at which a value can be read.

    Attributes:
        module: path of the module.
        entry: whether the value is the module's input or its output.
        call: which call of the module in a forward pass, from 0.
        time: its place in the order of all events of the pass.
    """

    module: str
    entry: bool
    call: int
    time: int


@dataclass
class Reading:
    """The same value of a layer before and after the activation, and how it is laid out."""

    post: Site
    pre: Site
    prefix: int


@dataclass
class Trace:
    """What one forward pass showed.

    Attributes:
        layers: every convolution and linear layer that is called, in order of the first call.
        readings: for each such layer's module, one reading a call.
        entered: for each module that is called, the time of its first call.
        linear: modules of `layers` whose units are the last axis.
        unseen: layers that no hook can read for each image, with the reason.
    """

    layers: list[Layer] = field(default_factory=list)
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    linear: frozenset[str] = frozenset()
    unseen: dict[str, str] = field(default_factory=dict)

    def needs(self, module: str, last: int) -> bool:
        """Whether a module takes part before time `last`; if never called, as its parent does."""
        while module not in self.entered and module:
            module = module.rpartition(".")[0]
        return self.entered.get(module, 0) <= last

    def beyond(self, last: int) -> list[str]:
        """Return the outermost modules that are called after time `last` only."""
        late = {path for path, time in self.entered.items() if time > last}
        return [path for path in late if not any(path.startswith(f"{other}.") for other in late)]


@dataclass
class _Live:
    """A tensor on its way from a layer: still that layer's value until something changes it."""

    tensor: Tensor  # kept, so that its id is not given to another
    version: int
    reading: Reading
    layer: str


def trace(
    net: nn.Module,
    images: Tensor,
    *,
    classifiers: tuple[str, ...] = (),
    others: Collection[str] = (),
    prefix_tokens: int = 0,
) -> Trace:
    """Run `net` once on `images` and note where each layer can be read.

    Args:
        net: the network, in evaluation mode; on the meta device nothing is computed.
        images: float (B, 3, S, S). B should divide no other size of the network: layers whose
            output does not hold a row (or several) for each image are told from others by it.
        classifiers: module paths of the final classifier.
        others: paths of modules that are layers too. Their units are the last axis of (B, C) and
            (B, tokens, C), else the second.
        prefix_tokens: class and register tokens in front of the patches, where the network does not
            say so itself, as timm's do.

    The rules. A layer's value is followed through norms (batch norm; any other norm that stands
    beside the layer in the same parent), dropout and identity to the activation that comes next:
    `pre` is that activation's input and `post` its output. Anything else in between (an addition,
    a concatenation, a reshape, a change in place) ends the way, and both are the layer's own output
    or that of its norm.
    """
    result, modules = Trace(), dict(net.named_modules())
    live: dict[int, _Live] = {}
    calls: Counter[str] = Counter()
    entries: dict[str, Site] = {}
    unread: dict[str, str] = {}
    found_units: dict[str, int] = {}
    linear: set[str] = set()
    clock = 0
    own_prefix = int(getattr(net, "num_prefix_tokens", 0) or 0)
    grid = getattr(getattr(net, "patch_embed", None), "num_patches", None)
    all_tokens = own_prefix + grid if isinstance(grid, int) else None

    def prefix_of(value: Tensor) -> int:
        tokens = value.shape[1]
        if prefix_tokens:  # patches of square images are a square
            return (
                prefix_tokens
                if math.isqrt(tokens - prefix_tokens) ** 2 == tokens - prefix_tokens
                else 0
            )
        return own_prefix if tokens == all_tokens else 0

    def follow(value: Any) -> _Live | None:
        found = live.get(id(value))
        # A change in place (ResNet's `x += shortcut`) makes it another value in the same tensor.
        return found if found and found.version == found.tensor._version else None

    def enter(path: str, inputs: tuple[Any, ...]) -> None:
        nonlocal clock
        clock += 1
        result.entered.setdefault(path, clock)
        entries[path] = Site(path, True, calls[path], clock)
        calls[path] += 1
        if inputs and is_activation(modules[path]) and (found := follow(inputs[0])):
            found.reading.pre = entries[path]
            entered_activations[path] = found.reading
            del live[id(inputs[0])]

    entered_activations: dict[str, Reading] = {}

    def leave(path: str, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal clock
        clock += 1
        module, site = modules[path], Site(path, False, calls[path] - 1, clock)
        if is_layer(module) or path in others:
            value = tensor_of(output)
            units = _units(module, value)
            if path in unread or value is None or not _is_read(module, value, len(images), units):
                unread[path] = _shape(output)
                return
            last = _is_channels_last(module, value)
            if (path in linear) != last and path in result.readings:  # another layout in each call
                unread[path] = "values of several shapes"
                return
            if last:
                linear.add(path)
            tokens = last and value.ndim == 3 and len(value) == len(images)
            prefix = prefix_of(value) if tokens else 0
            reading = Reading(site, site, prefix)
            result.readings.setdefault(path, []).append(reading)
            found_units[path] = units
            live[id(value)] = _Live(value, value._version, reading, path)
        elif path in entered_activations:
            entered_activations.pop(path).post = site
        elif inputs and isinstance(output, Tensor) and (found := follow(inputs[0])):
            beside = path.rpartition(".")[0] == found.layer.rpartition(".")[0]
            if is_norm(module) and (is_batch_norm(module) or beside):
                del live[id(inputs[0])]
                found.reading.post = site
                for name, child in module.named_modules():
                    if is_activation(child) and f"{path}.{name}" in entries:
                        found.reading.pre = entries[f"{path}.{name}"]
                        return
                found.reading.pre = site
            elif type(module).__name__ not in _DROPS:
                return
            live[id(output)] = _Live(output, output._version, found.reading, found.layer)

    with ExitStack() as hooks, torch.no_grad():
        for path, module in modules.items():
            before = module.register_forward_pre_hook(lambda _, i, p=path: enter(p, i))
            after = module.register_forward_hook(lambda _, i, o, p=path: leave(p, i, o))
            hooks.enter_context(before)
            hooks.enter_context(after)
        net(images)
    for path in unread:
        result.readings.pop(path, None)
    result.linear = frozenset(linear & result.readings.keys())
    for path in result.readings:
        layer = Layer(path, found_units[path], _kind(modules[path]), path, path in classifiers)
        result.layers.append(layer)
    for path, module in modules.items():
        if (is_layer(module) or path in others) and path not in result.readings:
            result.unseen[path] = unread.get(path, "it is not called")
    return result


def tensor_of(output: Any) -> Tensor | None:
    """Return what a module computed: its output, or the first tensor in a tuple, list or dict.

    >>> tensor_of({"hidden": (torch.ones(2), None)})
    tensor([1., 1.])
    """
    if isinstance(output, Tensor):
        return output
    inside = output.values() if isinstance(output, Mapping) else output
    if isinstance(inside, (tuple, list)) or isinstance(output, Mapping):
        return next((found for one in inside if (found := tensor_of(one)) is not None), None)
    return None


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear layer."""
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def is_stage(module: nn.Module) -> bool:
    """Tell whether a module is a layer, or a pool and nothing more: nothing in it is learned."""
    pool = "Pool" in type(module).__name__ and not any(True for _ in module.parameters())
    return pool or is_layer(module)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation function."""
    home = type(module).__module__
    known = ("torch.nn.modules.activation", "timm.layers.activations", "transformers.activations")
    at_home = home.startswith(known)
    return at_home and type(module).__name__ not in _NO_ACTIVATION


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm, which belongs to the layer before it wherever it stands."""
    return (
        isinstance(module, nn.modules.batchnorm._NormBase) or "BatchNorm" in type(module).__name__
    )


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises its input (timm's may hold the activation too)."""
    known = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
    homes = ("timm.layers.norm", "timm.layers.evo_norm", "timm.layers.filter_response_norm")
    return (
        is_batch_norm(module)
        or isinstance(module, known)
        or type(module).__module__.startswith(homes)
    )


def _is_read(module: nn.Module, value: Tensor, images: int, units: int) -> bool:
    """Whether an output holds one or several rows of this layer's units for each image."""
    if value.ndim < 2 or len(value) % images:
        return False
    return value.shape[-1 if _is_channels_last(module, value) else 1] == units


def _is_channels_last(module: nn.Module, value: Tensor) -> bool:
    """Whether a layer's units are the last axis of its output."""
    if is_layer(module):
        return isinstance(module, nn.Linear)
    return value.ndim < 4


def _units(module: nn.Module, value: Tensor | None) -> int:
    if is_layer(module):
        return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)  # type: ignore[arg-type]
    if value is None or value.ndim < 2:
        return 0
    return value.shape[-1 if _is_channels_last(module, value) else 1]


def _kind(module: nn.Module) -> str:
    if is_layer(module):
        return "fc" if isinstance(module, nn.Linear) else "conv"
    return "other"


def _shape(output: Any) -> str:
    """Describe an output that holds no row per image."""
    value = tensor_of(output)
    if value is None:
        return f"it returns no tensor but {type(output).__name__}"
    return f"its output {tuple(value.shape)} holds no row per image"

"""A network that gives one row an image: the pooled activations of the layers asked for."""

from __future__ import annotations

import copy
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from fnx.backbones.layers import Layer
from fnx.backbones.pooling import peak_positions, pooled
from fnx.backbones.trace import Site, Trace, tensor_of


@dataclass(frozen=True)
class Preprocessing:
    """Pixels to a network's input: (pixel · scale / 255 − mean) / std, for each channel.

    Attributes:
        channels: "RGB" or "BGR", the order in which the network takes the channels.
        scale: pixels are scaled to 0…scale.
        mean: mean of each channel in the network's order, in units of scale.
        std: standard deviation, likewise.
    """

    channels: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) in RGB to float32 of the same shape."""
        values = pixels.float()
        if self.channels == "BGR":
            values = values.flip(1)
        # Made anew each time: as buffers they would be rounded when the network is made bfloat16.
        mean = values.new_tensor(self.mean).view(-1, 1, 1)
        std = values.new_tensor(self.std).view(-1, 1, 1)
        return values.mul_(self.scale / 255).sub_(mean).div_(std)


@dataclass(frozen=True)
class Tap:
    """Where a layer's values enter the embedding's row.

    Attributes:
        site: the moment of the forward pass.
        first: column of the layer's first unit.
        units: number of columns.
        calls: how often the layer is called in a pass; its feature is the mean over the calls.
        channels_last: whether units are the last axis.
        prefix: class and register tokens in front of the map, which have no position in it.
        left_out: how many of these are left out of the mean.
        locates: whether the units' positions are found here: at the layer's first call.
    """

    site: Site
    first: int
    units: int
    calls: int
    channels_last: bool
    prefix: int = 0
    left_out: int = 0
    locates: bool = True


def plan(
    trace: Trace, layers: Sequence[Layer], tap: str, *, class_token: bool = False
) -> tuple[Tap, ...]:
    """Return the taps of `layers` ("pre" or "post" their activations), columns in the order given.

    With `class_token`, class and register tokens are averaged with the others.
    """
    taps, first = [], 0
    for layer in layers:
        readings = trace.readings[layer.module]
        # VGG's fc6 is a convolution in timm: the module's type, not the layer's kind, says it.
        last = layer.module in trace.linear
        taps += [
            Tap(
                site=reading.post if tap == "post" else reading.pre,
                first=first,
                units=layer.units,
                calls=len(readings),
                channels_last=last,
                prefix=reading.prefix,
                left_out=0 if class_token else reading.prefix,
                locates=call == 0,
            )
            for call, reading in enumerate(readings)
        ]
        first += layer.units
    return tuple(taps)


class Backbone(nn.Module):
    """A frozen network whose output is one row of pooled activations an image.

    It is always in evaluation mode, and runs no further than the last layer asked for.

    Attributes:
        layers: what the columns are, in order.
        n_features: number of columns.
        weights_digest: which weights these are (`WeightsFile.digest`).
        preprocessing: what turns pixels into the network's input.
        taps: where the columns are read.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        layers: Sequence[Layer],
        taps: Sequence[Tap],
        preprocessing: Preprocessing,
        weights_digest: str,
    ) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        # Units innermost, which is twice as fast on CPUs. `net.to` refuses 3-D convolutions.
        for tensor in itertools.chain(net.parameters(), net.buffers()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
        self.layers = tuple(layers)
        self.n_features = sum(layer.units for layer in layers)
        self.weights_digest = weights_digest
        self.preprocessing = preprocessing
        self.taps = tuple(taps)

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: features must not depend on the batch or on chance."""
        return super().train(False)

    def replica(self) -> Backbone:
        """Return a copy for another thread that shares the weights: `forward` sets hooks."""
        tensors: Iterable[Tensor] = itertools.chain(self.parameters(), self.buffers())
        return copy.deepcopy(self, {id(tensor): tensor for tensor in tensors})

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed a batch: uint8 (B, 3, H, W) in RGB on the network's device → (B, n_features).

        Float32 whatever the precision of the network. A convolution's value is its mean over space,
        a token map's its mean over tokens (class tokens left out), and a layer's that is called
        several times the mean over its calls.
        """
        return self.with_positions(pixels, slice(0))[0]

    @torch.no_grad()
    def with_positions(self, pixels: Tensor, located: slice) -> tuple[Tensor, Tensor]:
        """Embed a batch, and find in the same pass where each unit answers most in some views.

        Returns:
            What `forward` returns, to the bit, and uint8 (views located, n_features, 2): row and
            column of the unit's highest value in 256ths of the layer's map (see
            `fnx.backbones.fields.decode_position`); of a layer that is called several times, in
            its first call. Both are 0 where a layer has no map or mixes views and windows.
        """
        return read(self.net, self.prepared(pixels), self.taps, self.n_features, located)

    def prepared(self, pixels: Tensor) -> Tensor:
        """Turn uint8 (B, 3, H, W) in RGB into input of the network's precision and layout."""
        images = self.preprocessing(pixels).contiguous(memory_format=torch.channels_last)
        return images.to(floating_dtype(self.net))

    def feature_table(self) -> pl.DataFrame:
        """Columns of the embedding: feature_id, layer, unit (from 0) and kind."""
        rows = [
            (layer.name, unit, layer.kind) for layer in self.layers for unit in range(layer.units)
        ]
        schema = {"layer": pl.String, "unit": pl.Int32, "kind": pl.String}
        table = pl.DataFrame(rows, schema, orient="row").with_row_index("feature_id")
        return table.cast({"feature_id": pl.Int64})


def floating_dtype(net: nn.Module) -> torch.dtype | None:
    """Return the precision of a network: that of its first parameter that has one."""
    return next((p.dtype for p in net.parameters() if p.is_floating_point()), None)


class _Done(Exception):  # noqa: N818 - not an error: everything has been read
    pass


def read(
    net: nn.Module,
    images: Tensor,
    taps: Sequence[Tap],
    n_features: int,
    located: slice = slice(0),
) -> tuple[Tensor, Tensor]:
    """Run `net` on `images` until every tap is read.

    Maps are pooled inside the hooks, so that none outlives its layer. Hooks are there for this call
    only: the network is left as it was.

    Returns:
        Float32 (B, n_features), and uint8 (views in `located`, n_features, 2): see
        `Backbone.with_positions`.
    """
    rows = torch.zeros(len(images), n_features, dtype=torch.float32, device=images.device)
    views = len(range(len(images))[located])
    positions = torch.zeros(views, n_features, 2, dtype=torch.uint8, device=images.device)
    at: dict[tuple[str, bool], dict[int, list[Tap]]] = defaultdict(lambda: defaultdict(list))
    for tap in taps:
        at[tap.site.module, tap.site.entry][tap.site.call].append(tap)
    calls: Counter[tuple[str, bool]] = Counter()
    left = len(taps)

    def hook(key: tuple[str, bool], value: Any) -> None:
        nonlocal left
        number = calls[key]
        calls[key] += 1
        for tap in at[key].get(number, ()):
            units = slice(tap.first, tap.first + tap.units)
            row = pooled(
                value, channels_last=tap.channels_last, images=len(images), prefix=tap.left_out
            )
            rows[:, units] += row if tap.calls == 1 else row / tap.calls
            if views and tap.locates and len(value) == len(images):
                positions[:, units] = peak_positions(
                    value[located],
                    channels_last=tap.channels_last,
                    view=(images.shape[2], images.shape[3]),
                    prefix=tap.prefix,
                )
            left -= 1
        if left == 0:
            raise _Done

    with ExitStack() as hooks:
        for key in at:
            module = net.get_submodule(key[0])
            hooks.enter_context(
                module.register_forward_pre_hook(lambda _, args, k=key: hook(k, args[0]))
                if key[1]
                else module.register_forward_hook(
                    lambda _, args, out, k=key: hook(k, tensor_of(out))
                )
            )
        try:
            net(images)
        except _Done:
            return rows, positions
    raise RuntimeError(
        f"{left} of {len(taps)} readings were not made: the network took another way"
    )

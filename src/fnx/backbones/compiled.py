"""A backbone as one graph of `torch.compile`: the network, its taps and the pooling."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import torch
from torch import Tensor

from fnx.backbones.backbone import Backbone, Tap
from fnx.backbones.pooling import peak_positions, pooled
from fnx.backbones.trace import tensor_of


class CompiledBackbone:
    """Does what `backbone` does for batches of one size, compiled at the first of them.

    `Backbone` hooks into the network for each call, which a compiler cannot follow; here the hooks
    stay, pool inside the graph and keep nothing else. The network runs to its end (what lies beyond
    the last tap was taken out when the backbone was built). Fused operations round differently: a
    feature moves by about 1e-6 of its value.

    Args:
        backbone: on its device and in its precision; it is left as it is.
        images: number of images in every batch.
        backend: torch.compile's.
    """

    def __init__(self, backbone: Backbone, images: int, backend: str = "inductor") -> None:
        self._backbone = backbone.replica()
        self._images = images
        self._located, self._view = slice(0), (0, 0)  # of the batch that is being read
        self._read: list[tuple[tuple[str, bool], Tensor, Tensor | None]] = []
        # Calls of one module come in order, so that counting them tells which reading is whose.
        taps: dict[tuple[str, bool], list[Tap]] = defaultdict(list)
        for tap in backbone.taps:
            taps[tap.site.module, tap.site.entry].append(tap)
        self._sites: dict[tuple[str, bool], list[Tap]] = dict(taps)
        for site, wanted in self._sites.items():
            self._hook(site, wanted[0])
        self._net: Any = torch.compile(self._backbone.net, backend=backend, dynamic=False)

    def _hook(self, site: tuple[str, bool], tap: Tap) -> None:
        path, entry = site
        module = self._backbone.net.get_submodule(path)
        read, images = self._read, self._images

        def keep(value: Tensor | None) -> None:
            assert value is not None  # `trace` found one
            row = pooled(value, channels_last=tap.channels_last, images=images, prefix=tap.left_out)
            places = None
            if self._located != slice(0) and len(value) == images:
                places = peak_positions(
                    value[self._located],
                    channels_last=tap.channels_last,
                    view=self._view,
                    prefix=tap.prefix,
                )
            read.append((site, row, places))

        if entry:
            module.register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))
        else:
            module.register_forward_hook(lambda _, inputs, output: keep(tensor_of(output)))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch: uint8 (images, 3, H, W) → float32 (images, F)."""
        return self.with_positions(pixels, slice(0))[0]

    @torch.no_grad()
    def with_positions(self, pixels: Tensor, located: slice) -> tuple[Tensor, Tensor]:
        """See `Backbone.with_positions`; compiled again where `located` is another."""
        assert len(pixels) == self._images, (len(pixels), self._images)
        self._located, self._view = located, (pixels.shape[2], pixels.shape[3])
        self._read.clear()
        self._net(self._backbone.prepared(pixels))
        calls: Counter[tuple[str, bool]] = Counter()
        n_features, device = self._backbone.n_features, pixels.device
        views = len(range(self._images)[located])
        rows = torch.zeros(self._images, n_features, dtype=torch.float32, device=device)
        positions = torch.zeros(views, n_features, 2, dtype=torch.uint8, device=device)
        for site, row, places in self._read:
            for tap in self._sites[site]:
                if tap.site.call == calls[site]:
                    units = slice(tap.first, tap.first + tap.units)
                    rows[:, units] += row / tap.calls
                    if places is not None and tap.locates:
                        positions[:, units] = places
            calls[site] += 1
        self._read.clear()
        return rows, positions

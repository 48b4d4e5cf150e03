"""A backbone as one graph of `torch.compile`: the network, its taps and the pooling."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from fnx.backbones.backbone import Backbone, Tap
from fnx.backbones.pooling import pooled


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
        self._read: list[Tensor] = []
        # Calls of one module come in order, so that counting them tells which reading is whose.
        taps: dict[tuple[str, bool], list[Tap]] = defaultdict(list)
        for tap in backbone.taps:
            taps[tap.site.module, tap.site.entry].append(tap)
        self._sites: dict[tuple[str, bool], list[Tap]] = dict(taps)
        self._names: list[tuple[str, bool]] = []
        for site, wanted in self._sites.items():
            self._hook(site, wanted[0])
        self._net: Any = torch.compile(self._backbone.net, backend=backend, dynamic=False)

    def _hook(self, site: tuple[str, bool], tap: Tap) -> None:
        path, entry = site
        module = self._backbone.net.get_submodule(path)
        read, names, images = self._read, self._names, self._images

        def keep(value: Tensor) -> None:
            names.append(site)
            row = pooled(value, channels_last=tap.channels_last, images=images, prefix=tap.prefix)
            read.append(row)

        if entry:
            module.register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))
        else:
            module.register_forward_hook(lambda _, inputs, output: keep(output))

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch: uint8 (images, 3, H, W) → float32 (images, F)."""
        assert len(pixels) == self._images, (len(pixels), self._images)
        self._read.clear()
        self._names.clear()
        self._net(self._backbone.prepared(pixels))
        calls: dict[tuple[str, bool], int] = defaultdict(int)
        rows = torch.zeros(
            self._images, self._backbone.n_features, dtype=torch.float32, device=pixels.device
        )
        for site, row in zip(self._names, self._read, strict=True):
            for tap in self._sites[site]:
                if tap.site.call == calls[site]:
                    rows[:, tap.first : tap.first + tap.units] += row / tap.calls
            calls[site] += 1
        self._read.clear()
        return rows

"""Images through the network in microbatches of a fixed size, so that a row depends on its image.

A processor's convolution adds its products up in an order that depends on how many images and how
many threads share the work, so its last bits change with the batch. Here a microbatch always has
the same number of views and one thread, and several run side by side, each on a core: the numbers
are the same for every batch size, number of threads and number of processes. It is also faster than
all cores together on one batch, since no core waits for another at the end of each layer.
"""

from __future__ import annotations

import math
import queue
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from fnx.images.crops import Crops
from fnx.utils.memory import available_memory

if TYPE_CHECKING:
    from fnx.backbones.backbone import Backbone
    from fnx.backbones.compiled import CompiledBackbone

# More views in a microbatch fall out of a core's cache, fewer read the weights too often: measured
# on VGG16 and EfficientNet-Lite0, 2 to 10 views.
_VIEWS_ON_CPU = 5
# Images of one view in a microbatch; divides every shard, so that a microbatch holds the same
# images in every run.
IMAGES_PER_STEP = 4
_MICROBATCHES_PER_THREAD = 4  # in a batch: what one thread waits for another at its end is little
_VIEWS_ON_GPU = 256  # more bring no speed
_VIEWS_ELSEWHERE = 64
_MEMORY_SHARE = 0.6  # of what is free, for activations


@dataclass(frozen=True)
class Batching:
    """How the work is cut.

    Attributes:
        views: views (crops) in one microbatch.
        threads: microbatches that run side by side, each on one core; 0 on an accelerator, where a
            microbatch has the whole device.
        images: images in a batch of the loader, a whole number of microbatches.
    """

    views: int
    threads: int
    images: int


def batching(
    backbone: Backbone,
    crops: Crops,
    batch_size: int | str,
    device: torch.device,
    threads: int,
) -> Batching:
    """Cut the work for `device` within the memory that is free.

    Args:
        backbone: the network, on `device`.
        crops: the views of an image.
        batch_size: views in a batch, or "auto". On a processor it sets how many are in flight, and
            changes no number.
        device: where the network runs.
        threads: cores that may be used.
    """
    if device.type == "cpu":
        return _on_cpu(backbone, crops, batch_size, threads)
    if batch_size != "auto":
        views = max(int(batch_size), crops.count)
    elif device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        views = min(_VIEWS_ON_GPU, int(_MEMORY_SHARE * free / _cuda_bytes(backbone, crops, device)))
    else:
        views = _VIEWS_ELSEWHERE
    images = max(1, views // crops.count)
    return Batching(views=images * crops.count, threads=0, images=images)


def _on_cpu(backbone: Backbone, crops: Crops, batch_size: int | str, threads: int) -> Batching:
    if crops.count == 1:
        views = images_per_microbatch = IMAGES_PER_STEP
    else:
        views = crops.count // math.ceil(crops.count / _VIEWS_ON_CPU)
        images_per_microbatch = 1
    fitting = _MEMORY_SHARE * available_memory() / (views * _activation_bytes(backbone, crops))
    threads = max(1, min(threads, int(fitting)))
    if batch_size == "auto":
        images = math.ceil(threads * _MICROBATCHES_PER_THREAD * views / crops.count)
    else:
        images = max(1, int(batch_size) // crops.count)
    images = math.ceil(images / images_per_microbatch) * images_per_microbatch
    return Batching(views=views, threads=threads, images=images)


class Microbatches:
    """Runs batches of images through a backbone.

    Args:
        backbone: the network, on the device of the images.
        crops: the views of an image.
        cut: how the work is cut.
        compile_with: a backend of torch.compile (see `fnx.backbones.compiled`), for an accelerator
            and views of one shape; None: not compiled.
    """

    def __init__(
        self, backbone: Backbone, crops: Crops, cut: Batching, *, compile_with: str | None = None
    ) -> None:
        self.crops = crops
        self.cut = cut
        self._on_device: Backbone | CompiledBackbone = backbone
        if compile_with:
            from fnx.backbones.compiled import CompiledBackbone

            assert cut.threads == 0, "each thread would need a network of its own"
            assert not crops.whole, "views of other shapes"
            self._on_device = CompiledBackbone(backbone, cut.views, compile_with)
        # Each thread's own hooks need a network of its own; the weights are shared.
        self._replicas: queue.SimpleQueue[Backbone] = queue.SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None
        if cut.threads:
            for _ in range(cut.threads):
                self._replicas.put(backbone.replica())
            self._threads = ThreadPoolExecutor(
                cut.threads, "fnx-microbatch", initializer=torch.set_num_threads, initargs=(1,)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embed images: uint8 (3, H, W) of any sizes.

        Returns:
            The values, float32 (images, F), means over the views; and uint8 (images, F, 2), where
            each unit is highest in the centre view (see `Backbone.with_positions`).
        """
        return self.start(images)()

    def start(self, images: Sequence[Tensor]) -> Callable[[], tuple[Tensor, Tensor]]:
        """Begin to embed images; return a function that waits, and returns what calling would.

        So the threads have the next batch before the last one's end, which they do not reach
        together.
        """
        alike = defaultdict(list)  # images whose views have one shape, in order
        for place, image in enumerate(images):
            alike[tuple(image.shape) if self.crops.whole else None].append(place)
        parts: list[tuple[Tensor, slice]] = []
        for places in alike.values():
            views = torch.cat([self.crops.views(images[place]) for place in places])
            for start, part in enumerate(torch.split(views, self.cut.views)):
                first = (self.crops.centre - start * self.cut.views) % self.crops.count
                parts.append((part, slice(first, None, self.crops.count)))
        order = [place for places in alike.values() for place in places]
        return partial(self._put_together, self._submit(parts), order)

    def _put_together(
        self, parts: Iterable[tuple[Tensor, Tensor]], order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return means and positions in the order of the images, from parts in `order`."""
        values, places = zip(*parts, strict=True)
        rows, positions = torch.cat(values), torch.cat(places)
        views_of = rows.view(len(order), self.crops.count, rows.shape[1])
        means = views_of.mean(dim=1, dtype=torch.float32)
        if not self.crops.whole:
            return means, positions
        back = torch.tensor(order, device=means.device).argsort()
        return means[back], positions[back]

    def close(self) -> None:
        """Drop the microbatches that have not begun, and wait for those that have."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def run(self, parts: Sequence[tuple[Tensor, slice]]) -> list[tuple[Tensor, Tensor]]:
        """Run parts: uint8 (at most `cut.views`, 3, H, W) and which of their views are located.

        Returns:
            For each part float32 (views, F) and uint8 (views located, F, 2).
        """
        return list(self._submit(parts))

    def _submit(self, parts: Sequence[tuple[Tensor, slice]]) -> Iterable[tuple[Tensor, Tensor]]:
        """Begin with `parts`; the results are waited for as they are taken."""
        if self._threads is None:
            return [self._run(*part, self._on_device) for part in parts]
        device = parts[0][0].device.type
        # Autocasting, like inference mode, is a thread's own.
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

        def on_thread(part: tuple[Tensor, slice]) -> tuple[Tensor, Tensor]:
            replica = self._replicas.get()
            try:
                with torch.inference_mode(), torch.autocast(device, dtype, enabled=enabled):
                    return self._run(*part, replica)
            finally:
                self._replicas.put(replica)

        return self._threads.map(on_thread, parts)

    def _run(
        self, part: Tensor, located: slice, backbone: Backbone | CompiledBackbone
    ) -> tuple[Tensor, Tensor]:
        """Run one part, filled up to a whole microbatch."""
        views = len(part)
        missing = 0 if self.crops.whole else self.cut.views - views
        if missing:
            part = torch.cat([part, part[:1].expand(missing, -1, -1, -1)])
        rows, positions = backbone.with_positions(part, located)
        return rows[:views], positions[: len(range(views)[located])]


def _activation_bytes(backbone: Backbone, crops: Crops) -> int:
    """Return the bytes that one view needs in the network: its widest layer's, twice.

    Twice, for kernels that lay maps out anew beside the input and the output of a layer.
    """
    widest = 0

    def measure(_: torch.nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal widest
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        widest = max(widest, sum(value.nbytes for value in tensors))

    with ExitStack() as hooks:
        for module in backbone.net.modules():
            hooks.enter_context(module.register_forward_hook(measure))
        backbone(crops.example(1))
    return 2 * widest


def _cuda_bytes(backbone: Backbone, crops: Crops, device: torch.device) -> float:
    """Measure the bytes of GPU memory that one view needs while it passes the network."""
    views = crops.example(8).to(device)
    backbone(views)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    backbone(views)
    return max(1.0, (torch.cuda.max_memory_allocated(device) - before) / len(views))

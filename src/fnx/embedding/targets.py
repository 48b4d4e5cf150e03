"""What an extraction fills, shard by shard: an embedding's rows, or units' highest peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnx.backbones.receptive import receptive_fields
from fnx.embedding import store, strongest
from fnx.embedding.store import Manifest
from fnx.images.crops import Crops
from fnx.images.dataset import LabelledImages
from fnx.images.torch_dataset import Batch

if TYPE_CHECKING:
    from fnx.backbones.backbone import Backbone, Reduction


class Collector(Protocol):
    """Takes in the batches of one shard, in order, and writes the shard."""

    def add(self, batch: Batch, prediction: Tensor) -> None:
        """Take in what the network said of a batch's images."""
        ...

    def write(self) -> None:
        """Write the shard, all of whose batches have come."""
        ...


class Target(Protocol):
    """A store of shards; picklable, for it goes to every rank."""

    @property
    def reduction(self) -> Reduction:
        """What is made of a layer's map."""
        ...

    @property
    def doing(self) -> str:
        """What the progress bar calls it."""
        ...

    def create(
        self, path: Path, manifest: Manifest, images: LabelledImages, backbone: Backbone
    ) -> None:
        """Make the store."""
        ...

    def missing(self, path: Path, manifest: Manifest) -> list[int]:
        """Shards that are not there."""
        ...

    def damaged(self, path: Path, manifest: Manifest) -> list[int]:
        """Shards that are not what was written."""
        ...

    def reopen(self, path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
        """Have the damaged shards made anew."""
        ...

    def collector(self, path: Path, manifest: Manifest, shard: int) -> Collector:
        """What takes in the batches of one shard."""
        ...

    def finish(self, path: Path, manifest: Manifest) -> None:
        """Declare the store complete."""
        ...


class Rows:
    """The embedding: a row an image (`fnx.embedding.store`)."""

    reduction: Reduction = "mean"
    doing = "extracting"

    def create(
        self, path: Path, manifest: Manifest, images: LabelledImages, backbone: Backbone
    ) -> None:
        """See `Target`."""
        store.create(path, manifest, images.table, backbone.feature_table())

    def missing(self, path: Path, manifest: Manifest) -> list[int]:
        """See `Target`."""
        return store.missing_shards(path, manifest)

    def damaged(self, path: Path, manifest: Manifest) -> list[int]:
        """See `Target`."""
        return store.damaged_shards(path, manifest)

    def reopen(self, path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
        """See `Target`."""
        return store.reopen(path, manifest, damaged)

    def collector(self, path: Path, manifest: Manifest, shard: int) -> Collector:
        """See `Target`."""
        return _Block(path, manifest, shard)

    def finish(self, path: Path, manifest: Manifest) -> None:
        """See `Target`."""
        store.finish(path, manifest)


class _Block:
    """A shard's rows."""

    def __init__(self, path: Path, manifest: Manifest, shard: int) -> None:
        self.path, self.manifest, self.shard = path, manifest, shard
        self.block: Tensor | None = None

    def add(self, batch: Batch, prediction: Tensor) -> None:
        rows = self.manifest.shard_rows(self.shard)
        if self.block is None:
            # Where the rows are made: a copy to the host for each batch would make a GPU wait.
            self.block = prediction.new_empty((len(rows), self.manifest.features))
        first = int(batch.rows[0]) - rows.start
        self.block[first : first + len(prediction)] = prediction

    def write(self) -> None:
        assert self.block is not None
        store.write_shard(self.path, self.manifest, self.shard, self.block.cpu().numpy())


@dataclass(frozen=True)
class Peaks:
    """The k images with the highest peak of each unit (`fnx.embedding.strongest`)."""

    k: int
    crops: Crops
    reduction: Reduction = "peak"
    doing: str = "searching"

    def create(
        self, path: Path, manifest: Manifest, images: LabelledImages, backbone: Backbone
    ) -> None:
        """See `Target`."""
        table = images.ok().select("image_id", "path", "class_name", dataset=pl.lit(images.name))
        strongest.create(path, manifest, table, backbone.feature_table())

    def missing(self, path: Path, manifest: Manifest) -> list[int]:
        """See `Target`."""
        return [] if manifest.complete else strongest.missing_shards(path, manifest)

    def damaged(self, path: Path, manifest: Manifest) -> list[int]:
        """See `Target`."""
        return strongest.damaged_shards(path, manifest)

    def reopen(self, path: Path, manifest: Manifest, damaged: Sequence[int]) -> Manifest:
        """See `Target`."""
        return strongest.reopen(path, manifest, damaged)

    def collector(self, path: Path, manifest: Manifest, shard: int) -> Collector:
        """See `Target`."""
        return _Highest(path, manifest, shard, self.k, self.crops)

    def finish(self, path: Path, manifest: Manifest) -> None:
        """See `Target`."""
        network, size = manifest.inputs["network"], manifest.inputs["crops"]["size"]
        strongest.finish(path, manifest, receptive_fields(network, size))


class _Highest:
    """The k highest peaks so far of each unit among a shard's images; of equal ones the earlier.

    They stay on the network's device: what is carried to the host does not grow with the images.
    """

    def __init__(self, path: Path, manifest: Manifest, shard: int, k: int, crops: Crops) -> None:
        self.path, self.manifest, self.shard, self.k, self.crops = path, manifest, shard, k, crops
        rows = manifest.shard_rows(shard)
        self.sizes = np.zeros((len(rows), 2), np.int32)  # of each image's views
        self.values = torch.empty(0, manifest.features)
        # Row, column and view of each, and the image's number in the shard.
        self.places = torch.empty(0, 4, manifest.features)

    def add(self, batch: Batch, prediction: Tensor) -> None:
        first = int(batch.rows[0]) - self.manifest.shard_rows(self.shard).start
        numbers = torch.arange(first, first + len(prediction), dtype=torch.float32)
        for number, size in enumerate(batch.sizes, first):
            self.sizes[number] = size if self.crops.whole else (self.crops.size, self.crops.size)
        found = prediction.nan_to_num(-torch.inf, torch.inf, -torch.inf)
        images = numbers.to(found.device)[:, None, None].expand(-1, 1, found.shape[2])
        values = torch.cat([self.values.to(found.device), found[:, 0]])
        places = torch.cat([self.places.to(found.device), torch.cat([found[:, 1:], images], 1)])
        self.values, order = values.sort(dim=0, descending=True, stable=True)
        self.values, order = self.values[: self.k], order[: self.k]
        self.places = places.gather(0, order[:, None].expand(-1, 4, -1))

    def write(self) -> None:
        strongest.write_shard(self.path, self.shard, self._peaks())

    def _peaks(self) -> NDArray[np.void]:
        row, column, view, image = self.places.nan_to_num(-1, -1, -1).cpu().numpy().swapaxes(0, 1)
        number = image.astype(np.int32)
        peaks = np.empty(number.shape, strongest.PEAK)
        peaks["activation"] = self.values.cpu().numpy()
        peaks["image"] = number + self.manifest.shard_rows(self.shard).start
        peaks["row"], peaks["column"], peaks["view"] = row, column, view
        peaks["height"], peaks["width"] = np.moveaxis(self.sizes[number], -1, 0)
        return peaks

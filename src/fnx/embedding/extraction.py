"""Extraction: a Lightning predict loop that fills the missing shards of an embedding."""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fnx import backbones
from fnx.embedding import store
from fnx.embedding.fingerprint import fingerprint
from fnx.embedding.store import Manifest
from fnx.images.crops import Crops
from fnx.images.datamodule import ImageDataset, collate
from fnx.progress import progress_bar

if TYPE_CHECKING:
    from fnx.backbones.backbone import Backbone
    from fnx.backbones.weights import WeightsFile
    from fnx.images.labelled import LabelledImages
    from fnx.schema import Config, TrainerConfig

log = logging.getLogger(__name__)

# An interrupted run keeps its finished shards, so one should not hold more than a minute's work.
SECONDS_PER_SHARD = 60.0
FEWEST_ROWS, MOST_ROWS = 64, 2048


class Extractor(lightning.LightningModule):
    """Images → rows of the embedding: views, network, taps, mean over the views.

    A thin shell: the network is plain torch (`fnx.backbones.Backbone`) and works without it.
    """

    def __init__(self, backbone: Backbone, crops: Crops, batch_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.crops = crops
        self.batch_size = batch_size

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """uint8 (3, H, W) images, of any sizes → float32 (images, F)."""
        views = torch.cat([self.crops.views(image) for image in images])
        rows = torch.cat([self.backbone(part) for part in torch.split(views, self.batch_size)])
        return rows.view(len(images), self.crops.count, -1).mean(dim=1, dtype=torch.float32)

    def predict_step(self, batch: tuple[Tensor, list[Tensor]], _: int) -> Tensor:
        """One batch of the loader, without the rows' numbers."""
        result: Tensor = self(batch[1])
        return result


class ShardBatches(Sampler[list[int]]):
    """Batches of consecutive rows, none of which crosses a shard's border.

    So a shard's numbers do not depend on which shards were missing, and each rank takes a run of
    whole shards: two writers never meet in one.
    """

    def __init__(
        self, manifest: Manifest, shards: Sequence[int], images: int, rank: int, ranks: int
    ) -> None:
        self.mine = [int(shard) for shard in np.array_split(np.array(shards, int), ranks)[rank]]
        self.manifest = manifest
        self.images = images

    def __iter__(self) -> Iterator[list[int]]:
        for shard in self.mine:
            rows = self.manifest.shard_rows(shard)
            for start in range(0, len(rows), self.images):
                yield list(rows[start : start + self.images])

    def __len__(self) -> int:
        lengths = (len(self.manifest.shard_rows(shard)) for shard in self.mine)
        return sum(math.ceil(length / self.images) for length in lengths)


class ShardWriter(BasePredictionWriter):
    """Collects the rows of a shard and writes it when it is whole."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__("batch")
        self.path = path
        self.manifest = manifest
        self.block: NDArray[np.float32] | None = None

    def write_on_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: tuple[Tensor, list[Tensor]],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Put the batch's rows into the shard's block; write the block after its last row."""
        rows = batch[0].tolist()
        shard = rows[0] // self.manifest.rows_per_shard
        within = self.manifest.shard_rows(shard)
        if self.block is None:
            self.block = np.empty((len(within), self.manifest.features), np.float32)
        first = rows[0] - within.start
        self.block[first : first + len(rows)] = prediction.cpu().numpy()
        if rows[-1] == within.stop - 1:
            store.write_shard(self.path, self.manifest, shard, self.block)
            self.block = None


class ImageProgress(Callback):
    """A progress bar that counts images: how many a second, how long still."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.bar: Any = None

    def setup(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        """Open the bar."""
        self.bar = progress_bar(
            "extracting",
            total=self.total,
            initial=self.done,
            unit="images",
            enabled=trainer.is_global_zero,
        )

    def on_predict_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Move the bar by the images of the batch, on all ranks."""
        self.bar.update(len(batch[1]) * trainer.world_size)

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, _: BaseException) -> None:
        """Close the bar, so that what is said of the exception comes last."""
        if self.bar is not None:
            self.bar.close()


def extract(
    images: LabelledImages,
    config: Config,
    weights: WeightsFile,
    inputs: dict[str, Any],
    path: Path,
) -> None:
    """Extract the shards that are missing in the folder `path`, and declare it complete."""
    crops = Crops(**vars(config.crops))
    backbone = backbones.build(
        config.model, weights, image_size=config.crops.size, seed=config.seed
    )
    if backbone.unseen:
        log.warning("modules without features (never called): %s", ", ".join(backbone.unseen))
    manifest = _manifest(images, config, inputs, backbone, path)
    missing = store.missing_shards(path, manifest)
    if not missing:  # the last run ended between its last shard and the manifest
        store.finish(path, manifest)
        return
    rows_left = sum(len(manifest.shard_rows(shard)) for shard in missing)
    log.info("extracting %d × %d features into %s", rows_left, manifest.features, path)
    if len(missing) < manifest.n_shards:
        log.info("going on at shard %d of %d", missing[0] + 1, manifest.n_shards)

    trainer = _trainer(
        config.trainer,
        [ShardWriter(path, manifest), ImageProgress(manifest.rows, manifest.rows - rows_left)],
    )
    images_per_batch = max(1, config.trainer.batch_size // crops.count)
    loader = DataLoader(
        ImageDataset(images, crops),
        batch_sampler=ShardBatches(
            manifest, missing, images_per_batch, trainer.global_rank, trainer.world_size
        ),
        collate_fn=collate,
        num_workers=_workers(config.trainer.num_workers),
        pin_memory=torch.cuda.is_available(),
    )
    extractor = Extractor(backbone, crops, config.trainer.batch_size)
    with warnings.catch_warnings():
        # Lightning's advice on workers and on list batches is not for the people who run fnx.
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.predict(extractor, loader, return_predictions=False)
        except SystemExit:
            # What Lightning makes of Ctrl-C; the finished shards are kept.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    trainer.strategy.barrier("fnx: all shards are written")
    if trainer.is_global_zero:
        store.finish(path, manifest)


def _manifest(
    images: LabelledImages, config: Config, inputs: dict[str, Any], backbone: Backbone, path: Path
) -> Manifest:
    """The manifest of the store that is there, or of one that is made now."""
    if (path / "manifest.json").is_file():
        return Manifest.read(path)
    manifest = Manifest(
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        rows=images.ok().height,
        features=backbone.n_features,
        rows_per_shard=_rows_per_shard(backbone, config, images.ok().height),
    )
    store.create(path, manifest, images.table, backbone.feature_table())
    return manifest


def _rows_per_shard(backbone: Backbone, config: Config, rows: int) -> int:
    """Rows that take about a minute: a power of two between 64 and 2,048, and not above `rows`."""
    if config.trainer.accelerator != "cpu" and torch.cuda.is_available():
        return min(MOST_ROWS, rows)
    crops = Crops(**vars(config.crops))
    views = torch.zeros((4, 3, crops.size, crops.size), dtype=torch.uint8)
    with torch.inference_mode():
        backbone(views[:1])  # the first call sets up what later ones use
        start = time.perf_counter()
        backbone(views)
        seconds_per_image = (time.perf_counter() - start) / len(views) * crops.count
    exact = max(1.0, SECONDS_PER_SHARD / seconds_per_image)
    power_of_two = 1 << int(math.log2(exact))
    return min(max(FEWEST_ROWS, min(MOST_ROWS, power_of_two)), rows)


def _trainer(config: TrainerConfig, callbacks: list[Callback]) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        return lightning.Trainer(
            accelerator=config.accelerator,
            strategy=config.strategy,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,  # type: ignore[arg-type]  # checked by the schema
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            # Lightning's sampler deals rows out one by one; ours keeps shards whole.
            use_distributed_sampler=False,
        )


def _workers(configured: int | None) -> int:
    """Processes that decode images; one core is left to the network."""
    if configured is not None:
        return configured
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(8, max(1, int(cores) - 1))

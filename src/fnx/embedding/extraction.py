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
from fnx.embedding.passes import Batching, Passes, batching
from fnx.embedding.store import Manifest
from fnx.errors import ConfigError
from fnx.images.crops import Crops
from fnx.images.datamodule import Batch, ImageDataset, collate
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
    """Batches of images → rows of the embedding, under Lightning's precision and devices.

    A thin shell: what it calls is plain torch (`fnx.embedding.passes`) and works without it.
    """

    def __init__(self, backbone: Backbone, crops: Crops, cut: Batching) -> None:
        super().__init__()
        self.backbone = backbone
        self.crops = crops
        self.cut = cut
        self.passes: Passes | None = None

    def on_predict_start(self) -> None:
        """Share the network, which now is where it runs, among the threads."""
        self.passes = Passes(self.backbone, self.crops, self.cut)

    def predict_step(self, batch: Batch, _: int) -> Tensor:
        """One batch of the loader, without the rows' numbers: float32 (images, F)."""
        assert self.passes is not None
        return self.passes(batch.images())

    def teardown(self, stage: str) -> None:
        """Leave no thread behind, whatever ended the loop."""
        if self.passes is not None:
            self.passes.close()


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
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Put the batch's rows into the shard's block; write the block after its last row."""
        rows = batch.rows.tolist()
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
        self.bar.update(len(batch.rows) * trainer.world_size)

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
    _check_shapes(backbone, crops)
    trainer = _trainer(config.trainer)
    cut = batching(
        backbone.to(trainer.strategy.root_device),
        crops,
        config.trainer.batch_size,
        trainer.strategy.root_device,
    )
    extractor = Extractor(backbone, crops, cut)
    manifest = _manifest(images, inputs, extractor, path)
    missing = store.missing_shards(path, manifest)
    if not missing:  # the last run ended between its last shard and the manifest
        store.finish(path, manifest)
        return
    rows_left = sum(len(manifest.shard_rows(shard)) for shard in missing)
    log.info("extracting %d × %d features into %s", rows_left, manifest.features, path)
    if len(missing) < manifest.n_shards:
        log.info("going on at shard %d of %d", missing[0] + 1, manifest.n_shards)

    trainer.callbacks += [  # type: ignore[attr-defined]  # Lightning's connector makes it
        ShardWriter(path, manifest),
        ImageProgress(manifest.rows, manifest.rows - rows_left),
    ]
    loader = DataLoader(
        ImageDataset(images, crops),
        batch_sampler=ShardBatches(
            manifest, missing, cut.images, trainer.global_rank, trainer.world_size
        ),
        collate_fn=collate,
        num_workers=_workers(config.trainer.num_workers),
        pin_memory=torch.cuda.is_available(),
    )
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


def _check_shapes(backbone: Backbone, crops: Crops) -> None:
    """Refuse whole images for a network that takes squares only.

    Raises:
        ConfigError: saying what to choose instead.
    """
    if not crops.whole or crops.resize_mode == "squash":
        return
    oblong = torch.zeros((1, 3, crops.size, crops.size + crops.size // 8), dtype=torch.uint8)
    try:
        backbone(oblong)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "crops=dense: this network takes square images only; choose "
            "crops.resize_mode=squash, or crops=ten"
        ) from error


def _manifest(
    images: LabelledImages, inputs: dict[str, Any], extractor: Extractor, path: Path
) -> Manifest:
    """The manifest of the store that is there, or of one that is made now."""
    if (path / "manifest.json").is_file():
        return Manifest.read(path)
    backbone, rows = extractor.backbone, images.ok().height
    manifest = Manifest(
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        rows=rows,
        features=backbone.n_features,
        rows_per_shard=_rows_per_shard(extractor, rows),
    )
    store.create(path, manifest, images.table, backbone.feature_table())
    return manifest


def _rows_per_shard(extractor: Extractor, rows: int) -> int:
    """Rows that take about a minute: a power of two between 64 and 2,048, and not above `rows`."""
    cut, crops = extractor.cut, extractor.crops
    if rows <= FEWEST_ROWS or cut.threads == 0:
        return min(MOST_ROWS, rows)
    with torch.inference_mode(), Passes(extractor.backbone, crops, cut) as passes:
        start = time.perf_counter()
        passes.run([crops.example(cut.views)])
        seconds_per_image = (time.perf_counter() - start) / cut.views * crops.count / cut.threads
    exact = max(1.0, SECONDS_PER_SHARD / seconds_per_image)
    power_of_two = 1 << int(math.log2(exact))
    return min(max(FEWEST_ROWS, min(MOST_ROWS, power_of_two)), rows)


def _trainer(config: TrainerConfig) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        return lightning.Trainer(
            accelerator=config.accelerator,
            strategy=config.strategy,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,  # type: ignore[arg-type]  # checked by the schema
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

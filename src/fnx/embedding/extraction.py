"""Extraction: a Lightning predict loop that fills the missing shards of an embedding."""

from __future__ import annotations

import logging
import math
import multiprocessing
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnx.utils.collector import uncollected

with uncollected():
    import lightning.pytorch as lightning
    import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fnx import backbones
from fnx.analysis.record import Extraction
from fnx.embedding import ranks, store
from fnx.embedding.gaps import Gap, without_repeats
from fnx.embedding.known_rows import Copied, KnownRows, fill
from fnx.embedding.manifest import Manifest
from fnx.embedding.microbatches import IMAGES_PER_STEP, Microbatches, batching
from fnx.errors import DataError, reason
from fnx.images.crops import Crops
from fnx.images.decode import BYTES_PER_PIXEL
from fnx.images.torch_dataset import Batch, ImageDataset, collate
from fnx.utils import launch
from fnx.utils.cores import cores
from fnx.utils.ending import leave_to_main
from fnx.utils.memory import available_memory

if TYPE_CHECKING:
    from fnx.backbones.backbone import Backbone
    from fnx.backbones.weights.locate import WeightsFile
    from fnx.config.schema import Config, TrainerConfig
    from fnx.images.dataset import LabelledImages

log = logging.getLogger(__name__)

# An interrupted run keeps its finished shards, so one should not hold more than a minute's work.
SECONDS_PER_SHARD = 60.0
_DECODING_SHARE = 0.3  # of the free memory, of which the network takes most


class Extractor(lightning.LightningModule):
    """Missing shards' images → values and positions, under Lightning's precision and devices.

    A thin shell: what it calls is plain torch (`fnx.embedding.microbatches`) and works without it.
    """

    def __init__(
        self,
        backbone: Backbone,
        crops: Crops,
        images: LabelledImages,
        gaps: Mapping[int, Gap],
        config: TrainerConfig,
    ) -> None:
        super().__init__()
        # A rank for which no shard is left: fewer images than ranks, or a resume near its end.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.backbone = backbone
        self.crops = crops
        self.images = images
        self.gaps = gaps
        self.config = config
        self.microbatches: Microbatches | None = None

    def predict_dataloader(self) -> DataLoader[tuple[int, Tensor]]:
        """Return this rank's run of the missing shards; the network now is where it will run."""
        trainer = self.trainer
        # TensorFloat-32 rounds the factors of float32 products to 10 bits: only where it is asked
        # for, though torch allows it in convolutions of its own accord.
        torch.backends.cudnn.allow_tf32 = self.config.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = self.config.precision == "tf32"
        cut = batching(
            self.backbone, self.crops, self.config.batch_size, self.device, _threads(trainer)
        )
        backend = "inductor" if self.config.compile else None
        self.microbatches = Microbatches(self.backbone, self.crops, cut, compile_with=backend)
        local_ranks = ranks.local_ranks(trainer)
        workers = _workers(self.config.num_workers, local_ranks)
        workers = _with_memory_for(self.images.largest, workers, local_ranks)
        return DataLoader(
            ImageDataset(self.images, self.crops),
            batch_sampler=ranks.ShardBatches(
                self.gaps, cut.images, trainer.global_rank, trainer.world_size
            ),
            collate_fn=collate,
            num_workers=workers,
            worker_init_fn=leave_to_main,
            # Stated explicitly, for joblib changes what its processes start by default.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            pin_memory=self.device.type == "cuda",
        )

    def on_before_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """Have pixels that came through a pipe moved to the device as others are."""
        return batch.with_tensor()

    def predict_step(self, batch: Batch, _: int) -> ranks.Pending:
        """Begin with one batch of the loader; what is returned waits for it."""
        assert self.microbatches is not None
        return partial(self._finite, self.microbatches.start(batch.images()))

    def _finite(self, pending: ranks.Pending) -> tuple[Tensor, Tensor]:
        values, positions = pending()
        if not values.isfinite().all():
            raise DataError(_overflow(self.backbone, values, self.config.precision))
        return values, positions

    def close(self) -> None:
        """Leave no thread behind, whatever ended the loop."""
        if self.microbatches is not None:
            self.microbatches.close()
            self.microbatches = None


def extract(
    images: LabelledImages,
    config: Config,
    weights: WeightsFile,
    inputs: dict[str, Any],
    path: Path,
    trainer: lightning.Trainer | None = None,
    known: KnownRows | None = None,
) -> Extraction:
    """Extract the rows that are missing in the folder `path`, and declare it complete.

    `inputs` is what the fingerprint was made of; without a `trainer` the ranks of
    ``config.trainer`` run the network. Rank 0 copies the rows that are `known` elsewhere.

    Raises:
        ConfigError: a device that is not there.
        NonZeroRankExit: in a process that srun or torchrun started, on all ranks but rank 0.
    """
    crops = Crops(**vars(config.crops))
    backbone = backbones.build(
        config.model, weights, image_size=config.crops.size, seed=config.seed
    )
    trainer = trainer or ranks.make_trainer(config.trainer)
    work: tuple[Manifest, Copied] | None = None
    if launch.is_rank_zero():
        rows = images.ok().height
        manifest = store.open_or_create(
            path,
            inputs,
            images.table,
            backbone.feature_table(),
            lambda: _shared_out(_rows_per_shard(backbone, crops, trainer, rows), rows, trainer),
        )
        work = manifest, fill(path, manifest, known)
    if launch.is_externally_launched():
        work = ranks.broadcast_from_rank_zero(trainer, work)
    assert work is not None
    manifest, copied = work
    gaps = without_repeats(copied.gaps, images.ok()["digest"], trainer.world_size)
    rows_left = sum(len(gap.rows) for gap in gaps.values())
    repeated = sum(len(gap.repeats) for gap in gaps.values())
    start = time.perf_counter()
    if gaps:  # else the last run ended between its last shard and the manifest
        log.info("extracting %d × %d features into %s", rows_left, manifest.features, path)
        if len(gaps) < manifest.n_shards and not copied.rows:
            log.info("resuming: %d of %d shards are left", len(gaps), manifest.n_shards)
        if repeated:
            log.info("%d images repeat others of the data set, and are copied from them", repeated)
        progress = ranks.ImageProgress(manifest.rows, manifest.rows - rows_left)
        writer = ranks.ShardWriter(path, manifest, gaps)
        # Lightning's connector makes the attribute.
        trainer.callbacks += [writer, progress]  # type: ignore[attr-defined]
        extractor = Extractor(backbone, crops, images, gaps, config.trainer)
        try:
            ranks.predict(trainer, extractor)
        finally:
            extractor.close()
        trainer.strategy.barrier("fnx: all shards are written")
    if not trainer.is_global_zero:
        raise launch.NonZeroRankExit
    store.finish(path, manifest)
    return Extraction(rows_left, round(time.perf_counter() - start, 3), copied.rows + repeated)


def _overflow(backbone: Backbone, values: Tensor, precision: str) -> str:
    """Return the line that names the first layer with NaN or infinite values."""
    first = int(values.isfinite().all(dim=0).int().argmin())
    layer = backbone.feature_table()["layer"][first]
    if precision.startswith("16"):
        return (
            f"trainer.precision={precision}: values of layer {layer} are beyond what 16 bits hold; "
            "choose bf16-mixed or 32-true"
        )
    return (
        f"values of layer {layer} are NaN or infinite: the weights are not this network's, or "
        "model.preprocess is not that of their training"
    )


def _rows_per_shard(backbone: Backbone, crops: Crops, trainer: lightning.Trainer, rows: int) -> int:
    """Return how many rows take a rank about a minute: a power of two between 64 and 2,048."""
    device = trainer.strategy.root_device
    if rows <= store.FEWEST_ROWS or device.type != "cpu":
        return store.MOST_ROWS
    cut = batching(backbone, crops, "auto", device, _threads(trainer))
    with Microbatches(backbone, crops, cut) as microbatches:
        start = time.perf_counter()
        microbatches.run([(crops.example(cut.views), slice(crops.centre, None, crops.count))])
        seconds_per_image = (time.perf_counter() - start) / cut.views * crops.count / cut.threads
    return _rows_in_time(seconds_per_image)


def _rows_in_time(seconds_per_image: float) -> int:
    exact = max(1.0, SECONDS_PER_SHARD / seconds_per_image)
    return max(store.FEWEST_ROWS, min(store.MOST_ROWS, 1 << int(math.log2(exact))))


def _shared_out(rows_per_shard: int, rows: int, trainer: lightning.Trainer) -> int:
    """Return rows per shard so that each rank has one, and that hold whole microbatches."""
    fair = math.ceil(rows / trainer.world_size / IMAGES_PER_STEP) * IMAGES_PER_STEP
    return max(1, min(rows_per_shard, rows, fair))


def _threads(trainer: lightning.Trainer) -> int:
    """Return the threads of this rank, of those that torch was given (OMP_NUM_THREADS)."""
    return max(1, min(torch.get_num_threads(), cores() // ranks.local_ranks(trainer)))


def _with_memory_for(pixels: int, workers: int, local_ranks: int) -> int:
    """Return of how many processes each may decode the largest image at the same time."""
    each = max(1, pixels * BYTES_PER_PIXEL * local_ranks)
    fitting = max(1, int(_DECODING_SHARE * available_memory() / each))
    if fitting < workers:
        log.info(
            "images of up to %s pixels: %d processes decode in place of %d, for memory",
            f"{pixels:,}",
            fitting,
            workers,
        )
    return min(workers, fitting)


def _workers(configured: int | None, local_ranks: int) -> int:
    """Return how many processes decode images for one rank; one core is left to the network."""
    workers = min(8, max(1, cores() // local_ranks - 1)) if configured is None else configured
    if workers:
        try:
            multiprocessing.Lock()
        except OSError as error:  # no /dev/shm, as in some sandboxes
            log.warning("images are decoded without processes of their own: %s", reason(error))
            return 0
    return workers

"""Ranks: the processes that share an extraction, what each takes of it, and how they end.

On one machine the processes are spawned for the forward passes alone and end with them. On a
cluster each rank was started as a whole program by srun or torchrun; it joins rank 0's extraction
and leaves after it (`fnx.utils.launch.NonZeroRankExit`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from fnx.utils.collector import uncollected

with uncollected():
    import lightning.pytorch as lightning
import numpy as np
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException
from torch.utils.data import Sampler

from fnx import errors
from fnx.config.schema import TrainerConfig
from fnx.embedding import store
from fnx.embedding.gaps import Gap, RepeatedRows, shared_out
from fnx.embedding.manifest import Manifest
from fnx.errors import ConfigError, DataError, FnxError
from fnx.images.torch_dataset import Batch
from fnx.utils import launch
from fnx.utils.progress import progress_bar

T = TypeVar("T")
#: A batch under way: waits for its values and positions, float32 (images, F), uint8 (images, F, 2).
Pending = Callable[[], tuple[Tensor, Tensor]]

# Lightning's advice on workers and samplers is not for the people who run fnx. Set as the module is
# imported, for a spawned process runs nothing of fnx before it runs Lightning.
warnings.filterwarnings("ignore", module=r"lightning\.")
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def make_trainer(config: TrainerConfig) -> lightning.Trainer:
    """Make Lightning's trainer for `config`; several devices of one machine get a process each.

    Raises:
        ConfigError: a device or precision that the machine does not have, in Lightning's words;
            several machines without srun or torchrun.
    """
    if config.num_nodes > 1 and not launch.is_externally_launched():
        raise ConfigError(
            f"trainer.num_nodes={config.num_nodes}: start one process per device with srun or "
            "torchrun (see docs/cluster.md)"
        )
    if launch.is_externally_launched():
        launch.set_slurm_tasks_per_node()
        return _lightning_trainer(config, plugins=_slurm_environment())
    # Lightning's own "ddp" starts the whole program again for each rank, and each would go on
    # after the extraction; spawned processes run the forward passes only.
    strategy = "auto" if config.strategy == "ddp" else config.strategy
    trainer = _lightning_trainer(config, strategy=strategy, plugins=[LightningEnvironment()])
    if strategy == "auto" and trainer.num_devices > 1:
        return _lightning_trainer(config, strategy="ddp_spawn", plugins=[LightningEnvironment()])
    return trainer


def make_single_trainer(config: TrainerConfig) -> lightning.Trainer:
    """Make a trainer of this process alone, on one device, whatever launched it.

    Raises:
        ConfigError: as `make_trainer`.
    """
    alone = dataclasses.replace(config, devices=1, num_nodes=1)
    return _lightning_trainer(alone, strategy="auto", plugins=[LightningEnvironment()])


def device_type(config: TrainerConfig) -> str:
    """Return the kind of device that the extraction runs on: ``cpu``, ``cuda``, …

    Raises:
        ConfigError: see `make_trainer`.
    """
    return make_trainer(config).strategy.root_device.type


def _slurm_environment() -> list[SLURMEnvironment]:
    """Return Lightning's view of srun's tasks, without its requeuing, which is for trainings."""
    if TorchElasticEnvironment.detect() or "SLURM_STEP_NUM_TASKS" not in os.environ:
        return []
    try:
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def _lightning_trainer(config: TrainerConfig, **options: Any) -> lightning.Trainer:
    try:
        trainer = lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision="32-true" if config.precision == "tf32" else config.precision,  # type: ignore[arg-type]  # checked by the schema
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            # Lightning's sampler deals rows out one by one; ours keeps shards whole.
            use_distributed_sampler=False,
            **{"strategy": config.strategy, **options},
        )
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error
    if config.precision == "tf32" and trainer.strategy.root_device.type != "cuda":
        raise ConfigError(
            "trainer.precision=tf32 is a format of NVIDIA's GPUs; allowed here are 32-true, "
            "bf16-true, …"
        )
    return trainer


def broadcast_from_rank_zero(trainer: lightning.Trainer, value: T) -> T:
    """Return rank 0's `value` on all ranks that srun or torchrun started."""
    trainer.strategy.setup_environment()  # joins them, if they are not yet
    result: T = trainer.strategy.broadcast(value)
    return result


def local_ranks(trainer: lightning.Trainer) -> int:
    """Return how many processes of the extraction share this machine's cores."""
    return max(1, trainer.num_devices)


def predict(trainer: lightning.Trainer, extractor: lightning.LightningModule) -> None:
    """Run the extraction on all ranks; none is left behind, whatever ends it.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a request to terminate.
        FnxError: an error of a rank.
    """
    try:
        trainer.predict(extractor, return_predictions=False)
    except ProcessException as error:
        raise _error_of_rank(error) from error
    except RuntimeError as error:
        text = f"{type(error).__name__}: {error}"
        if (told := _full_device(text) or _lost_process(text)) is None:
            raise
        raise told from error
    except SystemExit as exit_:
        # What Lightning makes of Ctrl-C; the finished shards are kept. Others (submitit's, of a job
        # that it has queued again) are passed on.
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        for process in getattr(trainer.strategy.launcher, "procs", []):
            if process.is_alive():
                process.kill()  # it can lose no more than the shard under way


def _error_of_rank(error: ProcessException) -> Exception:
    """Return the error of a spawned process, whose traceback arrives as a text."""
    last = str(error).strip().splitlines()[-1]
    name, _, message = last.partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    if isinstance(kind, type) and issubclass(kind, FnxError):
        return kind(message)
    if name.endswith(("VanishedImageError", "OSError")):  # the latter: a full disk
        return DataError(message)
    return _full_device(str(error)) or _lost_process(last) or RuntimeError(str(error))


def _full_device(text: str) -> DataError | None:
    """Return the error of a GPU whose memory is full, by what torch says; None of another."""
    # torch has an error of its own for CUDA alone; others are told by the words.
    if not re.search(r"(?m)^[\w.]*(OutOfMemoryError\b|Error: .*out of memory)", text):
        return None
    return DataError(
        "the GPU's memory is full: choose a smaller trainer.batch_size, or leave it out, and see "
        "whether other programs use the GPU (nvidia-smi); the same command resumes where it stopped"
    )


def _lost_process(text: str) -> DataError | None:
    """Return the error of a process that was killed, by what torch says; None of another."""
    ended = re.search(r"terminated with (signal \w+|exit code \d+)", text)
    decoding = re.search(r"DataLoader worker .*?(by signal: [\w ]+|unexpectedly)", text)
    if ended:
        how = f"a process of the extraction ended with {ended[1]} (out of memory?)"
    elif decoding:
        how = f"a process that decodes images ended {decoding[1]} (out of memory?)"
    else:
        return None
    fewer = "; trainer.num_workers=1 takes less memory" if decoding else ""
    return DataError(f"{how}: the same command resumes where it stopped{fewer}")


class ShardBatches(Sampler[list[int]]):
    """Batches of the rows that shards need, in order; none crosses a shard's border.

    So a shard's numbers do not depend on which shards were missing, and each rank takes a run of
    whole shards: two writers never meet in one.
    """

    def __init__(self, gaps: Mapping[int, Gap], images: int, rank: int, ranks: int) -> None:
        self.mine = [gaps[shard].rows for shard in shared_out(gaps, ranks)[rank]]
        self.images = images

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.mine:
            for start in range(0, len(rows), self.images):
                yield [int(row) for row in rows[start : start + self.images]]

    def __len__(self) -> int:
        return sum(math.ceil(len(rows) / self.images) for rows in self.mine)


class ShardWriter(BasePredictionWriter):
    """Collects what a shard's missing images give, and writes the shard after the last of them.

    One batch is left under way while the next is begun, also where a shard is written meanwhile.
    """

    def __init__(self, path: Path, manifest: Manifest, gaps: Mapping[int, Gap]) -> None:
        super().__init__("batch")
        self.path = path
        self.manifest = manifest
        self.gaps = gaps
        self.repeated = RepeatedRows(path, gaps)
        self.blocks: tuple[Tensor, ...] = ()
        self.filled = 0  # rows of the blocks
        self.pending: deque[tuple[list[int], Pending]] = deque()

    def write_on_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        prediction: Pending,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keep a batch that has begun, and wait for the one before it."""
        self.pending.append((batch.rows, prediction))
        if len(self.pending) > 1:
            self._put(*self.pending.popleft())

    def on_predict_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Wait for the last batch."""
        while self.pending:
            self._put(*self.pending.popleft())
        self.repeated.close()

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, _: BaseException) -> None:
        """Leave no file behind."""
        self.repeated.close()

    def _put(self, numbers: Sequence[int], pending: Pending) -> None:
        """Put a batch's values and positions in their place; write after the shard's last row."""
        found = pending()
        shard = int(numbers[0]) // self.manifest.rows_per_shard
        gap = self.gaps[shard]
        if not self.blocks:
            # On the network's device: a copy to the host for each batch would make a GPU wait.
            size = len(gap.rows)
            self.blocks = tuple(part.new_empty((size, *part.shape[1:])) for part in found)
            self.filled = 0
        for block, part in zip(self.blocks, found, strict=True):
            block[self.filled : self.filled + len(numbers)] = part
        self.filled += len(numbers)
        if self.filled == len(gap.rows):
            values, positions = (block.cpu().numpy() for block in self.blocks)
            self.blocks = ()
            self._write(shard, values, positions)
            # Those after it that only repeat: of this rank, for each begins with a row of its own.
            later = (other for other in self.gaps if other > shard)
            for other in takewhile(lambda other: not len(self.gaps[other].rows), later):
                self._write(other, values[:0], positions[:0])

    def _write(self, shard: int, values: NDArray[np.float32], positions: NDArray[np.uint8]) -> None:
        whole = self.repeated.complete(self.gaps[shard], values, positions)
        store.complete_shard(self.path, self.manifest, shard, *whole)


class ImageProgress(Callback):
    """A progress bar that counts the images of all ranks: images per second, time left."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.bar: Any = None

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Open the bar, on rank 0."""
        self.bar = progress_bar(
            "extracting",
            total=self.total,
            initial=self.done,
            unit="images",
            enabled=trainer.is_global_zero,
        )

    def on_predict_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Move the bar by the images of the batch, on all ranks: they work at one speed."""
        self.bar.update(min(len(batch.rows) * trainer.world_size, self.bar.total - self.bar.n))

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, _: BaseException) -> None:
        """Close the bar, so that the message of the exception comes last."""
        if self.bar is not None:
            self.bar.close()

"""Ranks: real processes that share an extraction, and what each says when it cannot go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from fnx.config.schema import Config, TrainerConfig
from fnx.embedding import embed, extraction, ranks, store
from fnx.embedding.gaps import Gap
from fnx.embedding.manifest import Manifest
from fnx.embedding.ranks import ShardBatches
from fnx.errors import ConfigError, DataError
from fnx.images import LabelledImages, open_images
from fnx.images.torch_dataset import Batch
from fnx.utils import launch


def opened(config: Config) -> LabelledImages:
    return open_images(config.dataset, Path(config.paths.cache))


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("images", [1, 3, 8, 50])
def test_each_rank_takes_whole_shards_and_no_batch_crosses_one(ranks: int, images: int) -> None:
    manifest = Manifest("", {}, rows=45, features=1, rows_per_shard=8)
    gaps = {shard: Gap(manifest.shard_rows(shard)) for shard in (0, 2, 3, 5)}
    gaps[3] = Gap(np.array([24, 27, 31]))
    seen: list[int] = []
    for rank in range(ranks):
        batches = ShardBatches(gaps, images, rank, ranks)
        listed = list(batches)
        assert len(listed) == len(batches)
        for batch in listed:
            assert len({row // 8 for row in batch}) == 1
            assert len(batch) <= images
        seen += [row for batch in listed for row in batch]
    assert seen == [row for gap in gaps.values() for row in gap.rows]


def ranks_of(count: int, config: Config) -> Config:
    config.trainer.strategy, config.trainer.devices = "ddp", count
    return config


def test_two_processes_leave_the_bits_of_one(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("crops=ten", "dataset.limit_per_class=3")  # 30 images, which 8 does not divide
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    one, _ = embed(opened(tiny(*words)), tiny(*words))
    config = ranks_of(2, tiny(*words, f"paths.cache={tiny().paths.outputs}/two"))
    two, reused = embed(opened(config), config)
    assert not reused
    assert two.path != one.path
    assert two.manifest == one.manifest  # with checksums of the files themselves
    np.testing.assert_array_equal(two.features[:], one.features[:])
    assert one.manifest.positions is not None
    assert len(one.manifest.shards) == len(one.manifest.positions) == 4


@pytest.mark.slow
def test_fewer_images_than_processes(tiny: Callable[..., Config], tmp_path: Path) -> None:
    for name, color in (("red", (200, 30, 9)), ("blue", (9, 30, 200))):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (50, 50), color).save(tmp_path / "images" / name / "only.png")
    words = ("dataset=folder", f"dataset.root={tmp_path}/images", "dataset.limit_per_class=null")
    one, _ = embed(opened(tiny(*words)), tiny(*words))
    config = ranks_of(3, tiny(*words, f"paths.cache={tmp_path}/three"))
    three, _ = embed(opened(config), config)
    np.testing.assert_array_equal(three.features[:], one.features[:])
    assert three.features.shape[0] == 2
    store.reopen(three.path, three.manifest, [1])  # and to go on with fewer shards than ranks
    again, reused = embed(opened(config), config)
    assert not reused
    assert again.manifest == three.manifest


@pytest.mark.parametrize(("rows", "ranks", "expected"), [(30, 2, 16), (1, 4, 1), (9000, 2, 64)])
def test_each_rank_has_a_shard_of_whole_passes(rows: int, ranks: int, expected: int) -> None:
    class Trainer:
        world_size = ranks

    found = extraction._shared_out(64, rows, Trainer())  # type: ignore[arg-type]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("…\nfnx.errors.ConfigError: no such device", ConfigError, "^no such device$"),
        ("…\nfnx.images.datamodule.VanishedImageError: image 'a'", DataError, "^image 'a'$"),
        ("…\nOSError: [Errno 28] No space left on device", DataError, "No space left"),
        ("…\nZeroDivisionError: float", RuntimeError, "ZeroDivisionError"),
        (
            "…\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.\nSee …",
            DataError,
            "GPU's memory is full: .*trainer.batch_size",
        ),
    ],
)
def test_what_a_process_raises_is_said_by_the_first(
    text: str, kind: type[Exception], said: str
) -> None:
    error = ranks._error_of_rank(ProcessRaisedException(text, 1, 1234))
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that",
            "Bus error",
        ),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "ended unexpectedly"),
    ],
)
def test_a_process_that_decodes_for_another_and_is_killed_is_told_of(
    said: str, expected: str
) -> None:
    error = ProcessRaisedException(f"…\nRuntimeError: {said}", 1, 1234)
    with pytest.raises(DataError, match=rf"{expected} \(out of memory\?\): .*num_workers=1"):
        raise ranks._error_of_rank(error)


FULL = "^the GPU's memory is full: .*trainer.batch_size"


@pytest.mark.parametrize(
    ("raised", "text", "kind", "said"),
    [
        ("OutOfMemoryError", "CUDA error: …", DataError, FULL),
        ("AcceleratorError", "CUDA error: out of memory", DataError, FULL),
        ("AcceleratorError", "MPS backend out of memory (MPS allocated: …", DataError, FULL),
        ("AcceleratorError", "CUDA error: …", RuntimeError, "^CUDA"),
    ],
)
def test_a_gpu_that_is_full_is_told_of_and_its_other_errors_are_left(
    raised: str, text: str, kind: type[Exception], said: str
) -> None:
    import torch

    class Failing(ranks.lightning.Trainer):
        def predict(self, *_: object, **__: object) -> None:
            error = getattr(torch, raised)(text)
            raise error

    trainer = Failing(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(kind, match=said):
        ranks.predict(trainer, ranks.lightning.LightningModule())


def test_a_process_that_is_killed_is_told_of() -> None:
    error = ProcessExitedException(
        "process 1 terminated with signal SIGKILL", 1, 1234, exit_code=-9, signal_name="SIGKILL"
    )
    with pytest.raises(DataError, match=r"signal SIGKILL \(out of memory\?\)"):
        raise ranks._error_of_rank(error)


@pytest.mark.parametrize(
    ("environment", "elsewhere", "first"),
    [
        ({}, False, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False, True),
        # A batch script itself, not a task of srun's in it: the names that slurm 22.05 sets there.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, False, True),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, True, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, True, True),
        ({"RANK": "3", "WORLD_SIZE": "4"}, True, False),
        ({"RANK": "0", "WORLD_SIZE": "4"}, True, True),
    ],
)
def test_srun_and_torchrun_are_recognised(
    environment: dict[str, str], elsewhere: bool, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launch.is_externally_launched() is elsewhere
    assert launch.is_rank_zero() is first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_nodes": 2}, "start one process per device with srun or torchrun"),
        ({"accelerator": "gpu"}, "^trainer: .*gpu"),
        ({"devices": "-1"}, "^trainer: `devices` .* should be an int > 0"),
        ({"precision": "tf32"}, "NVIDIA's GPUs"),
    ],
)
def test_what_the_machine_has_not_is_said_in_one_line(
    changes: dict[str, object], said: str
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=said):
        ranks.make_trainer(TrainerConfig(**{"accelerator": "cpu", **changes}))  # type: ignore[arg-type]


def test_the_device_is_that_of_the_trainer() -> None:
    assert ranks.device_type(TrainerConfig(accelerator="cpu", devices=1)) == "cpu"
    with pytest.raises(ConfigError, match=r"^trainer.precision=tf32"):
        ranks.device_type(TrainerConfig(accelerator="cpu", devices=1, precision="tf32"))


def test_a_single_trainer_is_one_process_on_one_device_whatever_launched_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    config = TrainerConfig(accelerator="cpu", devices=4, num_nodes=3, strategy="ddp")
    trainer = ranks.make_single_trainer(config)
    assert (trainer.world_size, trainer.num_devices, trainer.num_nodes) == (1, 1, 1)
    assert trainer.is_global_zero


@pytest.mark.parametrize(
    ("tasks", "nodes", "expected"),
    [("6", "2", "3"), ("2", "1", "2"), ("5", "2", None), ("1", "1", None)],
)
def test_srun_s_number_of_tasks_is_set_per_node(
    tasks: str, nodes: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", tasks)
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", nodes)
    launch.set_slurm_tasks_per_node()
    assert os.environ.get("SLURM_NTASKS_PER_NODE") == expected


def test_a_batch_is_waited_for_when_the_next_has_begun_and_the_last_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest("0123456789ab", {}, rows=6, features=2, rows_per_shard=4, positions=())
    waited: list[int] = []
    written: dict[int, tuple[np.ndarray, ...]] = {}
    monkeypatch.setattr(
        store, "complete_shard", lambda _, __, shard, gap, *blocks: written.update({shard: blocks})
    )

    def begun(rows: list[int]) -> ranks.Pending:
        def wait() -> tuple[torch.Tensor, torch.Tensor]:
            waited.extend(rows)
            values = torch.tensor(rows, dtype=torch.float32)[:, None].expand(-1, 2)
            return values, values[:, :, None].expand(-1, -1, 2).to(torch.uint8)

        return wait

    gaps = {shard: Gap(manifest.shard_rows(shard)) for shard in (0, 1)}
    writer = ranks.ShardWriter(tmp_path, manifest, gaps)
    trainer, module = None, None
    states = []
    for rows in ([0, 1], [2, 3], [4, 5]):
        batch = Batch(rows, [], torch.empty(0))
        writer.write_on_batch_end(trainer, module, begun(rows), None, batch, 0, 0)  # type: ignore[arg-type]
        states.append((list(waited), list(written)))
    assert states == [([], []), ([0, 1], []), ([0, 1, 2, 3], [0])]
    writer.on_predict_epoch_end(trainer, module)  # type: ignore[arg-type]
    assert waited == list(range(6))
    for shard, first in ((0, 0), (1, 4)):
        values, positions = written[shard]
        np.testing.assert_array_equal(values[:, 1], np.arange(first, min(first + 4, 6)))
        np.testing.assert_array_equal(positions[:, 1, 1], values[:, 1])

"""Extraction: the numbers of a plain loop, whole shards, and nothing done twice."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision.transforms.v2.functional as tv

from fnx.config.schema import Config
from fnx.embedding import Embedding, embed, extraction, store
from fnx.embedding.embed import _progress
from fnx.embedding.store import Manifest
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images


def opened(config: Config) -> LabelledImages:
    return open_images(config.dataset, Path(config.paths.cache))


def positions(embedding: Embedding) -> np.ndarray:
    assert embedding.positions is not None
    return embedding.positions[:]


def test_rows_equal_a_plain_loop_of_timm_and_torchvision(tiny: Callable[..., Config]) -> None:
    config = tiny("crops=ten", "model.layers=[conv1.0]", "model.tap=pre")
    images = opened(config)
    embedding, _ = embed(images, config)

    torch.manual_seed(config.seed)
    network = timm.create_model("test_resnet", pretrained=False).eval()
    mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    for row, path in enumerate(images.ok()["path"][:3]):
        pixels = tv.pil_to_tensor(images.open(path).convert("RGB"))
        pixels = tv.resize(pixels, [40], antialias=True)
        views = torch.stack(tv.ten_crop(pixels, [32]))
        with torch.no_grad():
            convolved = network.conv1[0](tv.normalize(views.float() / 255, mean, std))
            normed = torch.nn.functional.batch_norm(
                convolved,
                network.conv1[1].running_mean,
                network.conv1[1].running_var,
                network.conv1[1].weight,
                network.conv1[1].bias,
                eps=network.conv1[1].eps,
            )
        expected = normed.mean((0, 2, 3)).numpy()
        np.testing.assert_allclose(embedding.features[row], expected, rtol=1e-4, atol=1e-5)
        highest = normed[4].flatten(1).argmax(1)  # in the unmirrored centre, a map of 16 × 16
        middles = torch.stack([highest // 16, highest % 16], 1) * 16 + 8  # of cells, in 256ths
        assert (positions(embedding)[row] == middles.numpy()).mean() > 0.9


def test_a_layer_that_overflows_is_named_in_the_first_batch(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    state = timm.create_model("test_resnet").state_dict()
    for layer in ("layer1.0.conv1", "layer3.0.conv1"):
        state[f"{layer}.weight"] = torch.full_like(state[f"{layer}.weight"], 1e38)
    torch.save(state, tmp_path / "w.pth")
    config = tiny(f"model.weights.path={tmp_path}/w.pth")
    with pytest.raises(DataError, match=r"^values of layer layer1.0.conv1 are NaN or infinite: "):
        embed(opened(config), config)
    assert not list(Path(config.paths.cache).glob("*/shards/*"))


def test_16_bits_are_blamed_where_they_are_too_few() -> None:
    backbone = SimpleNamespace(feature_table=lambda: {"layer": ["a", "a", "b", "c"]})
    values = torch.tensor([[0, 1, 2, torch.inf], [0, 1, torch.nan, 3]])
    assert extraction._overflow(backbone, values, "16-true") == (
        "trainer.precision=16-true: values of layer b are beyond what 16 bits hold; "
        "choose bf16-mixed or 32-true"
    )


def test_the_second_run_reuses_the_first(
    tiny: Callable[..., Config], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    first, reused = embed(opened(config), config)
    assert not reused

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr("fnx.backbones.build", no_network)
    with caplog.at_level(logging.INFO):
        second, reused = embed(opened(config), config)
    assert reused
    assert second.path == first.path
    assert "embedding reused" in caplog.text

    manifest = first.path / "manifest.json"  # of an older version, which wrote no such digests
    content = json.loads(manifest.read_text())
    manifest.write_text(
        json.dumps({k: v for k, v in content.items() if k not in ("files", "digest")})
    )
    caplog.clear()
    assert embed(opened(config), config)[1]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_interrupted_run_goes_on_at_the_first_missing_shard(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_rows_per_shard", lambda *_: 8)
    undisturbed, _ = embed(opened(tiny()), tiny())
    assert undisturbed.manifest.n_shards == 5

    config = tiny(f"paths.cache={tmp_path}/elsewhere")
    written: list[int] = []
    write = store.write_shard

    def failing(path: Path, manifest: Manifest, shard: int, *blocks: np.ndarray) -> None:
        if len(written) == 2:
            raise OSError("the disk is full")
        write(path, manifest, shard, *blocks)
        written.append(shard)

    monkeypatch.setattr(store, "write_shard", failing)
    with pytest.raises(OSError, match="disk is full"):
        embed(opened(config), config)
    (path,) = (tmp_path / "elsewhere").glob("digits-*")
    assert not store.is_whole(path)

    later: list[int] = []

    def counting(path: Path, manifest: Manifest, shard: int, *blocks: np.ndarray) -> None:
        write(path, manifest, shard, *blocks)
        later.append(shard)

    monkeypatch.setattr(store, "write_shard", counting)
    resumed, reused = embed(opened(config), config)
    assert not reused
    assert later == [2, 3, 4]
    np.testing.assert_array_equal(resumed.features[:], undisturbed.features[:])
    np.testing.assert_array_equal(positions(resumed), positions(undisturbed))
    assert resumed.manifest == undisturbed.manifest


def test_a_run_that_ended_after_its_last_shard_is_finished_by_the_next(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()

    def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(store, "finish", killed)
        with pytest.raises(OSError, match="killed"):
            embed(opened(config), config)
    embedding, reused = embed(opened(config), config)
    assert not reused
    assert embedding.features.shape == (40, embedding.manifest.features)
    assert np.isfinite(embedding.features[:]).all()


def test_the_folder_is_named_by_data_model_and_fingerprint(tiny: Callable[..., Config]) -> None:
    config = tiny()
    embedding, _ = embed(opened(config), config)
    mark = json.loads((embedding.path / "manifest.json").read_text())["fingerprint"]
    assert embedding.path.name == f"digits-test_resnet-{mark}"
    names = {entry.name for entry in embedding.path.iterdir()}
    tables = {
        "images.parquet", "features.parquet", "network.parquet", "receptive_fields.parquet",
    }  # fmt: skip
    assert names == {"features.zarr", "positions.zarr", "manifest.json", *tables}


@pytest.mark.parametrize(
    "crops",
    ["ten", *(pytest.param(name, marks=pytest.mark.slow) for name in ("center", "five", "dense"))],
)
def test_batch_size_threads_and_workers_change_no_bit(
    tiny: Callable[..., Config], crops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sizes at which torch's own results differ in their last bits (measured on two machines).
    words = (f"crops={crops}", "crops.resize=40", "crops.size=40", "dataset.limit_per_class=3")
    config = tiny(*words)
    expected = embed(opened(config), config)[0].manifest  # whose digests are those of all bits
    others = ["batch_size=1", "batch_size=7", "batch_size=1000", "num_workers=2"]
    for number, other in enumerate(others):
        config = tiny(*words, f"trainer.{other}", f"paths.cache={config.paths.outputs}/{number}")
        assert embed(opened(config), config)[0].manifest == expected
    monkeypatch.setattr(extraction, "_threads", lambda _: 5)
    config = tiny(*words, f"paths.cache={config.paths.outputs}/threads")
    assert embed(opened(config), config)[0].manifest == expected


def test_a_network_of_squares_takes_whole_images_that_are_squashed(
    tiny: Callable[..., Config],
) -> None:
    words = ("model.name=test_vit", "model.layers=[blocks.0.*]", "dataset.limit_per_class=1")
    config = tiny(
        *words, "crops=dense", "crops.resize=160", "crops.size=160", "crops.resize_mode=squash"
    )
    assert np.isfinite(embed(opened(config), config)[0].features[:]).all()


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_and_sigterm_end_with_a_line_that_says_how_to_go_on(
    number: signal.Signals, code: int, word: str, tmp_path: Path, tiny_words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "fnx", *tiny_words, "dataset.limit_per_class=null"]
    process = subprocess.Popen(
        [*command, "report=tables", f"paths.outputs={tmp_path}", "trainer.num_workers=1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts a job in the background has it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while process.poll() is None and not list(tmp_path.glob("embeddings/*/manifest.json")):
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, number)  # also those that decode, as a terminal and SLURM do
    _, said = process.communicate(timeout=20)
    assert process.returncode == code, said
    assert said.strip().splitlines()[-1].startswith(f"fnx: {word}; the same command goes on"), said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        (1000.0, 64),
        (60 / 127, 64),
        (60 / 129, 128),
        (60 / 1000, 512),
        (60 / 1025, 1024),
        (1e-9, 2048),
    ],
)
def test_a_shard_is_a_minute_s_work_within_bounds(seconds: float, rows: int) -> None:
    assert extraction._rows_in_time(seconds) == rows


def test_few_rows_are_one_shard_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trainer:
        class strategy:  # noqa: N801 - as Lightning has it
            root_device = torch.device("cpu")

    monkeypatch.setattr(extraction, "_threads", lambda _: 1)
    monkeypatch.setattr(extraction, "batching", None)  # a trial would call it
    assert extraction._rows_per_shard(None, None, Trainer(), 64) == 2048  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        extraction._rows_per_shard(None, None, Trainer(), 65)  # type: ignore[arg-type]
    Trainer.strategy.root_device = torch.device("meta")
    assert extraction._rows_per_shard(None, None, Trainer(), 65) == 2048  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("configured", "cores", "ranks", "workers"),
    [
        (None, 4, 1, 3),
        (None, 1, 1, 1),
        (None, 32, 1, 8),
        (None, 9, 2, 3),
        (0, 4, 1, 0),
        (5, 1, 1, 5),
    ],
)
def test_a_core_is_left_to_the_network(
    configured: int | None, cores: int, ranks: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "cores", lambda: cores)
    assert extraction._workers(configured, ranks) == workers


@pytest.mark.parametrize(
    ("pixels", "local_ranks", "expected"),
    # Three tenths of the memory, over ten bytes for each pixel.
    [(0, 1, 4), (7, 1, 4), (8, 1, 3), (10, 1, 3), (11, 1, 2), (30, 1, 1), (3000, 1, 1), (8, 2, 1)],
)
def test_few_processes_decode_images_that_need_much_memory(
    pixels: int, local_ranks: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "available_memory", lambda: 1000)
    assert extraction._with_memory_for(pixels, 4, local_ranks) == expected
    assert extraction._with_memory_for(pixels, 0, local_ranks) == 0


def test_without_locks_between_processes_images_are_decoded_in_this_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(multiprocessing, "Lock", missing)
    assert extraction._workers(0, 1) == 0
    assert caplog.text == ""
    assert extraction._workers(3, 1) == 0
    assert "without processes of their own: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("torch_threads", "cores", "ranks", "threads"),
    [(8, 4, 1, 4), (2, 4, 1, 2), (8, 5, 2, 2), (8, 1, 2, 1)],
)
def test_ranks_of_one_machine_share_its_cores(
    torch_threads: int, cores: int, ranks: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trainer:
        num_devices = ranks

    monkeypatch.setattr(extraction, "cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_threads)
    assert extraction._threads(Trainer()) == threads  # type: ignore[arg-type]


def test_how_far_another_run_is_is_told_by_its_markers(tmp_path: Path) -> None:
    assert _progress(tmp_path) == "it has not begun to write"
    Manifest("", {}, rows=20, features=1, rows_per_shard=8).write(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/000001.json").write_text("{}")
    assert _progress(tmp_path) == "1 of 3 shards are there"


def test_a_table_1_that_cannot_be_made_is_a_warning(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("of the network's own\nand more")

    monkeypatch.setattr("fnx.backbones.network_table.network_table", failing)
    config = tiny("dataset.limit_per_class=1", "model.layers=[conv1.0]")
    embedding, _ = embed(opened(config), config)
    assert embedding.network is None
    assert "no Table 1 of test_resnet: ZeroDivisionError of the network's own" in caplog.text
    assert "and more" not in caplog.text

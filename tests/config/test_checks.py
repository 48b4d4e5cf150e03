"""What a run refuses before any work, in one line each."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fnx.config import checks
from fnx.config.checks import check, check_listing
from fnx.config.schema import Config
from fnx.errors import ConfigError, WeightsError

Compose = Callable[..., Config]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["trainer.batch_size=abc"],
            "trainer.batch_size=abc: must be auto or an integer from 1",
        ),
        (["trainer.batch_size=0"], "trainer.batch_size=0: must be at least 1"),
        (["trainer.num_workers=-1"], "trainer.num_workers=-1: must be at least 0"),
        (
            ["trainer.precision=half"],
            "trainer.precision=half: allowed are 32-true, tf32, bf16-mixed, bf16-true, 16-mixed, "
            "16-true",
        ),
        (["report.formats=[png,gif]"], "report.formats=gif: allowed are png, svg, pdf"),
        (["dataset.depth=0", "dataset=folder"], "dataset.depth=0: must be at least 1"),
        (["+foo=1"], "unknown key 'foo'; allowed: crops, dataset, debug, engine, logger, model,"),
        (
            ["+model.weights.pth=1"],
            "unknown key 'model.weights.pth' (did you mean 'model.weights.path'?)",
        ),
        (["dataset=folder"], "dataset.root is missing: give it as dataset.root=…"),
        (["dataset=csv"], "dataset.file is missing: give it as dataset.file=…"),
        (["dataset=huggingface"], "dataset.source is missing: give it as dataset.source=…"),
        (["crops.size=300"], "crops.size=300: must be between 1 and crops.resize=256"),
        (["crops=dense", "crops.size=100"], "crops.size=100: crops=dense cuts nothing off"),
        (
            ["model.weights.source=random", "model.weights.sha256=abc"],
            "model.weights.sha256: model.weights.source=random has no weights file",
        ),
        (["model.preprocess.mean=[1,2]"], "model.preprocess.mean=[1.0, 2.0]: must be 3 numbers"),
        (["model.preprocess.std=[1,0,1]"], "model.preprocess.std=[1.0, 0.0, 1.0]: must be 3"),
        (["crops=dense", "trainer.compile=true"], "trainer.compile=true needs views of one shape"),
        (["+statistic.foo=1"], "unknown parameter of statistic 'ks' 'foo'; allowed: bins"),
        (["statistic.bins=0"], "statistic.bins=0: must lie in 1 … 65,536"),
        (["statistic.bins=65537"], "statistic.bins=65537: must lie in 1 … 65,536"),
        (["statistic=kl", "statistic.epsilon=2"], "statistic.epsilon=2: must lie in 0 … 1"),
        (["threshold.permutations=0"], "threshold.permutations=0: must be at least 1"),
        (["threshold=quantile", "threshold.q=1"], "threshold.q=1: must lie between 0 and 1"),
        (["threshold.step=0"], "threshold.step=0: must be above 0 and at most 1"),
        (["threshold.step=1.5"], "threshold.step=1.5: must be above 0 and at most 1"),
        (["threshold=quantile", "threshold.step=2"], "threshold.step=2: must be above 0 and at"),
        (["threshold=fixed", "threshold.t_plus=1.5"], "threshold.t_plus=1.5: the statistic's"),
        (["threshold=fixed", "threshold.t_plus=-1"], "threshold.t_plus=-1: must be 0 or more"),
        (["threshold=fixed", "threshold.t_minus=-2"], "threshold.t_minus=-2: the statistic's"),
        (["threshold=fixed", "threshold.t_minus=1"], "threshold.t_minus=1: must be 0 or less"),
        (
            ["model=vgg16", "model.layers=[conv9_9]"],
            "unknown layer 'conv9_9' (did you mean 'conv5_3'?); allowed: all, conv, conv1_1, ",
        ),
        (["report.pair=conv_stem"], "report.pair=conv_stem: must be LAYER/UNIT:CLASS, as"),
        (["report.pairs=[conv_stem/:1]"], "report.pairs=conv_stem/:1: must be LAYER/UNIT:CLASS"),
        (["report.pair=conv9/1:7"], "report.pair: unknown layer 'conv9'"),
        (["report.pair=conv_stem/32:7"], "report.pair: conv_stem has units 0 to 31, not 32"),
        (
            ["report.reference_dataset=no/where"],
            "report.reference_dataset=no/where: no folder and no data set of this name; allowed "
            "are a folder with images and caltech101,",
        ),
        (
            ["report.reference_dataset=folder"],
            "report.reference_dataset=folder: dataset.root is missing",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_refused(words: list[str], line: str, compose: Compose) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}") as error:
        check(compose(*words))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["trainer.batch_size=1", "trainer.num_workers=0"],
        ["trainer.batch_size=auto", "trainer=cpu"],
        ["report.formats=[pdf]", "dataset.limit_per_class=1"],
        ["report.pair=conv_stem/31:7", "report.pairs=['conv_stem/0:1']"],
        ["crops=dense", "crops.resize=64"],
        ["model.preprocess.mean=[0,0,0]", "model.preprocess.std=[1,1,1]"],
        ["statistic.bins=1"],
        ["statistic.bins=65536"],
        ["statistic.bins=null"],
        ["threshold.permutations=1", "threshold.step=1"],
        ["threshold=fixed", "threshold.t_plus=1", "threshold.t_minus=-1"],
        ["threshold=fixed", "threshold.t_plus=0", "threshold.t_minus=0"],
        ["threshold=fixed", "threshold.t_plus=5", "statistic=kl"],
        ["threshold.step=3", "statistic=kl"],
        ["report.reference_dataset=digits"],
        ["report.reference_dataset=no/where", "report.pictures=none"],
        ["model.weights.source=random"],
        ["engine=dask", "logger=tensorboard"],
    ],
    ids=" ".join,
)
def test_what_is_allowed_is_not_refused(words: list[str], compose: Compose) -> None:
    check(compose(*words))


def test_a_strategy_of_other_statistics_is_refused(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = replace(checks.thresholds.get("fixed"), statistics=("kl", "auroc"))
    monkeypatch.setitem(checks.thresholds._entries, "fixed", strategy)
    line = "threshold=fixed is not defined for statistic=ks; allowed: kl, auroc"
    with pytest.raises(ConfigError, match=f"^{line}$"):
        check(compose("threshold=fixed"))
    check(compose("threshold=fixed", "statistic=kl"))


@pytest.mark.parametrize(
    ("words", "package", "line"),
    [
        ([], "wandb", "logger=wandb: package wandb is not installed: pip install wandb"),
        (
            ["logger=tensorboard"],
            "tensorboard",
            "logger=tensorboard: package tensorboard is not installed: "
            "pip install 'fnx-features[tensorboard]'",
        ),
        (
            ["engine=dask"],
            "distributed",
            "engine=dask: package distributed is not installed: pip install 'fnx-features[dask]'",
        ),
        (
            ["dataset=huggingface", "dataset.source=x"],
            "datasets",
            "dataset=huggingface: package datasets is not installed: "
            "pip install 'fnx-features[huggingface]'",
        ),
        (
            ["model.weights.path=w.H5"],
            "h5py",
            "model.weights.path=w.H5: package h5py is not installed: "
            "pip install 'fnx-features[keras]'",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    words: list[str], package: str, line: str, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    missing = {package}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name)
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        check(compose(*words))
    others = {"wandb", "tensorboard", "distributed", "datasets", "h5py"} - missing
    missing = others
    check(compose("logger=none"))  # what is not asked for may be missing


def test_weights_that_are_not_there_are_refused(compose: Compose) -> None:
    with pytest.raises(WeightsError, match=r"model.weights.path=w.pth: there is no such file"):
        check(compose("model.weights.path=w.pth"))


def test_embeddings_need_a_folder_that_can_be_written(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = compose(f"paths.cache={tmp_path}/file/cache")
    line = f"paths.cache={tmp_path}/file/cache cannot be written (Not a directory): choose another"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        check(config)


def test_embeddings_that_are_there_may_be_read_only(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    config = compose(f"paths.cache={tmp_path}/cache")
    with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
        check(config)
    (tmp_path / "cache/digits-vgg16-0123").mkdir()
    (tmp_path / "cache/digits-vgg16-0123/manifest.json").touch()
    check(config)


def test_pairs_of_a_class_that_is_not_there_are_refused(compose: Compose) -> None:
    config = compose("report.pair=conv_stem/1:7", "report.pairs=['conv_stem/1:a','conv_stem/2:b']")
    check_listing(config, ["7", "a", "b"])
    with pytest.raises(ConfigError, match=r"^report.pair: unknown class '7'; allowed: a, b$"):
        check_listing(config, ["a", "b"])
    with pytest.raises(ConfigError, match=r"^report.pairs: unknown class 'b'; allowed: 7, a$"):
        check_listing(config, ["7", "a"])


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("takes_oblong", [False, True])
@pytest.mark.parametrize(("crops", "whole"), [("dense", True), ("ten", False)])
def test_only_whole_images_need_a_network_that_takes_any_shape(
    crops: str,
    whole: bool,
    takes_oblong: bool,
    squash: bool,
    tiny: Compose,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fnx.backbones import networks

    asked = []

    def answer(timm_name: str, size: int) -> bool:
        asked.append((timm_name, size))
        return takes_oblong

    monkeypatch.setattr(networks, "takes_oblong", answer)
    mode = "squash" if squash else "short_side"
    config = tiny(f"crops={crops}", "crops.resize=32", f"crops.resize_mode={mode}")
    if whole and not squash and not takes_oblong:
        with pytest.raises(ConfigError, match="crops=dense: test_resnet takes square images only"):
            check(config)
    else:
        check(config)
    assert asked == ([("test_resnet", 32)] if whole and not squash else [])


@pytest.mark.parametrize(("device", "refused"), [("cpu", True), ("cuda", False)])
def test_compiling_is_for_gpus(
    device: str, refused: bool, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = SimpleNamespace(device_type=lambda config: device)
    monkeypatch.setitem(sys.modules, "fnx.embedding.ranks", ranks)
    check(compose("trainer.strategy=ddp"))
    if refused:
        with pytest.raises(ConfigError, match=r"^trainer.compile=true is for GPUs"):
            check(compose("trainer.compile=true"))
    else:
        check(compose("trainer.compile=true"))


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ([], False),
        (["trainer=cpu"], False),
        (["trainer.batch_size=4", "trainer.num_workers=3"], False),
        (["trainer=gpu"], True),
        (["trainer=ddp"], True),
        (["trainer.devices=2"], True),
        (["trainer.precision=tf32"], True),
        (["trainer.num_nodes=2"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_lightning_is_asked_about_unusual_trainers_only(
    words: list[str], asks: bool, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def device_type(config: Any) -> str:
        asked.append(config)
        return "cpu"

    ranks = SimpleNamespace(device_type=device_type)
    monkeypatch.setitem(sys.modules, "fnx.embedding.ranks", ranks)
    config = compose(*words)
    check(config)
    assert asked == ([config.trainer] if asks else [])

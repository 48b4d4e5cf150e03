"""What a run refuses before any work, in one line each."""

from __future__ import annotations

import importlib.util
import re
import sys
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import fnx
from fnx.config import checks
from fnx.config.checks import check, check_listing
from fnx.config.compose import compose
from fnx.config.schema import Config
from fnx.errors import ConfigError, PluginError, WeightsError
from fnx.registry import load_installed, thresholds


@pytest.fixture(scope="module")
def default() -> Config:
    return compose()


@pytest.fixture
def config(default: Config, tmp_path: Path) -> Config:
    """The default, with its outputs below `tmp_path`."""
    return altered(default, f"paths.cache={tmp_path}/cache")


def altered(config: Config, words: str) -> Config:
    """A copy with other values, as on the command line but without its types and its groups."""
    copy: Any = deepcopy(config)
    for word in words.split():
        key, _, value = word.partition("=")
        *path, name = key.split(".")
        node: Any = copy
        for part in path:
            node = getattr(node, part)
        new = yaml.safe_load(value.replace(":", ": ") if value.startswith("{") else value)
        if isinstance(node, dict):
            node[name] = new
        else:
            setattr(node, name, new)
    return copy


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("trainer.batch_size=abc", "trainer.batch_size=abc: must be auto or an integer from 1"),
        ("dataset.root='' dataset.layout=folder", "dataset.root is empty: give a file or folder"),
        ("paths.cache=''", "paths.cache is empty: give a file or folder"),
        ("trainer.batch_size=0", "trainer.batch_size=0: must be at least 1"),
        ("trainer.num_workers=-1", "trainer.num_workers=-1: must be at least 0"),
        (
            "trainer.precision=half",
            "trainer.precision=half: allowed are 32-true, tf32, bf16-mixed, bf16-true, 16-mixed, "
            "16-true",
        ),
        ("report.formats=[png,gif]", "report.formats=gif: allowed are png, svg, pdf"),
        ("dataset.depth=0", "dataset.depth=0: must be at least 1"),
        (
            "dataset.intensity_range=full",
            "dataset.intensity_range=full: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=null",
            "dataset.intensity_range=None: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=4095",
            "dataset.intensity_range=4095: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[0]",
            "dataset.intensity_range=[0]: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[0,1,2]",
            "dataset.intensity_range=[0, 1, 2]: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[5,5]",
            "dataset.intensity_range=[5, 5]: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[5,0]",
            "dataset.intensity_range=[5, 0]: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[0,x]",
            "dataset.intensity_range=[0, 'x']: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[0,.inf]",
            "dataset.intensity_range=[0, inf]: must be auto or [LOW,HIGH]",
        ),
        (
            "dataset.intensity_range=[false,1]",
            "dataset.intensity_range=[False, 1]: must be auto or [LOW,HIGH]",
        ),
        ("dataset.max_pixels=0", "dataset.max_pixels=0: must be at least 1"),
        (
            "foo=1",
            "unknown key 'foo'; allowed: calibration, crops, dataset, debug, engine, logger, ",
        ),
        (
            "model.weights.pth=1",
            "unknown key 'model.weights.pth' (did you mean 'model.weights.path'?)",
        ),
        ("dataset.layout=folder", "dataset.root is missing: give it as dataset.root=…"),
        ("dataset.layout=csv", "dataset.file is missing: give it as dataset.file=…"),
        ("dataset.layout=huggingface", "dataset.source is missing: give it as dataset.source=…"),
        ("crops.size=300", "crops.size=300: must be between 1 and crops.resize=256"),
        ("crops.name=dense", "crops.size=224: crops=dense cuts nothing off"),
        (
            "model.weights.source=random model.weights.sha256=abc",
            "model.weights.sha256: model.weights.source=random has no weights file",
        ),
        ("model.preprocess.mean=[1,2]", "model.preprocess.mean=[1, 2]: must be 3 numbers, std not"),
        ("model.preprocess.std=[1,0,1]", "model.preprocess.std=[1, 0, 1]: must be 3 numbers, std"),
        (
            "crops.name=dense crops.size=256 trainer.compile=true",
            "trainer.compile=true needs views of one shape, unlike crops=dense",
        ),
        ("statistic.foo=1", "unknown parameter of statistic 'ks' 'foo'; allowed: bins"),
        ("statistic.bins=0", "statistic.bins=0: must lie in 1 … 65,536"),
        ("statistic.bins=65537", "statistic.bins=65537: must lie in 1 … 65,536"),
        ("statistic={name:kl,epsilon:2}", "statistic.epsilon=2: must lie in 0 … 1"),
        ("calibration.name=exact", "calibration.name=exact: allowed are permutation, bridge, none"),
        ("calibration.draws=0", "calibration.draws=0: must be at least 1"),
        (
            "calibration.name=none report.distance=calibrated",
            "report.distance=calibrated needs calibration=permutation or bridge, not none",
        ),
        (
            "statistic={name:kl} report.distance=calibrated",
            "statistic=kl cannot be calibrated: its distances under random labels do not shrink as "
            "1 / √n_e; allowed are auroc, ",
        ),
        ("statistic={name:kl} calibration.name=bridge", "statistic=kl cannot be calibrated: its"),
        (
            "statistic={name:auroc} calibration.name=bridge",
            "calibration by bridge is for statistic=ks and ks_exact, not auroc: choose permutation",
        ),
        ("threshold.permutations=0", "threshold.permutations=0: must be at least 1"),
        ("threshold={name:quantile,q:1,permutations:1}", "threshold.q=1: must lie between 0 and 1"),
        ("threshold.step=0", "threshold.step=0: must be above 0 and at most 1"),
        ("threshold.step=1.5", "threshold.step=1.5: must be above 0 and at most 1"),
        (
            "threshold={name:quantile,step:2,permutations:1}",
            "threshold.step=2: must be above 0 and at most 1",
        ),
        (
            "statistic={name:kl} threshold.step=0",
            "threshold.step=0: must be above 0 and at most 1",
        ),
        (
            "threshold={name:fixed,t_plus:1.5,permutations:1}",
            "threshold.t_plus=1.5: must lie in 0 … 1",
        ),
        (
            "threshold={name:fixed,t_plus:-0.1,permutations:1}",
            "threshold.t_plus=-0.1: must lie in 0 … 1",
        ),
        (
            "threshold={name:fixed,t_minus:-2,permutations:1}",
            "threshold.t_minus=-2: must lie in -1 … 0",
        ),
        (
            "threshold={name:fixed,t_minus:0.1,permutations:1}",
            "threshold.t_minus=0.1: must lie in -1 … 0",
        ),
        (
            "statistic={name:kl} threshold={name:fixed,t_minus:1,permutations:1}",
            "threshold.t_minus=1: must lie in -inf … 0",
        ),
        (
            "model.layers=[conv9_9] model.timm_name=vgg16",
            "unknown layer 'conv9_9' (did you mean 'conv'?); allowed: all, conv, conv1_1, ",
        ),
        ("report.pair=conv_stem", "report.pair=conv_stem: must be LAYER/UNIT:CLASS, as"),
        ("report.pairs=['conv_stem/:1']", "report.pairs=conv_stem/:1: must be LAYER/UNIT:CLASS"),
        ("report.pair=conv9/1:7", "report.pair: unknown layer 'conv9'"),
        ("report.pair=conv_stem/32:7", "report.pair: conv_stem has units 0 to 31, not 32"),
        (
            "report.reference_dataset=no/where",
            "report.reference_dataset=no/where: no folder and no data set of this name; allowed "
            "are a folder with images and array, caltech101,",
        ),
        (
            "report.reference_dataset=folder",
            "report.reference_dataset=folder: dataset.root is missing: give it as dataset.root=…",
        ),
    ],
)
def test_a_mistake_is_refused(words: str, line: str, config: Config) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}") as error:
        check(altered(config, words))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        "trainer.batch_size=1 trainer.num_workers=0",
        "trainer.batch_size=auto trainer.num_workers=null",
        "report.formats=[pdf] dataset.limit_per_class=1 dataset.depth=1",
        "report.pair=conv_stem/31:7 report.pairs=['conv_stem/0:1']",
        "crops.name=dense crops.size=256",
        "crops.size=256",
        "model.preprocess.mean=[0,0,0] model.preprocess.std=[1,1,1]",
        "statistic.bins=1",
        "statistic.bins=65536",
        "statistic.bins=null",
        "threshold.permutations=1 threshold.step=1",
        "threshold={name:fixed,t_plus:1,t_minus:-1,permutations:1}",
        "threshold={name:fixed,t_plus:0,t_minus:0,permutations:1}",
        "threshold={name:fixed,t_plus:5,t_minus:-5,permutations:1} statistic={name:kl}",
        "statistic={name:kl} threshold.step=1",
        "statistic={name:kl}",
        "statistic={name:kl} calibration.name=none",
        "statistic={name:auroc} report.distance=calibrated",
        "statistic={name:ks_exact} calibration.name=bridge report.distance=calibrated",
        "report.reference_dataset=no/where report.pictures=none",
        "model.weights.source=random",
        "model.weights.source=path model.weights.path=weights.pth model.weights.sha256=abc",
        "engine.name=dask logger.name=tensorboard",
        "dataset.layout=folder dataset.root=x",
        "dataset.layout=folder dataset.root=5",
    ],
)
def test_what_is_allowed_is_not_refused(
    words: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").touch()
    check(altered(config, words))


@pytest.mark.usefixtures("restored_registry")
def test_a_statistic_that_cannot_be_compiled_is_refused_before_any_work(config: Config) -> None:
    @fnx.statistic("not_compiled", range=(0, 1))
    def not_compiled(inner: Any, outer: Any, power: int = 1) -> Any:
        return [print, inner][0]("x")

    changed = altered(config, "seed=0")
    changed.statistic = {"name": "not_compiled", "bins": 10, "power": 2}
    with pytest.raises(PluginError, match=r"'not_compiled' .* cannot be compiled: "):
        check(changed)


def test_a_strategy_of_other_statistics_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_installed()
    strategy = replace(thresholds.get("fixed"), statistics=("kl", "auroc"))
    monkeypatch.setitem(thresholds._entries, "fixed", strategy)
    line = "threshold=fixed is not defined for statistic=ks; allowed: kl, auroc"
    with pytest.raises(ConfigError, match=f"^{line}$"):
        check(altered(config, "threshold={name:fixed,permutations:1}"))
    check(altered(config, "threshold={name:fixed,permutations:1} statistic={name:kl}"))


@pytest.mark.parametrize(
    ("words", "package", "line"),
    [
        ("", "wandb", "logger=wandb: package wandb is not installed: pip install wandb"),
        (
            "logger.name=tensorboard",
            "tensorboard",
            "logger=tensorboard: package tensorboard is not installed: "
            "pip install 'fnx-features[tensorboard]'",
        ),
        (
            "engine.name=dask",
            "distributed",
            "engine=dask: package distributed is not installed: pip install 'fnx-features[dask]'",
        ),
        (
            "dataset.layout=huggingface dataset.source=x",
            "datasets",
            "dataset=huggingface: package datasets is not installed: "
            "pip install 'fnx-features[huggingface]'",
        ),
        (
            "model.weights.path=w.H5",
            "h5py",
            "model.weights.path=w.H5: package h5py is not installed: "
            "pip install 'fnx-features[keras]'",
        ),
        (
            "model.weights.source=url model.weights.url=http://x/w.h5 model.weights.folder=w",
            "h5py",
            "model.weights.url=http://x/w.h5: package h5py is not installed: "
            "pip install 'fnx-features[keras]'",
        ),
        (
            "model.weights.source=package model.weights.file=w.hdf5",
            "h5py",
            "model.weights.file=w.hdf5: package h5py is not installed: "
            "pip install 'fnx-features[keras]'",
        ),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    words: str, package: str, line: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    missing = {package}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name)
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        check(altered(config, words))
    others = {"wandb", "tensorboard", "distributed", "datasets", "h5py"} - missing
    missing = others
    check(altered(config, "logger.name=none"))  # what is not asked for may be missing


def test_weights_that_are_not_there_are_refused(config: Config) -> None:
    with pytest.raises(WeightsError, match=r"model.weights.path=w.pth: there is no such file"):
        check(altered(config, "model.weights.path=w.pth"))


def test_embeddings_need_a_folder_that_can_be_written(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config.paths.cache = f"{tmp_path}/file/cache"
    line = f"paths.cache={tmp_path}/file/cache cannot be written (Not a directory): choose another"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        check(config)


@pytest.mark.parametrize("key", ["outputs", "cache"])
def test_a_folder_whose_name_is_not_utf8_is_refused(
    key: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars would write no table there, at the end of the work."""
    config.paths.outputs = str(tmp_path)
    setattr(config.paths, key, str(tmp_path / "caf\udce9"))
    line = f"paths.{key}: the name of the folder '{tmp_path}/caf\\\\xe9' is not UTF-8: choose an"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        check(config)
    try:
        (tmp_path / "caf\udce9").mkdir()
    except OSError:
        return  # this file system takes no such name
    monkeypatch.chdir(tmp_path / "caf\udce9")
    setattr(config.paths, key, "here")
    with pytest.raises(ConfigError, match=rf"^paths.{key}: .*/caf.*xe9/here' is not UTF-8"):
        check(config)


def test_embeddings_that_are_there_may_be_read_only(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
        check(config)
    (tmp_path / "cache/digits-vgg16-0123").mkdir()
    (tmp_path / "cache/digits-vgg16-0123/manifest.json").touch()
    check(config)


def test_pairs_of_a_class_that_is_not_there_are_refused(config: Config) -> None:
    config.report.pair, config.report.pairs = "conv_stem/1:7", ["conv_stem/1:a", "conv_stem/2:b"]
    check_listing(config, ["7", "a", None, "b", "b"])
    with pytest.raises(ConfigError, match=r"^report.pair: unknown class '7'; allowed: a, b$"):
        check_listing(config, ["a", "b"])
    with pytest.raises(ConfigError, match=r"^report.pairs: unknown class 'b'; allowed: 7, a$"):
        check_listing(config, ["7", "a", None, "a"])


@pytest.mark.parametrize("mode", ["squash", "short_side"])
@pytest.mark.parametrize("takes_oblong", [False, True])
@pytest.mark.parametrize("crops", ["dense", "ten"])
def test_only_whole_images_need_a_network_that_takes_any_shape(
    crops: str, takes_oblong: bool, mode: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(timm_name: str, size: int) -> bool:
        asked.append((timm_name, size))
        return takes_oblong

    monkeypatch.setitem(sys.modules, "fnx.backbones.networks", SimpleNamespace(takes_oblong=answer))
    monkeypatch.setattr(checks, "known_layers", lambda timm_name: None)
    config = altered(
        config,
        f"crops.name={crops} crops.resize=32 crops.size=32 crops.resize_mode={mode}"
        " model.name=mine",
    )
    whole = (crops, mode) == ("dense", "short_side")
    if whole and not takes_oblong:
        line = "crops=dense: mine takes square images only; choose crops.resize_mode=squash, or cr"
        with pytest.raises(ConfigError, match=f"^{line}"):
            check(config)
    else:
        check(config)
    assert asked == ([("tf_efficientnet_lite0", 32)] if whole else [])


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("engine.name=dask engine.address=tcp://there:1", ["tcp://there:1"]),
        ("engine.name=dask", []),
        ("engine.address=tcp://there:1", []),
    ],
)
def test_a_scheduler_is_asked_whether_it_is_there(
    words: str, asked: list[str], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[str] = []

    def connect(address: str) -> Any:
        connected.append(address)
        return nullcontext()

    monkeypatch.setitem(sys.modules, "fnx.statistics.dask", SimpleNamespace(connect=connect))
    check(altered(config, words))
    assert connected == asked


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiling_is_for_gpus(
    device: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = SimpleNamespace(device_type=lambda trainer: device)
    monkeypatch.setitem(sys.modules, "fnx.embedding.ranks", ranks)
    check(altered(config, "trainer.strategy=ddp"))
    compiling = altered(config, "trainer.compile=true")
    if device == "cpu":
        with pytest.raises(ConfigError, match=r"^trainer.compile=true is for GPUs"):
            check(compiling)
    else:
        check(compiling)


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("", False),
        ("trainer.accelerator=cpu trainer.devices=1", False),
        ("trainer.batch_size=4 trainer.num_workers=3", False),
        ("trainer.accelerator=gpu trainer.devices=1", True),
        ("trainer.strategy=ddp", True),
        ("trainer.devices=2", True),
        ("trainer.precision=tf32", True),
        ("trainer.num_nodes=2", True),
    ],
)
def test_lightning_is_asked_about_unusual_trainers_only(
    words: str, asks: bool, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def device_type(trainer: Any) -> str:
        asked.append(trainer)
        return "cpu"

    monkeypatch.setitem(
        sys.modules, "fnx.embedding.ranks", SimpleNamespace(device_type=device_type)
    )
    config = altered(config, words)
    check(config)
    assert asked == ([config.trainer] if asks else [])

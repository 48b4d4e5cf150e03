"""Every refusal that needs no long work, in one place: what a configuration must not ask for.

`check` runs before anything else of a run, `check_listing` once the classes are known; both before
an image is decoded. Each refusal is one line: what was found, and what is allowed.
"""

from __future__ import annotations

import importlib.util
import math
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from fnx import backbones
from fnx.analysis import Run
from fnx.analysis.pairs import check_pair
from fnx.backbones.architectures import known_layers
from fnx.backbones.weights.locate import check_reachable, check_source
from fnx.config.compose import reference_dataset
from fnx.config.schema import Config, DatasetConfig, TrainerConfig
from fnx.errors import ConfigError, unknown
from fnx.images.crops import Crops
from fnx.images.paths import shown
from fnx.registry import statistics, thresholds
from fnx.statistics.calibration import check_method
from fnx.statistics.tiles import NO_IMAGES, prepare

# Keys that only some layouts read.
_READ_BY = {
    "labels": ("array", "cub200"),
    "certainty": ("cub200",),
    "groups": ("array", "csv"),
    "concept_columns": ("array", "csv"),
    "label_separator": ("array", "csv"),
    **dict.fromkeys(("array", "feature_table", "text_column", "id_column"), ("array",)),
}
# Layouts that need a key which no option can give.
_NEEDED = {"folder": "root", "csv": "file", "huggingface": "source"}


def check(config: Config) -> None:
    """Refuse what a run cannot do, before any work.

    Raises:
        ConfigError: a key, a value or a combination that is not allowed, a package or a device that
            is not there, a folder that cannot be written.
        WeightsError: weights that cannot be found.
    """
    _check_keys(config)
    _check_combinations(config)
    _check_statistic(config)
    _check_calibration(config)
    _check_packages(config)
    _check_folders(config)
    if _check_array(config):
        return
    _check_model(config)
    _check_machines(config)


def check_listing(config: Config, class_names: Iterable[str | None]) -> None:
    """Refuse pairs of a class that the data set, or its images, do not have.

    Raises:
        ConfigError: naming the first.
    """
    names = {name for name in class_names if name is not None}
    for key, pair in _pairs(config):
        check_pair(pair, class_names=names, key=key)


def check_features(config: Config, features: pl.DataFrame, class_names: Iterable[str]) -> None:
    """Refuse pairs of a class, or of a feature, that an array does not have.

    Raises:
        ConfigError: naming the first.
    """
    units = dict(features.group_by("layer", maintain_order=True).len().iter_rows())
    names = set(class_names)
    for key, pair in _pairs(config):
        check_pair(pair, units=units, class_names=names, key=key)


def check_report(run: Run, config: Config) -> None:
    """Refuse a report that a finished run cannot have.

    Raises:
        ConfigError: a value that is not allowed, a pair that the run does not have, calibrated
            distances of a run that has none, reference images that are not there.
    """
    _check_keys(config.report, "report.")
    check_features(config, run.features, run.classes["class_name"])
    if config.report.distance == "calibrated" and run.calibrated is None:
        raise ConfigError(f"report.distance=calibrated: the distances of {run.path} are raw only")
    if run.of_array and config.report.reference_dataset is not None:
        raise ConfigError("report.reference_dataset: dataset=array has no network to show them to")
    reference_dataset(config)


def _check_keys(node: Any, prefix: str = "") -> None:
    """Refuse keys in no dataclass, which Hydra's ``+key=value`` adds, and values not allowed."""
    declared = {prefix + item.name: item.metadata for item in fields(node)}
    for name, value in vars(node).items():
        key = prefix + name
        if key not in declared:
            raise ConfigError(unknown("key", key, declared))
        if is_dataclass(value):
            _check_keys(value, f"{key}.")
            continue
        for item in value if isinstance(value, list) else [value]:
            _check_value(key, item, declared[key])


def _check_value(key: str, value: Any, declared: Mapping[str, Any]) -> None:
    choices, minimum = declared["choices"], declared["minimum"]
    if value is None or value in choices:
        return
    if declared["path"] and not str(value).strip():  # of a variable that is not set, as in $IMAGES
        raise ConfigError(f"{key} is empty: give a file or folder")
    if minimum is None:
        if choices:
            raise ConfigError(f"{key}={value}: allowed are {', '.join(choices)}")
    elif isinstance(value, str):
        allowed = " or ".join([*choices, f"an integer from {minimum}"])
        raise ConfigError(f"{key}={value}: must be {allowed}")
    elif value < minimum:
        raise ConfigError(f"{key}={value}: must be at least {minimum}")


def _check_combinations(config: Config) -> None:
    """Refuse values that do not go together."""
    _check_dataset("", config.dataset)
    reference = reference_dataset(config)
    if reference is not None:
        _check_dataset(f"report.reference_dataset={config.report.reference_dataset}: ", reference)
    crops = Crops(**vars(config.crops))
    preprocess = config.model.preprocess
    for key, values in (("mean", preprocess.mean), ("std", preprocess.std)):
        if values is not None and (len(values) != 3 or (key == "std" and 0 in values)):
            raise ConfigError(f"model.preprocess.{key}={values}: must be 3 numbers, std not 0")
    if config.trainer.compile and crops.whole:
        raise ConfigError("trainer.compile=true needs views of one shape, unlike crops=dense")


def _check_dataset(where: str, dataset: DatasetConfig) -> None:
    key = _NEEDED.get(dataset.layout)
    if key is not None and not getattr(dataset, key):
        raise ConfigError(f"{where}dataset.{key} is missing: give it as dataset.{key}=…")
    usual = DatasetConfig()
    for name, layouts in _READ_BY.items():
        given = getattr(dataset, name)
        if given != getattr(usual, name) and dataset.layout not in layouts:
            raise ConfigError(f"{where}dataset.{name}={given}: is for {' and '.join(layouts)} only")
    chosen = dataset.intensity_range
    if chosen != "auto" and not _is_range(chosen):
        raise ConfigError(
            f"{where}dataset.intensity_range={chosen}: must be auto or [LOW,HIGH], two numbers of "
            "which the second is higher"
        )
    if dataset.layout == "huggingface":
        _need("datasets", f"{where}dataset=huggingface", "huggingface")


def _is_range(chosen: Any) -> bool:
    return (
        isinstance(chosen, list)
        and len(chosen) == 2
        and all(type(value) in (int, float) and math.isfinite(value) for value in chosen)
        and chosen[0] < chosen[1]
    )


def _check_statistic(config: Config) -> None:
    """Refuse parameters of the statistic and of the strategy, and strategies it does not have."""
    statistic = statistics.get(config.statistic["name"])
    strategy = thresholds.get(config.threshold["name"])
    statistic.bind(config.statistic)
    permutations = config.threshold["permutations"]
    if permutations < 1:
        raise ConfigError(f"threshold.permutations={permutations}: must be at least 1")
    strategy.check_defined_for(statistic.name)
    strategy.bind(config.threshold, range=statistic.range, neutral=statistic.neutral)
    if statistic.kernel is None:  # one of a plugin: it is compiled, which can fail
        prepare(statistic, config.statistic, NO_IMAGES)


def _check_calibration(config: Config) -> None:
    """Refuse calibrated distances of a statistic that has none, and the lack of what they need."""
    name = config.calibration.name
    calibrated = config.report.distance == "calibrated"
    if calibrated and name == "none":
        raise ConfigError(
            "report.distance=calibrated needs calibration=permutation or bridge, not none"
        )
    if calibrated or name == "bridge":
        check_method(statistics.get(config.statistic["name"]), name)


def _check_packages(config: Config) -> None:
    """Refuse what needs a package that is not installed (of data sets: see `_check_dataset`)."""
    if config.logger.name == "wandb":
        _need("wandb", "logger=wandb")
    if config.logger.name == "tensorboard":
        _need("tensorboard", "logger=tensorboard", "tensorboard")
    if config.engine.name == "dask":
        _need("distributed", "engine=dask", "dask")
    weights = config.model.weights
    key = "path" if weights.path else {"url": "url", "package": "file"}.get(weights.source)
    file = str(getattr(weights, key)) if key else ""
    if file.lower().endswith((".h5", ".hdf5")):
        _need("h5py", f"model.weights.{key}={file}", "keras")


def _need(package: str, key: str, extra: str | None = None) -> None:
    if importlib.util.find_spec(package) is None:
        name = f"'fnx-features[{extra}]'" if extra else package
        raise ConfigError(f"{key}: package {package} is not installed: pip install {name}")


def _check_folders(config: Config) -> None:
    """Refuse a folder of embeddings that cannot be written, unless there are some to be reused.

    Where a folder's name is no UTF-8, Polars writes no table.
    """
    for key in ("outputs", "cache"):
        folder = Path(getattr(config.paths, key)).absolute()
        if re.search("[\ud800-\udfff]", str(folder)):
            raise ConfigError(
                f"paths.{key}: the name of the folder {shown(folder)} is not UTF-8: choose another"
            )
    cache = Path(config.paths.cache)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return
    except OSError as error:
        if any(cache.glob("*/manifest.json")):
            return
        raise ConfigError(
            f"paths.cache={cache} cannot be written ({error.strerror}): choose another folder"
        ) from error


def _check_array(config: Config) -> bool:
    """Return whether the features are there already; refuse a network for them, or none for images.

    Raises:
        ConfigError: naming the key.
    """
    is_array, network = config.dataset.layout == "array", config.model.timm_name
    if is_array and network:
        raise ConfigError(
            f"dataset=array needs no network: leave out model={config.model.name} (model.name=… "
            "names what made the features)"
        )
    if not is_array and not network:
        raise ConfigError("model=none is for dataset=array: images need a network")
    if is_array and config.report.reference_dataset is not None:
        raise ConfigError("report.reference_dataset: dataset=array has no network to show them to")
    if is_array:
        _check_machines(replace(config, trainer=TrainerConfig()))
    return is_array


def _check_model(config: Config) -> None:
    """Refuse a network, layers, units or weights that do not exist, and shapes it cannot take."""
    layers = backbones.layer_names(config.model, config.crops.size)
    units = {layer.name: layer.units for layer in layers}
    for key, pair in _pairs(config):
        check_pair(pair, units=units, key=key)
    check_source(config.model)
    check_reachable(config.model)
    oblong = config.crops.name == "dense" and config.crops.resize_mode != "squash"
    if oblong and known_layers(config.model.timm_name) is None:
        from fnx.backbones.networks import takes_oblong

        if not takes_oblong(config.model.timm_name, config.crops.size):
            raise ConfigError(
                f"crops=dense: {config.model.name} takes square images only; choose "
                "crops.resize_mode=squash, or crops=ten"
            )


def _pairs(config: Config) -> list[tuple[str, str]]:
    """Return the pairs that the report shall show, each with its key."""
    pairs = [("report.pairs", pair) for pair in config.report.pairs]
    return pairs if config.report.pair is None else [("report.pair", config.report.pair), *pairs]


def _check_machines(config: Config) -> None:
    """Refuse a scheduler that does not answer, and devices and precisions that are not here."""
    engine, trainer, usual = config.engine, config.trainer, TrainerConfig()
    if engine.name == "dask" and engine.address is not None:
        from fnx.statistics.dask import connect

        with connect(engine.address):
            pass
    # What every machine has: Lightning, which takes seconds to import, need not be asked.
    batches = replace(trainer, batch_size=usual.batch_size, num_workers=usual.num_workers)
    if batches in (usual, replace(usual, accelerator="cpu", devices=1)):
        return
    from fnx.embedding.ranks import device_type

    if device_type(trainer) == "cpu" and trainer.compile:
        raise ConfigError(
            "trainer.compile=true is for GPUs: on a processor each core computes a batch of its own"
        )

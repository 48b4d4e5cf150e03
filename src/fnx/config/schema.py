"""The configuration's schema: one dataclass a config group, with types, defaults and help.

The YAML files of ``conf/`` fill these classes in; a key that is not here, or a value of another
type, is refused by name before any work. ``statistic`` and ``threshold`` have no class here: each
option of theirs is made from the signature of the function behind it (see `fnx.registry.registry`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fnx.errors import ConfigError, unknown
from fnx.registry import statistics, thresholds

MISSING: Any = "???"  # OmegaConf's marker of a mandatory value


def option(
    default: Any = MISSING,
    *,
    help: str,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
) -> Any:
    """A dataclass field with its one-line help and what it allows."""
    metadata = {"help": help, "choices": choices, "minimum": minimum}
    if isinstance(default, (list, dict)) or dataclasses.is_dataclass(default):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DatasetConfig:
    """Labelled images: where they lie and how their labels are read."""

    name: str = option(help="name of the data set in folders, tables and figures")
    layout: str = option(help="the reader of this on-disk layout")
    root: str | None = option(None, help="folder that holds the images")
    depth: int | None = option(
        1, minimum=1, help="levels of folders that name a class; null: every folder with images"
    )
    file: str | None = option(None, help="csv: table of paths and labels (.csv, .tsv or .parquet)")
    source: str | None = option(
        None, help="huggingface: name of a data set on its hub, or a local path"
    )
    path_column: str = option("path", help="csv: column of the images' paths")
    image_column: str | None = option(
        None, help="huggingface: column of the images; null: the only one that holds images"
    )
    label_column: str | None = option(
        None, help="csv, huggingface: column of the classes; null: label, or the only class column"
    )
    split_column: str | None = option(
        None, help="csv: column of the official split; null: split, if there is one"
    )
    download: bool = option(False, help="fetch and unpack the authors' archive when it is missing")
    include_background: bool = option(False, help="keep the background or clutter class")
    limit_per_class: int | None = option(
        None, minimum=1, help="use at most this many images of each class"
    )
    on_error: str = option(
        "skip", choices=("skip", "raise"), help="an unreadable image: leave it out, or stop"
    )


@dataclass
class WeightsConfig:
    """Where a network's weights come from."""

    source: str = option(
        "hub",
        choices=("hub", "url", "package", "path", "random"),
        help="timm's hub, a URL, an installed package, one's own file, or untrained (seeded)",
    )
    url: str | None = option(None, help="source=url: address of the weights file")
    folder: str | None = option(None, help="source=url: folder that keeps the file")
    package: str | None = option(None, help="source=package: name of the Python package")
    file: str | None = option(None, help="source=package: the file inside the package")
    path: str | None = option(None, help="a file (.pth, .safetensors, .caffemodel, .h5) instead")
    sha256: str | None = option(None, help="refuse a weights file with another SHA-256")


@dataclass
class PreprocessConfig:
    """How pixels become the network's input; belongs to the weights. null: as timm says."""

    channels: str = option("RGB", choices=("RGB", "BGR"), help="order of the colour channels")
    scale: float = option(
        1.0, help="pixels are scaled to 0…scale (1 or 255) before mean and standard deviation"
    )
    mean: list[float] | None = option(None, help="mean of each channel, in units of scale")
    std: list[float] | None = option(None, help="standard deviation of each channel, likewise")


@dataclass
class ModelConfig:
    """Backbone: a network, its weights and the places where it is read."""

    name: str = option(help="name of the backbone in folders, tables and figures")
    timm_name: str = option(help="timm's name of the architecture and its weights' tag")
    tap: str = option(
        "post", choices=("post", "pre"), help="read a layer after or before its activation"
    )
    layers: Any = option("all", help="all, conv, fc, or a list of layer names and globs")
    class_token: bool = option(False, help="average class and register tokens with the others")
    input_size: int | None = option(
        None, minimum=1, help="side in pixels of the weights' training images; others are warned of"
    )
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)


@dataclass
class CropsConfig:
    """The views of an image that are averaged into its embedding."""

    name: str = option(
        choices=("ten", "five", "center", "dense"),
        help="corners and centre, mirrored or not; the centre; the whole image and its mirror",
    )
    resize: int = option(256, minimum=1, help="size in pixels that an image is resized to")
    size: int = option(224, minimum=1, help="side in pixels of a square crop")
    resize_mode: str = option(
        "short_side",
        choices=("short_side", "squash"),
        help="resize the short side and keep the shape, or both sides",
    )


@dataclass
class TrainerConfig:
    """The Lightning trainer that runs the extraction."""

    accelerator: str = option("auto", help="cpu, gpu, auto, …: Lightning's accelerator")
    strategy: str = option("auto", help="auto, ddp, …: Lightning's strategy")
    devices: Any = option("auto", help="number of devices, or a list of their indices")
    num_nodes: int = option(1, minimum=1, help="number of machines")
    precision: str = option(
        "32-true",
        choices=("32-true", "tf32", "bf16-mixed", "bf16-true", "16-mixed", "16-true"),
        help="Lightning's precision of the forward pass; pooling and averages are float32",
    )
    batch_size: int | str = option(
        "auto", minimum=1, help="crops under way at a time (not images); auto: what memory allows"
    )
    compile: bool = option(
        False, help="GPUs: compile the network with torch.compile first, which takes a minute"
    )
    num_workers: int | None = option(
        None, minimum=0, help="processes that decode images; null: one less than the cores"
    )


@dataclass
class EngineConfig:
    """What computes the statistic."""

    name: str = option(choices=("local", "dask"), help="where the statistic runs")
    threads: int | None = option(None, minimum=1, help="local: threads; null: one a core")
    address: str | None = option(
        None, help="dask: address of a running scheduler; null: a cluster on this machine"
    )
    workers: int | None = option(
        None, minimum=1, help="dask without an address: processes; null: one a core"
    )


@dataclass
class LoggerConfig:
    """Where results are tracked, beside the run's own folder."""

    name: str = option(
        choices=("wandb", "csv", "tensorboard", "none"), help="the experiment tracker"
    )
    project: str = option("fnx", help="project of the run")
    group: str | None = option(None, help="group of the run; null: the sweep it belongs to")
    tags: list[str] = option([], help="further tags, beside dataset, model and statistic")
    mode: str = option(
        "offline", choices=("offline", "online"), help="offline needs no account and no network"
    )


@dataclass
class ReportConfig:
    """What is written for people to look at."""

    figures: bool = option(True, help="draw the figures and the page")
    formats: list[str] = option(["png", "svg"], help="file formats of the figures")
    pair: str | None = option(
        None, help="LAYER/UNIT:CLASS that Figure 1 shows; null: the pair of the highest D"
    )
    mode: str = option(
        "empirical",
        choices=("empirical", "lognormal"),
        help="Figure 5: most frequent D of a layer, or the mode of a log-normal fit",
    )
    top_k: int = option(10, minimum=1, help="features listed for each class and sign")
    pictures: str = option(
        "top",
        choices=("top", "all", "none"),
        help="pictures of what activates a feature: of the strongest features of each class and "
        "layer, of all, or none",
    )
    pictures_per_feature: int = option(9, minimum=1, help="images shown for a feature, at most")
    reference_dataset: str | None = option(
        None,
        help="images that illustrate features: an option of dataset, or a folder; null: the run's",
    )
    reference_limit_per_class: int | None = option(
        None, minimum=1, help="use at most this many reference images of each class"
    )
    reference_crops: str | None = option(
        "center",
        choices=("ten", "five", "center", "dense"),
        help="views of a reference image; null: the run's",
    )
    pairs: list[str] = option(
        [], help="what the figures of features show, as LAYER/UNIT:CLASS; []: each layer's best"
    )


@dataclass
class PathsConfig:
    """Where things lie; all below the working directory unless said otherwise."""

    data: str = option(help="data sets (FNX_DATA)")
    outputs: str = option(help="runs and sweeps")
    cache: str = option(help="embeddings, shared by all runs (FNX_CACHE)")


@dataclass
class Config:
    """A whole run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    crops: CropsConfig = field(default_factory=CropsConfig)
    statistic: Any = option(help="the distance of a feature and a class, and its parameters")
    threshold: Any = option(help="the strategy that tells features from noise, and its parameters")
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    seed: int = option(0, minimum=0, help="seed of the random labels (and of untrained weights)")
    debug: bool = option(False, help="show the traceback of a user's error")


def check(config: Config) -> None:
    """Refuse values that have the right type and are still not allowed.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    for key, allowed in _strangers(config):
        raise ConfigError(unknown("key", key, allowed))
    for key, value, metadata in _options(config):
        choices, minimum = metadata.get("choices"), metadata.get("minimum")
        if value is None:
            continue
        if choices and value not in choices:
            raise ConfigError(f"{key}={value}: allowed are {', '.join(choices)}")
        if minimum is not None and isinstance(value, str):
            if value != "auto":
                raise ConfigError(f"{key}={value}: must be auto or an integer from {minimum:g}")
        elif minimum is not None and value < minimum:
            raise ConfigError(f"{key}={value}: must be at least {minimum:g}")
    if config.dataset.layout == "folder" and not config.dataset.root:
        raise ConfigError("dataset.root is missing: give it as dataset.root=PATH")
    if config.crops.size > config.crops.resize:
        raise ConfigError(
            f"crops.size={config.crops.size}: must not exceed crops.resize={config.crops.resize}"
        )
    if config.threshold["permutations"] < 1:
        found = config.threshold["permutations"]
        raise ConfigError(f"threshold.permutations={found}: must be at least 1")
    if config.report.pair is not None:
        from fnx.analysis.pairs import parse_pair

        parse_pair(config.report.pair)
    unknown_formats = set(config.report.formats) - {"png", "svg", "pdf"}
    if unknown_formats:
        raise ConfigError(f"report.formats={sorted(unknown_formats)}: allowed are png, svg, pdf")


def _strangers(node: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Keys that are in no dataclass (Hydra's ``+key=value`` adds them), and those that are."""
    known = [prefix + item.name for item in dataclasses.fields(node)]
    for name, value in vars(node).items():
        if prefix + name not in known:
            yield prefix + name, known
        elif dataclasses.is_dataclass(value):
            yield from _strangers(value, f"{prefix}{name}.")


def _options(node: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if dataclasses.is_dataclass(value):
            yield from _options(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, value, item.metadata


def register(store: Any) -> None:
    """Put the schema into Hydra's config store and make the config's own resolvers known."""
    store.store(name="schema", node=Config)
    OmegaConf.register_new_resolver("fnx.folder_name", folder_name, replace=True)


def typed(config: DictConfig) -> Config:
    """The composed config as `Config`, checked; ``statistic`` and ``threshold`` as plain dicts.

    Raises:
        ConfigError: a value that is not allowed (see `check`).
        OmegaConfBaseException: a mandatory value that is missing.
    """
    made = OmegaConf.to_object(config)
    assert isinstance(made, Config)
    for group in ("statistic", "threshold"):
        if group not in config or not OmegaConf.is_dict(config[group]):
            raise ConfigError(f"{group} is missing: give it as {group}=NAME")
        node = OmegaConf.to_container(config[group], resolve=True, throw_on_missing=True)
        setattr(made, group, node)
    # The entries' own types were checked as they were composed; what `+key=value` adds was not.
    statistic = statistics.get(made.statistic["name"])
    strategy = thresholds.get(made.threshold["name"])
    statistic.bind(made.statistic)
    strategy.bind(made.threshold)
    strategy.check_defined_for(statistic.name)
    check(made)
    return made


def child(node: Any, name: str) -> Any:
    """The dataclass of a group inside a dataclass, or None where there is none."""
    factories: dict[str, Any] = {f.name: f.default_factory for f in dataclasses.fields(node)}
    factory = factories.get(name)
    return factory if dataclasses.is_dataclass(factory) else None


def folder_name(root: str | None) -> str:
    """A data set's name from its folder; `images`, `train` and the like say nothing alone.

    >>> folder_name("/data/my birds/"), folder_name("flowers/train"), folder_name("a/dtd/images")
    ('my-birds', 'flowers-train', 'dtd-images')
    """
    if root is None:
        return "folder"  # `check` will say that the root is missing
    path = Path(root).absolute()
    generic = {"images", "image", "img", "imgs", "jpg", "train", "test", "val", "data"}
    parts = path.parts[-2:] if path.name.lower() in generic else path.parts[-1:]
    words = "-".join(part for part in parts if part != path.anchor)
    return re.sub(r"[^\w.-]+", "-", words).strip("-") or "folder"

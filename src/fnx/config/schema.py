"""The configuration's schema: one dataclass per config group, with types, defaults and help.

The YAML files of ``conf/`` fill these classes in; a key that is not here, or a value of another
type, is refused by name before any work. ``statistic`` and ``threshold`` have no class here: that
of each of their options is made from the signature of the function behind it (see
`fnx.registry.registry`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MISSING: Any = "???"  # OmegaConf's marker of a mandatory value
FORMATS = ("png", "svg", "pdf")
MAX_PIXELS = 178_956_970  # of an image: more are refused by Pillow too


def option(
    default: Any = MISSING,
    *,
    help: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    path: bool = False,
) -> Any:
    """Make a dataclass field with its one-line help and the values that it allows.

    Args:
        default: a list is copied for every instance.
        help: one line for ``--help``.
        choices: the values allowed; of a list, the items allowed.
        minimum: the smallest number allowed; a field may allow some `choices` beside numbers.
        path: whether it is a file or folder, in which ``~`` is expanded.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "path": path}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DatasetConfig:
    """Labelled images: where they lie and how their labels are read."""

    name: str = option(help="name of the data set in folders, tables and figures")
    layout: str = option(help="the reader of this on-disk layout")
    root: str | None = option(None, help="folder that holds the images", path=True)
    depth: int | None = option(
        1, minimum=1, help="levels of folders that name a class; null: every folder with images"
    )
    file: str | None = option(
        None,
        help="csv: table of paths and labels (.csv, .tsv or .parquet); array: the features (.npy, "
        ".npz, .zarr, .parquet or .h5ad)",
        path=True,
    )
    labels: str | None = option(
        None,
        help="array: a column of the file, or a file (.csv, .tsv, .parquet, .npy, .txt); cub200: "
        "attributes, for its 312 concepts",
    )
    array: str | None = option(
        None, help="array: which of the file's, as the name in .npz or .zarr, or layers/counts"
    )
    feature_table: str | None = option(
        None, help="array: table of the features: layer and unit, or name", path=True
    )
    concept_columns: list[str] = option(
        [], help="array, csv: columns of true and false, each a concept, as [has_wings,has_*]"
    )
    label_separator: str | None = option(
        None, help="array, csv: what parts several labels in a cell, as |"
    )
    certainty: int = option(
        1, minimum=1, help="cub200: attributes that were given with at least this certainty, to 4"
    )
    groups: str | None = option(
        None, help="array, csv: column of groups that stay together when labels are shuffled"
    )
    text_column: str | None = option(
        None, help="array: column that is shown of the top rows; null: text, if there is one"
    )
    id_column: str | None = option(
        None, help="array: column that names the rows; null: id, name or path, if there is one"
    )
    source: str | None = option(
        None, help="huggingface: name of a data set on its hub, or a local path", path=True
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
    splits: list[str] = option(
        [], help="use these official splits only, as [train,test]; []: all of them"
    )
    download: bool = option(False, help="fetch and unpack the authors' archive when it is missing")
    include_background: bool = option(False, help="keep the background or clutter class")
    limit_per_class: int | None = option(
        None, minimum=1, help="use at most this many images per class"
    )
    intensity_range: Any = option(
        "auto",
        help="values that become black and white in images of more than 8 bits, as [0,4095]; auto: "
        "what the images of the data set fit in",
    )
    max_pixels: int = option(
        MAX_PIXELS,
        minimum=1,
        help="an image of more pixels counts as unreadable",
    )
    on_error: str = option(
        "skip", choices=("skip", "raise"), help="an unreadable image: leave it out, or stop"
    )


@dataclass
class WeightsConfig:
    """Where the weights of a network come from."""

    source: str = option(
        "hub",
        choices=("hub", "url", "package", "path", "random", "function"),
        help="timm's hub, a URL, an installed package, a local file, untrained (seeded), or the "
        "plugin's function",
    )
    url: str | None = option(None, help="source=url: address of the weights file")
    folder: str | None = option(None, help="source=url: folder that keeps the file", path=True)
    package: str | None = option(None, help="source=package: name of the Python package")
    file: str | None = option(None, help="source=package: the file inside the package")
    path: str | None = option(
        None, help="a file (.pth, .ckpt, .safetensors, .caffemodel, .h5) instead", path=True
    )
    sha256: str | None = option(None, help="refuse a weights file with another SHA-256")


@dataclass
class PreprocessConfig:
    """How pixels become the network's input, which depends on its weights; null: timm's values."""

    channels: str = option("RGB", choices=("RGB", "BGR"), help="order of the colour channels")
    scale: float = option(
        1.0, help="pixels are scaled to 0…scale (1 or 255) before mean and standard deviation"
    )
    mean: list[float] | None = option(None, help="mean per channel, in units of scale")
    std: list[float] | None = option(None, help="standard deviation per channel, in units of scale")


@dataclass
class ModelConfig:
    """The backbone: a network, its weights and the layers that are read."""

    name: str = option(help="name of the backbone in folders, tables and figures")
    timm_name: str = option(help="timm's name of the architecture and its weights' tag")
    tap: str = option(
        "post", choices=("post", "pre"), help="read a layer after or before its activation"
    )
    layers: Any = option("all", help="all, conv, fc, or a list of layer names and globs")
    class_token: bool = option(False, help="average class and register tokens with the others")
    input_size: int | None = option(
        None,
        minimum=1,
        help="side in pixels of the images it was trained on; other sizes log a warning",
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
        "auto",
        choices=("auto",),
        minimum=1,
        help="crops computed at a time (not images); auto: what memory allows",
    )
    compile: bool = option(
        False, help="GPUs only: compile the network with torch.compile first, which takes 20 s"
    )
    num_workers: int | None = option(
        None, minimum=0, help="processes that decode images; null: one less than the cores"
    )


@dataclass
class CalibrationConfig:
    """How what random labels alone give is found, which a calibrated distance leaves out."""

    name: str = option(
        choices=("permutation", "bridge", "none"),
        help="the null of D: from the distances under random labels; from Brownian bridges (ks and "
        "ks_exact); or none",
    )
    draws: int = option(2_000, minimum=1, help="bridge: number of Brownian bridges")


@dataclass
class EngineConfig:
    """Where the statistic is computed."""

    name: str = option(choices=("local", "dask"), help="where the statistic runs")
    threads: int | None = option(None, minimum=1, help="local: threads; null: one per core")
    address: str | None = option(
        None, help="dask: address of a running scheduler; null: a cluster on this machine"
    )
    workers: int | None = option(
        None, minimum=1, help="dask without an address: processes; null: one per core"
    )


@dataclass
class LoggerConfig:
    """Where results are tracked, in addition to the run's folder."""

    name: str = option(
        choices=("wandb", "csv", "tensorboard", "none"), help="the experiment tracker"
    )
    project: str = option("fnx", help="project of the run")
    group: str | None = option(None, help="group of the run; null: the sweep it belongs to")
    tags: list[str] = option([], help="tags to add to dataset, model and statistic")
    mode: str = option(
        "offline", choices=("offline", "online"), help="offline needs no account and no network"
    )


@dataclass
class ReportConfig:
    """What is written for people to read."""

    figures: bool = option(True, help="draw the figures and the page")
    formats: list[str] = option(["png", "svg"], choices=FORMATS, help="file formats of the figures")
    pair: str | None = option(
        None, help="LAYER/UNIT:CLASS that Figure 1 shows; null: the pair with the highest D"
    )
    mode: str = option(
        "empirical",
        choices=("empirical", "lognormal"),
        help="Figure 5: most frequent D of a layer, or the mode of a log-normal fit",
    )
    distance: str = option(
        "raw",
        choices=("raw", "calibrated"),
        help="what the figures show: D as it is, or less what chance gives classes of their size",
    )
    advice: int = option(
        500, minimum=0, help="images by which the layer to use is chosen, at most; 0: no advice"
    )
    top_k: int = option(10, minimum=1, help="features listed per class and sign")
    pictures: str = option(
        "top",
        choices=("top", "all", "none"),
        help="pictures of what activates a feature: for the top features of each class and layer, "
        "for all features, or for none",
    )
    pictures_per_feature: int = option(9, minimum=1, help="images shown per feature, at most")
    reference_dataset: str | None = option(
        None,
        help="images that illustrate features: an option of dataset or a folder; null: the run's",
        path=True,
    )
    reference_limit_per_class: int | None = option(
        None, minimum=1, help="use at most this many reference images per class"
    )
    reference_crops: str | None = option(
        "center",
        choices=("ten", "five", "center", "dense"),
        help="views of a reference image; null: those of the run",
    )
    pairs: list[str] = option(
        [],
        help="pairs that the figures of features show, as LAYER/UNIT:CLASS; []: the best per layer",
    )


@dataclass
class PathsConfig:
    """Folders; a relative path is below the working directory, ~ is the home."""

    data: str = option(help="data sets (FNX_DATA)", path=True)
    outputs: str = option(help="runs and sweeps", path=True)
    cache: str = option(help="embeddings, shared by all runs (FNX_CACHE)", path=True)


@dataclass
class Config:
    """A whole run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    crops: CropsConfig = field(default_factory=CropsConfig)
    statistic: Any = option(help="the distance between a class and all others, and its parameters")
    threshold: Any = option(help="the strategy that tells features from noise, and its parameters")
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    seed: int = option(0, minimum=0, help="seed of the random labels (and of untrained weights)")
    debug: bool = option(False, help="show the traceback of a user's error")

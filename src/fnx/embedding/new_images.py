"""`fnx.embed`: new images, without labels, through the network of a run and in its way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints, overload

import numpy as np
import polars as pl

from fnx.analysis.run import Run
from fnx.backbones.weights.locate import locate
from fnx.config.schema import (
    Config,
    CropsConfig,
    DatasetConfig,
    ModelConfig,
    PathsConfig,
    PreprocessConfig,
    TrainerConfig,
    WeightsConfig,
)
from fnx.embedding.embed import embed as find_or_extract
from fnx.embedding.embedding import Embedding
from fnx.embedding.fingerprint import recipe, shaping_inputs
from fnx.embedding.manifest import Manifest
from fnx.embedding.table import Select, Table, choose_features
from fnx.embedding.table_files import check_target, write_table
from fnx.errors import ConfigError, DataError, WeightsError, reason
from fnx.images.dataset import LabelledImages
from fnx.images.intensity import USUAL, Ranges
from fnx.images.open import open_listing
from fnx.images.unlabelled import list_unlabelled
from fnx.registry import load_installed
from fnx.registry.signatures import coerce

log = logging.getLogger(__name__)

T = TypeVar("T")
ABOUT = ("path", "status", "error")


@overload
def embed(
    images: Any,
    like: Run | str | Path,
    *,
    to: None = None,
    layers: str | Sequence[str] | None = None,
    select: Select = "all",
    overwrite: bool = False,
) -> pl.DataFrame: ...


@overload
def embed(
    images: Any,
    like: Run | str | Path,
    *,
    to: str | Path,
    layers: str | Sequence[str] | None = None,
    select: Select = "all",
    overwrite: bool = False,
) -> Path: ...


def embed(
    images: Any,
    like: Run | str | Path,
    *,
    to: str | Path | None = None,
    layers: str | Sequence[str] | None = None,
    select: Select = "all",
    overwrite: bool = False,
) -> pl.DataFrame | Path:
    """Return the features of new images as a run would have them, as a table or in a file.

    The images need no labels. They go through the same network with the same weights, layers,
    crops, preprocessing and precision as those of the run; images that any embedding of this recipe
    holds already are copied. Where the weights are no longer those of the run, nothing is done.

    Args:
        images: a folder, of which all files count, however deep; a file; an image of PIL; an array
            uint8 (H, W), (H, W, 3) or (H, W, 4), or (N, H, W, 3 or 4); or a list of these.
        like: a run, or its folder.
        to: a file, .csv, .parquet, .npz or .h5ad, written block by block, whole or not at all;
            None: return the table.
        layers: names of layers or globs; None: all of the run.
        select: ``all``; ``kept``: the features beyond the threshold of a class or more of the run;
            or a number: as many of its best (see `fnx.export`).
        overwrite: replace a file that is there already.

    Returns:
        A row for each image, in order: ``path``, ``status`` ("ok" or "failed"), ``error``, and a
        column for each feature, called layer/unit, without a value where the image cannot be read.

    Raises:
        DataError: no such run, images or layer; a run of an array, which has no network.
        WeightsError: weights that are gone, or are no longer those of the run.
    """
    target = None if to is None else check_target(to, overwrite=overwrite)
    table = new_table(images, like, layers=layers, select=select)
    if target is None:
        return table.frame()
    write_table(table, target)
    return target


def new_table(
    images: Any,
    like: Run | str | Path,
    *,
    layers: str | Sequence[str] | None = None,
    select: Select = "all",
) -> Table:
    """Return the table of new images, whose values are not read yet; see `embed`."""
    run = like if isinstance(like, Run) else Run.open(like)
    if run.of_array:
        raise DataError(f"{run.path} is of an array: it has no network to put images through")
    chosen = choose_features(run, select, layers)
    load_installed()
    config = _config(run)
    listing, paths = list_unlabelled(images)
    digest = locate(config.model, config.seed).digest
    if digest != run.record.weights_digest:
        raise WeightsError(
            f"the weights are no longer those of {run.path}: model={config.model.name} has "
            f"{digest:.12}…, the run had {run.record.weights_digest:.12}…"
        )
    found = open_listing(config.dataset, Path(config.paths.cache), listing, _ranges(run))
    return Table(*_about(paths, found), _embedded(found, config, run), chosen)


def _config(run: Run) -> Config:
    """Return the configuration that shaped the run's embedding; devices are this machine's.

    Raises:
        DataError: the run's record does not hold it.
    """
    known = run.record.config
    try:
        model = dict(known["model"])
        weights = _of(WeightsConfig, model.pop("weights"))
        preprocess = _of(PreprocessConfig, model.pop("preprocess"))
        dataset = _of(DatasetConfig, known["dataset"])
        trainer = _of(TrainerConfig, known["trainer"])
        config = Config(
            dataset=DatasetConfig(
                name="new-images",
                layout="folder",
                intensity_range=dataset.intensity_range,
                max_pixels=dataset.max_pixels,
            ),
            model=_of(ModelConfig, model | {"weights": weights, "preprocess": preprocess}),
            crops=_of(CropsConfig, known["crops"]),
            trainer=TrainerConfig(
                precision=trainer.precision,
                compile=trainer.compile,
                batch_size=trainer.batch_size,
            ),
            paths=PathsConfig(data="", outputs="", cache=str(known["paths"]["cache"])),
            seed=known.get("seed", 0),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(
            f"{run.path}: run.json does not say how its images were embedded ({reason(error)})"
        ) from error
    for key in ("path", "folder"):
        if (recorded := getattr(weights, key)) is not None:
            setattr(weights, key, _found_from(run, recorded))
    if (embedding := run.embedding_path) is not None:
        config.paths.cache = str(embedding.parent)
    return config


def _of(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass of the configuration; keys of other versions are left out.

    Raises:
        TypeError, ConfigError: values of other types, or one that is missing.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} is {type(values).__name__}")
    hints = get_type_hints(kind)
    return kind(**{k: coerce(k, value, hints[k]) for k, value in values.items() if k in hints})


def _found_from(run: Run, recorded: str) -> str:
    """Return a path as the command of the run saw it, or as it is from a folder above the run's."""
    places = (Path(recorded), *(folder / recorded for folder in run.path.resolve().parents))
    return next((str(place) for place in places if place.exists()), recorded)


def _ranges(run: Run) -> Ranges | None:
    """Return how the run mapped images of more than 8 bits, which new ones alone do not tell.

    None if the configuration says so, or the run's embedding is gone.
    """
    if run.record.setting("dataset.intensity_range") not in (None, "auto"):
        return None
    if (folder := run.embedding_path) is None:
        return USUAL
    decoding = Manifest.read(folder).inputs.get("decoding", {})
    return {**USUAL, **{k: tuple(v) for k, v in decoding.get("intensity_range", {}).items()}}


def _about(paths: Sequence[str], found: LabelledImages) -> tuple[pl.DataFrame, Any]:
    """Return path, status and error of each image that was given, and its row of the embedding."""
    rows = (pl.col("status") == "ok").cum_sum().cast(pl.Int64) - 1
    known = found.table.with_columns(pl.when(pl.col("status") == "ok").then(rows).alias("row"))
    given = pl.DataFrame({"path": list(paths)})
    table = given.join(known, on="path", how="left", maintain_order="left")
    return table.select(ABOUT), table["row"].fill_null(-1).to_numpy().astype(np.int64)


def _embedded(found: LabelledImages, config: Config, run: Run) -> Embedding | None:
    """Return the embedding of the images; None if none can be read.

    Raises:
        DataError: the network would not give the features of the run.
    """
    if found.ok().is_empty():
        return None
    folder = run.embedding_path
    if folder is not None:
        inputs = shaping_inputs(found, config, run.record.weights_digest)
        if recipe(inputs) != recipe(Manifest.read(folder).inputs):
            raise DataError(f"{run.path}: run.json does not say how its images were embedded")
    embedding, _ = find_or_extract(found, config)
    columns = ["layer", "unit"]
    if not embedding.feature_table.select(columns).equals(run.features.select(columns)):
        raise DataError(f"{run.path}: its network has other layers now than when it was made")
    return embedding

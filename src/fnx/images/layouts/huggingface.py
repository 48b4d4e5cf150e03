"""`layout=huggingface`: image-classification data sets of the Hugging Face hub, or saved by it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, reason, unknown
from fnx.images.dataset import Listing, Stream
from fnx.images.layouts.cells import cell_stream
from fnx.images.layouts.walk import walk
from fnx.images.paths import natural_key, shown
from fnx.utils.files import expand_user

log = logging.getLogger(__name__)


def read(config: DatasetConfig) -> Listing:
    """List the splits of `dataset.source`: paths `<split>/<row>`, classes in order of their ids.

    A folder is what `save_to_disk` wrote, or anything that `load_dataset` takes; other sources are
    names on the hub, which `datasets` fetches and keeps itself. Each split's class ids are read
    with its own names. Rows without a class are left out, with a warning that counts them.

    Raises:
        ConfigError: no source given, no such split or column, or labels of another kind.
        DataError: a source that cannot be loaded, or of which no row has a class.
    """
    if not config.source:
        raise ConfigError("dataset.source is missing: give it as dataset.source=NAME")
    splits = _chosen(_load(config.source), config.splits)
    labels = _columns(config.label_column, splits, "ClassLabel", "label", "dataset.label_column")
    labelled = {split: data for split, data in splits.items() if split in labels}
    images = _columns(config.image_column, labelled, "Image", "image", "dataset.image_column")
    for split, data in labelled.items():
        if split not in images:
            raise ConfigError(
                f"the split {split} has no column of images: its columns are "
                f"{', '.join(data.features)} (dataset.splits chooses among {', '.join(splits)})"
            )
    if any(_holds_lists(data.features[labels[split]]) for split, data in labelled.items()):
        return _of_concepts(config, splits, labels, images)
    rows: list[tuple[str, str, str]] = []
    unlabelled: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    for split, data in splits.items():
        if split not in labels:
            unlabelled[split] = len(data)
            continue
        names = _names(data.features[labels[split]], labels[split])
        for name in names or ():
            ranks.setdefault(name, len(ranks))
        for row, value in enumerate(data[labels[split]]):
            if _is_missing(value, names):
                unlabelled[split] += 1
                continue
            if names is not None and value >= len(names):
                raise DataError(f"{config.source}: row {row} of {split} has no class ({value})")
            class_name = str(value) if names is None else names[value]
            rows.append((class_name, split, f"{split}/{row:06d}"))
    if unlabelled:
        counts = ", ".join(f"{number:,} of {split}" for split, number in unlabelled.items())
        if not rows:
            raise DataError(f"{config.source}: no row has a class ({counts} have none)")
        log.warning("%s: rows without a class are left out: %s", config.source, counts)
    # Classes without an id come after the others; rows stay in order within a class.
    rows.sort(key=lambda row: (ranks.get(row[0], len(ranks)), natural_key(row[0])))
    return Listing(
        paths=[path for _, _, path in rows],
        class_names=[class_name for class_name, _, _ in rows],
        splits=[split for _, split, _ in rows],
        open=Rows({name: _undecoded(splits[name], column) for name, column in images.items()}),
    )


def _holds_lists(feature: Any) -> bool:
    return type(feature).__name__ in ("Sequence", "List", "LargeList") or isinstance(feature, list)


def _of_concepts(
    config: DatasetConfig, splits: dict[str, Any], labels: dict[str, str], images: dict[str, str]
) -> Listing:
    """List rows of which each has any number of labels; an empty list is of none."""
    paths, concepts, of_split = [], [], []
    order: dict[str, None] = {}
    for split, column in labels.items():
        data = splits[split]
        feature = data.features[column]
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
        names = _names(inner, column)
        order |= dict.fromkeys(names or ())
        for row, value in enumerate(data[column]):
            own = value if isinstance(value, list) else [value]
            own = [item for item in own if not _is_missing(item, names)]
            if names is not None and (wrong := [item for item in own if item >= len(names)]):
                raise DataError(f"{config.source}: row {row} of {split} has no class {wrong[0]}")
            concepts.append([str(item) if names is None else names[item] for item in own])
            paths.append(f"{split}/{row:06d}")
            of_split.append(split)
    return Listing(
        paths=paths,
        class_names=[None] * len(paths),
        splits=of_split,
        open=Rows({name: _undecoded(splits[name], column) for name, column in images.items()}),
        concepts=concepts,
        concept_order=list(order),
    )


@dataclass(frozen=True)
class Rows:
    """Source of images that are rows of tables (see `fnx.images.dataset.Source`).

    Attributes:
        splits: each split's table, of one column ``image`` with cells of bytes or paths.
    """

    splits: dict[str, Any]

    def stream(self, path: str) -> Stream:
        """Open the image's file, from the table or from the disk."""
        split, row = path.rsplit("/", 1)
        return cell_stream(self.splits[split][int(row)]["image"])

    def stamp(self, path: str) -> None:
        """Remember nothing: the tables do not say when a row was changed."""


def _load(source: str) -> dict[str, Any]:
    folder = Path(expand_user(source))
    if source.startswith(("/", ".", "~")) and not folder.exists():
        raise DataError(f"no folder {source!r} (dataset.source)")
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if folder.is_dir() and not saved and (written := walk(folder).written):
        raise DataError(
            f"dataset.source={source} holds what fnx wrote, {shown(written[0])}, which would be "
            "images of a class: use dataset=folder, which leaves it out, or move it elsewhere"
        )
    try:
        import datasets

        if saved:
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(str(folder) if folder.exists() else source)
    except Exception as error:  # its own, the hub's, the system's
        raise DataError(
            f"cannot load dataset.source={source}: {reason(error)}; expected a name on the hub, a "
            "folder written by save_to_disk, or one that datasets.load_dataset takes"
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"all": loaded}


def _chosen(splits: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the splits of these names in their own order; all of them without names."""
    for name in names:
        if name not in splits:
            raise ConfigError(unknown("split in dataset.splits", name, splits))
    return {split: data for split, data in splits.items() if split in names or not names}


def _columns(
    chosen: str | None, splits: dict[str, Any], kind: str, usual: str, key: str
) -> dict[str, str]:
    """Return the column of this kind of each split; splits without one are left out.

    Raises:
        ConfigError: a split that has several, or no split with one.
    """
    found = {}
    for split, data in splits.items():
        if (column := _column(chosen, data.features, kind, usual, key)) is not None:
            found[split] = column
    if found:
        return found
    columns = list(dict.fromkeys(name for data in splits.values() for name in data.features))
    if chosen is not None:
        raise ConfigError(unknown(key, chosen, columns))
    raise ConfigError(f"{key} is missing: the columns are {', '.join(columns)}")


def _column(chosen: str | None, features: Any, kind: str, usual: str, key: str) -> str | None:
    """Return the column chosen, the only one of this kind, or of several that of the usual name."""
    if chosen is not None:
        return chosen if chosen in features else None
    fitting = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if usual in features and (usual in fitting or not fitting):
        return usual
    if len(fitting) > 1:
        raise ConfigError(f"{key} is missing: choose one of {', '.join(fitting)}")
    return fitting[0] if fitting else None


def _names(feature: Any, column: str) -> list[str] | None:
    """Return the names of a column's class ids; None if it holds the classes themselves."""
    if type(feature).__name__ not in ("ClassLabel", "Value"):
        raise ConfigError(
            f"dataset.label_column={column} holds {type(feature).__name__}: each image needs a "
            "class, or a list of classes"
        )
    return getattr(feature, "names", None)


def _is_missing(value: Any, names: Sequence[str] | None) -> bool:
    """Return whether a row has no class: null, NaN, an empty text, or the id -1."""
    return value is None or value == "" or value != value or (names is not None and value < 0)


def _undecoded(split: Any, column: str) -> Any:
    """Return the image column alone, as files' bytes: fnx decodes all images in one way."""
    import datasets

    try:
        alone = split.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        return alone if column == "image" else alone.rename_column(column, "image")
    except Exception as error:
        raise DataError(
            f"dataset.image_column={column} holds no images: {reason(error)}"
        ) from error

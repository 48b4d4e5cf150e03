"""`layout=huggingface`: image-classification data sets of the Hugging Face hub, or saved by it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, reason, unknown
from fnx.images.dataset import Listing, Stream
from fnx.images.layouts.walk import walk
from fnx.images.paths import natural_key, shown
from fnx.utils.files import expand_user, open_file


def read(config: DatasetConfig) -> Listing:
    """List all splits of `dataset.source`: paths `<split>/<row>`, classes in order of their ids.

    A folder is what `save_to_disk` wrote, or anything that `load_dataset` takes; other sources are
    names on the hub, which `datasets` fetches and keeps itself.

    Raises:
        ConfigError: no source given, or no such column.
        DataError: a source that cannot be loaded, or an image without a class.
    """
    if not config.source:
        raise ConfigError("dataset.source is missing: give it as dataset.source=NAME")
    splits = _load(config.source)
    features = next(iter(splits.values())).features
    image = _column(config.image_column, features, "Image", "image", "dataset.image_column")
    label = _column(config.label_column, features, "ClassLabel", "label", "dataset.label_column")
    names = getattr(features[label], "names", None)
    undecoded = {name: _undecoded(split, image) for name, split in splits.items()}
    rows: list[tuple[Any, str, str, str]] = []
    for split, data in splits.items():
        for row, value in enumerate(data[label]):
            if value is None or (names is not None and not 0 <= value < len(names)):
                raise DataError(f"{config.source}: row {row} of {split} has no class ({value})")
            class_name = names[value] if names is not None else str(value)
            order = value if names is not None else natural_key(class_name)
            rows.append((order, class_name, split, f"{split}/{row:06d}"))
    rows.sort(key=lambda row: row[0])  # stable: rows stay in order within a class
    return Listing(
        paths=[row[3] for row in rows],
        class_names=[row[1] for row in rows],
        splits=[row[2] for row in rows],
        open=Rows(undecoded, image),
    )


@dataclass(frozen=True)
class Rows:
    """Source of images that are rows of tables (see `fnx.images.dataset.Source`)."""

    splits: dict[str, Any]
    column: str

    def __call__(self, path: str) -> Image.Image:
        """Open the image with this path, `<split>/<row>`."""
        return Image.open(self.stream(path))

    def stream(self, path: str) -> Stream:
        """Open the image's file, from the table or from the disk."""
        split, row = path.rsplit("/", 1)
        value = self.splits[split][int(row)][self.column]
        if value is None:
            raise ValueError("the row has no image")
        if value["bytes"] is not None:
            return io.BytesIO(value["bytes"])
        return open_file(Path(value["path"]))

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


def _column(chosen: str | None, features: Any, kind: str, usual: str, key: str) -> str:
    if chosen is not None:
        if chosen not in features:
            raise ConfigError(unknown(key, chosen, features))
        return chosen
    fitting = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if usual in features and (usual in fitting or not fitting):
        return usual
    if len(fitting) != 1:
        raise ConfigError(f"{key} is missing: the columns are {', '.join(features)}")
    return str(fitting[0])


def _undecoded(split: Any, column: str) -> Any:
    """Return the image column alone, as files' bytes: fnx decodes all images in one way."""
    import datasets

    try:
        return split.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    except Exception as error:
        raise DataError(
            f"dataset.image_column={column} holds no images: {reason(error)}"
        ) from error

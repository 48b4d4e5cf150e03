"""A finished embedding: its arrays, read lazily, and its tables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from fnx.analysis.record import RECORD, Extraction
from fnx.backbones.fields import ReceptiveField, from_table
from fnx.embedding import store
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError, unknown
from fnx.utils.files import expand_user
from fnx.utils.lock import SharedLock
from fnx.utils.parquet import read_parquet

if TYPE_CHECKING:
    from fnx.analysis.run import Run


@dataclass(frozen=True)
class Embedding:
    """A finished embedding: N images × F features, read lazily.

    It is known by its recipe and the contents of its images, so data sets that name or label the
    same images otherwise share it. Opened by its own folder it has the names and labels of the one
    it was made for, opened by the folder of a run those of the run.

    Example:
        >>> import fnx
        >>> embedding = fnx.Embedding.open("outputs/embeddings/…")  # doctest: +SKIP
        >>> embedding.layer("conv4_3").shape  # doctest: +SKIP
        (400, 512)
    """

    path: Path
    manifest: Manifest
    extraction: Extraction | None = None  # None where nothing had to be made
    lease: SharedLock | None = field(default=None, repr=False, compare=False)
    held_images: pl.DataFrame | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Embedding:
        """Open the finished embedding in the folder `path`, or that of the run in it.

        Raises:
            DataError: no embedding, an unfinished one, or one of another format; see `of_run`.
        """
        path = Path(expand_user(str(path)))
        if (path / RECORD).is_file():
            from fnx.analysis.run import Run

            return cls.of_run(Run.open(path))
        manifest = Manifest.read(path)
        if not manifest.complete:
            raise DataError(f"{path} is not finished: run the same command again to resume it")
        return cls(path, manifest)

    @classmethod
    def of_run(cls, run: Run) -> Embedding:
        """Open the embedding that a run was made from, with the names and labels of the run.

        Raises:
            DataError: it is gone, or was replaced by another one.
        """
        folder = run.embedding_path
        if folder is None:
            raise DataError(f"the embedding is gone ({run.record.embedding})")
        embedding = cls.open(folder)
        if embedding.manifest.fingerprint != run.record.fingerprint:
            raise DataError(f"{folder} is another embedding: its fingerprint is not the run's")
        if run.images.filter(pl.col("status") == "ok").height != embedding.manifest.rows:
            raise DataError(f"{run.path}: images.parquet does not fit the embedding, {folder}")
        return dataclasses.replace(embedding, held_images=run.images)

    @cached_property
    def features(self) -> zarr.Array[Any]:
        """float32 (N, F); slices are read from disk when asked for."""
        return self._array("features")

    @cached_property
    def positions(self) -> zarr.Array[Any] | None:
        """uint8 (N, F, 2): row and column of each unit's highest value in the centre view.

        In 256ths of the layer's map (see `fnx.backbones.fields.decode_position`). None for an
        embedding made before positions were stored.
        """
        if self.manifest.positions is None:
            return None
        return self._array("positions")

    @cached_property
    def images(self) -> pl.DataFrame:
        """Every image that was listed; row i of `features` is the i-th one with status ``ok``."""
        return self._table("images.parquet") if self.held_images is None else self.held_images

    @cached_property
    def feature_table(self) -> pl.DataFrame:
        """feature_id, layer, unit, kind: the columns of `features`."""
        return self._table("features.parquet")

    @cached_property
    def receptive_fields(self) -> dict[str, ReceptiveField | None] | None:
        """What the units of each layer see, by layer; None where that is not known here."""
        there = (self.path / "receptive_fields.parquet").is_file()
        return from_table(self._table("receptive_fields.parquet")) if there else None

    @cached_property
    def network(self) -> pl.DataFrame | None:
        """Table 1 (see `fnx.backbones.network_table`); None where it could not be made."""
        there = (self.path / "network.parquet").is_file()
        return self._table("network.parquet") if there else None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of their columns."""
        return tuple(self.feature_table["layer"].unique(maintain_order=True))

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32 (N,): the class of each row of `features`, 0 … C-1."""
        rows = self.images.filter(pl.col("status") == "ok")
        return rows["class_id"].to_numpy().astype(np.int32)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order of their label."""
        classes = self.images.drop_nulls("class_id").unique("class_id").sort("class_id")
        return tuple(classes["class_name"])

    def _table(self, name: str) -> pl.DataFrame:
        self._check(name)
        return read_parquet(self.path / name)

    def _array(self, name: str) -> zarr.Array[Any]:
        self._check(f"{name}.zarr/zarr.json")
        return zarr.open_array(self.path / f"{name}.zarr", mode="r")

    def _check(self, name: str) -> None:
        """Refuse a file that is not what was written."""
        if not store.is_sound(self.path, self.manifest, name):
            raise DataError(
                f"{self.path}: {name} is damaged or missing: the command that made the embedding "
                "makes it again; or delete the folder to have all extracted again"
            )

    def layer(self, name: str) -> NDArray[np.float32]:
        """Return the features of one layer, float32 (N, units).

        Raises:
            DataError: the embedding has no such layer.
        """
        if name not in self.layers:
            raise DataError(unknown("layer", name, self.layers))
        columns = self.feature_table.filter(pl.col("layer") == name)["feature_id"]
        first, last = int(columns[0]), int(columns[-1])
        return np.asarray(self.features[:, first : last + 1], dtype=np.float32)

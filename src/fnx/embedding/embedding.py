"""A finished embedding: its arrays, read lazily, and its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import ArrayLike, NDArray

from fnx.analysis.labelling import class_names, labelling
from fnx.analysis.record import RECORD, Extraction
from fnx.backbones.fields import ReceptiveField, from_table
from fnx.embedding import store
from fnx.embedding.manifest import Manifest
from fnx.embedding.reading import open_array
from fnx.errors import DataError, unknown
from fnx.statistics.columns import open_columns
from fnx.statistics.labels import Labels
from fnx.utils.files import expand_user
from fnx.utils.lock import SharedLock
from fnx.utils.parquet import read_parquet

if TYPE_CHECKING:
    from fnx.analysis.run import Run
    from fnx.config.schema import DatasetConfig
    from fnx.embedding.arrays import Arrayed


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
    def from_array(
        cls,
        features: Any,
        labels: Any,
        *,
        layers: ArrayLike | None = None,
        feature_names: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        texts: ArrayLike | None = None,
    ) -> Embedding:
        """Return the embedding that an array is: of any model, of images or of anything else.

        Args:
            features: (N, F) real numbers, a row for each example: what `fnx.distances` takes, or an
                AnnData. Memory maps, zarr and the like are read block by block; a sparse matrix
                stays one.
            labels: (N,) integers or texts; a table (N, C) of true and false, one column a concept;
                N lists of names; or the name of a column of an AnnData's obs.
            layers: (F,) the layer of each feature; default one layer.
            feature_names: (F,) names; those that all are like "layer/7" give layers and units.
                Default the columns' of a data frame, or an AnnData's var_names.
            groups: (N,) rows of one group (document, video, patient) stay together when labels are
                shuffled.
            texts: (N,) what is shown of a row where it is one of a feature's top rows.

        Raises:
            DataError: values that are missing or not finite, missing labels, lengths that do not
                fit; named by row and column.

        >>> import fnx
        >>> found = fnx.Embedding.from_array([[0.0, 1.0], [2.0, 3.0]], ["cat", "dog"])
        >>> found.class_names, found.labels.tolist(), found.layers
        (('cat', 'dog'), [0, 1], ('features',))
        """
        from fnx.embedding.arrays import from_array

        found = from_array(
            features, labels, layers=layers, feature_names=feature_names, groups=groups, texts=texts
        )
        return cls._of_array(found)

    @classmethod
    def read_array(cls, config: DatasetConfig) -> Embedding:
        """Open the features and labels that ``dataset=array`` names.

        Raises:
            ConfigError: a key that is missing, or names nothing that is there.
            DataError: files that cannot be read or do not fit, missing labels, values not finite.
        """
        from fnx.embedding.array_files import read_array

        return cls._of_array(read_array(config))

    @classmethod
    def _of_array(cls, found: Arrayed) -> Embedding:
        made = cls(Path(), found.manifest, held_images=found.images)
        held = {"features": found.features, "feature_table": found.feature_table}
        vars(made).update(held, positions=None, network=None)
        return made

    @classmethod
    def of_run(cls, run: Run) -> Embedding:
        """Open the embedding that a run was made from, with the names and labels of the run.

        Raises:
            DataError: it is gone, or was replaced by another one.
        """
        if isinstance(held := vars(run).get("embedding"), cls):  # of an array in memory
            return held
        if run.record.setting("dataset.layout") == "array":
            from fnx.embedding.array_files import reopen

            return cls._of_array(reopen(run))
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
    def labels(self) -> NDArray[np.int32] | NDArray[np.bool_]:
        """int32 (N,): the class of each row of `features`, 0 … C-1; of concepts bool (N, C)."""
        own = self.labelling
        if own.sets is None:
            return own.codes
        return np.stack([own.has(c) for c in range(own.n_classes)], axis=1)

    @cached_property
    def labelling(self) -> Labels:
        """The classes, or the concepts, of each row of `features`."""
        return labelling(self.images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order of their label."""
        return class_names(self.images)

    def _table(self, name: str) -> pl.DataFrame:
        self._check(name)
        return read_parquet(self.path / name)

    def _array(self, name: str) -> zarr.Array[Any]:
        self._check(f"{name}.zarr/zarr.json")
        return open_array(self.path / f"{name}.zarr")

    def _check(self, name: str) -> None:
        """Refuse a file that is not what was written."""
        if not store.is_sound(self.path, self.manifest, name):
            raise DataError(
                f"{self.path}: {name} is damaged or missing: the command that made the embedding "
                "makes it again; or delete the folder to have all extracted again"
            )

    def column(self, feature_id: int) -> NDArray[Any]:
        """Return the values (N,) of one feature."""
        return open_columns(self.features).read(feature_id, feature_id + 1)[:, 0]

    def layer(self, name: str) -> NDArray[np.float32]:
        """Return the features of one layer, float32 (N, units).

        Raises:
            DataError: the embedding has no such layer.
        """
        if name not in self.layers:
            raise DataError(unknown("layer", name, self.layers))
        columns = self.feature_table.filter(pl.col("layer") == name)["feature_id"]
        first, last = int(columns[0]), int(columns[-1])
        return open_columns(self.features).read(first, last + 1).astype(np.float32)

    def to_polars(self, layers: str | Sequence[str] | None = None) -> pl.DataFrame:
        """Return features as a data frame, for scikit-learn and the like; all of it is in memory.

        There is a row for each row of `features`, with the label of the same row of `labels`, and a
        column for each feature, called layer/unit, or by its name.

        Args:
            layers: names of layers or globs, as ``"blocks.6*"``; None: all.

        Raises:
            DataError: the embedding has no such layer.

        >>> import fnx
        >>> fnx.Embedding.from_array([[0.0, 1.0], [2.0, 3.0]], ["cat", "dog"]).to_polars().columns
        ['features/0', 'features/1']
        """
        from fnx.analysis.lookup import in_layers
        from fnx.analysis.run import feature_labels

        table = in_layers(self.feature_table, layers)
        ids = table["feature_id"].to_numpy()
        values = open_columns(self.features).read(int(ids[0]), int(ids[-1]) + 1)
        if ids.size < values.shape[1]:
            values = values[:, ids - ids[0]]
        return pl.from_numpy(values, schema=feature_labels(table).to_list(), orient="row")

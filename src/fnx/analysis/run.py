"""A run: its record, tables, distances, and what is counted from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.advice import ADVICE, Advice
from fnx.analysis.calibrated import Calibrated
from fnx.analysis.distributions import Distances, Domain, Extent, Sign, domain, extent, layer_rows
from fnx.analysis.files import read_distances, read_table
from fnx.analysis.record import Kept, RunRecord
from fnx.analysis.scan import Scan, scan
from fnx.errors import DataError, reason
from fnx.statistics.calibration import effective_sizes
from fnx.utils.files import expand_user


def _table_property(name: str) -> cached_property[pl.DataFrame]:
    return cached_property(lambda run: run._table(name))


def feature_labels(features: pl.DataFrame) -> pl.Series:
    """Return how each feature of a table is written: by its name if it has one, or layer/unit."""
    label = pl.format("{}/{}", "layer", "unit")
    named = pl.col("name").fill_null(label) if "name" in features.columns else label
    return features.select(named.alias("feature"))["feature"]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


@dataclass(frozen=True)
class Run:
    """A run, in memory and on disk.

    Attributes:
        path: its folder.
        record: what was run.
        held: tables and arrays that are in memory already, by the names of the properties below;
            the others are read from the folder when first asked for, arrays as memory maps.
    """

    path: Path
    record: RunRecord
    held: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, held: Mapping[str, Any] | None) -> None:
        """Fill the cached properties that are known."""
        vars(self).update(held or {})

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the folder of a finished run.

        Raises:
            DataError: the folder is missing or is not that of a finished run.
        """
        folder = Path(expand_user(str(path)))
        try:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder")
            return cls(folder, RunRecord.read(folder))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({reason(error)})") from error

    def has(self, name: str) -> bool:
        """Return whether the run has the table `name`: older or smaller runs lack some."""
        return name in vars(self) or (self.path / f"{name}.parquet").is_file()

    def _file(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise DataError(f"{self.path}: not a whole run of fnx ({name} is missing)")
        return file

    def _table(self, name: str) -> pl.DataFrame:
        file = self._file(f"{name}.parquet")
        table = read_table(file)
        if (wrong := self._misfit(name, table)) is not None:
            raise DataError(f"{file}: {wrong}")
        return table

    def _misfit(self, name: str, table: pl.DataFrame) -> str | None:
        """Say why a table cannot be that of this run, if so."""
        if name in ("classes", "features"):
            ids = table["class_id" if name == "classes" else "feature_id"]
            if not table.height or ids.to_list() != list(range(table.height)):
                return f"{ids.name} must count from 0"
        if name == "features":
            try:
                layer_rows(table)
            except DataError as error:
                return str(error)
            moments = table.get_column("null_second_moment", default=None)
            if moments is not None and not moments.drop_nulls().is_between(0, np.inf).all():
                return "null_second_moment must be 0 or more"
        if name == "top_features":
            ends = (("class_id", self.classes.height), ("feature_id", self.features.height))
            for column, end in ends:
                if not table[column].is_between(0, end - 1).all():
                    return f"{column} must be below {end}"
        if name == "thresholds" and table["sign"].to_list() not in (["+"], ["+", "-"]):
            return "must have the signs +, or + and -"
        if name == "layers":
            layers = [layer.name for layer in layer_rows(self.features)]
            for sign in self.kept:
                if table.filter(sign=sign)["layer"].to_list() != layers:
                    return f"must have each layer of features.parquet for the sign {sign}"
        return None

    def _distances(self, name: str, dimensions: int) -> NDArray[np.float32]:
        shape = (self.features.height, self.classes.height)
        return read_distances(self._file(f"{name}.npy"), dimensions, shape)

    images = _table_property("images")
    """One row an image: path, class, status and the reason of a failure."""

    classes = _table_property("classes")
    """``class_id``, ``class_name``, ``n_images``, ``t_plus``, ``t_minus``."""

    features = _table_property("features")
    """``feature_id``, ``layer``, ``unit``, ``kind``, ``constant``, ``null_second_moment``."""

    thresholds = _table_property("thresholds")
    """``sign``, ``threshold``, ``davg``, ``kept``, ``kept_random``, ``spread_random``."""

    davg = _table_property("davg")
    """``x``, ``davg_plus``, ``davg_minus``."""

    layers = _table_property("layers")
    """See `fnx.analysis.tables.layers_table`."""

    top_features = _table_property("top_features")
    """``class_id``, ``sign``, ``rank``, ``feature_id``, ``distance``, ``p_value``, ``q_value``."""

    detectors = _table_property("detectors")
    """See `fnx.analysis.detectors.detectors`."""

    network = _table_property("network")
    """Table 1, one row per stage of the network (see `fnx.backbones.network_table`)."""

    @cached_property
    def advice(self) -> Advice | None:
        """Which layer to use; None for a run without advice. See `fnx.analysis.advice.Advice`."""
        return Advice.read(self.path) if (self.path / ADVICE).is_file() else None

    @cached_property
    def top_images(self) -> pl.DataFrame | None:
        """The images that activate each feature most; None for a run without pictures.

        See `fnx.report.pictures.top_images.top_images` for the columns. Runs made before that
        table existed have two, ``strongest`` and ``strongest_images``, ranked by the highest value
        of the map.
        """
        if self.has("top_images"):
            return self._table("top_images")
        if not (self.has("strongest") and self.has("strongest_images")):
            return None
        return self._table("strongest").join(
            self._table("strongest_images"), on="image_id", how="left", maintain_order="left"
        )

    @cached_property
    def distances(self) -> NDArray[np.float32]:
        """[F, C] under the real labels, mapped from disk."""
        return self._distances("distances", 2)

    @cached_property
    def distances_random(self) -> NDArray[np.float32]:
        """[R, F, C] under random labels, mapped from disk."""
        return self._distances("distances_random", 3)

    @cached_property
    def calibrated(self) -> Calibrated | None:
        """The distances [F, C] calibrated, computed where they are indexed; None if they cannot be.

        That needs the ``null_second_moment`` of every feature, which older runs, runs with
        ``calibration=none`` and runs of some statistics do not have.
        """
        return self._calibrated("distances")

    @cached_property
    def calibrated_random(self) -> Calibrated | None:
        """The same [R, F, C] under random labels."""
        return self._calibrated("distances_random")

    def _calibrated(self, name: str) -> Calibrated | None:
        column = self.features.get_column("null_second_moment", default=None)
        if column is None or column.has_nulls():
            return None
        sizes = effective_sizes(
            self.classes["n_images"].to_numpy(), self.classes.height, self.n_images
        )
        return Calibrated(getattr(self, name), column.to_numpy(), sizes, self.neutral)

    def arrays(
        self, distance: str = "raw"
    ) -> tuple[Distances | Calibrated, Distances | Calibrated]:
        """Return the distances under real and under random labels, "raw" or "calibrated".

        Raises:
            DataError: a run that is not calibrated.
        """
        if distance == "raw":
            return self.distances, self.distances_random
        real, random = self.calibrated, self.calibrated_random
        if real is None or random is None:
            raise DataError(f"{self.path}: its distances are not calibrated")
        return real, random

    @cached_property
    def extents(self) -> tuple[Extent, Extent]:
        """How far the distances under the real and under random labels reach."""
        return extent(self.distances, self.neutral), extent(self.distances_random, self.neutral)

    @cached_property
    def domain(self) -> Domain:
        """The range of all distances."""
        return domain(*self.extents)

    @cached_property
    def scan(self) -> Scan:
        """All that figures, page and tables count from the distances; counted once."""
        layers = layer_rows(self.features)
        arrays = self.distances, self.distances_random
        both = self.calibrated, self.calibrated_random
        calibrated = (both[0], both[1]) if both[0] and both[1] else None
        try:
            return scan(layers, *arrays, self.limits, self.domain, calibrated)
        except DataError as error:  # a distance that is NaN
            raise DataError(f"{self.path}: {error}") from error

    @property
    def of_array(self) -> bool:
        """Whether its features were there already: it has rows, and no images or network."""
        return bool(self.record.setting("dataset.layout") == "array")

    @cached_property
    def feature_labels(self) -> pl.Series:
        """How each feature is written: by its name where it has one, else as layer/unit."""
        return feature_labels(self.features)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.record.dataset

    @property
    def model(self) -> str:
        """Name of the backbone."""
        return self.record.model

    @property
    def statistic(self) -> str:
        """Name of the statistic."""
        return str(self.record.statistic["name"])

    @property
    def neutral(self) -> float:
        """Value of the statistic where a class is like all others: presence lies above it."""
        return self.record.neutral

    @property
    def signed(self) -> bool:
        """Whether distances tell presence from absence (there is a t⁻)."""
        return "-" in self.kept

    @property
    def limits(self) -> dict[Sign, NDArray[np.float64]]:
        """The thresholds of the classes, (C,) for each sign that the statistic has."""
        plus: dict[Sign, NDArray[np.float64]] = {"+": self.classes["t_plus"].to_numpy()}
        return plus | {"-": self.classes["t_minus"].to_numpy()} if self.signed else plus

    @property
    def embedding_path(self) -> Path | None:
        """The embedding's folder; None if it is no longer there.

        The record holds it as the command saw it, from the working directory: where that is another
        one now, it is looked for from the folders above the run's.
        """
        recorded = Path(self.record.embedding)
        places = [recorded, *(folder / recorded for folder in self.path.resolve().parents)]
        return next((place for place in places if _is_file(place / "manifest.json")), None)

    @property
    def failed(self) -> pl.DataFrame:
        """The images that could not be used."""
        return self.images.filter(pl.col("status") != "ok")

    @property
    def n_images(self) -> int:
        """Images that were used."""
        of_record = self.record.counts.images  # which older runs have not
        return of_record or int(self.classes["n_images"].sum())

    @property
    def images_per_class(self) -> float:
        """Mean |I_c|: of classes, images used over classes."""
        return int(self.classes["n_images"].sum()) / self.classes.height

    @cached_property
    def kept(self) -> dict[str, Kept]:
        """The rows of `thresholds`, by sign."""
        names = [field.name for field in fields(Kept) if field.name in self.thresholds.columns]
        rows = self.thresholds.rows(named=True)
        return {row["sign"]: Kept(**{name: row[name] for name in names}) for row in rows}

    def threshold(self, sign: str) -> dict[str, float] | None:
        """Return the row of `thresholds` of one sign, None where there is none."""
        return vars(self.kept[sign]) if sign in self.kept else None

"""`dataset=array`: features in a file, with labels in a column of it or in another file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.lib import format as npy

from fnx.analysis.run import Run
from fnx.config.schema import DatasetConfig
from fnx.embedding.arrays import RESERVED, Arrayed, Frame, embedding_of, from_array
from fnx.errors import ConfigError, DataError, reason, unknown
from fnx.images.layouts.concepts import concept_table, is_like_any, split_names
from fnx.images.layouts.delimited import read_delimited
from fnx.images.paths import shown
from fnx.utils.files import expand_user
from fnx.utils.parquet import read_parquet

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXTS, _IDS = ("text",), ("id", "name", "path")
_NUMBERS = ("image_id", "class_id")  # columns about rows in a file that `fnx.export` wrote


class Found(NamedTuple):
    """What a file holds: features, their names, and columns about its rows."""

    features: Any
    names: Sequence[str] | None = None
    about: pl.DataFrame | None = None


def read_array(config: DatasetConfig) -> Arrayed:
    """Open the features of `dataset.file` and read their labels.

    Raises:
        ConfigError: a key that is missing, or names nothing that is there.
        DataError: files that cannot be read or do not fit, missing labels, values not finite.
    """
    if not config.file:
        raise ConfigError("dataset.file is missing: give it as dataset.file=FEATURES.npy")
    if not config.labels:
        raise ConfigError(
            "dataset.labels is missing: give a column of dataset.file, or a file with labels"
        )
    found = _read(config)
    labels, about = _labels(config, found.about)
    columns = {key: _named(config, key, about) for key in ("groups", "text_column", "id_column")}
    layers, names = _feature_names(config, found.names)
    return from_array(
        found.features,
        labels,
        layers=layers,
        feature_names=names,
        groups=columns["groups"],
        texts=columns["text_column"],
        ids=columns["id_column"],
        name=shown(config.file),
    )


def reopen(run: Run) -> Arrayed:
    """Open the array that a run was made of, with the labels of the run.

    Raises:
        DataError: it was in memory, is gone, or holds something else now.
    """
    known = run.record.config.get("dataset", {})
    if not known.get("file"):
        raise DataError(f"{run.path}: its features were in memory, and are gone")
    fields = {
        key: value for key, value in known.items() if key in DatasetConfig.__dataclass_fields__
    }
    config = DatasetConfig(**fields)
    found = _read(config)
    layers, names = _feature_names(config, found.names)
    made = embedding_of(found.features, run.images, layers, names, shown(config.file or ""))
    if made.manifest.fingerprint != run.record.fingerprint:
        raise DataError(f"{config.file} has changed since the run")
    return made


def _read(config: DatasetConfig) -> Found:
    path = Path(expand_user(config.file or ""))
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"dataset.file={path}: must be one of {', '.join(_READERS)}, or given to fnx.analyze"
        )
    if not path.exists():
        raise DataError(f"no file {shown(path)} (dataset.file)")
    try:
        return reader(path, config)
    except (ConfigError, DataError):
        raise
    except Exception as error:  # of whatever library, on a file that is damaged or none of its own
        raise DataError(f"cannot read {shown(path)}: {reason(error)}") from error


def _npy(path: Path, config: DatasetConfig) -> Found:
    return Found(npy.open_memmap(path, mode="r"))


def _npz(path: Path, config: DatasetConfig) -> Found:
    """Open an archive of NumPy's, or one of `scipy.sparse.save_npz`."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if {"format", "shape", "data"} <= set(names):
            from scipy import sparse

            return Found(sparse.load_npz(path))
        name = _member(config, names)
        feature_names, about = _beside(archive, names, name)
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            with np.load(path, allow_pickle=False) as arrays:
                return Found(arrays[name], feature_names, about)
        with archive.open(info) as member:
            header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, fortran, dtype = header[npy.read_magic(member)](member)
            begins = member.tell()
    with path.open("rb") as file:  # the local header is of another length than the central one
        file.seek(info.header_offset + 26)
        name_length, extra = np.frombuffer(file.read(4), "<u2").tolist()
    offset = info.header_offset + 30 + name_length + extra + begins
    order: Any = "F" if fortran else "C"
    values = np.memmap(path, dtype, "r", offset, shape, order)
    return Found(values, feature_names, about)


def _beside(
    archive: zipfile.ZipFile, names: Sequence[str], chosen: str
) -> tuple[list[str] | None, pl.DataFrame | None]:
    """Return the names of the features and the columns that `fnx.export` wrote beside them."""
    if not (set(RESERVED) <= set(names) and chosen == RESERVED[0]):
        return None, None
    found = {}
    for name in names:
        if name != chosen:
            with archive.open(f"{name}.npy") as member:
                found[name] = npy.read_array(member, allow_pickle=False).tolist()
    return found.pop(RESERVED[1]), pl.DataFrame(found)


def _member(config: DatasetConfig, names: Sequence[str]) -> str:
    if config.array is None and set(RESERVED) <= set(names):
        return RESERVED[0]
    if config.array is None and len(names) == 1:
        return names[0]
    if config.array in names:
        return str(config.array)
    if config.array is None:
        raise ConfigError(f"dataset.array is missing: choose one of {', '.join(sorted(names))}")
    raise ConfigError(unknown("dataset.array", config.array, names))


def _zarr(path: Path, config: DatasetConfig) -> Found:
    import zarr

    opened: Any = zarr.open(path, mode="r")
    if isinstance(opened, zarr.Array):
        return Found(opened)
    return Found(opened[_member(config, [name for name, _ in opened.arrays()])])


def _parquet(path: Path, config: DatasetConfig) -> Found:
    """Open a table: its numbers are features, but for the columns that the configuration names."""
    table = pl.scan_parquet(path)
    schema = table.collect_schema()
    taken = {config.labels, config.groups, config.text_column, config.id_column}
    taken |= {*_TEXTS, *_IDS, *_NUMBERS}
    taken |= {name for name in schema if is_like_any(name, config.concept_columns)}
    numbers = [name for name, kind in schema.items() if kind.is_numeric() and name not in taken]
    if not numbers:
        raise DataError(f"{shown(path)} has no columns of numbers that are features")
    others = [name for name in schema if name not in numbers]
    about = table.select(others).collect()
    rows = int(table.select(pl.len()).collect().item())
    return Found(Frame(table, numbers, rows), numbers, about if others else None)


def _h5ad(path: Path, config: DatasetConfig) -> Found:
    """Open X, or another matrix, of an AnnData file: ``layers/NAME`` or ``obsm/NAME``."""
    try:
        import anndata
    except ImportError as error:
        raise ConfigError(
            "dataset.file=….h5ad: package anndata is not installed: pip install "
            "'fnx-features[anndata]'"
        ) from error
    data = anndata.read_h5ad(path, backed="r")
    kind, _, name = (config.array or "X").partition("/")
    names: list[str] | None = None
    if kind == "X":
        matrix, names = data.X, list(map(str, data.var_names))
    elif kind in ("layers", "obsm") and name in getattr(data, kind):
        matrix = getattr(data, kind)[name]
        names = list(map(str, data.var_names)) if kind == "layers" else None
    else:
        known = ["X", *(f"layers/{key}" for key in data.layers), *(f"obsm/{k}" for k in data.obsm)]
        raise ConfigError(unknown("dataset.array", str(config.array), known))
    if hasattr(matrix, "to_memory"):  # sparse, which is read by rows only
        matrix = matrix.to_memory()
    obs = data.obs.reset_index(names="id")
    about = {str(key): _plain(obs[key]) for key in obs}
    return Found(matrix, names, pl.DataFrame(about, strict=False))


def _plain(column: Any) -> list[Any]:
    values = column.astype(object).tolist()
    return [None if value is None or value != value else value for value in values]


_READERS: dict[str, Callable[[Path, DatasetConfig], Found]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".zarr": _zarr,
    ".parquet": _parquet,
    ".h5ad": _h5ad,
}


def _labels(config: DatasetConfig, about: pl.DataFrame | None) -> tuple[Any, pl.DataFrame | None]:
    """Return the labels, and all columns about the rows that there are."""
    named = str(config.labels)
    if about is not None and named in about.columns:
        return _split(config, about[named], named), about
    if about is not None and named == config.file:  # concepts that are columns of it
        return _of_table(config, about, shown(named)), about
    file = Path(expand_user(named))
    if not file.is_file():
        columns = f", nor a column of it: {', '.join(about.columns)}" if about is not None else ""
        raise DataError(f"dataset.labels={named}: no such file{columns}")
    if file.suffix.lower() in (".npy", ".npz"):
        try:
            return _READERS[file.suffix.lower()](file, DatasetConfig()).features, about
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {shown(file)}: {reason(error)}") from error
    if file.suffix.lower() == ".txt":
        lines = file.read_text(encoding="utf-8").splitlines()
        return _split(config, pl.Series(lines, dtype=pl.String), named), about
    table = _table(file, config)
    joined = table if about is None else pl.concat(
        [table, about.select(pl.exclude(table.columns))], how="horizontal"
    )  # fmt: skip
    return _of_table(config, table, shown(file)), joined


def _table(file: Path, config: DatasetConfig) -> pl.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return read_parquet(file)
        return read_delimited(file, (config.label_column or "label",)).drop("")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {shown(file)}: {reason(error)}") from error


def _of_table(config: DatasetConfig, table: pl.DataFrame, name: str) -> Any:
    if config.concept_columns:
        return concept_table(table, config.concept_columns, name)
    column = config.label_column or ("label" if "label" in table.columns else None)
    if column is None and table.width == 1:
        column = table.columns[0]
    if column is not None:
        if column not in table.columns:
            raise ConfigError(unknown("dataset.label_column", column, table.columns))
        return _split(config, table[column], column)
    truths = [key for key, kind in table.schema.items() if kind == pl.Boolean]
    if truths:
        return concept_table(table, truths, name)
    raise ConfigError(
        f"dataset.label_column is missing: {name} has the columns {', '.join(table.columns)}"
    )


def _split(config: DatasetConfig, column: pl.Series, name: str) -> Any:
    """Return a column of labels; with a separator, the names in each cell."""
    if isinstance(column.dtype, pl.List):
        return [[str(item) for item in own or []] for own in column.to_list()]
    if config.label_separator is None:
        return column
    return split_names(column.cast(pl.String), config.label_separator)


def _named(config: DatasetConfig, key: str, about: pl.DataFrame | None) -> pl.Series | None:
    """Return the column that a key names, or one of the usual name."""
    wanted, columns = getattr(config, key), [] if about is None else about.columns
    if wanted is None:
        usual = {"text_column": _TEXTS, "id_column": _IDS}.get(key, ())
        wanted = next((name for name in usual if name in columns), None)
    elif wanted not in columns:
        raise ConfigError(unknown(f"dataset.{key}", wanted, columns))
    return None if wanted is None or about is None else about[wanted]


def _feature_names(
    config: DatasetConfig, names: Sequence[str] | None
) -> tuple[list[str] | None, Sequence[str] | None]:
    """Return layers and names of the features: of `dataset.feature_table`, or of the file."""
    if config.feature_table is None:
        return None, names
    table = _table(Path(expand_user(config.feature_table)), config)
    layers = table["layer"].cast(pl.String).to_list() if "layer" in table.columns else None
    if "name" in table.columns:
        return layers, table["name"].cast(pl.String).to_list()
    if layers is not None and "unit" in table.columns:
        units = table["unit"].cast(pl.String).to_list()
        return None, [f"{layer}/{unit}" for layer, unit in zip(layers, units, strict=True)]
    if layers is None:
        raise ConfigError(
            f"dataset.feature_table has the columns {', '.join(table.columns)}: must have layer, "
            "layer and unit, or name"
        )
    return layers, names

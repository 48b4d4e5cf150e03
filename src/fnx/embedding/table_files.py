"""Files of a table of features: CSV, Parquet, NumPy's .npz and AnnData's .h5ad, block by block."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, takewhile
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
from numpy.lib import format as npy
from polars.io.plugins import register_io_source

from fnx.embedding.arrays import RESERVED
from fnx.embedding.table import Table
from fnx.errors import ConfigError, DataError, reason
from fnx.images.paths import shown
from fnx.utils.files import atomic_path, expand_user
from fnx.utils.text import cell, without_formulas

_VALUES_IN_GROUP = 1 << 27  # of the rows that a Parquet file holds together


def check_target(to: str | Path, *, overwrite: bool = False) -> Path:
    """Refuse a file that could not be written, before any work; return its path.

    Raises:
        ConfigError: another ending, or a package that is not installed.
        DataError: no such folder, or a file that is there already, without `overwrite`.
    """
    path = Path(expand_user(str(to)))
    if path.suffix.lower() not in WRITERS:
        raise ConfigError(f"{path}: the name must end with {', '.join(WRITERS)}")
    if path.suffix.lower() == ".h5ad" and importlib.util.find_spec("anndata") is None:
        raise ConfigError(
            f"{path}: package anndata is not installed: pip install 'fnx-features[anndata]'"
        )
    if not path.parent.is_dir():
        raise DataError(f"{path}: no such folder as {path.parent}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise DataError(f"{path} is there already: --force (overwrite=True) replaces a file")
    return path


def write_table(table: Table, path: Path) -> None:
    """Write a table to a file, in the format of its ending; whole, or not at all.

    Raises:
        DataError: a folder that cannot be written.
        OSError: a full disk.
    """
    try:
        with atomic_path(path) as temporary:
            WRITERS[path.suffix.lower()](table, temporary)
    except PermissionError as error:
        raise DataError(f"{shown(path)} cannot be written ({reason(error)})") from error


def _write_csv(table: Table, path: Path) -> None:
    with path.open("wb") as file:
        for number, frame in enumerate(table.frames()):
            marked = without_formulas(frame).rename({name: cell(name) for name in frame.columns})
            marked.write_csv(file, include_header=number == 0)


def _write_parquet(table: Table, path: Path) -> None:
    """Have Polars write the blocks, in groups of rows.

    It holds two or three groups, and what the end of the file says of each column of each group.
    """
    frames = table.frames()
    first = next(frames)
    ended = Event()
    rest = takewhile(lambda _: not ended.is_set(), frames)
    source = register_io_source(lambda *_: chain([first], rest), schema=first.schema)
    group = max(1, _VALUES_IN_GROUP // first.width)
    with ThreadPoolExecutor(1) as aside:  # for a thread in Polars hears no signal
        try:
            aside.submit(source.sink_parquet, path, row_group_size=group).result()
        finally:
            ended.set()


def _write_npz(table: Table, path: Path) -> None:
    """Write ``features``, ``feature_names`` and one array for each column, none of objects."""
    shape = len(table.rows), len(table.names)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(f"{RESERVED[0]}.npy", "w", force_zip64=True) as member:
            descr = npy.dtype_to_descr(table.dtype)
            npy.write_array_header_1_0(
                member, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            for _, values in table.blocks():
                member.write(np.ascontiguousarray(values).tobytes())
        arrays = {RESERVED[1]: np.array(table.names, np.str_)}
        for column in table.about.iter_columns():
            if column.null_count() < len(column):
                filled = column.fill_null("") if column.dtype == pl.String else column
                kind = np.str_ if column.dtype == pl.String else None
                arrays[column.name] = np.array(filled.to_list(), kind)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, array, allow_pickle=False)


def _write_h5ad(table: Table, path: Path) -> None:
    """Write obs and var with anndata, and X, which it would want whole, after them."""
    import anndata
    import h5py
    import pandas as pd

    def categories(texts: pl.Series) -> Any:  # of objects, for anndata writes no Arrow texts
        known = texts.drop_nulls().unique().sort().to_list()
        return pd.Categorical(texts.to_list(), categories=pd.Index(known, dtype=object))

    index = table.about["path"].to_list()
    if len(set(index)) < len(index):
        index = [str(number) for number in range(len(index))]
    columns = {
        column.name: categories(column) if column.dtype == pl.String else column.to_list()
        for column in table.about.iter_columns()
        if column.null_count() < len(column)
    }
    obs = pd.DataFrame(columns, index=pd.Index(index, dtype=object))
    var = pd.DataFrame(
        {"layer": categories(table.features["layer"]), "unit": table.features["unit"].to_list()},
        index=pd.Index(table.names, dtype=object),
    )
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        shape = len(table.rows), len(table.names)
        matrix = file.create_dataset("X", shape, table.dtype)
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for rows, values in table.blocks():
            matrix[rows] = values


WRITERS: dict[str, Callable[[Table, Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".h5ad": _write_h5ad,
}

"""`layout=csv`: a table of paths and labels, as CSV, TSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, reason, unknown
from fnx.images.dataset import Listing
from fnx.images.labels import tidy
from fnx.images.layouts.cells import Cells
from fnx.images.layouts.concepts import concept_table, split_names
from fnx.images.layouts.delimited import read_delimited
from fnx.images.layouts.walk import ENDINGS
from fnx.images.paths import Files, natural_key, shown, to_text
from fnx.utils.files import expand_user, open_file


def read(config: DatasetConfig) -> Listing:
    """List the images of `dataset.file`, classes in natural order, images in the table's order.

    Paths are relative to `dataset.root`, or, without one, to the table's folder; absolute ones stay
    as they are. In Parquet the images themselves may stand in the cells: their paths then are the
    numbers of their rows.

    Raises:
        ConfigError: no file given, or no such column.
        DataError: no such file, a row without path or label, a path that occurs twice, or fewer
            than two classes.
    """
    file = _file(config)
    base = (Path(expand_user(config.root)) if config.root else file.parent).absolute()
    table = _table(file, config)
    names = [name for name in table.columns if name]
    several = bool(config.concept_columns or config.label_separator)
    label = ""
    if not config.concept_columns:
        label = _column(config.label_column, "label", names, "dataset.label_column")
    path = _path_column(config.path_column, table.drop(""), label)
    split = config.split_column and _column(config.split_column, "", names, "dataset.split_column")
    split = split or _like("split", names)
    in_cells = _holds_images(table.schema[path])
    own, order = _concepts(config, table, label, file) if several else (None, ())
    rows = table.select(
        number="",
        path=pl.col("").sub(1).cast(pl.String) if in_cells else _texts(table, path, file),
        label=pl.lit("") if several else _class_names(file, label, _texts(table, label, file)),
        split=pl.lit(None, pl.String) if split is None else _texts(table, split, file),
    )
    _check(rows, file, labelled=not several)
    paths = _as_they_lie(rows["path"].to_list(), base)
    groups = _groups(config, table, names, file)
    if several:
        return Listing(
            paths=[to_text(path) for path in paths],
            class_names=[None] * len(paths),
            splits=rows["split"].to_list(),
            open=Cells(table[path], base) if in_cells else Files(str(base)),
            root=None if in_cells else base,
            concepts=own,
            concept_order=order,
            groups=groups,
        )
    ordered = sorted(
        zip(paths, rows["label"], rows["split"], groups or paths, strict=True),
        key=lambda row: natural_key(tidy(row[1])),
    )
    return Listing(
        paths=[to_text(row[0]) for row in ordered],
        class_names=[row[1] for row in ordered],
        splits=[row[2] for row in ordered],
        open=Cells(table[path], base) if in_cells else Files(str(base)),
        root=None if in_cells else base,
        groups=groups and [row[3] for row in ordered],
    )


def _concepts(
    config: DatasetConfig, table: pl.DataFrame, label: str, file: Path
) -> tuple[list[list[str]], Sequence[str]]:
    """Return the concepts of each row, and their order."""
    if config.concept_columns:
        truths = concept_table(table.drop(""), config.concept_columns, shown(file))
        names = truths.columns
        return [[names[c] for c, has in enumerate(row) if has] for row in truths.rows()], names
    return split_names(_texts(table, label, file), str(config.label_separator)), ()


def _groups(
    config: DatasetConfig, table: pl.DataFrame, names: Sequence[str], file: Path
) -> list[str] | None:
    """Return the group of each row; None where the configuration asks for none."""
    if config.groups is None:
        return None
    column = _texts(table, _column(config.groups, "", names, "dataset.groups"), file)
    if column.has_nulls():
        row = table[""][int(column.is_null().arg_max() or 0)]
        raise DataError(f"{shown(file)}: row {row} has no {config.groups} (dataset.groups)")
    return column.to_list()


def _file(config: DatasetConfig) -> Path:
    if not config.file:
        raise ConfigError("dataset.file is missing: give it as dataset.file=TABLE.csv")
    places = [Path(expand_user(config.file))]
    if config.root:
        places.append(Path(expand_user(config.root)) / config.file)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        looked = " and ".join(map(shown, places))
        raise DataError(f"no table {looked} (dataset.file): expected .csv, .tsv or .parquet")
    return found.absolute()


def _table(file: Path, config: DatasetConfig) -> pl.DataFrame:
    """Return the table with a column ``""`` that counts its rows from 1."""
    try:
        with open_file(file) as opened:
            is_parquet = opened.read(4) == b"PAR1"
            opened.seek(0)
            # By its name Polars reads it only where that is UTF-8.
            if is_parquet or file.suffix.lower() == ".parquet":
                table = pl.read_parquet(opened)
                return table.select(pl.exclude("")).with_row_index("", offset=1)
        known = [config.path_column, config.label_column or "label", config.split_column or "split"]
        known += [*config.concept_columns, *([config.groups] if config.groups else [])]
        return read_delimited(file, known)
    # Some damage makes Polars' own code give up (a "panic", which is no Exception).
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"cannot read the table {shown(file)}: {reason(error)}") from error


def _like(name: str, names: Sequence[str]) -> str | None:
    """Return the column of this name, or the only one that differs from it in letter case."""
    alike = [other for other in names if other.casefold() == name.casefold()]
    return name if name in names else alike[0] if len(alike) == 1 else None


def _column(chosen: str | None, usual: str, names: Sequence[str], key: str) -> str:
    wanted = chosen or usual
    found = _like(wanted, names)
    if found is not None:
        return found
    hint = ""
    if any(name.lower().endswith(ENDINGS) for name in names):
        hint = " (the table's first line must name its columns, as: path,label)"
    elif len(names) == 1:
        hint = " (is it separated by something else than , ; | or tabs?)"
    raise ConfigError(unknown(key, wanted, names) + hint)


def _path_column(chosen: str, table: pl.DataFrame, label: str) -> str:
    """Return the column of the paths, or without it the only one that holds images."""
    found = _like(chosen, table.columns)
    images = [name for name, kind in table.schema.items() if _holds_images(kind)]
    if found is None and len(images) == 1 and images[0] != label:
        return images[0]
    return found or _column(chosen, chosen, table.columns, "dataset.path_column")


def _holds_images(kind: pl.DataType) -> bool:
    """Return whether a column's cells are bytes, or the hub's {bytes, path}."""
    return kind == pl.Binary or (
        isinstance(kind, pl.Struct) and {field.name for field in kind.fields} >= {"bytes", "path"}
    )


def _texts(table: pl.DataFrame, name: str, file: Path) -> pl.Series:
    """Return a column as texts, null where a value is missing; lists and the like are refused."""
    column = table[name]
    if column.dtype.is_nested() or column.dtype == pl.Object:
        several = ": each image needs one class" if isinstance(column.dtype, pl.List) else ""
        raise DataError(
            f"{shown(file)}: column {name!r} holds {column.dtype}, expected texts or "
            f"numbers{several}"
        )
    if column.dtype.is_float():
        column = column.fill_nan(None)
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{shown(file)}: column {name!r} holds {column.dtype}, expected texts"
        ) from error


def _class_names(file: Path, label: str, ids: pl.Series) -> pl.Series:
    """Return the names of the hub's class ids, which its Parquet files keep beside the table."""
    if file.suffix.lower() != ".parquet":
        return ids
    try:
        with open_file(file) as opened:
            about: Any = json.loads(pl.read_parquet_metadata(opened)["huggingface"])
        names = about["info"]["features"][label]["names"]
        return ids.replace_strict({str(n): str(name) for n, name in enumerate(names)}, default=None)
    except (AttributeError, KeyError, TypeError, ValueError):  # no file of the hub's, no ids
        return ids


def _as_they_lie(paths: list[str], base: Path) -> list[str]:
    r"""Return paths as they lie on this disk: where none with `\` is a file, it stands for `/`.

    So it is in tables from Windows. Blanks around a path are dropped where it is then a file.
    """

    def is_file(path: str) -> bool:
        try:
            return (base / path).is_file()
        except OSError:  # a name that is too long
            return False

    from_windows = [path for path in paths if "\\" in path]
    if from_windows and not any(map(is_file, from_windows)):
        paths = [path.replace("\\", "/") for path in paths]
    return [path.strip() if path != path.strip() and not is_file(path) else path for path in paths]


def _check(rows: pl.DataFrame, file: Path, *, labelled: bool) -> None:
    name = shown(file)
    for column in ("path", "label") if labelled else ("path",):
        empty = rows.filter(pl.col(column).fill_null("") == "")
        if empty.height:
            raise DataError(
                f"{name}: {empty.height} rows without a {column}, the first is row "
                f"{empty['number'][0]}"
            )
    twice = rows.filter(pl.col("path").is_duplicated())
    if twice.height:
        raise DataError(
            f"{name}: {twice['path'].n_unique()} paths occur more than once, as "
            f"{twice['path'][0]!r}; an image has one class"
        )
    if labelled and rows["label"].n_unique() < 2:
        raise DataError(f"{name}: {rows.height} images of fewer than two classes")

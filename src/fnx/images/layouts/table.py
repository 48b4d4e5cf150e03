"""`layout=csv`: a table of paths and labels, as CSV, TSV or Parquet."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, reason, unknown
from fnx.images.dataset import Listing
from fnx.images.labels import tidy
from fnx.images.paths import Files, natural_key, to_text
from fnx.utils.files import expand_user


def read(config: DatasetConfig) -> Listing:
    """List the images of `dataset.file`, classes in natural order, images in the table's order.

    Paths are relative to `dataset.root`, or, without one, to the table's folder; absolute ones stay
    as they are.

    Raises:
        ConfigError: no file given, or no such column.
        DataError: no such file, a row without path or label, a path that occurs twice, or fewer
            than two classes.
    """
    file = _file(config)
    table = _table(file)
    path, label = config.path_column, config.label_column or "label"
    split = config.split_column or ("split" if "split" in table.columns else None)
    for key, column in (("path", path), ("label", label), ("split", split)):
        if column is not None and column not in table.columns:
            raise ConfigError(unknown(f"dataset.{key}_column", column, table.columns))
    splits = pl.lit(None, pl.String) if split is None else pl.col(split).cast(pl.String)
    rows = table.select(
        path=pl.col(path).cast(pl.String), label=pl.col(label).cast(pl.String), split=splits
    )
    _check(rows, file)
    ordered = sorted(rows.iter_rows(), key=lambda row: natural_key(tidy(row[1])))
    base = Path(expand_user(config.root)) if config.root else file.parent
    return Listing(
        paths=[to_text(row[0]) for row in ordered],
        class_names=[row[1] for row in ordered],
        splits=[row[2] for row in ordered],
        open=Files(str(base.absolute())),
        root=base.absolute(),
    )


def _file(config: DatasetConfig) -> Path:
    if not config.file:
        raise ConfigError("dataset.file is missing: give it as dataset.file=TABLE.csv")
    places = [Path(expand_user(config.file))]
    if config.root:
        places.append(Path(expand_user(config.root)) / config.file)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        looked = " and ".join(repr(to_text(str(place))) for place in places)
        raise DataError(f"no table {looked} (dataset.file): expected .csv, .tsv or .parquet")
    return found.absolute()


def _table(file: Path) -> pl.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        separator = "\t" if file.suffix.lower() == ".tsv" else ","
        # All columns as text: a label 007 is no 7, whatever the other labels are.
        return pl.read_csv(file, separator=separator, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the table {to_text(str(file))!r}: {reason(error)}") from error


def _check(rows: pl.DataFrame, file: Path) -> None:
    name = repr(to_text(str(file)))
    for column in ("path", "label"):
        empty = rows.with_row_index("row", offset=1).filter(pl.col(column).fill_null("") == "")
        if empty.height:
            raise DataError(
                f"{name}: {empty.height} rows without a {column}, the first is row "
                f"{empty['row'][0]}"
            )
    twice = rows.filter(pl.col("path").is_duplicated())
    if twice.height:
        raise DataError(
            f"{name}: {twice['path'].n_unique()} paths occur more than once, as "
            f"{twice['path'][0]!r}; an image has one class"
        )
    if rows["label"].n_unique() < 2:
        raise DataError(f"{name}: {rows.height} images of fewer than two classes")

"""`fnx.export`: the features of a run, with labels, paths and names, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import polars as pl

from fnx.analysis.labelling import used
from fnx.analysis.run import Run
from fnx.embedding.embedding import Embedding
from fnx.embedding.table import Select, Table, choose_features, with_concept_columns
from fnx.embedding.table_files import check_target, write_table


@overload
def export(
    run: Run | str | Path,
    to: None = None,
    *,
    layers: str | Sequence[str] | None = None,
    features: Select = "kept",
    overwrite: bool = False,
) -> pl.DataFrame: ...


@overload
def export(
    run: Run | str | Path,
    to: str | Path,
    *,
    layers: str | Sequence[str] | None = None,
    features: Select = "kept",
    overwrite: bool = False,
) -> Path: ...


def export(
    run: Run | str | Path,
    to: str | Path | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    features: Select = "kept",
    overwrite: bool = False,
) -> pl.DataFrame | Path:
    """Return features of a run as a table, or write them to a file.

    There is a row for each image that was used: the columns of ``images.parquet``, then a column
    for each feature, called layer/unit, or by its name. Of concepts there is a column of true and
    false for each. A file is written block by block, whole or not at all.

    Args:
        run: a run, or its folder.
        to: a file, .csv, .parquet, .npz or .h5ad; None: return the table.
        layers: names of layers or globs, as ``"blocks.6*"``; None: all.
        features: ``kept``: those beyond the threshold of one class or more; ``all``; or a number:
            as many of the best, those whose distance to some class lies farthest from neutral.
        overwrite: replace a file that is there already.

    Raises:
        ConfigError: another ending, more features than there are, a package that is not installed.
        DataError: no such run, layer or folder, a file that is there already, an embedding that is
            gone.
    """
    target = None if to is None else check_target(to, overwrite=overwrite)
    table = run_table(run, layers=layers, features=features)
    if target is None:
        return table.frame()
    write_table(table, target)
    return target


def run_table(
    run: Run | str | Path,
    *,
    layers: str | Sequence[str] | None = None,
    features: Select = "kept",
) -> Table:
    """Return the table of a run, whose values are not read yet; see `export`."""
    run = run if isinstance(run, Run) else Run.open(run)
    chosen = choose_features(run, features, layers)
    about = with_concept_columns(used(run.images), chosen["name"])
    rows = np.arange(about.height, dtype=np.int64)
    return Table(about, rows, Embedding.of_run(run), chosen)

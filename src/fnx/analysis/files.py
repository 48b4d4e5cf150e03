"""Reads the tables and arrays of a run's folder; what is damaged or foreign is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fnx.errors import DataError, reason
from fnx.utils.parquet import read_parquet

TEXT, NUMBER, TRUTH, WHOLE, ID = pl.String, pl.Float64, pl.Boolean, pl.Int64, pl.Int32

_SPREAD = dict.fromkeys(("mode", "low", "high"), NUMBER)
_MORE = (
    *(f"lognormal_{name}{of}" for name in _SPREAD for of in ("", "_random")),
    *("mean", "mean_random"),
)
_CALIBRATED = (
    *(f"{name}{of}" for name in _SPREAD for of in ("", "_random")),
    *_MORE,
    *("pct", "pct_random"),
)
COLUMNS: dict[str, Mapping[str, type[pl.DataType]]] = {
    "images": {"path": TEXT, "class_id?": ID, "class_name?": TEXT, "status": TEXT, "error?": TEXT},
    "classes": {
        **{"class_id": ID, "class_name": TEXT, "n_images": WHOLE},
        **{"t_plus": NUMBER, "t_minus?": NUMBER},
    },
    "features": {
        **{"feature_id": WHOLE, "layer": TEXT, "unit": ID, "kind": TEXT, "constant": TRUTH},
        "null_second_moment~": NUMBER,
    },
    "thresholds": {
        **{"sign": TEXT, "threshold": NUMBER, "davg": NUMBER, "kept": NUMBER},
        **{"kept_random": NUMBER, "spread_random~": NUMBER},
    },
    "davg": {"x": NUMBER, "davg_plus": NUMBER, "davg_minus?": NUMBER},
    "layers": {
        **{"layer": TEXT, "sign": TEXT, "pct_kept": NUMBER, "pct_kept_random": NUMBER},
        **{f"{name}{of}?": kind for name, kind in _SPREAD.items() for of in ("", "_random")},
        **dict.fromkeys((f"{name}~" for name in _MORE), NUMBER),
        **dict.fromkeys((f"calibrated_{name}~" for name in _CALIBRATED), NUMBER),
    },
    "top_features": {
        **{"class_id": ID, "sign": TEXT, "rank": ID},
        **{"feature_id": WHOLE, "distance": pl.Float32, "p_value~": NUMBER, "q_value~": NUMBER},
    },
    "detectors": {
        **{"class_id": ID, "class_name": TEXT, "rank": ID, "feature_id": WHOLE, "layer": TEXT},
        **{"unit": ID, "sign": TEXT, "cut": NUMBER, "D": NUMBER, "D_cal": NUMBER},
        **{"j_heldout?": NUMBER, "recall?": NUMBER, "false_positive_rate?": NUMBER},
        "folds_agreeing?": NUMBER,
    },
    "network": {
        **{"name": TEXT, "kind": TEXT, "filters?": WHOLE, "parameters": WHOLE, "neurons": WHOLE},
        **{"features": WHOLE, "height?": WHOLE, "width?": WHOLE, "receptive_field?": WHOLE},
    },
    "top_images": {"feature_id": WHOLE, "rank": ID, "activation": NUMBER}
    | {"path?": TEXT, "class_name?": TEXT, "dataset~": TEXT},
    "strongest": {"feature_id": WHOLE, "rank": ID, "activation": NUMBER, "image_id": WHOLE},
    "strongest_images": {"image_id": WHOLE, "path?": TEXT, "class_name?": TEXT},
}
"""Columns that a run's tables need, with their types; others may stand beside them.

"?": may be null; "~": may be missing, or null.
"""


def read_table(file: Path) -> pl.DataFrame:
    """Read a table of a run's folder, its columns as in `COLUMNS`.

    Raises:
        DataError: naming the file and what is wrong.
    """
    try:
        table = read_parquet(file)
    except ValueError as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    for key, kind in COLUMNS[file.stem].items():
        name = key.rstrip("?~")
        if name not in table.columns:
            if key.endswith("~"):
                continue
            raise DataError(f"{file}: has no column {name}")
        try:
            table = table.with_columns(pl.col(name).cast(kind))
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{file}: column {name} is of {table[name].dtype}: must be {kind.__name__}"
            ) from error
        if key == name and table[name].has_nulls():
            raise DataError(f"{file}: column {name} has empty cells")
    return table


def read_distances(file: Path, dimensions: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Map an array of a run's folder, [F, C] or [R, F, C], into memory.

    Raises:
        DataError: naming the file and what is wrong.
    """
    try:
        array: NDArray[np.float32] = open_memmap(file, mode="r")  # nothing but .npy, no pickle
    except Exception as error:  # of whatever a damaged header holds
        raise DataError(f"{file}: cannot be read ({reason(error)})") from error
    if array.ndim != dimensions or array.shape[-2:] != shape or not len(array):
        raise DataError(
            f"{file}: has shape {array.shape}; the run has {shape[0]} features and"
            f" {shape[1]} classes"
        )
    if array.dtype != np.float32:
        raise DataError(f"{file}: is of {array.dtype}: must be float32")
    return array

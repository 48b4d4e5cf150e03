"""An embedding of any array with labels: nothing is extracted, and nothing is copied whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.labelling import used, with_concepts
from fnx.embedding.fingerprint import fingerprint
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError
from fnx.statistics.columns import Columns, open_columns
from fnx.utils.arrays import as_array, is_missing
from fnx.utils.files import digest

LAYER = "features"  # of an array that names none
RESERVED = ("features", "feature_names")  # names of arrays in the .npz that `fnx.export` writes
_AT_ONCE = 1 << 23  # values read at a time
_UNIT = re.compile(r"(.+)[/.:_ -](\d{1,9})")
_IDS = pl.Schema({"image_id": pl.Int64, "path": pl.String, "class_id": pl.Int32})


class Frame:
    """Columns of a Polars table, in memory or in a file, as an (N, F) array that is read lazily."""

    def __init__(self, table: pl.LazyFrame, names: Sequence[str], rows: int) -> None:
        self._table, self.names, self.shape = table, list(names), (rows, len(names))
        kinds = [kind for name, kind in table.collect_schema().items() if name in set(names)]
        short = (pl.Float32, pl.UInt8, pl.Int8, pl.UInt16, pl.Int16)
        self.dtype = np.dtype(np.float32 if all(kind in short for kind in kinds) else np.float64)

    def __getitem__(self, key: tuple[slice, slice | int]) -> NDArray[Any]:
        rows, columns = key
        names = self.names[columns]
        own = [names] if isinstance(names, str) else names
        part = self._table.select(pl.col(own).cast(pl.Float64 if self.dtype == np.float64 else
                                                   pl.Float32))  # fmt: skip
        start, stop, _ = rows.indices(self.shape[0])
        found: NDArray[Any] = part.slice(start, stop - start).collect().to_numpy()
        return found[:, 0] if isinstance(names, str) else found


class Arrayed(NamedTuple):
    """What an embedding holds that was not extracted: an array with its tables."""

    manifest: Manifest
    images: pl.DataFrame
    features: Any
    feature_table: pl.DataFrame


def from_array(
    features: Any,
    labels: Any,
    *,
    layers: Any = None,
    feature_names: Any = None,
    groups: Any = None,
    texts: Any = None,
    ids: Any = None,
    name: str = "features",
) -> Arrayed:
    """Return what an embedding of an array holds; see `fnx.Embedding.from_array`.

    Args:
        features: see there.
        labels: see there.
        layers: see there.
        feature_names: see there.
        groups: see there.
        texts: see there.
        ids: (N,) names of the rows; default their numbers.
        name: what the array is called in messages.
    """
    features, labels, feature_names, ids = _of_anndata(features, labels, feature_names, ids)
    columns, feature_names = _opened(features, feature_names)
    images = _labelled(_rows(columns.n_rows, ids, texts, groups), labels)
    return embedding_of(columns.array, images, layers, feature_names, name)


def embedding_of(
    features: Any, images: pl.DataFrame, layers: Any, feature_names: Any, name: str
) -> Arrayed:
    """Return what an embedding of features holds; `images` is as ``images.parquet`` is.

    Raises:
        DataError: see `from_array`; a table of another number of rows.
    """
    columns, feature_names = _opened(features, feature_names)
    if used(images).height != columns.n_rows:
        raise DataError(f"{name}: {columns.n_rows} rows, of which {used(images).height} are known")
    table = feature_table(columns.n_columns, layers, feature_names)
    content = inspect(columns, table, name)
    named = digest(repr(row).encode() for row in table.iter_rows())
    inputs = {"array": content, "feature_names": named, "weights": content}
    manifest = Manifest(
        fingerprint(inputs),
        inputs,
        columns.n_rows,
        columns.n_columns,
        columns.n_rows,
        complete=True,
        shards=(content,),
    )
    return Arrayed(manifest, images, columns.array, table)


def _opened(features: Any, names: Any) -> tuple[Columns, Any]:
    """Return an array as it is read by columns, and their names where it has some."""
    if isinstance(features, pl.DataFrame | pl.LazyFrame):
        lazy = features.lazy()
        own = lazy.collect_schema().names()
        features = Frame(lazy, own, lazy.select(pl.len()).collect().item())
    if names is None:
        names = getattr(features, "names", getattr(features, "columns", None))
        names = None if callable(names) else names
    return open_columns(features), names


def _of_anndata(features: Any, labels: Any, names: Any, ids: Any) -> tuple[Any, Any, Any, Any]:
    """Take an AnnData apart: its X, the column of its obs that `labels` names, and its names."""
    if not (hasattr(features, "obs") and hasattr(features, "var_names")):
        return features, labels, names, ids
    if isinstance(labels, str):
        if labels not in features.obs:
            known = ", ".join(map(str, features.obs.columns))
            raise DataError(f"labels: obs has no column {labels!r}; it has {known}")
        labels = features.obs[labels]
    matrix = features.X
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    names = list(features.var_names) if names is None else names
    return matrix, labels, names, list(features.obs_names) if ids is None else ids


def inspect(columns: Columns, table: pl.DataFrame, name: str) -> str:
    """Return a digest of an array's content; every value is read once, some at a time.

    Raises:
        DataError: a value that is not finite, by its row and column.
    """
    kind = f"{columns.array.dtype.str}{(columns.n_rows, columns.n_columns)}"

    def pieces() -> Iterator[bytes]:
        yield kind.encode()
        for first_row, first_column, values in _pieces(columns):
            finite = np.isfinite(values)
            if not finite.all():
                row, column = (int(i) for i in np.argwhere(~finite)[0])
                _refuse(table, name, first_row + row, first_column + column, values[row, column])
            yield np.ascontiguousarray(values).tobytes()

    def sparse_pieces() -> Iterator[bytes]:
        array = columns.array
        if not np.isfinite(array.data).all():
            at = int(np.argmin(np.isfinite(array.data)))
            column = int(np.searchsorted(array.indptr, at, side="right")) - 1
            _refuse(table, name, int(array.indices[at]), column, array.data[at])
        yield kind.encode()
        for part in (array.indptr.astype(np.int64), array.indices.astype(np.int64), array.data):
            yield from (part[i : i + _AT_ONCE].tobytes() for i in range(0, part.size, _AT_ONCE))

    return digest(sparse_pieces() if hasattr(columns.array, "toarray") else pieces())


def _refuse(table: pl.DataFrame, name: str, row: int, column: int, value: Any) -> None:
    called = label_of(table, column)
    what = "missing or nan" if np.isnan(value) else str(value)
    raise DataError(
        f"{name}: row {row}, column {column} ({called}) is {what}: every value must be finite; "
        "leave such rows or columns out, or fill them in"
    )


def label_of(table: pl.DataFrame, column: int) -> str:
    """Return how a feature of a feature table is written."""
    row = table.row(column, named=True)
    return str(row.get("name") or f"{row['layer']}/{row['unit']}")


def _pieces(columns: Columns) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield first row, first column and values of parts of an array, as they lie in memory."""
    array, rows, width = columns.array, columns.n_rows, columns.n_columns
    by_columns = isinstance(array, Frame) or (
        isinstance(array, np.ndarray) and array.flags.f_contiguous and not array.flags.c_contiguous
    )
    if by_columns:
        step = max(1, _AT_ONCE // rows)
        for start in range(0, width, step):
            yield 0, start, columns.read(start, min(start + step, width))
        return
    step = max(1, _AT_ONCE // width)
    for start in range(0, rows, step):
        yield start, 0, np.asarray(array[start : start + step])


def feature_table(count: int, layers: Any = None, names: Any = None) -> pl.DataFrame:
    """Return ``feature_id``, ``layer``, ``unit``, ``kind`` and, where they are named, ``name``.

    Names that all are like "layer/7" give layers and units. Others stand beside the numbers.

    Raises:
        DataError: another number of names, names twice, or layers whose features lie apart.

    >>> feature_table(2, names=["a/0", "a/3"]).rows()
    [(0, 'a', 0, 'other'), (1, 'a', 3, 'other')]
    """
    own = [None] * count if names is None else _texts("feature_names", names, count)
    if names is not None and len(set(own)) < count:
        twice = Counter(own).most_common(1)[0][0]
        raise DataError(f"feature_names: {twice!r} occurs more than once")
    found = [_UNIT.fullmatch(text or "") for text in own]
    numbered = layers is None and names is not None and all(found)
    if numbered:
        parts = [match.groups() for match in found if match]
        of_layer, units = [part[0] for part in parts], [int(part[1]) for part in parts]
        numbered = len(set(parts)) == count and _lie_together(of_layer)
    if not numbered:
        of_layer = [LAYER] * count if layers is None else _texts("layers", layers, count)
        counts: Counter[str] = Counter()
        units = []
        for layer in of_layer:
            units.append(counts[layer])
            counts[layer] += 1
    if not _lie_together(of_layer):
        raise DataError("layers: the features of a layer must lie together")
    table = pl.DataFrame(
        {"feature_id": range(count), "layer": of_layer, "unit": units, "kind": ["other"] * count},
        schema={"feature_id": pl.Int64, "layer": pl.String, "unit": pl.Int32, "kind": pl.String},
    )
    if names is None or numbered:
        return table
    return table.with_columns(pl.Series("name", own, dtype=pl.String))


def _lie_together(layers: Sequence[str]) -> bool:
    changes = sum(a != b for a, b in pairwise(layers))
    return changes + 1 == len(set(layers)) if layers else False


def _texts(key: str, values: Any, count: int) -> list[str]:
    own = [str(value) for value in np.asarray(values).tolist()]
    if len(own) != count:
        raise DataError(f"{key}: {len(own)} for {count}: must be one for each")
    return own


def _rows(count: int, ids: Any, texts: Any, groups: Any) -> pl.DataFrame:
    """Return the table of the rows, without labels, as ``images.parquet`` has it."""
    given = {"ids": ids, "texts": texts, "groups": groups}
    known = {key: _texts(key, value, count) for key, value in given.items() if value is not None}
    if groups is not None:
        for row, value in enumerate(np.asarray(groups, dtype=object)):
            if is_missing(value):
                raise DataError(f"groups: row {row} is in none")
    paths = known.get("ids") or [f"row {row}" for row in range(count)]
    return pl.DataFrame(
        {
            "image_id": range(count),
            "path": paths,
            "split": [None] * count,
            "status": ["ok"] * count,
            "error": [None] * count,
            "digest": [None] * count,
            **({"text": known["texts"]} if texts is not None else {}),
            **({"group": known["groups"]} if groups is not None else {}),
        },
        schema_overrides={"image_id": pl.Int64} | dict.fromkeys(
            ("split", "error", "digest"), pl.String
        ),
    )  # fmt: skip


def _labelled(images: pl.DataFrame, labels: Any) -> pl.DataFrame:
    """Add the classes or concepts of the rows.

    Raises:
        DataError: another number of labels, missing ones by their row, fewer than two classes.
    """
    concepts = concepts_of(labels)
    if concepts is not None:
        _check_count(len(concepts[0]), images.height)
        return _in_order(with_concepts(images, *concepts))
    own = _one_each(labels)
    _check_count(len(own), images.height)
    known = {value: number for number, value in enumerate(sorted(set(own), key=_natural))}
    if len(known) < 2:
        raise DataError(f"labels have {len(known)} class: a distance needs at least 2")
    return _in_order(
        images.with_columns(
            pl.Series("class_id", [known[value] for value in own], dtype=pl.Int32),
            pl.Series("class_name", [str(value) for value in own], dtype=pl.String),
        )
    )


def _natural(value: Any) -> Any:
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))


def _in_order(images: pl.DataFrame) -> pl.DataFrame:
    first = ["image_id", "path", "class_id", "class_name"]
    return images.select(*first, pl.exclude(first))


def _check_count(labels: int, rows: int) -> None:
    if labels != rows:
        raise DataError(f"labels for {labels} rows, features of {rows}: must be the same number")


def _one_each(labels: Any) -> list[Any]:
    """Return one label for each row, as Python's own texts or integers."""
    if hasattr(labels, "to_list") and not isinstance(labels, np.ndarray):  # pandas, Polars
        values: list[Any] = labels.to_list()
    elif isinstance(labels, list | tuple):
        values = list(labels)
    else:
        values = np.asarray(as_array("labels", labels)).tolist()
    for row, value in enumerate(values):
        if is_missing(value):
            raise DataError(f"labels: row {row} has none ({value!r}): leave such rows out")
    kinds = {bool if isinstance(value, bool | np.bool_) else type(value) for value in values}
    if kinds & {float, list, dict}:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"labels are {names}: must be integers or texts, or a table of concepts")
    return values


def concepts_of(labels: Any) -> tuple[list[list[str]], list[str]] | None:
    """Return the names of the concepts of each row, and of all; None of one label for each row.

    Concepts are a table (N, C) of true and false, or rows of several names each.
    """
    names: Iterable[Any] | None = None
    if isinstance(labels, list | tuple) and labels and isinstance(labels[0], list | tuple | set):
        if all(isinstance(item, str) for own in labels for item in own):
            return [list(dict.fromkeys(own)) for own in labels], []
        table = np.asarray(labels)
    elif len(getattr(labels, "shape", ())) != 2:
        return None
    elif hasattr(labels, "tocsr"):
        table = labels
    else:
        names = getattr(labels, "columns", None)
        table = np.asarray(as_array("labels", labels))
    if table.shape[1] == 1 and names is not None and table.dtype.kind not in "b":
        return None
    known = [str(n) for n in names] if names is not None else list(map(str, range(table.shape[1])))
    return _names_of_table(table, known), known


def _names_of_table(table: Any, names: Sequence[str]) -> list[list[str]]:
    values = table.data if hasattr(table, "tocsr") else table
    wrong = ~np.isin(values, (0, 1))
    if wrong.any() or values.dtype.kind not in "biufO":
        where = ""
        if not hasattr(table, "tocsr"):
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            where = f": row {row}, column {names[column]!r} is {table[row, column]}"
        raise DataError(f"labels are a table of other values than true and false{where}")
    if hasattr(table, "tocsr"):
        rows = table.tocsr()
        rows.eliminate_zeros()
        found = np.split(rows.indices, rows.indptr[1:-1])
    else:
        found = [np.flatnonzero(row) for row in table.astype(bool)]
    held = {int(c) for own in found for c in own}
    if empty := [names[c] for c in range(len(names)) if c not in held]:
        raise DataError(f"labels: no row has {empty[0]!r}: leave that column out")
    return [[names[c] for c in own] for own in found]

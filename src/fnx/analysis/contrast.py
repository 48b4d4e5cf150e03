"""What tells one class from another: D between the two, on their images alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.analysis.distributions import Sign, beyond, from_neutral
from fnx.analysis.labelling import groups
from fnx.analysis.run import Run
from fnx.errors import DataError
from fnx.registry import load_installed, statistics
from fnx.statistics.columns import Columns, open_columns
from fnx.statistics.engine import all_distances
from fnx.statistics.labels import Labels
from fnx.statistics.permutations import permutations
from fnx.thresholds import Side, find_thresholds


@dataclass(frozen=True)
class Contrast:
    """A class against another: which features are present in the first and absent in the second."""

    class_id: int
    name: str
    n_images: int
    """Images of the first class that are not of the second as well."""
    against_id: int
    against: str
    n_against: int
    n_both: int
    """Images of both, which are left out."""
    measured: bool
    """Whether D was measured between the two; else the features are ranked by the difference of
    their D for each class."""
    note: str | None
    """Why not."""
    present_absent: int
    """Features present in the first class and absent in the second, by the run's thresholds."""
    absent_present: int
    kept: pl.DataFrame
    """``sign``, ``threshold``, ``kept``, ``kept_random``: of D between the two, by random labels of
    the images of the two."""
    features: pl.DataFrame
    """``sign`` ("+": higher in the first), ``rank``, ``feature_id``, ``layer``, ``unit``;
    ``distance`` between the two; ``cut``, ``share``, ``share_against``: the value that parts the
    two best, and the shares of their images above it; ``median``, ``median_against``;
    ``distance_of_class``, ``distance_of_against``: D of each class against all others in the run;
    ``sign_of_class``, ``sign_of_against``: "+" present, "-" absent, null within noise;
    ``top_image``, the one that activates the feature most. What was not measured is null."""


_MEASURED = ("cut", "share", "share_against", "median", "median_against")


@dataclass(frozen=True)
class _Rows:
    """Some rows of an (N, F) array, read a block of columns at a time."""

    columns: Columns
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.columns.n_columns

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.columns.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return len(self.rows), self.columns.width

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        start, stop, _ = key[1].indices(self.columns.n_columns)
        block: NDArray[Any] = self.columns.read(start, stop)[self.rows]
        return block[key[0]]


def contrast(
    run: Run, labels: Labels, class_id: int, against_id: int, features: Any, top: int = 10
) -> Contrast:
    """Set a class against another: the run's statistic on the images of the two alone.

    Args:
        run: the run.
        labels: of the rows of the features.
        class_id: a class.
        against_id: another.
        features: (N, F) the run's features; or the reason why they cannot be read, a text.
        top: features listed for each sign.

    Raises:
        DataError: the same class twice; a class of which every image has the other as well.
    """
    names = run.classes["class_name"].to_list()
    if class_id == against_id:
        raise DataError(f"class '{names[class_id]}' against itself: name another class")
    first, second = labels.has(class_id), labels.has(against_id)
    both = first & second
    for own, name, other in ((first, class_id, against_id), (second, against_id, class_id)):
        if not (own & ~both).any():
            raise DataError(
                f"every image of '{names[name]}' is of '{names[other]}' as well: nothing tells the"
                " two apart"
            )
    rows = np.flatnonzero(first ^ second)
    inside = first[rows]
    distances = np.array(run.distances[:, [class_id, against_id]], np.float32)
    signs = [_signs(run, distances[:, i], c) for i, c in enumerate((class_id, against_id))]
    with np.errstate(invalid="ignore"):  # both infinite
        difference = distances[:, 0] - distances[:, 1]
    kept = _no_thresholds()
    note: str | None = None
    columns: _Rows | None = None
    if isinstance(features, str):
        note = features
        between = difference + np.float32(run.neutral)
    else:
        columns = _Rows(open_columns(features), rows)
        between, kept = _measure(run, columns, inside)
    ranked = [
        (sign, rank, place)
        for sign in ("+", "-")
        for rank, place in enumerate(_farthest(run, between, difference, sign, top), 1)
        if sign in run.limits or columns is None
    ]
    table = pl.DataFrame(
        ranked, {"sign": pl.String, "rank": pl.Int64, "at": pl.Int64}, orient="row"
    )
    at = table["at"].to_numpy()
    return Contrast(
        class_id,
        names[class_id],
        int(inside.sum()),
        against_id,
        names[against_id],
        int((~inside).sum()),
        int(both.sum()),
        columns is not None,
        note,
        int(((signs[0] == "+") & (signs[1] == "-")).sum()),
        int(((signs[0] == "-") & (signs[1] == "+")).sum()),
        kept,
        table.drop("at")
        .hstack(run.features.select("feature_id", "layer", "unit")[at])
        .with_columns(
            pl.Series("distance", between[at] if columns else [None] * at.size, pl.Float64),
            *_told_of(columns, inside, at),
            pl.Series("distance_of_class", distances[at, 0], pl.Float64),
            pl.Series("distance_of_against", distances[at, 1], pl.Float64),
            pl.Series("sign_of_class", signs[0][at].tolist(), pl.String),
            pl.Series("sign_of_against", signs[1][at].tolist(), pl.String),
            _top_images(run, at),
        ),
    )


def _farthest(
    run: Run, between: NDArray[Any], difference: NDArray[Any], sign: str, top: int
) -> list[int]:
    """Return the features of a sign with the largest D; of equal ones, those apart in the run."""
    side = 1 if sign == "+" else -1
    size = side * from_neutral(between, run.neutral)
    apart = side * difference if run.signed else np.abs(difference)
    order = np.lexsort((-apart, -size))
    found: list[int] = order[size[order] > 0][:top].tolist()
    return found


def _signs(run: Run, distances: NDArray[np.float32], class_id: int) -> NDArray[Any]:
    """Return "+" for the features present in a class, "-" for the absent ones, else None."""
    found = np.full(len(distances), None, object)
    for sign, limits in run.limits.items():
        found[beyond(distances, float(limits[class_id]), sign)] = sign
    return found


def _no_thresholds() -> pl.DataFrame:
    types = {
        "sign": pl.String,
        "threshold": pl.Float64,
        "kept": pl.Int64,
        "kept_random": pl.Float64,
    }
    return pl.DataFrame(schema=types)


def _measure(
    run: Run, columns: _Rows, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], pl.DataFrame]:
    """Return D (F,) of the first class against the second, and the thresholds of random labels."""
    codes = (~inside).astype(np.int32)  # the first class is 0
    together = groups(run.images)
    if together is not None:
        together = together[columns.rows]
    try:
        random_labels = permutations(
            codes, len(run.distances_random), run.record.seed or 0, together
        )
    except DataError:  # groups that have no others of their size among the two classes
        random_labels = np.empty((0, codes.size), np.int32)
    found = _distances(run, columns, np.vstack([codes, random_labels]))[:, :, 0]
    real, random = found[0], found[1:]
    if not len(random):
        return real, _no_thresholds()
    chosen = find_thresholds(real[:, None], random[:, :, None], statistic=run.statistic)
    sides: dict[Sign, Side | None] = {"+": chosen.plus, "-": chosen.minus}
    rows = [
        (sign, side.threshold, round(side.kept), side.kept_random)
        for sign, side in sides.items()
        if side is not None and sign in run.limits
    ]
    return real, pl.DataFrame(rows, schema=_no_thresholds().schema, orient="row")


def between(
    run: Run, values: NDArray[Any], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the run's statistic (F,) of some examples against the others, and of these against it.

    Args:
        run: the run whose statistic it is.
        values: (n, F) of the examples of two classes.
        inside: (n,) which of them are of the first.
    """
    forth, back = _distances(run, values, (~inside).astype(np.int32)[None], threads=1)[0].T
    return forth, back


def _distances(
    run: Run, features: Any, labellings: NDArray[np.int32], threads: int | None = None
) -> NDArray[np.float32]:
    """Return the run's statistic (L, F, 2) of two classes, 0 and 1."""
    load_installed()
    parameters = {key: value for key, value in run.record.statistic.items() if key != "name"}
    entry = statistics.get(run.statistic)
    found = all_distances(features, labellings, 2, entry, parameters, threads=threads)
    return np.asarray(found.values)


def _told_of(
    columns: _Rows | None, inside: NDArray[np.bool_], features: NDArray[np.int64]
) -> list[pl.Series]:
    """Return what the values of some features say of the two classes, a column for each fact."""
    rows: list[list[float | None]] = [[None] * len(_MEASURED) for _ in features]
    if columns is not None:
        for row, feature in enumerate(features):
            values = columns[:, feature : feature + 1][:, 0].astype(np.float64)
            rows[row] = list(parted(values[inside], values[~inside]))
    return [
        pl.Series(name, [row[i] for row in rows], pl.Float64) for i, name in enumerate(_MEASURED)
    ]


def parted(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    """Return the value above which the shares of two samples differ most, both shares and medians.

    >>> parted(np.array([1.0, 3, 4]), np.array([0.0, 1, 2]))
    (2.0, 0.6666666666666666, 0.0, 3.0, 1.0)
    """
    values = np.unique(np.concatenate([first, second]))
    above = [
        (len(sample) - np.searchsorted(np.sort(sample), values, side="right")) / len(sample)
        for sample in (first, second)
    ]
    best = int(np.abs(above[0] - above[1]).argmax())
    shares = (float(one[best]) for one in above)
    return float(values[best]), *shares, float(np.median(first)), float(np.median(second))


def _top_images(run: Run, features: NDArray[np.int64]) -> pl.Series:
    wanted = pl.DataFrame({"feature_id": features})
    if run.top_images is None:
        return pl.Series("top_image", [None] * features.size, pl.String)
    best = run.top_images.filter(rank=1).unique("feature_id").select("feature_id", "path")
    return wanted.join(best, on="feature_id", how="left", maintain_order="left")["path"].alias(
        "top_image"
    )

"""The null of D, its distribution under random labels, and distances calibrated by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import ConfigError, DataError
from fnx.registry import load_installed, statistics
from fnx.registry.registry import Statistic
from fnx.statistics.api import as_labels
from fnx.statistics.bridge import draw_suprema
from fnx.statistics.columns import Columns, open_columns
from fnx.statistics.engine import each_block
from fnx.statistics.labels import Labels
from fnx.statistics.survival import Survival, count
from fnx.statistics.tiles import group, prepare
from fnx.utils.arrays import as_array, as_numbers
from fnx.utils.progress import progress_bar

METHODS = ("permutation", "bridge", "exact")
KOLMOGOROV_SMIRNOV = ("ks", "ks_exact")  # whose law is known: bridge and exact
OWN_DRAWS = 1_000  # permuted distances of a feature; of fewer, its tail is not known
BLOCK_VALUES = 1 << 20  # distances that are read at a time

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Null:
    """The distribution of a statistic's D under random labels, for each feature.

    With n_e = n (N - n) / N of a class of n of N images, the law of n_e (D - neutral)**2 is the
    same for classes of any size.

    Attributes:
        method: ``permutation``, ``bridge`` or ``exact``.
        statistic: name of the statistic.
        parameters: all its parameters.
        second_moment: (F,) s_f, the mean of n_e (D - neutral)**2; 0 for a constant feature.
        survival: draws of n_e (D - neutral)**2, one row for each feature; None for ``exact``.
        pooled: whether `survival` is one row for all features instead, of draws divided by s_f.
        features: (N, F) what it was made of, for ``exact``, which reads it again; not stored.
    """

    method: str
    statistic: str
    parameters: Mapping[str, Any]
    second_moment: Vector
    survival: Survival | None = None
    pooled: bool = False
    features: Any = field(default=None, repr=False, compare=False)

    @property
    def neutral(self) -> float:
        """Value of the statistic where a class is like all others."""
        return statistics.get(self.statistic).neutral

    def p_values(
        self, distances: Any, class_sizes: ArrayLike, *, n_images: int | None = None
    ) -> Vector:
        """Return the two-sided p-value of every distance: P(as far from neutral or farther).

        ``bridge``: of the feature's draws, 1 + those that are as far, over 1 + all.
        ``permutation``: likewise of the feature's permuted distances, each scaled by the size of
        its class, where there are 1,000 or more. Of fewer, those of all features are pooled, each
        divided by the second moment of its feature under the other permutations. This is right on
        average over the features, not for each: too small for one with few distinct values.
        ``exact``: the probability itself, of the feature's values and the class's size.

        Args:
            distances: (F, C).
            class_sizes: (C,) number of images of each class.
            n_images: N; default the sum of `class_sizes`.

        Raises:
            DataError: shapes that do not fit, or distances that are NaN.
        """
        found = read_distances(distances, self.second_moment.size)
        if found.ndim != 2:
            raise DataError(f"distances have shape {found.shape}: must be (F, C)")
        effective = effective_sizes(class_sizes, found.shape[1], n_images)
        assert self.survival is not None  # exact: still to come
        result = np.empty(found.shape)
        for start, stop in _blocks(*found.shape):
            squares = effective * (found[start:stop].astype(np.float64) - self.neutral) ** 2
            if self.pooled:
                squares = _ratio(squares, self.second_moment[start:stop, None])
            result[start:stop] = self.survival.p_values(squares, start)
        return result


def null(
    features: Any,
    labels: Any,
    *,
    statistic: str | Callable[..., Any] = "ks",
    method: str = "permutation",
    permutations: int = 20,
    groups: ArrayLike | None = None,
    draws: int = 2_000,
    seed: int = 0,
    progress: bool = True,
    **parameters: Any,
) -> Null:
    """Find the distribution of every feature's distance under random labels.

    Features are read block by block, on all cores; the result does not depend on how many.

    Args:
        features: (N, F), what `fnx.distances` takes.
        labels: (N,), or a table (N, C) of concepts, likewise; or `fnx.statistics.labels.Labels`.
        statistic: name of a statistic that can be calibrated.
        method: ``permutation``: the distances under random permutations of the labels. ``bridge``
            (``ks`` and ``ks_exact``): the limit for many images, the largest absolute value of a
            Brownian bridge at the feature's pooled distribution function; for any labels, and the
            cheapest where there are many classes. ``exact`` (likewise): p-values that are exact.
        permutations: how many, 2 or more.
        groups: (N,) rows of which go together when labels are permuted.
        draws: how many Brownian bridges.
        seed: of the permutations or the bridges.
        progress: whether to show a progress bar when it takes longer than a second.
        **parameters: the statistic's own, for example ``bins``.

    Raises:
        ConfigError: a statistic that cannot be calibrated, or not by this method; a value that is
            not allowed.
        DataError: see `fnx.distances`.

    >>> import fnx
    >>> values, labels = [[0.0], [0.2], [0.9], [1.0]], ["cat", "cat", "dog", "dog"]
    >>> fnx.null(values, labels, permutations=1_000).second_moment.round(1)
    array([0.5])
    """
    load_installed()
    entry = statistics.get(statistic)
    check_method(entry, method)
    for name, value, least in (("permutations", permutations, 2), ("draws", draws, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name}={value!r}: must be an integer of {least} or more")
    own = labels if isinstance(labels, Labels) else as_labels(labels)
    columns = open_columns(features)
    bound = entry.bind(parameters)
    with progress_bar(
        f"null ({entry.name}, {method})",
        total=columns.n_columns,
        unit="features",
        delay=1.0,
        enabled=progress,
    ) as bar:
        if method == "permutation":
            random = own.permuted(permutations, seed, groups)
            return _by_permutation(columns, random, own, entry, bound, bar.update)
        if method == "bridge":
            return _by_bridge(columns, entry, bound, draws, seed, bar.update)
        raise ConfigError(f"method={method}: still to come")


def check_method(statistic: Statistic, method: str) -> None:
    """Refuse a statistic that cannot be calibrated, or not by this method.

    Raises:
        ConfigError: naming those that can.
    """
    if method not in METHODS:
        raise ConfigError(f"method={method}: allowed are {', '.join(METHODS)}")
    if not statistic.calibratable:
        raise ConfigError(
            f"statistic={statistic.name} cannot be calibrated: its distances under random labels "
            "do not shrink as 1 / √n_e; allowed are "
            + ", ".join(one.name for one in statistics if one.calibratable)
        )
    if method != "permutation" and statistic.name not in KOLMOGOROV_SMIRNOV:
        raise ConfigError(
            f"calibration by {method} is for statistic={' and '.join(KOLMOGOROV_SMIRNOV)}, not "
            f"{statistic.name}: choose permutation"
        )


def calibrate(
    distances: Any,
    null: Any,
    class_sizes: ArrayLike,
    *,
    statistic: str | Callable[..., Any] | None = None,
    n_images: int | None = None,
) -> NDArray[Any]:
    """Take from every distance what random labels give a class of its size.

    D_cal = neutral + sign(D - neutral) sqrt(max((D - neutral)**2 - s_f / n_e, 0)), of which the
    mean hardly depends on the number of images. Under random labels it is above 0 on average, for
    it is never negative: a distance that means the same for classes of any size, no test.

    Args:
        distances: (F, C), or (R, F, C).
        null: of `fnx.null`, or (F,) its second moments.
        class_sizes: (C,) number of images of each class.
        statistic: that of the distances, where `null` are second moments; default ``ks``.
        n_images: N; default the sum of `class_sizes`.

    Returns:
        What `distances` are, float32 or float64, calibrated. Where the second moment is infinite,
        all are neutral.

    Raises:
        DataError: shapes that do not fit, distances that are NaN, second moments below 0.
        ConfigError: a statistic that cannot be calibrated.

    >>> import numpy as np, fnx
    >>> D, second_moments, class_sizes = np.array([[0.5, -0.1]]), [0.64], [8, 8]
    >>> fnx.calibrate(D, second_moments, class_sizes)
    array([[0.3, 0. ]])
    """
    load_installed()
    named = null.statistic if isinstance(null, Null) else statistic or "ks"
    entry = statistics.get(named)
    check_method(entry, "permutation")
    moments = null.second_moment if isinstance(null, Null) else _read_moments(null)
    found = read_distances(distances, moments.size)
    effective = effective_sizes(class_sizes, found.shape[-1], n_images)
    result = np.empty(found.shape, found.dtype if found.dtype.kind == "f" else np.float64)
    for start, stop in _blocks(moments.size, found[..., 0, :].size):
        noise = moments[start:stop, None] / effective
        result[..., start:stop, :] = less_noise(found[..., start:stop, :], noise, entry.neutral)
    return result


def less_noise(distances: NDArray[Any], noise: NDArray[Any], neutral: float = 0.0) -> Vector:
    """Take from each distance its `noise`, the mean of (D - neutral)**2 under random labels.

    >>> less_noise(np.array([0.5, -0.5, 0.2]), np.array(0.09)).round(3)
    array([ 0.4, -0.4,  0. ])
    """
    shifted = distances.astype(np.float64) - neutral
    with np.errstate(invalid="ignore"):  # of inf - inf
        excess = shifted**2 - noise
    kept: Vector = neutral + np.copysign(np.sqrt(np.where(excess > 0, excess, 0)), shifted)
    return kept


def second_moment(
    random: Any, class_sizes: ArrayLike, *, neutral: float = 0.0, n_images: int | None = None
) -> Vector:
    """Return s_f (F,), the mean of n_e (D - neutral)**2 over permutations and classes.

    Args:
        random: (R, F, C) distances under random labels; may be a memory map.
        class_sizes: (C,) number of images of each class.
        neutral: of the statistic.
        n_images: N; default the sum of `class_sizes`.
    """
    _, features, classes = random.shape
    effective = effective_sizes(class_sizes, classes, n_images)
    result = np.empty(features)
    for start, stop in _blocks(features, len(random) * classes):
        squares = (random[:, start:stop].astype(np.float64) - neutral) ** 2
        result[start:stop] = (squares @ effective).mean(axis=0) / classes
    return result


def effective_sizes(class_sizes: ArrayLike, n_classes: int, n_images: int | None = None) -> Vector:
    """Return n_e = n (N - n) / N of every class.

    Raises:
        DataError: another number of classes, or sizes that no class can have.
    """
    sizes = np.asarray(as_array("class_sizes", class_sizes))
    if sizes.shape != (n_classes,) or sizes.dtype.kind not in "iu" or (sizes < 1).any():
        raise DataError(f"class_sizes: must be {n_classes} numbers of images, each 1 or more")
    n = sizes.astype(np.float64)
    total = n.sum() if n_images is None else float(n_images)
    if (n >= total).any():
        raise DataError(f"class_sizes: a class of {int(n.max())} of {int(total)} images is all")
    return n * (total - n) / total


def read_distances(distances: Any, n_features: int) -> NDArray[Any]:
    """Return distances (F, C) or (R, F, C) as an array; a memory map stays one.

    Raises:
        DataError: other shapes, no numbers, or NaN.
    """
    found = np.asarray(as_numbers("distances", distances))
    if found.ndim not in (2, 3) or found.shape[-2] != n_features:
        raise DataError(
            f"distances have shape {found.shape}: must be (F, C) or (R, F, C), with the "
            f"{n_features} features of the null"
        )
    if found.dtype.kind not in "fiub":
        raise DataError(f"distances are {found.dtype}: must be real numbers")
    if any(np.isnan(found[..., a:b, :]).any() for a, b in _blocks(n_features, found.shape[-1])):
        raise DataError("distances: some are NaN")
    return found


def _read_moments(values: Any) -> Vector:
    moments = np.asarray(as_numbers("null", values))
    if moments.ndim != 1 or moments.dtype.kind not in "fiu" or not (moments >= 0).all():
        raise DataError("null: must be of fnx.null, or its second moments (F,), each 0 or more")
    return moments.astype(np.float64)


def _by_permutation(
    columns: Columns,
    labellings: NDArray[np.int32],
    labels: Labels,
    statistic: Statistic,
    parameters: Mapping[str, Any],
    progress: Callable[[int], object],
) -> Null:
    n_classes, rows = labels.n_classes, columns.n_rows
    task = prepare(statistic, parameters, group(labellings, rows, n_classes, labels.sets))
    effective = effective_sizes(task.grouping.sizes[0], n_classes, rows)
    draws = len(labellings) * n_classes
    moments = np.empty(columns.n_columns)
    tables: dict[int, Any] = {}  # by the first feature of a tile, so that their order is known
    own = draws >= OWN_DRAWS

    def take(start: int, values: NDArray[np.float32], _: Any) -> None:
        squares = effective * (values.astype(np.float64) - statistic.neutral) ** 2
        by_labelling = squares.mean(axis=2)
        moments[start : start + values.shape[1]] = by_labelling.mean(axis=0)
        if own:
            tables[start] = Survival.of(squares.swapaxes(1, 2).reshape(draws, -1))
        else:
            others = (by_labelling.sum(axis=0) - by_labelling) / (len(labellings) - 1)
            tables[start] = count(_ratio(squares, others[..., None]))

    def work(start: int, stop: int) -> None:
        task.run(columns.block(start, stop), start, take)

    each_block(columns, work, progress=progress)
    parts = [tables[start] for start in sorted(tables)]
    survival = Survival.joined(parts) if own else Survival.of_counts(sum(parts))
    return Null("permutation", statistic.name, parameters, moments, survival, pooled=not own)


def _by_bridge(
    columns: Columns,
    statistic: Statistic,
    parameters: Mapping[str, Any],
    draws: int,
    seed: int,
    progress: Callable[[int], object],
) -> Null:
    moments = np.empty(columns.n_columns)
    parts: list[Survival] = []

    def take(start: int, found: NDArray[np.float32]) -> None:
        squares = found**2
        moments[start : start + len(found)] = squares.mean(axis=1, dtype=np.float64)
        parts.append(Survival.of(squares.T))

    draw_suprema(columns, parameters.get("bins"), draws, seed, take, progress)
    return Null("bridge", statistic.name, parameters, moments, Survival.joined(parts))


def _ratio(squares: Vector, moments: Vector) -> Vector:
    """Divide; 0 / 0 is 0, a distance that is neutral."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares == 0, 0.0, squares / moments)


def _blocks(features: int, values: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last-but-one feature of blocks; each has so many `values`."""
    step = max(1, BLOCK_VALUES // max(1, values))
    yield from ((start, min(start + step, features)) for start in range(0, features, step))

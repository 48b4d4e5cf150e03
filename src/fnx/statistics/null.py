"""The null of D: the distribution of every feature's distance under random labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.errors import ConfigError, DataError, reason
from fnx.registry import load_installed, statistics
from fnx.registry.registry import Statistic
from fnx.statistics.api import as_labels
from fnx.statistics.bridge import draw_suprema
from fnx.statistics.calibration import (
    Vector,
    blocks,
    check_method,
    effective_sizes,
    read_distances,
)
from fnx.statistics.columns import Columns, open_columns
from fnx.statistics.engine import each_block
from fnx.statistics.exact import exact_p_values
from fnx.statistics.labels import Labels
from fnx.statistics.survival import Survival, count
from fnx.statistics.tiles import group, prepare
from fnx.utils.files import atomic_path, expand_user
from fnx.utils.progress import progress_bar

VERSION = 1  # of the file
OWN_DRAWS = 1_000  # permuted distances of a feature; of fewer, its tail is not known


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
        if self.method == "exact":
            if self.features is None:
                raise DataError("a stored null of method=exact has no features: make it again")
            sizes = np.asarray(class_sizes, np.int64)
            bins = self.parameters.get("bins")
            with progress_bar(
                "p-values (exact)", total=len(found), unit="features", delay=3.0
            ) as bar:
                return exact_p_values(self.features, found, sizes, bins, progress=bar.update)
        assert self.survival is not None
        result = np.empty(found.shape)
        for start, stop in blocks(*found.shape):
            squares = effective * (found[start:stop].astype(np.float64) - self.neutral) ** 2
            if self.pooled:
                squares = _ratio(squares, self.second_moment[start:stop, None])
            result[start:stop] = self.survival.p_values(squares, start)
        return result

    def sample(
        self, class_sizes: ArrayLike, count: int, *, seed: int = 0, n_images: int | None = None
    ) -> NDArray[np.float32]:
        """Draw distances as under random labels, (count, F, C), for `fnx.find_thresholds`.

        Each is drawn by itself, with either sign: right for how many lie beyond a threshold, not
        for how they go together.

        Args:
            class_sizes: (C,) number of images of each class.
            count: how many of each pair.
            seed: of NumPy's PCG64.
            n_images: N; default the sum of `class_sizes`.

        Raises:
            DataError: a null of ``exact``, which holds no draws.
        """
        if self.survival is None:
            raise DataError(f"a null of method={self.method} holds no draws: choose another")
        features, classes = self.second_moment.size, np.size(class_sizes)
        effective = effective_sizes(class_sizes, classes, n_images)
        result = np.empty((count, features, classes), np.float32)
        for f in range(features):
            rng = np.random.default_rng([seed, f])
            squares = self.survival.sample(rng, (count, classes), f)
            if self.pooled:
                squares *= self.second_moment[f]
            size = np.sqrt(squares / effective) * rng.choice([-1, 1], (count, classes))
            result[:, f] = np.clip(self.neutral + size, *statistics.get(self.statistic).range)
        return result

    def save(self, path: str | Path) -> None:
        """Write the null to a file, ``.npz`` by its content; whole, or not at all.

        Raises:
            OSError: a folder that cannot be written, or a full disk.
        """
        header = {
            "version": VERSION,
            "method": self.method,
            "statistic": self.statistic,
            "parameters": dict(self.parameters),
            "pooled": self.pooled,
            "draws": None if self.survival is None else self.survival.draws,
        }
        arrays: dict[str, NDArray[Any]] = {"second_moment": self.second_moment}
        if self.survival is not None:
            arrays |= {"ranks": self.survival.ranks, "values": self.survival.values}
        with atomic_path(Path(expand_user(str(path)))) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; nothing in it is executed.

        Raises:
            DataError: no such file, a damaged one, or one of another version of fnx.
            ConfigError: its statistic is not here.
        """
        path = Path(expand_user(str(path)))
        try:
            with np.load(path, allow_pickle=False) as stored:
                header = json.loads(str(stored["header"]))
                found = {name: stored[name] for name in stored.files if name != "header"}
            version = header["version"]
            if version == VERSION:
                survival = _survival(header["draws"], header["pooled"], **found)
                known = (str(header["method"]), str(header["statistic"]), header["parameters"])
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({reason(error)})") from error
        except Exception as error:  # of whatever a damaged file holds
            raise DataError(f"{path}: not a null of fnx, or a damaged one") from error
        if version != VERSION:
            raise DataError(f"{path}: of another version of fnx: make it again with fnx.null")
        load_installed()
        entry = statistics.get(known[1])
        check_method(entry, known[0])
        parameters = entry.bind(known[2])
        moments = found["second_moment"]
        return cls(known[0], entry.name, parameters, moments, survival, bool(header["pooled"]))


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
        bridge = _by_bridge(columns, entry, bound, draws, seed, bar.update)
        if method == "bridge":
            return bridge
        return replace(bridge, method="exact", survival=None, features=columns.array)


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


def _survival(
    draws: int | None,
    pooled: bool,
    second_moment: Vector,
    ranks: NDArray[np.int64] | None = None,
    values: NDArray[np.float32] | None = None,
) -> Survival | None:
    """Return the draws of a file; arrays that do not fit raise ValueError."""
    sound = second_moment.ndim == 1 and second_moment.dtype == np.float64
    if not (sound and (second_moment >= 0).all()):
        raise ValueError("second_moment")
    if draws is None or ranks is None or values is None:
        return None
    shape = (1 if pooled else second_moment.size, ranks.size)
    sound = ranks.dtype == np.int64 and values.dtype == np.float32 and values.shape == shape
    if not (
        sound and ranks.size and (np.diff(ranks) > 0).all() and ranks[0] == 1 and ranks[-1] <= draws
    ):
        raise ValueError("ranks, values")
    return Survival(ranks, values, int(draws))

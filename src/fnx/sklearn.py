"""fnx in scikit-learn: features chosen by their distances, and the full-network embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fnx.analysis.probes import HIGH, LOW, discretise
from fnx.registry import load_installed, statistics, thresholds
from fnx.registry.registry import Statistic
from fnx.statistics.engine import all_distances
from fnx.statistics.labels import Labels
from fnx.statistics.null import Null, null
from fnx.thresholds import Side, Thresholds, find_thresholds
from fnx.thresholds.selection import best, best_per_class, kept, scores_of

FLOATS = (np.float64, np.float32)
SPARSE = ("csc", "csr")


class FullNetworkEmbedding(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise features and keep of each value whether it is low, usual or high: -1, 0, 1.

    The full-network embedding of the paper's authors (Garcia-Gasulla et al., "An Out-of-the-box
    Full-network Embedding for Convolutional Neural Networks", 2018): z = (x - mean) / standard
    deviation by the training rows alone; 1 where z > `high`, -1 where z < `low`, else 0. A feature
    that is constant in the training rows has z = x - mean.

    Args:
        low: z below it becomes -1.
        high: z above it becomes 1.

    Attributes:
        mean_: (F,) mean of the training rows.
        scale_: (F,) their standard deviation, 1 where it is 0.
        n_features_in_: F.
        feature_names_in_: names of the features, where X is a data frame.

    >>> import numpy as np
    >>> FullNetworkEmbedding().fit_transform(np.array([[0.0], [10.0], [11.0], [20.0]])).T
    array([[-1.,  0.,  0.,  1.]])
    """

    def __init__(self, *, low: float = LOW, high: float = HIGH) -> None:
        self.low = low
        self.high = high

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find mean and standard deviation of every feature.

        Args:
            X: (N, F) the training rows.
            y: ignored.

        Raises:
            ValueError: values that are missing or not finite; `low` above `high`.
        """
        if not self.low <= self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        X = validate_data(self, X, dtype=FLOATS)
        scaler = StandardScaler().fit(X)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Return -1, 0 and 1, (N, F), in the type of X.

        Raises:
            ValueError: values that are missing or not finite, or another number of features.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        z = (X - self.mean_) / self.scale_
        return discretise(z, self.low, self.high).astype(X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class DistanceSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the features that tell something of some class, by any statistic of fnx.

    Without `k`, those whose distance lies beyond the threshold that a strategy finds from random
    labels, for one class or more: what a run of fnx keeps. With `k`, those that lie farthest from
    the statistic's neutral value, for one class or for each.

    Args:
        statistic: name of a statistic, fnx's own or a plugin's, or its function.
        threshold: name of a threshold strategy, or its function; not used with `k`.
        k: how many features are kept; None: those beyond the thresholds.
        per_class: with `k`, keep the `k` best of each class, at most `k` × classes.
        statistic_params: the statistic's own parameters, as ``{"bins": 50}``.
        threshold_params: those of the strategy, as ``{"permutations": 20}``.
        random_state: seed of the random labels; with a whole number they are those of a run with
            that seed.

    Attributes:
        classes_: (C,) the classes; of a table of concepts 0 … C-1.
        distances_: float32 (F, C).
        scores_: (F,) how far the farthest of a feature's distances lies from neutral.
        thresholds_: the `fnx.thresholds.Thresholds` found; None with `k`.
        n_features_in_: F.
        feature_names_in_: names of the features, where X is a data frame.

    >>> import numpy as np
    >>> X = np.array([[0, 5, 1], [1, 5, 0], [9, 5, 1], [8, 5, 0]])
    >>> DistanceSelector(k=1).fit(X, ["cat", "cat", "dog", "dog"]).get_support()
    array([ True, False, False])
    """

    def __init__(
        self,
        statistic: str | Callable[..., Any] = "ks",
        *,
        threshold: str | Callable[..., Any] = "randomized_labels",
        k: int | None = None,
        per_class: bool = False,
        statistic_params: Mapping[str, Any] | None = None,
        threshold_params: Mapping[str, Any] | None = None,
        random_state: Any = 0,
    ) -> None:
        self.statistic = statistic
        self.threshold = threshold
        self.k = k
        self.per_class = per_class
        self.statistic_params = statistic_params
        self.threshold_params = threshold_params
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: ArrayLike | None = None) -> Self:
        """Measure the distances of all features and classes, and choose.

        Args:
            X: (N, F) dense or sparse.
            y: (N,) classes, or a table (N, C) of concepts, 0 and 1.
            groups: (N,) rows that stay together where labels are shuffled.

        Raises:
            ValueError: values that are missing or not finite, shapes that do not fit, a `k` below 1
                or above F.
            fnx.errors.FnxError: an unknown statistic, strategy or parameter, or one class only.
        """
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=SPARSE,
            dtype=FLOATS,
            multi_output=True,
            ensure_min_samples=2,
        )
        if self.k is not None and not 1 <= self.k <= X.shape[1]:
            raise ValueError(f"k={self.k}: must lie in 1 … {X.shape[1]}, the number of features")
        load_installed()
        entry = statistics.get(self.statistic)
        self.classes_, labels = _labels(y)
        self.thresholds_ = None
        if self.k is None:
            self.distances_, self.thresholds_ = self._find_thresholds(X, labels, entry, groups)
            plus, minus = self.thresholds_.plus, self.thresholds_.minus
            t_minus = None if minus is None else _limit(minus)
            mask = kept(self.distances_, _limit(plus), t_minus)
        else:
            self.distances_ = _distances(X, labels, entry, self.statistic_params)[0]
            if self.per_class:
                mask = best_per_class(self.distances_, self.k, entry.neutral)
            else:
                mask = best(scores_of(self.distances_, entry.neutral), self.k)
        self.scores_ = scores_of(self.distances_, entry.neutral)
        self._mask = mask
        return self

    def _find_thresholds(
        self, X: Any, labels: Labels, statistic: Statistic, groups: ArrayLike | None
    ) -> tuple[NDArray[np.float32], Thresholds]:
        """Measure the distances, and find the thresholds as a run does."""
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        strategy = thresholds.get(self.threshold)
        parameters = dict(self.threshold_params or {})
        bound = strategy.bind(parameters, range=statistic.range, neutral=statistic.neutral)
        random = labels.permuted(bound["permutations"], int(seed), groups)
        own = self.statistic_params or {}
        found = _distances(X, labels, statistic, own, random)

        def find_null(method: str) -> Null:
            return null(
                X,
                labels,
                statistic=statistic.name,
                method=method,
                groups=groups,
                seed=int(seed),
                progress=False,
                **own,
            )

        return found[0], find_thresholds(
            found[0],
            found[1:],
            strategy=strategy.name,
            statistic=statistic.name,
            class_sizes=labels.class_sizes,
            n_images=X.shape[0],
            find_null=find_null,
            **parameters,
        )

    def _get_support_mask(self) -> Any:
        check_is_fitted(self)
        return self._mask

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags


def distance_scores(
    X: Any, y: Any, *, statistic: str | Callable[..., Any] = "ks", **parameters: Any
) -> NDArray[np.float32]:
    """Return how far the farthest of each feature's distances lies from neutral.

    A ``score_func`` for scikit-learn's ``SelectKBest`` and its relatives; other statistics as
    ``functools.partial(distance_scores, statistic="auroc")``.

    Args:
        X: (N, F) dense or sparse.
        y: (N,) classes, or a table (N, C) of concepts, 0 and 1.
        statistic: name of a statistic, or its function.
        **parameters: the statistic's own.

    Returns:
        float32 (F,): max over classes of |D - neutral|.

    Raises:
        FnxError: see `fnx.distances`.

    >>> distance_scores([[0.0, 1.0], [1.0, 1.0]], ["cat", "dog"])
    array([1., 0.], dtype=float32)
    """
    load_installed()
    entry = statistics.get(statistic)
    return scores_of(_distances(X, _labels(y)[1], entry, parameters)[0], entry.neutral)


def _labels(y: Any) -> tuple[NDArray[Any], Labels]:
    """Return the classes, and the labels as fnx has them.

    Raises:
        ValueError: labels that are no classes and no concepts.
    """
    check_classification_targets(y)
    if type_of_target(y) == "multilabel-indicator":
        table = y if hasattr(y, "tocsr") else np.asarray(y).astype(bool)
        return np.arange(table.shape[1]), Labels.of_table(table)
    classes, codes = np.unique(column_or_1d(y), return_inverse=True)
    if classes.size < 2:
        raise ValueError(f"y has {classes.size} class: a distance needs at least 2")
    return classes, Labels(codes.astype(np.int32), classes.size)


def _distances(
    X: Any,
    labels: Labels,
    statistic: Statistic,
    parameters: Mapping[str, Any] | None,
    random: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """Return the distances under the real labels and under random ones, (1 + R, F, C)."""
    codes = labels.codes[None] if random is None else np.vstack([labels.codes, random])
    found = all_distances(X, codes, labels.n_classes, statistic, parameters, sets=labels.sets)
    values: NDArray[np.float32] = found.values
    return values


def _limit(side: Side) -> NDArray[np.float64]:
    return np.asarray(side.threshold if side.by_class is None else side.by_class, np.float64)

"""fnx in scikit-learn: what its own checks ask for, the numbers of fnx, and pipelines of both."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import fnx
from fnx.errors import ConfigError
from fnx.sklearn import DistanceSelector, FullNetworkEmbedding, distance_scores
from fnx.statistics.permutations import permutations

N, F = 60, 12
NAMES = [f"conv{1 + f // 6}/{f % 6}" for f in range(F)]
Y = np.array(["ant", "bee", "cat"])[np.arange(N) % 3]
X = np.random.default_rng(0).normal(size=(N, F)).astype(np.float32)
X[Y == "bee", 4] += 4
X[Y == "cat", 9] -= 3
X[:, 7] = 1.0


@parametrize_with_checks(
    [FullNetworkEmbedding(), DistanceSelector(), DistanceSelector(k=1, per_class=True)]
)
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_full_network_embedding_counts_what_is_usual_by_the_training_rows() -> None:
    # Mean 3, standard deviation 2: z of 2.5, 3.3 and 3.31 is -0.25, 0.15 and 0.155.
    train = np.array([[1.0], [5.0]])
    new = np.array([[2.5], [2.49], [3.0], [3.3], [3.31]])
    found = FullNetworkEmbedding().fit(train)
    assert found.transform(new).ravel().tolist() == [0, -1, 0, 0, 1]
    assert found.mean_.tolist() == [3]
    assert found.scale_.tolist() == [2]
    wide = FullNetworkEmbedding(low=-0.3, high=0.1).fit(train)
    assert wide.transform(new).ravel().tolist() == [0, 0, 0, 1, 1]
    constant = FullNetworkEmbedding().fit(np.ones((3, 1))).transform([[1.0], [2.0], [0.0]])
    assert constant.ravel().tolist() == [0, 1, -1]
    assert found.transform(new.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="low=1 is above high=0"):
        FullNetworkEmbedding(low=1, high=0).fit(X)


def test_the_selector_keeps_what_a_run_of_the_same_seed_keeps() -> None:
    found = DistanceSelector(random_state=3, threshold_params={"permutations": 4}).fit(X, Y)
    real = fnx.distances(X, Y)
    codes = np.unique(Y, return_inverse=True)[1]
    random = [fnx.distances(X, one) for one in permutations(codes, 4, 3)]
    thresholds = fnx.find_thresholds(real, random, statistic="ks")
    np.testing.assert_array_equal(found.distances_, real)
    assert found.classes_.tolist() == ["ant", "bee", "cat"]
    assert found.thresholds_.plus.threshold == thresholds.plus.threshold
    assert found.thresholds_.minus.threshold == thresholds.minus.threshold
    t_plus, t_minus = (np.float32(s.threshold) for s in (thresholds.plus, thresholds.minus))
    expected = ((real > t_plus) | (real < t_minus)).any(axis=1)
    assert found.get_support().tolist() == expected.tolist()
    assert expected[[4, 9]].all()
    assert not expected[7]
    other = DistanceSelector(random_state=np.random.RandomState(0)).fit(X, Y)
    assert other.thresholds_.plus.threshold != thresholds.plus.threshold


@pytest.mark.parametrize("statistic", ["ks", "auroc"])
def test_the_best_lie_farthest_from_neutral(statistic: str) -> None:
    real = fnx.distances(X, Y, statistic=statistic) - (0.5 if statistic == "auroc" else 0)
    scores = np.abs(real).max(axis=1)
    np.testing.assert_allclose(distance_scores(X, Y, statistic=statistic), scores, rtol=1e-6)
    best = DistanceSelector(statistic, k=2).fit(X, Y)
    assert best.get_support(indices=True).tolist() == [4, 9]
    assert best.thresholds_ is None
    np.testing.assert_allclose(best.scores_, scores, rtol=1e-6)
    each = DistanceSelector(statistic, k=2, per_class=True).fit(X, Y)
    expected = set(np.argsort(-np.abs(real), axis=0, kind="stable")[:2].ravel().tolist())
    assert set(each.get_support(indices=True).tolist()) == expected


def test_parameters_of_statistic_and_strategy_reach_them() -> None:
    coarse = DistanceSelector(statistic_params={"bins": 2}, k=1).fit(X, Y)
    np.testing.assert_array_equal(coarse.distances_, fnx.distances(X, Y, bins=2))
    score = partial(distance_scores, statistic="ks", bins=2)
    np.testing.assert_array_equal(SelectKBest(score, k=1).fit(X, Y).scores_, coarse.scores_)
    given = {"t_plus": 0.9, "t_minus": -1.0}
    strict = DistanceSelector(threshold="fixed", threshold_params=given).fit(X, Y)
    assert strict.get_support(indices=True).tolist() == [4]
    with pytest.raises(ConfigError, match="unknown parameter of statistic 'ks' 'binz'"):
        DistanceSelector(statistic_params={"binz": 2}).fit(X, Y)
    with pytest.raises(ConfigError, match="unknown threshold 'fixt'"):
        DistanceSelector(threshold="fixt").fit(X, Y)
    for k in (0, F + 1):
        with pytest.raises(ValueError, match=f"k={k}: must lie in 1 … 12"):
            DistanceSelector(k=k).fit(X, Y)
    with pytest.raises(ValueError, match="y has 1 class"):
        DistanceSelector().fit(X, np.ones(N, int))


def test_sparse_features_labels_of_numbers_and_concepts() -> None:
    zeros = np.maximum(X, 0)
    dense = DistanceSelector(k=3).fit(zeros, Y)
    for kind in (sparse.csr_matrix, sparse.csc_array):
        found = DistanceSelector(k=3).fit(kind(zeros), Y)
        np.testing.assert_array_equal(found.distances_, dense.distances_)
        assert sparse.issparse(found.transform(kind(zeros)))
    number = np.unique(Y, return_inverse=True)[1].astype(float)
    assert DistanceSelector(k=3).fit(zeros, number).classes_.tolist() == [0, 1, 2]
    concepts = np.stack([Y == "bee", np.arange(N) % 2 == 0], axis=1)
    for table in (concepts.astype(int), sparse.csr_matrix(concepts.astype(int))):
        found = DistanceSelector().fit(X, table)
        np.testing.assert_array_equal(found.distances_, fnx.distances(X, concepts))
        assert found.get_support()[4]
    one_hot = np.stack([name == Y for name in np.unique(Y)], axis=1).astype(int)
    as_classes = DistanceSelector().fit(X, Y)
    assert DistanceSelector().fit(X, one_hot).get_support().tolist() == (
        as_classes.get_support().tolist()
    )


def test_rows_of_a_group_stay_together_when_labels_are_shuffled() -> None:
    twice, labels = np.repeat(X, 2, axis=0), np.repeat(Y, 2)
    own = DistanceSelector().fit(X, Y)
    alone = DistanceSelector().fit(twice, labels)
    grouped = DistanceSelector().fit(twice, labels, groups=np.repeat(np.arange(N), 2))
    assert grouped.thresholds_.plus.threshold == own.thresholds_.plus.threshold
    assert alone.thresholds_.plus.threshold < own.thresholds_.plus.threshold


def test_names_of_features_are_kept() -> None:
    selector = DistanceSelector(k=2).fit(pd.DataFrame(X, columns=NAMES), Y)
    assert selector.get_feature_names_out().tolist() == ["conv1/4", "conv2/3"]
    for frame in (pd.DataFrame(X, columns=NAMES), pl.DataFrame(X, NAMES)):
        pipeline = make_pipeline(FullNetworkEmbedding(), DistanceSelector(k=2))
        kind = type(frame).__module__.partition(".")[0]
        found = pipeline.set_output(transform=kind).fit(frame, Y).transform(frame)
        assert type(found) is type(frame)
        assert list(found.columns) == ["conv1/4", "conv2/3"]
        assert set(np.unique(found.to_numpy())) == {-1, 0, 1}
    nameless = DistanceSelector(k=2).fit(X, Y)
    assert nameless.get_feature_names_out(NAMES).tolist() == ["conv1/4", "conv2/3"]
    assert nameless.get_feature_names_out().tolist() == ["x4", "x9"]


def test_pipelines_searches_columns_clones_and_pickles() -> None:
    frame = pl.DataFrame(X, NAMES).with_columns(path=pl.Series([f"{i}.jpg" for i in range(N)]))
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("first", FullNetworkEmbedding(), NAMES[:6]),
                ("best", DistanceSelector(), NAMES[6:]),
            ]
        ),
        LogisticRegression(),
    )
    grid = {
        "columntransformer__best__k": [1, 3],
        "columntransformer__first__high": [0.15, 0.3],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(frame, Y)
    assert search.best_score_ > 0.6
    fitted = clone(pipeline).set_params(columntransformer__best__k=2).fit(frame, Y)
    names = fitted[:-1].get_feature_names_out().tolist()
    assert names[:6] == [f"first__{name}" for name in NAMES[:6]]
    assert "best__conv2/3" in names
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict(frame) == fitted.predict(frame)).all()
    np.testing.assert_array_equal(
        again[0].named_transformers_["best"].distances_, fnx.distances(X[:, 6:], Y)
    )


def test_it_is_imported_when_it_is_used(tmp_path: Path) -> None:
    code = (
        "import sys, fnx\n"
        "assert 'sklearn' not in sys.modules and 'sklearn' in dir(fnx)\n"
        "assert fnx.sklearn.DistanceSelector and 'sklearn.base' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

"""Concepts that overlap, values that are 0, and groups of rows that stay together."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import mannwhitneyu

import fnx
from fnx.errors import DataError
from fnx.registry import load_installed, statistics
from fnx.statistics import columns, dask, engine
from fnx.statistics.labels import Labels, Sets
from fnx.statistics.permutations import permutations
from fnx.statistics.tiles import group

load_installed()

N, F, C = 120, 20, 5
BUILT_IN = ("ks", "ks_exact", "auroc", "cohen_d", "kl", "mutual_information")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def values() -> Any:
    """Features with many zeros: some never negative, some never positive, a constant, ties."""
    found = RNG.normal(size=(N, F))
    found[RNG.random((N, F)) < 0.6] = 0
    found[:, 3], found[:, 4], found[:, 5] = 0, np.abs(found[:, 4]), -np.abs(found[:, 5])
    found[:, 6], found[:, 7], found[:, 8] = 2, np.round(found[:, 7]), RNG.normal(size=N)
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def table() -> Any:
    found = RNG.random((N, C)) < np.array([0.05, 0.2, 0.5, 0.9, 0.3])
    found[0], found[1] = False, True
    return found


def spread(inner: Any, outer: Any) -> float:
    return float(inner.max() - outer.min())


def further(inner: Any, outer: Any, n_inner: int, n_outer: int) -> float:
    return float(inner[0] - outer[-1] + n_inner / n_outer)


def overlap(inner: Any, outer: Any) -> Any:
    return np.minimum(inner, outer).sum(axis=1)


@pytest.fixture
def plugins(restored_registry: None) -> tuple[str, ...]:
    fnx.statistic("python", range=(-99, 99), on="samples", compiled=False)(spread)
    fnx.statistic("samples", range=(-99, 99), on="samples")(spread)
    fnx.statistic("counts", range=(-99, 99))(further)
    fnx.statistic("one", range=(-99, 99), compiled=False)(further)
    fnx.statistic("many", range=(0, 2), on="histograms", compiled=False)(overlap)
    return "python", "samples", "counts", "one", "many"


def test_a_concept_is_compared_with_all_rows_that_lack_it(
    values: Any, table: Any, plugins: tuple[str, ...]
) -> None:
    for name in (*BUILT_IN, *plugins):
        found = fnx.distances(values, table, statistic=name)
        alone = [
            fnx.distances(values, table[:, c].astype(int), statistic=name)[:, 1] for c in range(C)
        ]
        exact = name != "cohen_d"  # whose means are merged in another order
        np.testing.assert_allclose(found.T, alone, rtol=0 if exact else 1e-5, atol=0)
        assert np.ptp(found, axis=0).all()


def test_one_concept_for_each_row_is_the_same_as_classes_to_the_bit(
    values: Any, plugins: tuple[str, ...]
) -> None:
    classes = np.arange(N) % C
    for name in (*BUILT_IN, *plugins):
        expected = fnx.distances(values, classes, statistic=name)
        one_hot = np.eye(C, dtype=bool)[classes]
        np.testing.assert_array_equal(fnx.distances(values, one_hot, statistic=name), expected)
        # And by the kernels of concepts, which the former does not need.
        found = engine.all_distances(
            values, classes[None], C, statistics.get(name), sets=Sets.of_classes(C)
        )
        atol = 1e-12 if name == "cohen_d" else 0
        np.testing.assert_allclose(found.values[0], expected, rtol=1e-6 if atol else 0, atol=atol)


def test_sparse_values_give_what_dense_ones_give_to_the_bit(
    values: Any, table: Any, plugins: tuple[str, ...]
) -> None:
    doubles = values * 1.1
    cases = [(values, np.arange(N) % C, name) for name in (*BUILT_IN, *plugins)]
    cases += [(values, table, name) for name in (*BUILT_IN, *plugins)]
    cases += [(doubles, table, name) for name in ("ks", "ks_exact", "counts")]
    for dense, labels, name in cases:
        expected = fnx.distances(dense, labels, statistic=name)
        found = fnx.distances(sparse.csr_matrix(dense), labels, statistic=name)
        np.testing.assert_array_equal(found, expected)


def test_zeros_that_are_stored_rows_out_of_order_and_values_stored_in_parts(values: Any) -> None:
    labels = np.arange(N) % C
    rows, places = np.nonzero(np.ones_like(values))
    order = RNG.permutation(rows.size)
    all_stored = sparse.coo_array(
        (values[rows, places][order], (rows[order], places[order])), shape=values.shape
    )
    unsorted = sparse.csc_array(values)
    for column in range(F):
        part = slice(*unsorted.indptr[column : column + 2])
        for stored in (unsorted.indices, unsorted.data):
            stored[part] = stored[part][::-1].copy()
    unsorted.has_sorted_indices = False
    # 0.1 + 0.2 + 0.3 is another float32 than 0.3 + 0.2 + 0.1.
    thirds = np.float32([0.1, 0.2, 0.3] * 2)
    parts = sparse.csr_array((thirds, [0, 0, 0, 1, 1, 1], [0, 3, 6, *[6] * (N - 2)]), (N, F))
    parts = sparse.csr_array(
        (np.r_[parts.data, values[2:].ravel()],
         np.r_[parts.indices, np.tile(np.arange(F), N - 2)],
         np.r_[0, 3, 6 + F * np.arange(N - 1)]), (N, F),
    )  # fmt: skip
    before = unsorted.data.copy()
    for name in ("ks", "ks_exact", "auroc"):
        for same in (all_stored, unsorted, parts):
            expected = fnx.distances(same.toarray(), labels, statistic=name)
            np.testing.assert_array_equal(fnx.distances(same, labels, statistic=name), expected)
    np.testing.assert_array_equal(unsorted.data, before)


def test_a_sparse_value_that_is_not_finite_is_named(values: Any) -> None:
    broken = sparse.csr_matrix(values)
    broken[7, 8] = np.nan
    for name in ("ks", "cohen_d"):
        with pytest.raises(DataError, match=r"^feature 8 of image 7 is nan: every value must"):
            fnx.distances(broken, np.arange(N) % C, statistic=name)
    wide = sparse.csr_matrix(np.array([[1.7e308, 0], [-1.7e308, 0], [0, 1]]))
    with pytest.raises(DataError, match=r"^feature 0: the range of its values overflows float64"):
        fnx.distances(wide, [0, 1, 1])


def test_the_area_under_the_roc_is_mann_and_whitneys(values: Any, table: Any) -> None:
    found = fnx.distances(sparse.csr_matrix(values), table, statistic="auroc")
    for f, c in ((0, 0), (4, 1), (5, 2), (7, 3)):
        inner, outer = values[table[:, c], f], values[~table[:, c], f]
        expected = mannwhitneyu(inner, outer).statistic / (inner.size * outer.size)
        assert found[f, c] == pytest.approx(expected, abs=1e-6)


def test_dask_gives_the_same_of_sparse_values_and_concepts(values: Any, table: Any) -> None:
    labels = Labels.of_table(table)
    assert labels.sets is not None
    labellings = np.stack([labels.codes, *labels.permuted(1, 0)])
    given = labellings, C, statistics.get("ks")
    expected = engine.all_distances(values, *given, sets=labels.sets)
    task = dask._portable(given[2], {}, group(labellings, N, C, labels.sets))
    for block in (values, sparse.csc_array(values)):
        np.testing.assert_array_equal(dask.compute(block, 0, F, task).values, expected.values)


def test_a_table_may_be_of_any_kind(values: Any, table: Any) -> None:
    expected = fnx.distances(values, table)
    lists = table.astype(int).tolist()
    for same in (table.astype(np.uint8), table.astype(float), lists, sparse.csr_matrix(table)):
        np.testing.assert_array_equal(fnx.distances(values, same), expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((N, 2), int), "class 0 has no images"),
        (np.ones((N, 2), bool), f"class 0 has all {N} images: there are no others to compare"),
        (np.full((N, 2), 2), "labels are a table of other values than true and false"),
        (np.full((N, 2), np.nan), "labels are a table of other values than true and false"),
        (np.full((N, 2), "a"), "labels are a table of other values than true and false"),
        (np.zeros((N, 0), bool), rf"labels have shape \({N}, 0\): must be \(N,\), or \(N, C\)"),
        (np.zeros((N, 2, 2), bool), rf"labels have shape \({N}, 2, 2\)"),
        (np.eye(N - 1, dtype=bool)[:, :3], f"labels for {N - 1} images, features of {N}"),
    ],
)
def test_tables_that_make_no_sense_are_refused(values: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fnx.distances(values, labels)


def test_labels_tell_who_has_a_concept(table: Any) -> None:
    labels = Labels.of_table(table)
    for c in range(C):
        np.testing.assert_array_equal(labels.has(c), table[:, c])
    np.testing.assert_array_equal(labels.class_sizes, table.sum(axis=0))
    assert labels.sets is not None
    assert labels.sets.count == len({row.tobytes() for row in table})
    one = Labels(np.array([2, 0, 2]), 4)
    assert (one.class_sizes.tolist(), one.has(2).tolist()) == ([1, 0, 2, 0], [True, False, True])
    assert Labels.of_table(sparse.csr_matrix(np.eye(3))).codes.tolist() == [0, 1, 2]


def test_concepts_that_go_together_still_do_when_they_are_shuffled() -> None:
    together = np.zeros((40, 3), bool)
    together[:10, :2] = together[20:, 2] = True
    labels = Labels.of_table(together)
    for row in labels.permuted(3, 1):
        moved = Labels(row, 3, labels.sets)
        np.testing.assert_array_equal(moved.has(0), moved.has(1))
        np.testing.assert_array_equal(moved.class_sizes, [10, 10, 20])
        assert (moved.has(0) != together[:, 0]).any()


def test_rows_of_a_group_get_the_labels_of_another_of_their_size() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    groups = np.array(["a", "b", "a", "c", "b", "d", "c", "e", "e", "e", "f", "f"])
    groups = np.r_[groups, ["g"] * 3, ["d"]]
    labels = np.r_[labels, [2, 3, 4, 5]]
    pairs = {(0, 2), (1, 4), (3, 6), (5, 5), (0, 1)}
    seen = set()
    for row in permutations(labels, 20, 0, groups):
        found = {tuple(row[groups == name]) for name in "abcdf"}
        assert found == pairs
        assert {tuple(row[groups == name]) for name in "eg"} == {(7, 8, 9), (2, 3, 4)}
        seen.add(tuple(row))
    assert len(seen) > 10


@pytest.mark.parametrize("interleaved", [True, False])
def test_rows_that_stand_twice_give_the_same_as_once(
    values: Any, table: Any, interleaved: bool
) -> None:
    twice = np.repeat(np.arange(N), 2) if interleaved else np.tile(np.arange(N), 2)
    once = permutations(np.arange(N), 3, 5)
    doubled = permutations(np.arange(N)[twice], 3, 5, groups=twice)
    np.testing.assert_array_equal(doubled, once[:, twice])
    np.testing.assert_array_equal(permutations(np.arange(N), 3, 5, np.arange(N) * 7), once)
    for name in ("ks", "ks_exact", "auroc"):
        np.testing.assert_array_equal(
            fnx.distances(values[twice], table[twice], statistic=name),
            fnx.distances(values, table, statistic=name),
        )


def test_groups_that_cannot_be_shuffled_are_refused() -> None:
    with pytest.raises(DataError, match="of the same size: b alone has 3 rows; cut the groups"):
        permutations([0, 1, 0, 1, 0, 1, 1], 1, 0, ["a", "a", "b", "b", "b", "c", "c"])
    with pytest.raises(DataError, match="groups: all of one size have the same labels"):
        permutations([0, 0, 0, 0, 1, 1], 1, 0, ["a", "a", "b", "b", "c", "d"])
    with pytest.raises(DataError, match="groups for 2 rows, labels of 3: must be as many"):
        permutations([0, 0, 1], 1, 0, ["a", "b"])


def test_bins_are_warned_of_where_nearly_all_is_zero(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    values = np.zeros((100, 4), np.float32)
    values[0, 0] = values[:2, 1] = 1  # 99 and 98 zeros; the others are constant
    labels = np.arange(100) % 2
    for given in (values, sparse.csr_matrix(values)):
        fnx.distances(given, labels, bins=50)
        assert caplog.messages == [
            "1 of 4 features are 0 in 99 % of the rows or more, where 50 bins of equal width tell "
            "little apart: statistic=ks_exact has no bins"
        ]
        caplog.clear()
        fnx.distances(given, labels, statistic="ks_exact")
        fnx.distances(given[:, 1:], labels, bins=50)
        assert caplog.messages == []
    monkeypatch.setattr(columns, "ROWS_LOOKED_AT", 10)
    values[0], values[5] = 0, 1  # no value is in a row that is looked at
    fnx.distances(values, labels)
    assert [text[:6] for text in caplog.messages] == ["4 of 4"]

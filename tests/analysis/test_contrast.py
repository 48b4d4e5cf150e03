from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs

import fnx
from fnx.analysis.contrast import Contrast, contrast, parted
from fnx.analysis.labelling import labelling, with_concepts
from fnx.errors import DataError
from fnx.statistics.permutations import permutations

CAT, DOG, BIRD = range(3)
RNG = np.random.default_rng(5)
# Higher in cats than in birds, lower, alike, and two in between; dogs are far from both.
VALUES = np.vstack(
    [
        RNG.normal([3, -2, 0, 0.5, -1], 1, (4, 5)),
        RNG.normal(50, 1, (2, 5)),
        RNG.normal([0, 0, 0, 0, 0], 1, (3, 5)),
    ]
).astype(np.float32)
PAIR = [0, 1, 2, 3, 6, 7, 8]  # rows of cats and birds


def of(folder: Path, values: Any = VALUES, a: int = CAT, b: int = BIRD, **more: Any) -> Contrast:
    top = more.pop("top", 10)
    run = runs.run(folder, **more)
    return contrast(run, labelling(run.images), a, b, values, top)


def test_d_is_the_runs_statistic_on_the_images_of_the_two_alone(tmp_path: Path) -> None:
    expected = fnx.distances(VALUES[PAIR], ["cat"] * 4 + ["bird"] * 3)[:, 1]  # bird, cat
    found = of(tmp_path)
    assert (found.name, found.against, found.n_images, found.n_against) == ("cat", "bird", 4, 3)
    assert (found.n_both, found.measured, found.note) == (0, True, None)
    for sign, side in (("+", 1), ("-", -1)):
        rows = found.features.filter(sign=sign)
        assert rows["rank"].to_list() == list(range(1, rows.height + 1))
        distances = rows["distance"].to_numpy()
        np.testing.assert_array_equal(distances, expected[rows["feature_id"]])
        assert (np.diff(side * distances) <= 0).all()
        assert (side * distances > 0).all()
    assert sorted(found.features["feature_id"]) == np.flatnonzero(expected).tolist()
    # The other way round it is the same with the other sign.
    back = of(tmp_path, a=BIRD, b=CAT)
    mine, theirs = (
        {row["feature_id"]: row["distance"] for row in one.features.rows(named=True)}
        for one in (found, back)
    )
    assert theirs == {feature: -distance for feature, distance in mine.items()}


def test_beside_it_stand_the_runs_own_distances_and_what_they_keep(tmp_path: Path) -> None:
    found = of(tmp_path)
    for row in found.features.rows(named=True):
        real = runs.REAL[row["feature_id"]]
        assert (row["distance_of_class"], row["distance_of_against"]) == (real[CAT], real[BIRD])
        names = runs.FEATURES.row(row["feature_id"], named=True)
        assert (row["layer"], row["unit"]) == (names["layer"], names["unit"])
        for which, d in (("class", real[CAT]), ("against", real[BIRD])):
            sign = "+" if d > 0.25 else "-" if d < -0.25 else None
            assert row[f"sign_of_{which}"] == sign
    # Of 5 features none is present in the cat and absent in the bird …
    assert (found.present_absent, found.absent_present) == (0, 0)
    # … and conv/1 is absent in the cat and present in the dog, conv/0 the other way round.
    found = of(tmp_path, b=DOG)
    assert (found.present_absent, found.absent_present) == (1, 1)
    found = of(tmp_path, a=DOG, b=BIRD)  # fc/7
    assert (found.present_absent, found.absent_present) == (1, 0)


def test_shares_and_medians_are_of_the_images_of_each(tmp_path: Path) -> None:
    for row in of(tmp_path).features.rows(named=True):
        cats, birds = VALUES[:4, row["feature_id"]], VALUES[6:, row["feature_id"]]
        assert row["share"] == np.mean(cats > row["cut"])
        assert row["share_against"] == np.mean(birds > row["cut"])
        assert (row["median"], row["median_against"]) == (np.median(cats), np.median(birds))
        cuts = VALUES[PAIR, row["feature_id"]]
        apart = max(abs(np.mean(cats > cut) - np.mean(birds > cut)) for cut in cuts)
        assert abs(row["share"] - row["share_against"]) == pytest.approx(apart)


def test_the_cut_parts_two_samples_best() -> None:
    assert parted(np.array([5.0, 6]), np.array([1.0, 2])) == (2.0, 1.0, 0.0, 5.5, 1.5)
    assert parted(np.array([1.0, 2]), np.array([5.0, 6])) == (2.0, 0.0, 1.0, 1.5, 5.5)


def test_thresholds_are_those_of_random_labels_of_the_two(tmp_path: Path) -> None:
    found = of(tmp_path)
    codes = np.array([0] * 4 + [1] * 3)
    labels = np.vstack([codes, permutations(codes, 2, 0)])
    by_hand = np.stack([fnx.distances(VALUES[PAIR], own)[:, :1] for own in labels])
    expected = fnx.find_thresholds(by_hand[0], by_hand[1:], statistic="ks")
    assert expected.minus is not None
    for sign, side in (("+", expected.plus), ("-", expected.minus)):
        row = found.kept.row(by_predicate=pl.col("sign") == sign, named=True)
        assert row["threshold"] == side.threshold
        assert (row["kept"], row["kept_random"]) == (side.kept, side.kept_random)


def test_of_equal_distances_those_farther_apart_in_the_run_go_first(tmp_path: Path) -> None:
    apart = np.repeat([[9.0], [5.0], [0.0]], runs.SIZES, axis=0) + np.zeros(5)
    assert of(tmp_path, apart, top=5).features["distance"].to_list() == [1] * 5
    difference = runs.REAL[:, CAT] - runs.REAL[:, BIRD]
    expected = np.argsort(-difference, kind="stable")
    assert of(tmp_path, apart).features["feature_id"].to_list() == expected.tolist()
    assert of(tmp_path, apart, top=2).features["feature_id"].to_list() == expected[:2].tolist()
    back = np.argsort(difference, kind="stable")
    assert of(tmp_path, -apart).features["feature_id"].to_list() == back.tolist()


def test_without_its_features_the_runs_own_distances_rank(tmp_path: Path) -> None:
    found = of(tmp_path, "the embedding is gone (outputs/x)")
    assert (found.measured, found.note) == (False, "the embedding is gone (outputs/x)")
    difference = runs.REAL[:, CAT] - runs.REAL[:, BIRD]
    ranked = found.features.filter(sign="+")["feature_id"].to_list()
    assert ranked == [4, 0, 3]  # 1.25, 0.25, 0.25
    assert (difference[ranked] > 0).all()
    assert found.features.filter(sign="-")["feature_id"].to_list() == [1]
    assert found.kept.is_empty()
    for name in ("distance", "cut", "share", "median_against"):
        assert found.features[name].null_count() == found.features.height


def test_a_statistic_without_sign_has_one_list(tmp_path: Path) -> None:
    found = of(tmp_path, signed=False, record={"statistic": {"name": "kl"}})
    expected = fnx.distances(VALUES[PAIR], [0] * 4 + [1] * 3, statistic="kl")[:, 0]
    assert found.features["sign"].unique().to_list() == ["+"]
    at = found.features["feature_id"].to_numpy()
    np.testing.assert_array_equal(found.features["distance"], expected[at])
    assert found.kept["sign"].to_list() == ["+"]


def test_images_of_both_concepts_are_left_out(tmp_path: Path) -> None:
    """Row 1 has both, row 3 neither of the two."""
    names = [["cat"], ["cat", "bird"], ["cat", "dog"], ["dog"], *[["dog"]] * 2, *[["bird"]] * 3]
    images = runs.images().head(9)
    found = of(tmp_path, images=with_concepts(images, names, runs.CLASSES))
    assert (found.n_images, found.n_against, found.n_both) == (2, 3, 1)
    expected = fnx.distances(VALUES[[0, 2, 6, 7, 8]], [0, 0, 1, 1, 1])[:, 0]
    at = found.features["feature_id"].to_numpy()
    np.testing.assert_array_equal(found.features["distance"], expected[at])
    inside = [["cat"], ["cat", "bird"], ["cat"], ["cat"], *[["dog"]] * 2, *[["cat", "bird"]] * 3]
    with pytest.raises(DataError, match="every image of 'bird' is of 'cat' as well: nothing tells"):
        of(tmp_path, images=with_concepts(images, inside, runs.CLASSES))


def test_labels_of_groups_are_permuted_whole(tmp_path: Path) -> None:
    alone = runs.images().with_columns(group=pl.Series(range(12)))
    assert of(tmp_path, images=alone).kept.equals(of(tmp_path).kept)
    of_one_size = runs.images().with_columns(group=pl.Series([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]))
    # The bird alone has a group of one image among the two: nothing could be shuffled.
    found = of(tmp_path, images=of_one_size)
    assert found.kept.is_empty()
    assert found.features["distance"].null_count() == 0


def test_a_class_against_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class 'cat' against itself: name another class"):
        of(tmp_path, b=CAT)


def test_each_feature_has_the_image_that_activates_it_most(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "feature_id": [0, 0, 3],
            "rank": [1, 2, 1],
            "activation": [2.0, 1.0, 5.0],
            "path": ["cat/1.jpg", "cat/2.jpg", "dog/4.jpg"],
            "class_name": ["cat", "cat", "dog"],
        }
    )
    found = of(tmp_path, "gone", top_images=table)
    shown = dict(found.features.select("feature_id", "top_image").iter_rows())
    assert shown == {0: "cat/1.jpg", 3: "dog/4.jpg", 1: None, 4: None}


def test_a_run_of_a_sparse_or_numpy_array_is_the_same(tmp_path: Path) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    found = of(tmp_path, scipy.csr_array(np.maximum(VALUES, 0)))
    assert found.features.equals(of(tmp_path, np.maximum(VALUES, 0)).features)

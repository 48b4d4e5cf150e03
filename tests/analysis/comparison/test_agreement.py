from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tests.analysis import runs
from tests.report.synthetic import Synthetic, distances, write_run

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import (
    LAYER_COLUMNS,
    PAIR_COLUMNS,
    agreement,
    comparable_pairs,
    joint_counts,
    spearman,
    wasserstein,
)
from fnx.analysis.comparison.differences import config_differences
from fnx.analysis.comparison.shared import compared_distances, same_weights, shared
from fnx.analysis.distributions import spread
from fnx.analysis.record import Kept

LAYERS = (("conv1_1", 12, "conv"), ("conv1_2", 16, "conv"), ("fc6", 20, "fc"))


def opened(folder: Path, spec: Synthetic | None = None, **record: Any) -> Run:
    """A synthetic run, with some values of its record replaced."""
    write_run(folder, spec)
    file = folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | record))
    return Run.open(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two runs of a data set whose distances resemble each other."""
    folder = tmp_path_factory.mktemp("two")
    first, second = (opened(folder / name) for name in "ab")
    rng = np.random.default_rng(1)
    values = np.clip(first.distances + rng.normal(0, 0.1, first.distances.shape), -1, 1)
    np.save(second.path / "distances.npy", values.astype(np.float32))
    return Run.open(first.path), Run.open(second.path)


def compared(a: Run, b: Run) -> tuple[dict[str, Any], pl.DataFrame]:
    pairs, layers = agreement([a, b], ["a", "b"], [(0, 1)])
    return pairs.row(0, named=True), layers


def about_a_half(spec: Synthetic) -> Synthetic:
    """The same distances as a statistic has whose neutral value is 0.5."""
    real, random = (np.float32((values + 1) / 2) for values in distances(spec))
    return spec.but(statistic="auroc", limits=(0, 1), neutral=0.5, arrays=(real, random))


def test_presence_above_a_half_agrees_with_presence_above_zero(tmp_path: Path) -> None:
    spec = Synthetic()
    a, b = opened(tmp_path / "a", spec), opened(tmp_path / "b", about_a_half(spec))
    assert (a.neutral, b.neutral, b.signed) == (0, 0.5, True)
    pair, layers = compared(a, b)
    assert pair["spearman"] > 0.999
    assert (pair["magnitudes"], pair["same_scale"]) == (False, False)
    assert layers["pct_sign_flips"].to_list() == [0, 0, 0]
    assert layers["jaccard_plus"].min() > 0.95
    assert layers["jaccard_minus"].min() > 0.95
    b.distances  # noqa: B018 (read, to be replaced)
    vars(b)["distances"] = 1 - b.distances
    flipped = compared(a, b)[1]
    share = [100 * np.mean(a.distances[layer.rows] != 0) for layer in a.scan.layers]
    np.testing.assert_allclose(flipped["pct_sign_flips"], share, atol=0.2)
    assert flipped["spearman"].max() < -0.999


def test_a_statistic_without_sign_is_compared_with_the_distance_from_the_neutral_value(
    tmp_path: Path,
) -> None:
    spec = Synthetic()
    real, random = (np.abs(values) for values in distances(spec))
    unsigned = spec.but(statistic="hellinger", limits=(0, 1), arrays=(real, random))
    a, b = opened(tmp_path / "a", unsigned), opened(tmp_path / "b", about_a_half(spec))
    for one, other in ((a, b), (b, a)):
        pair, _ = compared(one, other)
        assert pair["magnitudes"]
        assert pair["spearman"] > 0.999
        assert (
            "hellinger does not tell presence from absence: |D − 0.5| of auroc is" in pair["note"]
        )


def test_each_measure_is_what_an_independent_computation_gives(two: tuple[Run, Run]) -> None:
    a, b = two
    pair, layers = compared(a, b)
    assert pair["by"] == "unit"
    start = 0
    for row, (name, units, _) in zip(layers.rows(named=True), LAYERS, strict=True):
        assert (row["layer"], row["units_a"], row["units_b"]) == (name, units, units)
        x, y = (np.asarray(run.distances[start : start + units], np.float64) for run in two)
        start += units
        assert row["spearman"] == pytest.approx(stats.spearmanr(x.ravel(), y.ravel()).statistic)
        of_classes = [stats.spearmanr(x[:, c], y[:, c]).statistic for c in range(x.shape[1])]
        assert row["spearman_by_class"] == pytest.approx(np.mean(of_classes))
        assert row["mean_abs_difference"] == pytest.approx(np.abs(x - y).mean(), rel=1e-5)
        assert row["max_abs_difference"] == pytest.approx(np.abs(x - y).max(), rel=1e-5)
        assert row["pct_sign_flips"] == pytest.approx(100 * np.mean(x * y < 0))
        assert row["wasserstein"] == pytest.approx(
            stats.wasserstein_distance(x.ravel(), y.ravel()), rel=1e-4
        )
        kept = [
            {
                (sign, u, c)
                for u in range(units)
                for c in range(x.shape[1])
                for sign in "+-"
                if (limit := np.float32(run.threshold(sign)["threshold"]))  # type: ignore[index]
                and (values[u, c] > limit if sign == "+" else values[u, c] < limit)
            }
            for run, values in ((a, x), (b, y))
        ]
        for column, signs in (("jaccard", "+-"), ("jaccard_plus", "+"), ("jaccard_minus", "-")):
            first, second = ({item for item in one if item[0] in signs} for one in kept)
            assert row[column] == pytest.approx(len(first & second) / len(first | second))
        for side, one in zip("ab", kept, strict=True):
            assert row[f"pct_kept_{side}"] == pytest.approx(100 * len(one) / x.size)
        counts = [[sum(item[2] == c for item in one) for c in range(x.shape[1])] for one in kept]
        expected = stats.spearmanr(*counts).statistic
        assert row["spearman_classes"] == pytest.approx(expected)
    assert pair["spearman"] == pytest.approx(layers["spearman"].median())
    assert pair["spearman_lowest"] == layers["spearman"].min()
    assert pair["t_plus_shift"] == pytest.approx(
        b.thresholds["threshold"][0] - a.thresholds["threshold"][0]
    )


def test_a_run_agrees_with_its_copy(two: tuple[Run, Run], tmp_path: Path) -> None:
    copy = shutil.copytree(two[0].path, tmp_path / "copy")
    pair, layers = compared(two[0], Run.open(copy))
    assert layers["spearman"].to_list() == [1.0] * 3
    assert layers["jaccard"].to_list() == [1.0] * 3
    for name in ("mean_abs_difference", "pct_sign_flips", "wasserstein", "mode_plus_shift"):
        assert layers[name].to_list() == [0.0] * 3
    assert pair["t_plus_shift"] == pair["t_minus_shift"] == 0
    assert pair["note"] == ""
    assert config_differences([two[0], Run.open(copy)], ["a", "b"]).is_empty()


def test_classes_are_matched_by_name_wherever_they_stand(
    two: tuple[Run, Run], tmp_path: Path
) -> None:
    a = two[0]
    order = [3, 0, 2]  # two classes less, the others in another order
    copy = shutil.copytree(a.path, tmp_path / "copy")
    np.save(copy / "distances.npy", a.distances[:, order])
    np.save(copy / "distances_random.npy", a.distances_random[:, :, order])
    table = a.classes[order].with_columns(class_id=pl.Series(range(3), dtype=pl.Int32))
    table.write_parquet(copy / "classes.parquet")
    pair, layers = compared(a, Run.open(copy))
    assert pair["classes"] == 3
    assert layers["max_abs_difference"].to_list() == [0.0] * 3
    assert "3 classes shared, of 5 and 3" in pair["note"]


def test_two_classes_of_one_name_keep_their_order(tmp_path: Path) -> None:
    spec = Synthetic(class_names=["crane", "dog", "crane", "cat", "owl"])
    a, b = (opened(tmp_path / name, spec) for name in "ab")
    common = shared(a, b)
    assert common.classes_a.tolist() == common.classes_b.tolist() == [0, 1, 2, 3, 4]


def test_layers_that_one_run_lacks_are_named(tmp_path: Path) -> None:
    a = opened(tmp_path / "a")
    b = opened(tmp_path / "b", Synthetic(layers=LAYERS[1:]))
    pair, layers = compared(a, b)
    assert layers["layer"].to_list() == ["conv1_2", "fc6"]
    assert "1 layer of the first run alone, not compared: conv1_1." in pair["note"]
    assert set(layers["note"]) == {pair["note"]}


def test_units_are_matched_by_number(two: tuple[Run, Run], tmp_path: Path) -> None:
    a = two[0]
    kept = np.r_[0:12, 15:28, 28:48]  # units 3 … 15 of the second layer
    copy = shutil.copytree(a.path, tmp_path / "copy")
    np.save(copy / "distances.npy", a.distances[kept])
    np.save(copy / "distances_random.npy", a.distances_random[:, kept])
    features = a.features[kept].with_columns(feature_id=pl.Series(range(len(kept))))
    features.write_parquet(copy / "features.parquet")
    pair, layers = compared(a, Run.open(copy))
    assert layers["units_a"].to_list() == layers["units_b"].to_list() == [12, 13, 20]
    assert layers["max_abs_difference"].to_list() == [0.0] * 3
    assert "Only the shared units are compared in: conv1_2" in pair["note"]


def test_networks_trained_apart_are_compared_by_distribution_alone(tmp_path: Path) -> None:
    a = opened(tmp_path / "a", Synthetic(model="vgg16"))
    wider = (("conv1_1", 14, "conv"), *LAYERS[1:])
    b = opened(
        tmp_path / "b",
        Synthetic(model="vgg16_places", seed=1, layers=wider),
        weights_digest="other",
    )
    pair, layers = compared(a, b)
    assert pair["by"] == "distribution"
    assert "Unit numbers of networks trained apart do not correspond" in pair["note"]
    for name in ("spearman", "spearman_by_class", "jaccard", "mean_abs_difference"):
        assert layers[name].null_count() == 3
    assert layers["units_b"].to_list() == [14, 16, 20]
    expected = stats.wasserstein_distance(a.distances[:12].ravel(), b.distances[:14].ravel())
    assert layers["wasserstein"][0] == pytest.approx(expected)
    shares = [layers[f"pct_kept_{side}"].to_numpy() for side in "ab"]
    assert pair["spearman_layers"] == pytest.approx(stats.spearmanr(*shares).statistic)
    with pytest.raises(ValueError, match="do not correspond"):
        joint_counts(a, b, shared(a, b), np.linspace(-1, 1, 3), np.linspace(-1, 1, 3))


def test_random_weights_are_the_same_only_in_the_same_network(tmp_path: Path) -> None:
    runs = [
        opened(tmp_path / name, Synthetic(model=name), weights_digest="random-0") for name in "ab"
    ]
    assert not same_weights(*runs)
    assert same_weights(runs[0], runs[0])


def test_statistics_of_unlike_scale_are_compared_by_rank(tmp_path: Path) -> None:
    a = opened(tmp_path / "a")
    b = opened(tmp_path / "b", Synthetic(statistic="kl", unbounded=True))
    values = np.asarray(a.distances)
    np.save(b.path / "distances.npy", values**2)  # in the order of |D|
    pair, layers = compared(a, Run.open(b.path))
    assert layers["spearman"].to_list() == pytest.approx([1.0] * 3)
    assert pair["magnitudes"]
    assert not pair["same_scale"]
    assert "no common scale" in pair["note"]
    assert "|D| of ks" in pair["note"]
    for name in ("mean_abs_difference", "max_abs_difference", "wasserstein", "mode_plus_shift"):
        assert layers[name].null_count() == 3
    assert pair["t_plus_shift"] is None
    x = values[:12]
    limits = a.threshold("+"), a.threshold("-"), b.threshold("+")
    plus, minus, other = (np.float32(limit["threshold"]) for limit in limits if limit)
    first, second = (x > plus) | (x < minus), x**2 > other
    assert layers["jaccard"][0] == pytest.approx((first & second).sum() / (first | second).sum())


def test_infinite_distances_have_ranks_but_no_differences(tmp_path: Path) -> None:
    spec = Synthetic(statistic="bhattacharyya", unbounded=True)
    a, b = (opened(tmp_path / name, spec) for name in "ab")
    _, layers = compared(a, b)
    assert np.isinf(a.distances).any()
    assert layers["spearman"].to_list() == [1.0] * 3
    assert layers["max_abs_difference"].to_list() == [0.0] * 3


def test_only_runs_of_the_same_data_set_are_paired(tmp_path: Path) -> None:
    runs = [
        opened(tmp_path / "0"),
        opened(tmp_path / "1", Synthetic(dataset="birds", class_names=list("abcde"))),
        opened(tmp_path / "2", Synthetic(seed=3)),
        opened(tmp_path / "3", Synthetic(dataset="the same shapes under another name")),
    ]
    assert comparable_pairs(runs) == [(0, 2), (0, 3), (2, 3)]
    assert comparable_pairs(runs, reference=2) == [(2, 0), (2, 3)]


def test_nothing_shared_is_said(tmp_path: Path) -> None:
    a = opened(tmp_path / "a")
    b = opened(tmp_path / "b", Synthetic(layers=(("stem", 8, "conv"),)))
    pair, layers = compared(a, b)
    assert pair["by"] == "nothing"
    assert layers.is_empty()
    assert "No layer has the same name in both" in pair["note"]
    assert pair["t_plus_shift"] is not None


def test_spearman_leaves_nan_out_and_knows_when_there_is_nothing_to_rank() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 50).astype(float), rng.integers(0, 5, 50).astype(float)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(np.append(x, np.nan), np.append(y, 1)) == spearman(x, y)
    assert spearman(np.ones(9), np.arange(9)) is None
    assert spearman(np.arange(2), np.arange(2)) is None
    assert wasserstein(np.float32([np.inf]), np.float32([1])) is None


def test_joint_counts_add_up(two: tuple[Run, Run]) -> None:
    a, b = two
    edges = np.linspace(-1, 1, 41)
    counts = joint_counts(a, b, shared(a, b), edges, edges)
    expected = np.histogram2d(a.distances.ravel(), b.distances.ravel(), bins=(edges, edges))[0]
    assert counts.tolist() == expected.tolist()
    assert counts.sum() == a.distances.size


def test_settings_that_differ_without_where_files_lie(tmp_path: Path) -> None:
    def config(precision: str, outputs: str) -> dict[str, Any]:
        trainer = {"precision": precision, "devices": [0, 1]}
        return {"seed": 0, "trainer": trainer, "paths": {"outputs": outputs}}

    a = opened(tmp_path / "a", config=config("32-true", "here"), versions={"numpy": "2.1"})
    b = opened(tmp_path / "b", config=config("bf16-true", "there"), versions={"numpy": "2.2"})
    c = opened(tmp_path / "c", config={"seed": 0}, weights_digest="other")
    found = config_differences([a, b], ["one", "key"])
    assert found.rows() == [
        ("trainer.precision", "32-true", "bf16-true"),
        ("version.numpy", "2.1", "2.2"),
    ]
    assert found.columns == ["key", "one", "key (run)"]
    wider = config_differences([a, c], ["one", "two"])
    assert ("trainer.devices", "[0, 1]", None) in wider.rows()
    assert "weights digest" in wider["key"].to_list()


@pytest.mark.slow
def test_a_thousand_classes_of_vgg16_fit_into_memory(tmp_path: Path) -> None:
    layers = (("conv5_3", 512, "conv"), ("fc6", 4096, "fc"), ("fc7", 4096, "fc"))
    spec = Synthetic(layers=layers, class_sizes=(50,) * 1000, permutations=1, failed=())
    a = opened(tmp_path / "a", spec)
    copy = Run.open(shutil.copytree(a.path, tmp_path / "b"))
    pair, _ = compared(a, copy)
    assert pair["features"] == 8704
    assert pair["spearman"] == 1.0


def by_hand(folder: Path, second: np.ndarray, **changes: Any) -> tuple[Run, Run]:
    """Two runs of `tests.analysis.runs`, the second with other distances."""
    told = {"weights_digest": "abc"}
    return runs.run(folder, record=told), runs.run(
        folder, record=told | changes.pop("record", {}), distances=np.float32(second), **changes
    )


def test_what_two_runs_keep_by_hand(tmp_path: Path) -> None:
    second = [[0.25, -0.5, 0.75], [-0.75, 0.0, 0.0], [0, 0, 0], [1, -0.25, 0.75], [0.5, 0.5, -1]]
    pair, layers = compared(*by_hand(tmp_path, np.array(second)))
    conv, fc = layers.rows(named=True)
    assert (conv["pct_kept_a"], conv["pct_kept_b"]) == pytest.approx((400 / 9, 300 / 9))
    assert (fc["pct_kept_a"], fc["pct_kept_b"]) == pytest.approx((400 / 6, 500 / 6))
    assert (conv["jaccard"], conv["jaccard_plus"], conv["jaccard_minus"]) == (2 / 5, 0, 1)
    assert (fc["jaccard"], fc["jaccard_plus"], fc["jaccard_minus"]) == (4 / 5, 3 / 4, 1)
    assert (conv["mean_abs_difference"], conv["max_abs_difference"]) == pytest.approx(
        (1.5 / 9, 0.75)
    )
    assert (conv["pct_sign_flips"], fc["pct_sign_flips"]) == (0, 0)
    assert conv["spearman_classes"] is None
    assert fc["spearman_classes"] == pytest.approx(0.5)
    assert pair["spearman_layers"] is None
    assert (pair["classes"], pair["layers"], pair["features"]) == (3, 2, 5)
    assert pair["jaccard"] == pytest.approx(0.6)
    assert pair["lowest_layer"] == "conv"
    assert pair["spearman_lowest"] == conv["spearman"] < fc["spearman"]
    assert pair["spearman"] == pytest.approx((conv["spearman"] + fc["spearman"]) / 2)
    assert (pair["t_plus_a"], pair["t_plus_b"], pair["t_plus_shift"]) == (0.25, 0.25, 0)
    assert (pair["t_minus_a"], pair["t_minus_b"], pair["t_minus_shift"]) == (-0.25, -0.25, 0)


def test_signs_flip_either_way(tmp_path: Path) -> None:
    second = runs.REAL.copy()
    second[0, :2] = (-0.125, 0.125)  # from 0.5 and −0.5
    second[1, 2] = 0.5  # from 0
    _, layers = compared(*by_hand(tmp_path, second))
    assert layers["pct_sign_flips"].to_list() == pytest.approx([200 / 9, 0])


def test_modes_and_thresholds_shift_from_the_first_to_the_second(tmp_path: Path) -> None:
    first, second = by_hand(tmp_path, runs.REAL * np.float32(0.5))
    lower = {"+": Kept(0.125, 1, 1, 1), "-": Kept(-0.75, 1, 1, 1)}
    pair, layers = compared(first, Run(tmp_path, second.record, vars(second) | {"kept": lower}))
    assert (pair["t_plus_a"], pair["t_plus_b"], pair["t_plus_shift"]) == (0.25, 0.125, -0.125)
    assert (pair["t_minus_a"], pair["t_minus_b"], pair["t_minus_shift"]) == (-0.25, -0.75, -0.5)
    for i, rows in enumerate((slice(0, 3), slice(3, 5))):
        for sign, column in (("+", "mode_plus_shift"), ("-", "mode_minus_shift")):
            modes = [spread(run.distances[rows], sign) for run in (first, second)]
            assert layers[column][i] == modes[1].mode - modes[0].mode
    assert layers["mode_plus_shift"][1] < 0 < layers["mode_minus_shift"][1]


def test_what_cannot_be_told_is_none(tmp_path: Path) -> None:
    infinite = np.full((5, 3), np.inf)
    pair, layers = compared(*by_hand(tmp_path, infinite))
    for name in ("mode_plus_shift", "mode_minus_shift", "wasserstein", "mean_abs_difference"):
        assert layers[name].to_list() == [None, None], name
    assert layers["spearman"].to_list() == layers["spearman_by_class"].to_list() == [None, None]
    assert (pair["spearman"], pair["spearman_lowest"], pair["lowest_layer"]) == (None, None, None)
    assert layers["pct_kept_b"].to_list() == [100, 100]
    unsigned = runs.run(tmp_path, signed=False, record={"weights_digest": "abc"})
    pair, layers = compared(unsigned, unsigned)
    assert (pair["t_minus_a"], pair["t_minus_b"], pair["t_minus_shift"]) == (None, None, None)
    assert layers["pct_sign_flips"].to_list() == layers["jaccard_plus"].to_list() == [None, None]
    assert layers["jaccard"].to_list() == [1, 1]
    nothing = np.zeros((5, 3), np.float32)
    _, second = by_hand(tmp_path, nothing)
    _, layers = compared(second, second)
    assert layers["jaccard"].to_list() == [None, None]


def test_one_infinite_distance_leaves_the_others(tmp_path: Path) -> None:
    second = runs.REAL + np.float32(0.125)
    second[3, 0] = np.inf
    _, layers = compared(*by_hand(tmp_path, second))
    assert layers["mean_abs_difference"].to_list() == layers["max_abs_difference"].to_list()
    assert layers["max_abs_difference"].to_list() == [0.125, 0.125]


def test_a_shift_to_infinity_is_no_number(tmp_path: Path) -> None:
    first, second = by_hand(tmp_path, runs.REAL)
    far = {"+": Kept(np.inf, 1, 1, 1), "-": Kept(-0.5, 1, 1, 1)}
    pair, _ = compared(first, Run(tmp_path, second.record, vars(second) | {"kept": far}))
    assert (pair["t_plus_b"], pair["t_plus_shift"], pair["t_minus_shift"]) == (np.inf, None, -0.25)


def test_each_class_has_its_own_threshold(tmp_path: Path) -> None:
    first, _ = by_hand(tmp_path, runs.REAL)
    other = runs.run(tmp_path, record={"weights_digest": "abc"}, by_class=(0.5, 0.75, 0.125))
    _, layers = compared(first, other)
    assert layers["jaccard_plus"].to_list() == pytest.approx([0 / 3, 2 / 3])


def test_every_pair_of_runs_has_its_rows(tmp_path: Path) -> None:
    first, second = by_hand(tmp_path, runs.REAL * np.float32(0.5))
    done: list[int] = []
    pairs, layers = agreement(
        [first, second, first], ["a", "b", "c"], [(0, 1), (2, 0)], done.append
    )
    assert done == [1, 1]
    assert pairs.select("run_a", "run_b", "by").rows() == [("a", "b", "unit"), ("c", "a", "unit")]
    assert layers.select("run_a", "run_b", "layer").rows() == [
        ("a", "b", "conv"),
        ("a", "b", "fc"),
        ("c", "a", "conv"),
        ("c", "a", "fc"),
    ]
    assert pairs.schema == PAIR_COLUMNS
    assert layers.schema == LAYER_COLUMNS


def test_no_pair_no_row() -> None:
    pairs, layers = agreement([], [], [])
    assert (pairs.schema, layers.schema) == (PAIR_COLUMNS, LAYER_COLUMNS)
    assert pairs.is_empty()
    assert layers.is_empty()


def test_joint_counts_are_of_the_shared_classes(tmp_path: Path) -> None:
    first, second = by_hand(tmp_path, runs.REAL * np.float32(0.5))
    of_two = first.classes.head(2).with_columns(class_name=pl.Series(["bird", "cat"]))
    held = {"classes": of_two, "distances": np.float32([[0.3, 0.6]] * 5)}
    other = Run(tmp_path, second.record, vars(second) | held)
    edges_a, edges_b = np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0])
    counts = joint_counts(first, other, shared(first, other), edges_a, edges_b)
    cat, bird = runs.REAL[:, 0] >= 0, runs.REAL[:, 2] >= 0
    assert counts.tolist() == [
        [(~bird).sum(), (~cat).sum()],
        [bird.sum(), cat.sum()],
    ]
    assert counts.dtype == np.int64


def test_rank_correlation_by_hand() -> None:
    assert spearman(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(0.5)
    assert spearman(np.array([1, 2, 3]), np.array([3, 2, 1])) == -1.0
    assert spearman(np.array([1.0, 2, 3, np.nan]), np.array([np.nan, 2, 3, 4])) is None
    assert spearman(np.arange(9), np.ones(9)) is None


def test_wasserstein_leaves_infinite_distances_out() -> None:
    x, y = np.float32([0.0, 1.0, np.inf]), np.float32([2.0, -np.inf, 0.5])
    assert wasserstein(x, y) == pytest.approx(0.75)
    assert wasserstein(x, np.float32([1.0])) == pytest.approx(0.5)
    assert wasserstein(np.float32([1.0]), np.float32([np.nan])) is None


def of_sizes(folder: Path, sizes: tuple[int, ...], *, calibrated: bool = True) -> Run:
    """A run of classes of some sizes, all of one strength of signal."""
    return opened(folder, Synthetic(class_sizes=sizes, permutations=5, calibrated=calibrated))


def test_runs_of_other_class_sizes_are_compared_by_calibrated_distances(tmp_path: Path) -> None:
    few, many = of_sizes(tmp_path / "few", (8, 9, 10)), of_sizes(tmp_path / "many", (80, 90, 99))
    sizes = "The runs' classes differ in size, and chance alone gives smaller classes larger D"
    chosen, why = compared_distances([few, many])
    assert (chosen, why.startswith(f"{sizes}: calibrated D is compared")) == (("calibrated",), True)
    assert compared_distances([few, few]) == (("raw",), "")
    assert compared_distances([few, few], "calibrated") == (("calibrated",), "")
    assert compared_distances([few, few], "both") == (("raw", "calibrated"), "")
    assert compared_distances([few, many], "raw") == (("raw",), "")
    chosen, why = compared_distances([few, many], "both")
    assert (chosen, why.startswith(sizes)) == (("raw", "calibrated"), True)
    old = of_sizes(tmp_path / "old", (80, 90, 99), calibrated=False)
    chosen, why = compared_distances([few, old])
    assert (chosen, why.startswith(sizes)) == (("raw",), True)
    assert "yet raw D is compared: 1 of the 2 runs have no calibrated one" in why
    assert compared_distances([old, old]) == (("raw",), "")
    chosen, why = compared_distances([old, old], "calibrated")
    assert (chosen, why.startswith("2 of the 2 runs have no")) == (("raw",), True)
    # Classes of the same sizes in another order are of the same sizes.
    other = of_sizes(tmp_path / "other", (10, 8, 9))
    assert compared_distances([few, other])[0] == ("raw",)


def test_calibrated_distances_take_the_place_of_raw_ones_but_for_what_is_kept(
    tmp_path: Path,
) -> None:
    few, many = of_sizes(tmp_path / "few", (8, 9, 10)), of_sizes(tmp_path / "many", (80, 90, 99))
    pairs, layers = agreement([few, many], ["a", "b"], [(0, 1)], distance="both")
    assert pairs["distance"].to_list() == ["raw", "calibrated"]
    assert pairs["note"].str.contains("class sizes|classes differ in size").to_list() == [True] * 2
    raw, calibrated = layers.partition_by("distance", maintain_order=True)
    for name in ("pct_kept_a", "jaccard", "spearman_classes"):
        assert raw[name].to_list() == calibrated[name].to_list()
    assert few.calibrated is not None
    assert many.calibrated is not None
    for (_, start, stop), row in zip(
        ((0, 0, 12), (1, 12, 28), (2, 28, 48)), calibrated.rows(named=True), strict=True
    ):
        first, second = few.calibrated[start:stop], many.calibrated[start:stop]
        assert row["spearman"] == pytest.approx(stats.spearmanr(first.ravel(), second.ravel())[0])
        assert row["mean_a"] == pytest.approx(np.abs(first).mean(dtype=np.float64))
        assert row["mean_b"] == pytest.approx(np.abs(second).mean(dtype=np.float64))
        assert row["max_abs_difference"] == np.abs(first - second).max()
        assert row["pct_sign_flips"] == pytest.approx(100 * (first * second < 0).mean())
    changes = 100 * (calibrated["mean_b"] / calibrated["mean_a"] - 1)
    assert pairs["mean_change"][1] == pytest.approx(changes.median())
    assert raw["mean_a"][2] == pytest.approx(np.abs(few.distances[28:]).mean(dtype=np.float64))
    default, _ = agreement([few, many], ["a", "b"], [(0, 1)])
    assert default.drop("note").equals(pairs[1:].drop("note"), null_equal=True)
    edges = np.linspace(-1, 1, 5)
    common = shared(few, many)
    counts = joint_counts(few, many, common, edges, edges, "calibrated")
    both = np.asarray(few.calibrated).ravel(), np.asarray(many.calibrated).ravel()
    assert np.array_equal(counts, np.histogram2d(*both, bins=(edges, edges))[0])

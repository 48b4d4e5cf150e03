"""The null of D under random labels, p-values of it, and calibrated distances."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fnx_rank  # noqa: F401
import fnx_transport  # noqa: F401
import numpy as np
import pytest
import zarr

import fnx
from fnx.errors import ConfigError, DataError
from fnx.registry import load_installed, statistics
from fnx.statistics import bridge, calibration, engine
from fnx.statistics.bridge import draw_suprema, read_ties
from fnx.statistics.calibration import effective_sizes, second_moment
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations
from fnx.statistics.survival import Survival, count

load_installed()

Array = np.ndarray[Any, Any]
NAMES = [
    *("ks", "ks_exact", "auroc", "cohen_d", "kl", "bhattacharyya", "jensen_shannon"),
    *("hellinger", "mutual_information", "cliffs_delta", "cramer_von_mises"),
    *("wasserstein", "energy"),
]
SIZES = np.array([10, 40, 100, 50])
LABELS = np.repeat(np.arange(4), SIZES)
N_E = SIZES * (200 - SIZES) / 200


def mixed(n: int = 200, width: int = 60) -> Array:
    """Normal values, values after a ReLU, and heavy tails: `width` features in three parts."""
    values = np.random.default_rng(0).normal(size=(n, width))
    third = width // 3
    values[:, third : 2 * third] = np.maximum(values[:, third : 2 * third], 0)
    values[:, 2 * third :] = np.exp(values[:, 2 * third :])
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def values() -> Array:
    return mixed()


def test_every_statistic_is_looked_at() -> None:
    ours = [one.name for one in statistics if one.package in ("fnx", "fnx_rank", "fnx_transport")]
    assert sorted(ours) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_exactly_those_declared_shrink_as_the_root_of_the_effective_size(
    name: str,
) -> None:
    entry = statistics.get(name)
    sizes = np.array([10, 60, 200, 130])
    shuffled = permutations(np.repeat(range(4), sizes), 60, seed=1)
    found = all_distances(mixed(400), shuffled, 4, entry).values.astype(np.float64)
    squares = sizes * (400 - sizes) / 400 * (found - entry.neutral) ** 2
    moments = squares.mean(axis=0)  # (F, C)
    by_size = (moments / moments.mean(axis=1, keepdims=True)).mean(axis=0)
    spread = by_size.max() / by_size.min()
    if entry.calibratable:
        assert spread < 1.15
    else:
        assert spread > 1.5


@pytest.mark.parametrize("name", ["kl", "hellinger", "cramer_von_mises"])
def test_the_others_are_refused_in_one_line(name: str, values: Array) -> None:
    allowed = "auroc, cliffs_delta, cohen_d, energy, ks, ks_exact, wasserstein"
    line = (
        f"^statistic={name} cannot be calibrated: its distances under random labels do not shrink "
        f"as 1 / √n_e; allowed are {allowed}$"
    )
    with pytest.raises(ConfigError, match=line):
        fnx.null(values, LABELS, statistic=name)
    with pytest.raises(ConfigError, match=line):
        fnx.calibrate(np.zeros((3, 4)), np.ones(3), SIZES, statistic=name)
    null = fnx.Null("permutation", name, {}, np.ones(3))
    with pytest.raises(ConfigError, match=line):
        fnx.calibrate(np.zeros((3, 4)), null, SIZES)


@pytest.mark.usefixtures("restored_registry")
def test_a_plugin_declares_that_it_can_be_calibrated(values: Array) -> None:
    @fnx.statistic("mean_gap", range=(-100, 100), on="samples", calibratable=True)
    def mean_gap(inner: Array, outer: Array) -> float:
        return float(inner.mean() - outer.mean())

    assert statistics.get("mean_gap").calibratable
    found = fnx.null(values, LABELS, statistic=mean_gap, permutations=300)
    variance = values.astype(np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(found.second_moment / variance, 1, atol=0.2)
    assert np.mean(found.second_moment / variance) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"method": "guess"}, "method=guess: allowed are permutation, bridge, exact"),
        (
            {"method": "bridge", "statistic": "auroc"},
            "calibration by bridge is for statistic=ks and ks_exact, not auroc: choose permutation",
        ),
        ({"permutations": 1}, "permutations=1: must be an integer of 2 or more"),
        ({"permutations": 2.5}, "permutations=2.5: must be an integer of 2 or more"),
        ({"permutations": True}, "permutations=True: must be an integer of 2 or more"),
        ({"draws": 0}, "draws=0: must be an integer of 1 or more"),
        ({"bin": 7}, "unknown parameter of statistic 'ks' 'bin' (did you mean 'bins'?)"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, line: str, values: Array) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        fnx.null(values, LABELS, **arguments)


# The moments


@pytest.mark.parametrize("name", ["ks", "auroc"])
def test_the_second_moment_is_the_mean_over_permutations_and_classes(
    name: str, values: Array
) -> None:
    neutral = statistics.get(name).neutral
    shuffled = permutations(LABELS, 3, seed=5)
    random = np.stack([fnx.distances(values, one, statistic=name) for one in shuffled])
    expected = [
        np.mean([N_E[c] * (float(d[f, c]) - neutral) ** 2 for d in random for c in range(4)])
        for f in range(60)
    ]
    found = fnx.null(values, LABELS, statistic=name, permutations=3, seed=5)
    np.testing.assert_allclose(found.second_moment, expected, rtol=1e-6)
    np.testing.assert_allclose(second_moment(random, SIZES, neutral=neutral), expected, rtol=1e-6)
    assert (found.method, found.statistic, found.neutral) == ("permutation", name, neutral)


def test_moments_of_a_memory_map_are_read_a_block_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    random = np.random.default_rng(0).normal(size=(3, 50, 4)).astype(np.float32)
    np.save(tmp_path / "r.npy", random)
    expected = second_moment(random, SIZES)
    calibrated = fnx.calibrate(random, expected, SIZES)
    monkeypatch.setattr(calibration, "BLOCK_VALUES", 30)
    mapped = np.load(tmp_path / "r.npy", mmap_mode="r")
    np.testing.assert_array_equal(second_moment(mapped, SIZES), expected)
    np.testing.assert_array_equal(fnx.calibrate(mapped, expected, SIZES), calibrated)


def test_the_effective_size_of_a_class_is_n_times_the_rest_over_all() -> None:
    assert effective_sizes([1, 3], 2).tolist() == [0.75, 0.75]
    assert effective_sizes([1, 3], 2, n_images=8).tolist() == [0.875, 1.875]  # concepts overlap
    for wrong in ([1, 2, 3], [0, 4], [1.5, 2]):
        with pytest.raises(DataError, match=r"^class_sizes: must be 2 numbers of images"):
            effective_sizes(wrong, 2)
    with pytest.raises(DataError, match=r"^class_sizes: a class of 3 of 3 images is all$"):
        effective_sizes([1, 3], 2, n_images=3)


# The calibrated distance


def test_a_calibrated_distance_is_what_chance_does_not_explain() -> None:
    distances = np.array([[0.5, -0.5], [0.1, -0.45]], np.float32)
    found = fnx.calibrate(distances, [0.64, 0.0], [8, 8])  # n_e = 4: 0.25 - 0.16
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.3, -0.3], [0.1, -0.45]], rtol=1e-6)
    both = fnx.calibrate(np.stack([distances, -distances]), [0.64, 0.0], [8, 8])
    np.testing.assert_array_equal(both, [found, -found])
    sizes = fnx.calibrate([[0.5, 0.5]], [0.09], [2, 6])  # 0.25 - 0.09 / 1.5, both classes
    np.testing.assert_allclose(sizes, [[0.19**0.5] * 2])
    more = fnx.calibrate([[0.5]], [0.09], [2], n_images=20)
    np.testing.assert_allclose(more, [[(0.25 - 0.09 / 1.8) ** 0.5]])


def test_it_is_measured_from_the_neutral_value() -> None:
    found = fnx.calibrate([[0.0, 1.0], [0.5, 0.6]], [0.64, 0.64], [8, 8], statistic="auroc")
    np.testing.assert_allclose(found, [[0.2, 0.8], [0.5, 0.5]])
    null = fnx.Null("permutation", "auroc", {}, np.array([0.64, 0.64]))
    np.testing.assert_array_equal(fnx.calibrate([[0.0, 1.0], [0.5, 0.6]], null, [8, 8]), found)


def test_what_is_infinite_by_chance_is_neutral() -> None:
    infinite = [[np.inf, -np.inf]]
    assert fnx.calibrate(infinite, [np.inf], [2, 2], statistic="cohen_d").tolist() == [[0, 0]]
    assert fnx.calibrate(infinite, [1.0], [2, 2], statistic="cohen_d").tolist() == infinite


@pytest.mark.parametrize(
    ("distances", "null", "line"),
    [
        (np.zeros((2, 2)), [1.0], "distances have shape (2, 2): must be (F, C) or (R, F, C), with"),
        (np.zeros(2), [1.0], "distances have shape (2,): must be (F, C)"),
        ([[np.nan, 0]], [1.0], "distances: some are NaN"),
        ([["a", "b"]], [1.0], "distances are "),
        ([[0.1, 0.2]], [-1.0], "null: must be of fnx.null, or its second moments (F,), each 0"),
        ([[0.1, 0.2]], [[1.0]], "null: must be of fnx.null"),
        ([[0.1, 0.2]], [np.nan], "null: must be of fnx.null"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(distances: Any, null: Any, line: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(line)}"):
        fnx.calibrate(distances, null, [3, 3])


@pytest.mark.parametrize("name", ["ks", "ks_exact"])
@pytest.mark.parametrize(("shift", "truth"), [(1.0, 0.3829), (2.0, 0.6827)])
def test_a_known_distance_comes_out_whatever_the_size_of_the_class(
    name: str, shift: float, truth: float
) -> None:
    """N(shift, 1) against N(0, 1): D = 2 Φ(shift / 2) - 1."""
    raw = []
    for n in (10, 20, 50):
        labels = np.r_[np.ones(n, int), np.zeros(500, int)]
        values = np.random.default_rng(n).normal(size=(n + 500, 400)) + shift * labels[:, None]
        null = fnx.null(values, labels, statistic=name, permutations=10)
        distances = fnx.distances(values, labels, statistic=name)
        mean = fnx.calibrate(distances, null, np.bincount(labels))[:, 1].mean()
        assert mean == pytest.approx(truth, abs=0.03 if name == "ks" else 0.04)
        raw.append(distances[:, 1].mean())
    assert raw[0] - truth > 0.05  # what calibration is for


# p-values


def scaled(values: Array, labels: Array, name: str = "ks") -> Array:
    sizes = np.bincount(labels)
    n_e = sizes * (labels.size - sizes) / labels.size
    squares: Array = n_e * fnx.distances(values, labels, statistic=name).astype(np.float64) ** 2
    return squares


def test_of_many_permutations_a_p_value_is_the_share_of_the_features_own(values: Array) -> None:
    draws = np.stack([scaled(values, one) for one in permutations(LABELS, 250, seed=2)])
    null = fnx.null(values, LABELS, permutations=250, seed=2)
    assert not null.pooled
    moved = values + 0.8 * (LABELS == 0)[:, None]
    sought = scaled(moved, LABELS)
    single = draws.astype(np.float32), sought.astype(np.float32)
    exact = (1 + (single[0][..., None] >= single[1][:, None]).sum((0, 2))) / 1001
    found = null.p_values(fnx.distances(moved, LABELS), SIZES)
    assert (found >= exact - 1e-12).all()
    assert (found <= 1.04 * exact).all()
    few = exact < 30 / 1001  # of the largest draws every one is kept
    assert few.sum() > 40
    np.testing.assert_allclose(found[few], exact[few])


def test_of_few_permutations_those_of_all_features_are_pooled(values: Array) -> None:
    draws = np.stack([scaled(values, one) for one in permutations(LABELS, 3, seed=2)])
    null = fnx.null(values, LABELS, permutations=3, seed=2)
    assert null.pooled
    by = draws.mean(axis=2)
    ratios = np.concatenate(
        [(draws[r] / np.delete(by, r, axis=0).mean(axis=0)[:, None]).ravel() for r in range(3)]
    )
    sought = scaled(values, LABELS) / by.mean(axis=0)[:, None]
    share = (1 + (ratios[:, None] >= sought.ravel()).sum(axis=0)) / (1 + ratios.size)
    coarse = (1 + (ratios[:, None] >= sought.ravel() * (1 - 1 / 64)).sum(0)) / (1 + ratios.size)
    found = null.p_values(fnx.distances(values, LABELS), SIZES).ravel()
    assert (found >= share - 1e-12).all()
    assert (found <= coarse + 1e-12).all()
    assert found.min() < 0.005


@pytest.mark.parametrize(
    "arguments",
    [{"permutations": 5}, {"permutations": 300}, {"method": "bridge", "draws": 1_000}],
    ids=["pooled", "own", "bridge"],
)
@pytest.mark.parametrize("name", ["ks", "ks_exact"])
def test_random_labels_give_a_p_value_of_a_twentieth_a_twentieth_of_the_time(
    arguments: Any, name: str
) -> None:
    values = mixed(300, 90)
    values[:, -1] = 3
    labels = np.repeat(np.arange(5), [20, 30, 50, 80, 120])
    null = fnx.null(values, labels, statistic=name, **arguments)
    shuffled = permutations(labels, 30, seed=99)
    found = np.stack(
        [
            null.p_values(fnx.distances(values, one, statistic=name), np.bincount(labels))
            for one in shuffled
        ]
    )
    assert (found[:, :-1] <= 0.05).mean() == pytest.approx(0.048, abs=0.009)
    assert (found[:, -1] == 1).all()
    assert null.second_moment[-1] == 0


def test_p_values_are_of_one_labelling(values: Array) -> None:
    null = fnx.null(values, LABELS, permutations=2)
    with pytest.raises(DataError, match=r"^distances have shape \(1, 60, 4\): must be \(F, C\)$"):
        null.p_values(np.zeros((1, 60, 4)), SIZES)


def test_draws_are_counted_from_the_largest() -> None:
    kept = Survival.of(np.array([[1.0], [3.0], [2.0], [2.0]]))
    found = kept.p_values(np.array([[4.0, 3.0, 2.5, 2.0, 1.0, 0.0]])) * 5
    np.testing.assert_allclose(found, [[1, 2, 2, 4, 5, 5]])
    counted = Survival.of_counts(count(np.array([1.0, 3.0, 2.0, 2.0])) + count(np.array([np.inf])))
    found = counted.p_values(np.array([[np.inf, 4.0, 3.0, 2.5, 2.0, 1.0, 0.0]])) * 6
    np.testing.assert_allclose(found, [[2, 2, 3, 3, 5, 6, 6]])


# Bridges


@pytest.mark.parametrize("bins", [7, 100, None])
def test_the_ends_of_tie_groups_are_those_of_numpy(bins: int | None) -> None:
    values = np.concatenate([mixed(90, 9), np.round(mixed(90, 60), 1), np.ones((90, 1))], axis=1)
    ties = read_ties(open_columns(values), 3, 70, bins=bins)
    assert ties.offsets[0] == 0
    assert ties.offsets.size == 68
    for f in range(67):
        column = values[:, f + 3].astype(np.float64)
        if bins is None:
            counts = np.unique(column, return_counts=True)[1]
        else:
            counts = np.histogram(column, bins)[0]
        found = ties.ends[ties.offsets[f] : ties.offsets[f + 1]]
        np.testing.assert_array_equal(found, np.cumsum(counts[counts > 0]))


@pytest.mark.parametrize("bins", [100, None])
def test_a_draw_is_the_largest_of_a_bridge_at_the_features_positions(bins: int | None) -> None:
    n, draws = 300, 20
    values = np.concatenate([mixed(n, 12), np.round(mixed(n, 6), 1), np.ones((n, 1))], axis=1)
    found = np.full((19, draws), np.nan)

    def take(start: int, part: Array) -> None:
        found[start : start + len(part)] = part

    columns = open_columns(values)
    draw_suprema(columns, bins, draws, 3, take, lambda _: None)
    walks = np.concatenate(
        [
            np.random.default_rng([3, batch]).standard_normal((n + 1, 16), dtype=np.float32)
            for batch in (0, 1)
        ],
        axis=1,
    )[1:, :draws].astype(np.float64)
    sums = np.cumsum(walks, axis=0)
    bridges = (sums - np.arange(1, n + 1)[:, None] / n * sums[-1]) / np.sqrt(n)
    ties = read_ties(columns, 0, 19, bins=bins)
    for f in range(19):
        at = ties.ends[ties.offsets[f] : ties.offsets[f + 1]] - 1
        np.testing.assert_allclose(found[f], np.abs(bridges[at]).max(axis=0), atol=1e-6)
    assert (found[18] == 0).all()


def test_a_feature_of_two_values_has_the_variance_of_a_bridge_at_their_share() -> None:
    values = (np.arange(400)[:, None] < [40, 100, 200]).astype(np.float32)
    for name in ("ks", "ks_exact"):
        null = fnx.null(values, np.arange(400) % 4, statistic=name, method="bridge", draws=20_000)
        np.testing.assert_allclose(null.second_moment, [0.09, 0.1875, 0.25], rtol=0.05)


def test_a_continuous_feature_has_the_moment_of_kolmogorovs_law() -> None:
    values = np.random.default_rng(0).normal(size=(3000, 1))
    labels = np.arange(3000) % 3
    null = fnx.null(values, labels, statistic="ks_exact", method="bridge", draws=5_000)
    assert null.second_moment[0] == pytest.approx(np.pi**2 / 12, rel=0.04)
    assert null.p_values([[1.3581 / np.sqrt(2000 / 3)] * 3], [1000] * 3)[0, 0] == pytest.approx(
        0.05, abs=0.012
    )


@pytest.mark.parametrize("name", ["ks", "ks_exact"])
def test_bridges_and_permutations_agree(name: str) -> None:
    values, labels = mixed(400), np.repeat(np.arange(4), 100)
    permuted = fnx.null(values, labels, statistic=name, permutations=100)
    drawn = fnx.null(values, labels, statistic=name, method="bridge", draws=2_000)
    ratio = np.sqrt(permuted.second_moment / drawn.second_moment)
    assert ratio.mean() == pytest.approx(0.99, abs=0.012)
    assert np.quantile(ratio, [0.05, 0.95]) == pytest.approx([0.96, 1.02], abs=0.02)


@pytest.mark.parametrize("method", ["permutation", "bridge"])
def test_monotone_maps_do_not_change_the_null_of_the_exact_distance(
    method: str, values: Array
) -> None:
    arguments: Any = {"statistic": "ks_exact", "method": method, "draws": 50, "permutations": 5}
    before = fnx.null(values, LABELS, **arguments)
    after = fnx.null(np.exp(values.astype(np.float64)), LABELS, **arguments)
    np.testing.assert_array_equal(after.second_moment, before.second_moment)
    binned = fnx.null(values, LABELS, method="bridge", draws=50, bins=None)
    if method == "bridge":
        np.testing.assert_array_equal(binned.second_moment, before.second_moment)


@pytest.mark.parametrize("arguments", [{"permutations": 4}, {"method": "bridge", "draws": 40}])
def test_neither_the_array_nor_threads_nor_blocks_change_a_bit(
    arguments: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wide = mixed(60, 150)
    labels = np.arange(60) % 3
    expected = fnx.null(wide, labels, **arguments)
    assert expected.survival is not None
    np.save(tmp_path / "w.npy", wide)
    stored = zarr.create_array(tmp_path / "w.zarr", shape=wide.shape, dtype="f4", chunks=(30, 64))
    stored[:] = wide
    monkeypatch.setattr(bridge, "FEATURES", 64)
    for cores, array in ((1, stored), (5, np.load(tmp_path / "w.npy", mmap_mode="r"))):
        monkeypatch.setattr(bridge, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(engine, "cores", lambda cores=cores: cores)
        found = fnx.null(array, labels, **arguments)
        assert found.survival is not None
        np.testing.assert_array_equal(found.second_moment, expected.second_moment)
        np.testing.assert_array_equal(found.survival.values, expected.survival.values)
    monkeypatch.setattr(bridge, "RUNS", 10)
    again = fnx.null(wide, labels, **arguments)
    np.testing.assert_array_equal(again.second_moment, expected.second_moment)
    other = fnx.null(wide, labels, **arguments, seed=1)
    assert (other.second_moment != expected.second_moment).any()


@pytest.mark.parametrize("method", ["permutation", "bridge"])
def test_a_bar_counts_the_features(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    @contextmanager
    def bar(text: str, **options: Any) -> Iterator[Any]:
        assert text == f"null (ks, {method})"
        assert options == {"total": 150, "unit": "features", "delay": 1.0, "enabled": False}
        yield SimpleNamespace(update=steps.append)

    monkeypatch.setattr(bridge, "FEATURES", 64)
    monkeypatch.setattr(bridge, "cores", lambda: 1)
    monkeypatch.setattr("fnx.statistics.null.progress_bar", bar)
    fnx.null(mixed(60, 150), np.arange(60) % 3, method=method, draws=20, progress=False)
    assert len(steps) > 1
    assert sum(steps) == 150


@pytest.mark.parametrize("method", ["permutation", "bridge"])
def test_a_value_that_is_not_finite_is_named(method: str, values: Array) -> None:
    bad = values.copy()
    bad[7, 33] = np.nan
    with pytest.raises(DataError, match=r"^feature 33 of image 7 is nan: every value must be"):
        fnx.null(bad, LABELS, method=method)


# Distances drawn from it, and files


def test_drawn_distances_are_as_those_under_random_labels(values: Array) -> None:
    for null in (
        fnx.null(values, LABELS, method="bridge"),
        fnx.null(values, LABELS, permutations=4),
        fnx.null(values, LABELS, statistic="auroc", permutations=260),
    ):
        drawn = null.sample(SIZES, 40, seed=1)
        assert drawn.shape == (40, 60, 4)
        assert drawn.dtype == np.float32
        ratio = second_moment(drawn, SIZES, neutral=null.neutral) / null.second_moment
        assert ratio.mean() == pytest.approx(1, abs=0.08)
        assert (drawn > null.neutral).mean() == pytest.approx(0.5, abs=0.02)
        np.testing.assert_array_equal(null.sample(SIZES, 40, seed=1), drawn)
        assert (null.sample(SIZES, 40, seed=2) != drawn).mean() > 0.9


@pytest.mark.parametrize(
    "arguments",
    [{"permutations": 3, "bins": 50}, {"statistic": "auroc", "permutations": 250}],
    ids=["pooled", "own"],
)
def test_a_null_is_stored_and_read_again(arguments: Any, values: Array, tmp_path: Path) -> None:
    null = fnx.null(values, LABELS, **arguments)
    null.save(tmp_path / "a null")
    again = fnx.Null.load(tmp_path / "a null")
    statistic = arguments.get("statistic", "ks")
    distances = fnx.distances(values, LABELS, statistic=statistic)
    np.testing.assert_array_equal(again.second_moment, null.second_moment)
    np.testing.assert_array_equal(again.p_values(distances, SIZES), null.p_values(distances, SIZES))
    assert (again.method, again.statistic, again.parameters, again.pooled) == (
        *("permutation", statistic, null.parameters, null.pooled),
    )


def damaged(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with np.load(file) as stored:
            held = dict(stored)
        change(held)
        with file.open("wb") as opened:
            np.savez(opened, **held)

    return write


def header(**changes: Any) -> Callable[[Path], None]:
    def change(held: dict[str, Any]) -> None:
        held["header"] = np.array(json.dumps(json.loads(str(held["header"])) | changes))

    return damaged(change)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda file: file.unlink(), "cannot be read (No such file or directory)"),
        (lambda file: file.write_bytes(b""), "not a null of fnx, or a damaged one"),
        (lambda file: file.write_bytes(file.read_bytes()[:900]), "not a null of fnx, or a dam"),
        (lambda file: np.save(file.open("wb"), np.ones(3)), "not a null of fnx, or a damaged one"),
        (damaged(lambda held: held.pop("second_moment")), "not a null of fnx, or a damaged one"),
        (
            damaged(lambda held: held.update(ranks=np.array([print], object))),
            "not a null of fnx, or a damaged one",
        ),
        (damaged(lambda held: held.update(ranks=held["ranks"][1:])), "not a null of fnx, or a"),
        (damaged(lambda held: held.update(ranks=-held["ranks"])), "not a null of fnx, or a dam"),
        (
            damaged(lambda held: held.update(second_moment=-held["second_moment"])),
            "not a null of fnx, or a damaged one",
        ),
        (header(draws=1), "not a null of fnx, or a damaged one"),
        (header(version=2), "of another version of fnx: make it again with fnx.null"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
    damage: Any, line: str, values: Array, tmp_path: Path
) -> None:
    file = tmp_path / "null.npz"
    fnx.null(values, LABELS, permutations=2).save(file)
    damage(file)
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: {re.escape(line)}"):
        fnx.Null.load(file)


def test_the_statistic_of_a_file_must_be_here(values: Array, tmp_path: Path) -> None:
    fnx.null(values, LABELS, permutations=2).save(tmp_path / "null")
    header(statistic="mine")(tmp_path / "null")
    with pytest.raises(ConfigError, match=r"^unknown statistic 'mine'"):
        fnx.Null.load(tmp_path / "null")

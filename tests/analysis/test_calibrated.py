"""Calibrated distances, by hand and of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs
from tests.report.synthetic import write_run

from fnx.analysis import Run
from fnx.analysis.calibrated import Calibrated
from fnx.analysis.distributions import spread
from fnx.errors import DataError
from fnx.statistics.calibration import effective_sizes, less_noise

MOMENTS = np.array([0.5, 0.0, 0.0, 0.25, 1.5])


@pytest.mark.parametrize(
    "key",
    [
        np.s_[...],
        np.s_[2],
        np.s_[1:3],
        np.s_[:, 1],
        np.s_[3, 2],
        np.s_[[4, 0]],
        np.ix_([0, 3], [2, 1]),
        runs.REAL > 0.3,
    ],
)
def test_an_index_gives_what_the_whole_array_does(key: Any) -> None:
    sizes = effective_sizes(runs.SIZES, 3)
    size = runs.REAL.astype(np.float64)
    whole = np.sign(size) * np.sqrt(np.maximum(size**2 - MOMENTS[:, None] / sizes, 0))
    found = Calibrated(runs.REAL, MOMENTS, sizes)
    assert found.shape == runs.REAL.shape
    assert found[key] == pytest.approx(whole[key], abs=1e-7)
    assert np.asarray(found) == pytest.approx(whole, abs=1e-7)


def test_a_run_calibrates_what_is_asked_for(tmp_path: Path) -> None:
    run = runs.run(tmp_path, null_second_moment=MOMENTS)
    sizes = effective_sizes(runs.SIZES, 3)
    assert run.calibrated is not None
    assert run.calibrated_random is not None
    expected = np.stack([less_noise(one, MOMENTS[:, None] / sizes) for one in runs.RANDOM])
    of_two = less_noise(runs.REAL[3:], MOMENTS[3:, None] / sizes)
    assert run.calibrated[3:].dtype == np.float32
    assert run.calibrated[3:] == pytest.approx(of_two, abs=1e-7)
    assert run.calibrated_random[:, 1:2] == pytest.approx(expected[:, 1:2], abs=1e-7)
    assert run.features["null_second_moment"].to_list() == MOMENTS.tolist()


def test_runs_without_second_moments_have_no_calibrated_distances(tmp_path: Path) -> None:
    assert runs.run(tmp_path).calibrated is None
    assert runs.run(tmp_path).scan.calibrated is None
    old = Run.open(write_run(tmp_path / "old"))
    table = old.features.drop("null_second_moment")
    table.write_parquet(old.path / "features.parquet")
    layers = old.layers.drop(pl.selectors.starts_with("calibrated", "mean"))
    layers.write_parquet(old.path / "layers.parquet")
    opened = Run.open(old.path)
    assert (opened.calibrated, opened.calibrated_random) == (None, None)
    assert opened.scan.calibrated is None
    assert opened.layers.height == old.layers.height
    partly = table.with_columns(null_second_moment=pl.when(pl.col("unit") > 0).then(0.5))
    partly.write_parquet(old.path / "features.parquet")
    assert Run.open(old.path).calibrated is None
    for wrong in (-0.5, np.nan):
        damaged = table.with_columns(null_second_moment=pl.lit(wrong))
        damaged.write_parquet(old.path / "features.parquet")
        with pytest.raises(DataError, match="null_second_moment must be 0 or more"):
            _ = Run.open(old.path).features


def test_a_scan_counts_calibrated_distances_that_are_not_neutral(tmp_path: Path) -> None:
    run = runs.run(tmp_path, null_second_moment=MOMENTS)
    found = run.scan.calibrated
    assert found is not None
    assert run.calibrated is not None
    assert run.calibrated_random is not None
    real, random = np.asarray(run.calibrated), np.asarray(run.calibrated_random)
    for i, rows in enumerate((slice(0, 3), slice(3, 5))):
        of_layer, noise = real[rows], random[:, rows]
        for drawn, values in ((found.histogram, of_layer), (found.histogram_random, noise)):
            expected = np.histogram(values[values != 0], run.scan.edges)[0]
            assert drawn[i].tolist() == expected.tolist()
        for side, sign in zip(found.sides, (1, -1), strict=True):
            assert side.count[i] == (sign * of_layer > 0).sum()
            assert side.count_random[i] == (sign * noise > 0).sum()
            assert side.spreads[i].real == spread(of_layer, side.sign)
            assert side.spreads[i].random == spread(noise, side.sign)
            features, classes, values = side.pairs[i]
            assert values.tolist() == sorted(values.tolist(), reverse=sign > 0)
            assert np.array_equal(values, real[features, classes])
            assert len(values) == side.count[i]
    assert [side.sign for side in found.sides] == ["+", "-"]
    assert found.histogram.sum() < real.size

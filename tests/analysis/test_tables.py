from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fnx.analysis import tables
from fnx.thresholds import Curve, Side, Thresholds

X, DAVG = np.array([0.0, 0.1]), np.array([0.0, 2.0])
PLUS = Side(threshold=0.3, davg=2.0, kept=3.0, kept_random=1.0, spread=0.5)
MINUS = Side(threshold=-0.2, davg=1.5, kept=2.5, kept_random=1.0, spread=float("nan"))
THRESHOLDS = Thresholds(PLUS, MINUS, Curve(X, DAVG, np.array([0.0, 1.5])))
UNSIGNED = Thresholds(PLUS, None, Curve(X, DAVG, None))


@pytest.fixture
def features() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "feature_id": range(50),
            "layer": ["conv1"] * 20 + ["fc"] * 30,
            "unit": [*range(20), *range(30)],
            "kind": ["conv"] * 20 + ["fc"] * 30,
        }
    )


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (
        rng.uniform(-1, 1, (50, 7)).astype(np.float32),
        rng.uniform(-0.4, 0.4, (3, 50, 7)).astype(np.float32),
    )


def test_layers_hold_the_shares_that_a_plain_count_gives(features, arrays) -> None:
    real, random = arrays
    table = tables.layers_table(features, real, random, THRESHOLDS)
    assert table.select("layer", "sign").rows() == [
        ("conv1", "+"),
        ("conv1", "-"),
        ("fc", "+"),
        ("fc", "-"),
    ]
    fc = slice(20, 50)
    by_sign = {row["sign"]: row for row in table.filter(layer="fc").rows(named=True)}
    assert by_sign["+"]["pct_kept"] == pytest.approx(100 * (real[fc] > 0.3).mean())
    assert by_sign["-"]["pct_kept"] == pytest.approx(100 * (real[fc] < -0.2).mean())
    assert by_sign["+"]["pct_kept_random"] == pytest.approx(100 * (random[:, fc] > 0.3).mean())
    assert by_sign["-"]["mode"] < 0 < by_sign["+"]["mode"]
    assert by_sign["-"]["low"] <= by_sign["-"]["mode"] <= by_sign["-"]["high"]


def test_unsigned_statistics_have_no_absence(features, arrays) -> None:
    real, random = (np.abs(array) for array in arrays)
    real[0, 0] = real[30, 2] = np.inf
    table = tables.layers_table(features, real, random, UNSIGNED)
    assert table["sign"].unique().to_list() == ["+"]
    assert table["mode"].is_finite().all()
    assert tables.thresholds_table(UNSIGNED)["sign"].to_list() == ["+"]
    assert tables.davg_table(UNSIGNED)["davg_minus"].null_count() == 2
    top = tables.top_features_table(real, 2)
    assert top.filter(class_id=0, rank=1)["distance"].to_list() == [np.inf]
    assert top["sign"].unique().to_list() == ["+"]


def test_a_layer_without_any_signal_has_null_modes(features, arrays) -> None:
    real, random = arrays
    real[:20] = 0
    table = tables.layers_table(features, real, random, THRESHOLDS).filter(layer="conv1")
    assert table["mode"].to_list() == [None, None]
    assert table["pct_kept"].to_list() == [0.0, 0.0]


def test_top_features_are_the_strongest_of_their_sign() -> None:
    rng = np.random.default_rng(3)
    real = rng.uniform(-1, 1, (40, 130)).astype(np.float32)
    top = tables.top_features_table(real, 4)
    assert top.height == 130 * 8
    for class_id in (0, 63, 64, 129):
        column = real[:, class_id]
        plus = top.filter(class_id=class_id, sign="+")
        minus = top.filter(class_id=class_id, sign="-")
        assert plus["feature_id"].to_list() == np.argsort(-column)[:4].tolist()
        assert minus["feature_id"].to_list() == np.argsort(column)[:4].tolist()
        assert plus["rank"].to_list() == [1, 2, 3, 4]
        np.testing.assert_array_equal(plus["distance"], column[plus["feature_id"].to_numpy()])


def test_ties_rank_by_feature_and_zero_speaks_neither_way() -> None:
    real = np.float32([[0.5], [0.0], [0.5], [-0.1]])
    rows = tables.top_features_table(real, 10).select("sign", "rank", "feature_id").rows()
    assert rows == [("+", 1, 0), ("+", 2, 2), ("-", 1, 3)]


def test_no_feature_speaks() -> None:
    top = tables.top_features_table(np.zeros((3, 2), np.float32), 5)
    assert top.is_empty()
    assert top.columns == ["class_id", "sign", "rank", "feature_id", "distance"]


def test_thresholds_and_curve_are_written_as_found() -> None:
    assert tables.thresholds_table(THRESHOLDS).rows() == [
        ("+", 0.3, 2.0, 3.0, 1.0, 0.5),
        ("-", -0.2, 1.5, 2.5, 1.0, None),
    ]
    assert tables.davg_table(THRESHOLDS).rows() == [(0.0, 0.0, 0.0), (0.1, 2.0, 1.5)]


def test_failed_images_do_not_count() -> None:
    images = pl.DataFrame(
        {"class_id": [0, 1, 1, None], "status": ["ok", "ok", "failed", "failed"]},
        schema={"class_id": pl.Int32, "status": pl.String},
    )
    assert tables.classes_table(images, ["a", "b", "c"])["n_images"].to_list() == [1, 1, 0]

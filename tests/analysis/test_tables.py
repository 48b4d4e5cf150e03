from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fnx.analysis import tables
from fnx.analysis.calibrated import Calibrated
from fnx.analysis.distributions import Domain, layer_rows
from fnx.analysis.scan import Scan, scan
from fnx.thresholds import Curve, Side, Thresholds

X, DAVG = np.array([0.0, 0.1]), np.array([0.0, 2.0])
PLUS = Side(threshold=0.3, davg=2.0, kept=3.0, kept_random=1.0, spread=0.5)
MINUS = Side(threshold=-0.2, davg=1.5, kept=2.5, kept_random=1.0, spread=float("nan"))
THRESHOLDS = Thresholds(PLUS, MINUS, Curve(X, DAVG, np.array([0.0, 1.5])))
UNSIGNED = Thresholds(PLUS, None, Curve(X, DAVG, None))


REAL = np.float32([[0.5, -0.5], [0.25, 0.0], [-0.25, 0.75], [0.5, np.inf]])
RANDOM = np.float32([[[0.5, 0.0]] * 4, [[0.0, -0.5]] * 4, [[0.0, 0.5]] * 4])
FEATURES = pl.DataFrame(
    {"feature_id": range(4), "layer": ["conv1", "conv1", "conv1", "fc"], "kind": ["conv"] * 4}
)


def scanned(thresholds: Thresholds = THRESHOLDS) -> Scan:
    limits = tables.limits(thresholds)
    return scan(layer_rows(FEATURES), REAL, RANDOM, limits, Domain(-1, 1))


def test_layers_hold_the_shares_that_a_plain_count_gives() -> None:
    table = tables.layers_table(scanned())
    assert table.select("layer", "sign").rows() == [
        ("conv1", "+"),
        ("conv1", "-"),
        ("fc", "+"),
        ("fc", "-"),
    ]
    assert table["pct_kept"].to_list() == pytest.approx([200 / 6, 200 / 6, 100, 0])
    assert table["pct_kept_random"].to_list() == pytest.approx([200 / 6, 100 / 6, 200 / 6, 100 / 6])


def test_layers_hold_their_spreads() -> None:
    found = scanned()
    table = tables.layers_table(found)
    for row, (i, sign) in zip(
        table.rows(named=True), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True
    ):
        spreads = found.sides[sign].spreads[i]
        for prefix, suffix, spread in (
            ("", "", spreads.real),
            ("", "_random", spreads.random),
            ("lognormal_", "", spreads.lognormal),
            ("lognormal_", "_random", spreads.lognormal_random),
        ):
            columns = [row[f"{prefix}{name}{suffix}"] for name in ("mode", "low", "high")]
            expected = [None] * 3 if spread is None else [spread.mode, spread.low, spread.high]
            assert columns == expected
    fc = table.filter(layer="fc")
    assert fc["mode"].to_list() == [pytest.approx(0.505), None]
    assert fc["mode_random"].null_count() == 0
    assert {table.schema[name] for name in table.columns[2:]} == {pl.Float64}
    assert table.columns[2:7] == ["mode", "low", "high", "pct_kept", "pct_kept_random"]
    assert table["mean"].to_list()[:2] == [0.5, -0.375]
    assert table["mean_random"].to_list()[:2] == [0.5, -0.5]


def test_layers_hold_the_same_of_calibrated_distances() -> None:
    real = np.float32([[0.5, -0.5], [0.3, 0.1], [-0.2, 0.75], [0.5, 0.2]])
    moments, sizes = np.array([0.16, 0.16, 0.0, 1.0]), np.array([1.0, 4.0])
    both = Calibrated(real, moments, sizes), Calibrated(RANDOM, moments, sizes)
    limits = tables.limits(THRESHOLDS)
    table = tables.layers_table(
        scan(layer_rows(FEATURES), real, RANDOM, limits, Domain(-1, 1), both)
    )
    plain = scan(
        layer_rows(FEATURES), np.asarray(both[0]), np.asarray(both[1]), limits, Domain(-1, 1)
    )
    expected = tables.layers_table(plain)
    assert table["calibrated_pct"].to_list() == pytest.approx([200 / 6, 200 / 6, 0, 0])
    # With D⁺ come 0.5, 0.3, 0.1 and 0.75, of which two are calibrated to 0; with D⁻ −0.5 and −0.2.
    assert table["calibrated_mean"][0] == pytest.approx((0.3 + 0.75) / 4)
    assert table["calibrated_mean"][1] == pytest.approx((-(0.21**0.5) - 0.2) / 2)
    assert table["calibrated_mean"].to_list()[2:] == [0, None]
    for name in expected.columns[2:]:
        if not name.startswith(("pct", "calibrated", "mean")):
            assert table[f"calibrated_{name}"].equals(expected[name], null_equal=True)
    raw = tables.layers_table(scan(layer_rows(FEATURES), real, RANDOM, limits, Domain(-1, 1)))
    calibrated = [name for name in raw.columns if name.startswith("calibrated")]
    assert len(calibrated) == 16
    assert raw.select(calibrated).null_count().row(0) == (4,) * 16
    assert table.drop(calibrated).equals(raw.drop(calibrated), null_equal=True)


def test_unsigned_statistics_have_no_absence() -> None:
    table = tables.layers_table(scanned(UNSIGNED))
    assert table["sign"].unique().to_list() == ["+"]
    assert tables.thresholds_table(UNSIGNED)["sign"].to_list() == ["+"]
    assert tables.davg_table(UNSIGNED).rows() == [(0.0, 0.0, None), (0.1, 2.0, None)]
    assert tables.class_thresholds_table(UNSIGNED, 2).rows() == [(0, 0.3, None), (1, 0.3, None)]
    assert tables.class_thresholds_table(UNSIGNED, 2).schema["t_minus"] == pl.Float64


def test_top_features_are_the_farthest_of_their_sign() -> None:
    rng = np.random.default_rng(3)
    real = rng.uniform(-1, 1, (40, 130)).astype(np.float32)
    top = tables.top_features_table(real, 4)
    assert top.height == 130 * 8
    assert top["class_id"].to_list() == np.repeat(np.arange(130), 8).tolist()
    for class_id in (0, 63, 64, 129):
        column = real[:, class_id]
        plus = top.filter(class_id=class_id, sign="+")
        minus = top.filter(class_id=class_id, sign="-")
        assert plus["feature_id"].to_list() == np.argsort(-column)[:4].tolist()
        assert minus["feature_id"].to_list() == np.argsort(column)[:4].tolist()
        assert plus["rank"].to_list() == minus["rank"].to_list() == [1, 2, 3, 4]
        np.testing.assert_array_equal(plus["distance"], column[plus["feature_id"].to_numpy()])


def test_ties_rank_by_feature_and_zero_speaks_neither_way() -> None:
    real = np.float32([[0.5], [0.0], [0.5], [-0.125]])
    assert tables.top_features_table(real, 10).rows() == [
        (0, "+", 1, 0, 0.5),
        (0, "+", 2, 2, 0.5),
        (0, "-", 1, 3, -0.125),
    ]


def test_the_types_of_top_features_are_the_same_where_there_are_none() -> None:
    top = tables.top_features_table(np.zeros((3, 2), np.float32), 5)
    assert top.is_empty()
    assert top.schema == {
        "class_id": pl.Int32,
        "sign": pl.String,
        "rank": pl.Int32,
        "feature_id": pl.Int64,
        "distance": pl.Float32,
    }


def test_thresholds_and_curve_are_written_as_found() -> None:
    table = tables.thresholds_table(THRESHOLDS)
    assert table.columns == ["sign", "threshold", "davg", "kept", "kept_random", "spread_random"]
    assert table.rows() == [("+", 0.3, 2.0, 3.0, 1.0, 0.5), ("-", -0.2, 1.5, 2.5, 1.0, None)]
    assert tables.davg_table(THRESHOLDS).columns == ["x", "davg_plus", "davg_minus"]
    assert tables.davg_table(THRESHOLDS).rows() == [(0.0, 0.0, 0.0), (0.1, 2.0, 1.5)]


def test_thresholds_of_each_class_stand_beside_it() -> None:
    of_classes = replace(PLUS, by_class=np.array([0.2, np.inf]))
    found = tables.class_thresholds_table(replace(THRESHOLDS, plus=of_classes), 2)
    assert found.rows() == [(0, 0.2, -0.2), (1, np.inf, -0.2)]
    assert found.columns == ["class_id", "t_plus", "t_minus"]
    assert found.schema["class_id"] == pl.Int32


def test_failed_images_do_not_count() -> None:
    images = pl.DataFrame(
        {"class_id": [0, 1, 1, None], "status": ["ok", "ok", "failed", "failed"]},
        schema={"class_id": pl.Int32, "status": pl.String},
    )
    found = tables.classes_table(images, ["a", "b", "c"])
    assert found.rows() == [(0, "a", 1), (1, "b", 1), (2, "c", 0)]
    assert found.schema == {"class_id": pl.Int32, "class_name": pl.String, "n_images": pl.Int64}


def test_an_analysis_holds_all_that_a_run_does() -> None:
    images = pl.DataFrame({"class_id": [0, 1, 1], "status": ["ok"] * 3})
    found = tables.analyse(images, ["a", "b"], FEATURES, REAL, RANDOM, THRESHOLDS, top_k=1)
    assert found["distances"] is REAL
    assert found["distances_random"] is RANDOM
    assert found["images"] is images
    assert found["features"].drop("null_second_moment").equals(FEATURES)
    assert found["features"]["null_second_moment"].to_list() == [None] * 4
    assert found["classes"].rows() == [(0, "a", 1, 0.3, -0.2), (1, "b", 2, 0.3, -0.2)]
    assert found["domain"] == found["scan"].domain == Domain(-1, 1)
    assert [part.largest for part in found["extents"]] == [0.75, 0.5]
    assert found["layers"].equals(tables.layers_table(scanned()), null_equal=True)
    assert found["thresholds"].height == found["davg"].height == 2
    assert found["top_features"].rows()[:2] == [(0, "+", 1, 0, 0.5), (0, "-", 1, 2, -0.25)]

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis.comparison.two_networks import NAMES, D, network

import fnx
from fnx.analysis import Run
from fnx.analysis.comparison import networks as module
from fnx.analysis.comparison.matching import match_units
from fnx.analysis.comparison.networks import (
    network_pairs,
    networks,
    shared_classes,
    shared_images,
)
from fnx.analysis.comparison.shared import SharedClasses
from fnx.errors import DataError


def every(*columns: Sequence[int]) -> SharedClasses:
    a, b = columns or (range(len(NAMES)),) * 2
    return SharedClasses(tuple(NAMES[i] for i in a), np.array(a), np.array(b))


def test_images_are_found_by_their_contents_in_any_order(tmp_path: Path) -> None:
    digests = [f"d{i:03}" for i in range(30)]
    digests[3] = digests[2]  # an image that stands twice
    shuffled = [None, *reversed(digests), "other"]
    a = network(tmp_path / "a", digests=digests)
    b = network(tmp_path / "b", digests=shuffled[:30])
    found = shared_images(a, b)
    assert found.count == 28  # d000 is cut off, and d003 stands nowhere
    assert [digests[row] for row in found.rows_a] == [shuffled[row] for row in found.rows_b]
    assert [digests[row] for row in found.rows_a] == sorted(set(digests[1:]))
    assert 3 not in found.rows_a


def test_failed_images_have_no_row(tmp_path: Path) -> None:
    a, b = network(tmp_path / "a"), network(tmp_path / "b")
    file = b.path / "images.parquet"
    failed = pl.when(pl.col("image_id") == 4).then(pl.lit("failed")).otherwise("status")
    pl.read_parquet(file).with_columns(status=failed).write_parquet(file)
    found = shared_images(a, Run.open(b.path))
    assert 4 not in found.rows_a
    assert found.rows_b.tolist() == list(range(29))


def test_classes_are_those_of_the_same_images_whatever_their_names(tmp_path: Path) -> None:
    a = network(tmp_path / "a")
    # The same images in the same order under names that are dealt anew: bee's are now "cat".
    b = network(tmp_path / "b", names=("ant", "cat", "bee", "wolf", "deer"))
    found = shared_classes(a, b, shared_images(a, b))
    assert found.names == NAMES
    assert found.columns_b.tolist() == [0, 1, 2, 3, 4]
    # One image of the cat is now of the dog: both are found by name, the others by their images.
    c = network(tmp_path / "c", sizes=(4, 5, 5, 8, 8), names=("x", "y", "cat", "dog", "z"))
    found = shared_classes(a, c, shared_images(a, c))
    assert found.names == NAMES
    assert found.columns_b.tolist() == [0, 1, 2, 3, 4]
    other = network(tmp_path / "e", sizes=(4, 5, 5, 8, 8), names=("x", "y", "lynx", "dog", "z"))
    assert shared_classes(a, other, shared_images(a, other)).names == ("ant", "bee", "dog", "elk")


def test_pairs_are_those_of_other_embeddings_of_the_same_images(tmp_path: Path) -> None:
    runs = [
        network(tmp_path / "a"),
        network(tmp_path / "b", dataset="another"),
        network(tmp_path / "kl", fingerprint="a", statistic="kl"),
        network(tmp_path / "c", first=21),  # 9 of them
        network(tmp_path / "d", first=20),
    ]
    assert network_pairs(runs[:3]) == [(0, 1)]
    assert network_pairs([runs[0], runs[3]]) == []
    assert network_pairs([runs[0], runs[4]]) == [(0, 1)]
    assert network_pairs(runs, reference=4) == [(4, 0), (4, 1), (4, 3)]


def test_the_partner_of_a_unit_has_the_most_correlated_row_of_d(tmp_path: Path) -> None:
    a = network(tmp_path / "a")
    rng = np.random.default_rng(0)
    other = rng.uniform(-0.9, 0.9, (6, 5)).astype(np.float32)
    other[4] = 0.5 * D[0] + 0.1  # a scale and a shift leave the correlation at 1
    other[5] = 0.05 * D[1] + 0.5  # the same shape, but presence where the first says absence
    b = network(tmp_path / "b", other, layers=(("x", 3, "conv"), ("y", 3, "fc")))
    units, layers = match_units(a, b, every())
    assert units.columns == list(module.UNIT_COLUMNS)
    table = np.corrcoef(np.vstack([D[[0, 1, 2, 4]], other]).astype(np.float64))[:4, 4:]
    by_unit = {row["feature_id_a"]: row for row in units.rows(named=True)}
    assert sorted(by_unit) == [0, 1, 2, 4]  # 3 is the same for all classes
    assert units["correlation"].to_list() == sorted(units["correlation"], reverse=True)
    for place, unit in enumerate((0, 1, 2, 4)):
        row = by_unit[unit]
        assert row["feature_id_b"] == table[place].argmax()
        assert row["correlation"] == pytest.approx(table[place].max(), abs=1e-6)
        assert row["mutual"] == (table[:, row["feature_id_b"]].argmax() == place)
        shown = np.abs(D[unit]).argmax()
        assert row["class_name"] == NAMES[shown]
        assert row["distance_a"] == D[unit, shown]
        assert row["distance_b"] == other[row["feature_id_b"], shown]
        both = (row["distance_a"], row["distance_b"])
        limits = [float(run.threshold(s)["threshold"]) for run in (a, b) for s in "+-"]  # type: ignore[index]
        plus = both[0] > np.float32(limits[0]) and both[1] > np.float32(limits[2])
        minus = both[0] < np.float32(limits[1]) and both[1] < np.float32(limits[3])
        assert row["kept"] == (plus or minus)
    assert by_unit[0] | {"layer_b": "y", "unit_b": 1, "mutual": True} == by_unit[0]
    assert (by_unit[0]["kept"], by_unit[1]["kept"]) == (True, False)
    late = layers.row(1, named=True)
    assert (late["layer_a"], late["units"]) == ("late", 2)
    assert late["correlation"] == pytest.approx(np.median(table[2:].max(axis=1)), abs=1e-6)
    order = np.random.default_rng(0).permutation(5)
    chance = np.corrcoef(np.vstack([D[[2, 4]], other[:, order]]).astype(np.float64))[:2, 2:]
    assert late["correlation_chance"] == pytest.approx(np.median(chance.max(axis=1)), abs=1e-6)
    limit = np.percentile(chance.max(axis=1), 95)
    assert late["pct_beyond_chance"] == 100 * np.mean(table[2:].max(axis=1) > limit)
    partners = ["xxxyyy"[table[i].argmax()] for i in (2, 3)]
    assert late["partner_layer"] in partners
    assert late["pct_partner_layer"] == 100 * partners.count(late["partner_layer"]) / 2
    assert late["pct_mutual"] == 50 * sum(by_unit[unit]["mutual"] for unit in (2, 4))


def test_partners_are_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = network(tmp_path / "a"), network(tmp_path / "b", D[::-1].copy())
    whole = match_units(a, b, every())
    monkeypatch.setattr("fnx.analysis.comparison.matching._BLOCK", 2)
    parts = match_units(a, b, every())
    assert [table.equals(other) for table, other in zip(whole, parts, strict=True)] == [True] * 2
    partners = dict(parts[0].select("feature_id_a", "feature_id_b").iter_rows())
    assert partners == {0: 4, 1: 3, 2: 2, 4: 0} | {1: partners[1]}
    assert parts[0].filter(pl.col("feature_id_a") != 1)["mutual"].all()


def test_classes_in_another_order_are_put_side_by_side(tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]
    a, b = network(tmp_path / "a"), network(tmp_path / "b", D[:, order].copy())
    units, _ = match_units(a, b, every(range(5), [order.index(i) for i in range(5)]))
    assert units["feature_id_a"].to_list() == units["feature_id_b"].to_list()
    np.testing.assert_allclose(units["correlation"], 1, atol=1e-6)
    assert units["distance_a"].to_list() == units["distance_b"].to_list()


def test_infinite_distances_and_those_without_a_sign_are_matched(tmp_path: Path) -> None:
    real = np.abs(D)
    real[0, 0] = np.inf
    a = network(tmp_path / "a")
    b = network(tmp_path / "b", real, statistic="kl")
    thresholds = b.path / "thresholds.parquet"
    pl.read_parquet(thresholds).filter(sign="+").write_parquet(thresholds)
    b = Run.open(b.path)
    assert (a.signed, b.signed) == (True, False)
    units, _ = match_units(a, b, every())
    by_unit = {row["feature_id_a"]: row for row in units.rows(named=True)}
    assert by_unit[2]["feature_id_b"] == 2
    assert by_unit[2]["correlation"] == pytest.approx(1, abs=1e-6)  # |D| of both
    # The infinite one counts as the farthest, which is 0.8.
    expected = np.corrcoef(np.abs(D[0]), [0.8, 0.1, 0, 0.3, 0.2])[0, 1]
    assert by_unit[0]["correlation"] == pytest.approx(expected, abs=1e-6)
    assert by_unit[0]["distance_b"] == np.inf


def test_two_networks_are_compared_by_layers_and_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, b = network(tmp_path / "a"), network(tmp_path / "b", layers=(("x", 1, "c"), ("y", 4, "c")))
    values = {"a": rng.normal(size=(30, 5)), "b": rng.normal(size=(30, 5))}
    values["b"][:, 1:4] = values["a"][:, 2:5] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    values["b"][:, 4] = 0.1
    done: list[int] = []
    found = networks([a, b], ["A", "B"], lambda run: values[run.path.name], progress=done.append)
    pair = found.pairs.row(0, named=True)
    assert (pair["run_a"], pair["run_b"], pair["note"]) == ("A", "B", "")
    assert (pair["images"], pair["images_used"], pair["classes"]) == (30, 30, 5)
    assert (pair["layer_a"], pair["layer_b"]) == ("late", "y")
    assert pair["cka"] == pair["cka_last"] == pytest.approx(1, abs=1e-6)
    cells = {(row["layer_a"], row["layer_b"]): row["cka"] for row in found.cka.rows(named=True)}
    assert list(cells) == [("early", "x"), ("early", "y"), ("late", "x"), ("late", "y")]
    expected = fnx.cka(values["a"][:, :2], values["b"][:, :1])
    assert cells["early", "x"] == pytest.approx(expected, abs=1e-6)
    assert pair["units"] == found.units.height == 4
    assert pair["distance"] == "raw"
    assert pair["correlation"] == pytest.approx(found.units["correlation"].median())
    shares = found.layers["pct_beyond_chance"] * found.layers["units"]
    assert pair["pct_beyond_chance"] == pytest.approx(shares.sum() / 4)
    assert done == [1]


def test_at_most_two_thousand_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 12)
    a, b = network(tmp_path / "a"), network(tmp_path / "b")
    rng = np.random.default_rng(1)
    values = {"a": rng.normal(size=(30, 5)), "b": rng.normal(size=(30, 5))}
    found = networks([a, b], ["A", "B"], lambda run: values[run.path.name])
    pair = found.pairs.row(0, named=True)
    assert (pair["images"], pair["images_used"]) == (30, 12)
    expected = fnx.cka(values["a"][:12, :2], values["b"][:12, :2])
    assert found.cka["cka"][0] == pytest.approx(expected, abs=1e-6)


def test_what_is_missing_is_told_and_the_rest_compared(tmp_path: Path) -> None:
    a, b = network(tmp_path / "a"), network(tmp_path / "b")

    def gone(run: Run) -> Any:
        if run.path.name == "b":
            raise DataError("the embedding is gone (outputs/x)")
        return np.zeros((30, 5))

    found = networks([a, b], ["A", "B"], gone)
    pair = found.pairs.row(0, named=True)
    assert pair["note"] == (
        "No CKA: B: the embedding is gone (outputs/x). The command of the run extracts it again."
    )
    assert (pair["cka"], pair["images_used"], found.cka.height) == (None, None, 0)
    assert pair["units"] == 4
    few = [
        network(tmp_path / name, D[:, :3].copy(), names=NAMES[:3], sizes=(5, 5, 5)) for name in "cd"
    ]
    found = networks(few, ["C", "D"], lambda run: np.zeros((15, 5)))
    assert "Units are not matched: that needs at least 4 shared" in found.pairs["note"][0]
    assert found.pairs["cka"].to_list() == [None]  # of constant layers
    same = [network(tmp_path / name, weights_digest="w") for name in "ef"]
    values = np.random.default_rng(0).normal(size=(30, 5))
    found = networks(same, ["E", "F"], lambda run: values)
    assert found.pairs["note"].to_list() == [
        "The weights are the same: units correspond by their numbers."
    ]
    assert found.pairs["cka_last"].item() == pytest.approx(1)
    assert found.units.is_empty()


def test_runs_that_noted_no_contents_are_told_if_they_are_of_one_data_set(tmp_path: Path) -> None:
    a, b = network(tmp_path / "a"), network(tmp_path / "b")
    c = network(tmp_path / "c", dataset="another", names=("v", "w", "x", "y", "z"))
    for run in (b, c):
        file = run.path / "images.parquet"
        pl.read_parquet(file).drop("digest").write_parquet(file)
    runs = [a, Run.open(b.path), Run.open(c.path)]
    assert network_pairs(runs) == [(0, 1)]
    found = networks(runs, ["A", "B", "C"], lambda run: np.zeros((30, 5)))
    assert "not known which images B had" in found.pairs["note"].item()
    assert found.pairs["images"].item() is None

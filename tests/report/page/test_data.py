from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.report.page import data as pagedata

KINDS = {"f4": np.float32, "f8": np.float64, "i4": np.int32, "u1": np.uint8}


def unpacked(value: Any) -> Any:
    if isinstance(value, dict) and "$" in value:
        return np.frombuffer(base64.b64decode(value["b64"]), KINDS[value["$"]])
    if isinstance(value, dict):
        return {key: unpacked(part) for key, part in value.items()}
    return [unpacked(part) for part in value] if isinstance(value, list) else value


def read(path: Path) -> Any:
    """A chunk as the page gets it."""
    found = re.fullmatch(r'fnxData\("([^"]+)",(.*)\);\n', path.read_text())
    assert found is not None
    assert found[1] == path.stem
    return unpacked(json.loads(found[2]))


@pytest.fixture(scope="module", params=["signed", "unsigned"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    spec = Synthetic() if request.param == "signed" else Synthetic(statistic="kl", unbounded=True)
    return Run.open(write_run(tmp_path_factory.mktemp("data") / "run", spec))


def signs(run: Run) -> list[tuple[str, Any]]:
    pairs = [("+", run.classes["t_plus"]), ("-", run.classes["t_minus"])]
    return [
        (sign, limits.to_numpy().astype(np.float32)) for sign, limits in pairs[: 1 + run.signed]
    ]


def test_the_page_has_the_very_distances(run: Run, tmp_path: Path) -> None:
    pagedata.write(run, tmp_path)
    step = pagedata.features_per_chunk(run)
    parts = [read(tmp_path / f"features-{i}.js") for i in range(-(-run.features.height // step))]
    distances = np.concatenate([part["distances"] for part in parts])
    assert np.array_equal(distances.reshape(run.distances.shape), run.distances)
    limits = np.concatenate([part["random"] for part in parts]).reshape(-1, 4)
    random = np.asarray(run.distances_random).transpose(1, 0, 2).reshape(len(limits), -1)
    expected = np.quantile(random, [0, 0.025, 0.975, 1], axis=1, method="inverted_cdf").T
    assert np.array_equal(limits, expected)


def test_what_is_kept_is_counted_for_each_class_and_layer(run: Run, tmp_path: Path) -> None:
    pagedata.write(run, tmp_path)
    names = run.features["layer"].unique(maintain_order=True).to_list()
    classes = read(tmp_path / "classes-0.js")
    for sign, limits in signs(run):
        real, random = (
            array > limits if sign == "+" else array < limits
            for array in (np.asarray(run.distances), np.asarray(run.distances_random))
        )
        for i, name in enumerate(names):
            of_layer = (run.features["layer"] == name).to_numpy()
            found = read(tmp_path / f"layer-{i}.js")["signs"][sign]
            assert found["kept"].tolist() == real[of_layer].sum(axis=0).tolist()
            assert found["classesKept"].tolist() == real[of_layer].sum(axis=1).tolist()
            for ofclass in range(run.classes.height):
                part = classes[str(ofclass)][sign]
                assert part["kept"][i] == real[of_layer, ofclass].sum()
                expected = random[:, of_layer, ofclass].sum(axis=1).mean()
                assert part["keptRandom"][i] == pytest.approx(expected)
        table = run.layers.filter(sign=sign)
        pairs = [(run.features["layer"] == name).sum() * run.classes.height for name in names]
        kept = run.scan.sides[0 if sign == "+" else 1].kept.sum(axis=1)
        assert (100 * kept / pairs).tolist() == pytest.approx(table["pct_kept"].to_list())


def test_the_strongest_are_those_of_the_tables(run: Run, tmp_path: Path) -> None:
    pagedata.write(run, tmp_path)
    classes = read(tmp_path / "classes-0.js")
    for sign, _ in signs(run):
        for ofclass in range(run.classes.height):
            part = classes[str(ofclass)][sign]
            table = run.top_features.filter(class_id=ofclass, sign=sign)
            assert part["features"][: table.height].tolist() == table["feature_id"].to_list()
            assert part["distances"][: table.height].tolist() == table["distance"].to_list()
        layer = read(tmp_path / "layer-1.js")["signs"][sign]
        rows = np.flatnonzero((run.features["layer"] == run.features["layer"].unique(
            maintain_order=True)[1]).to_numpy())  # fmt: skip
        values = np.sort(np.asarray(run.distances)[rows].ravel())
        values = values[values > 0][::-1] if sign == "+" else values[values < 0]
        assert layer["pairDistances"].tolist() == values[:50].tolist()
        at = layer["pairFeatures"], layer["pairClasses"]
        assert np.array_equal(np.asarray(run.distances)[at], layer["pairDistances"])


def test_the_figures_show_the_tables(run: Run, tmp_path: Path) -> None:
    pagedata.write(run, tmp_path)
    found = read(tmp_path / "figures.js")
    real = np.asarray(run.distances)
    for sign, _ in signs(run):
        for x, mean in zip(found["x"], found["curves"][sign]["mean"], strict=True):
            limit = np.float32(x)
            beyond = real > limit if sign == "+" else real < -limit
            assert mean == pytest.approx(beyond.sum(axis=0).mean())
        for name in ("mode", "pct_kept", "pct_kept_random"):
            column = run.layers.filter(sign=sign)[name].cast(pl.Float64).fill_null(np.nan)
            assert np.array_equal(found["layers"][sign][name], column, equal_nan=True)
    drawn = (real >= found["edges"][0]) & (real <= found["edges"][-1])
    assert found["histogram"].sum() == drawn.sum()


def test_of_too_many_distances_the_strongest_are_taken_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagedata, "MAX_PAIRS", 10)
    monkeypatch.setattr(pagedata, "TOP_OF_FEATURE", 1)
    run = Run.open(write_run(tmp_path / "run"))
    pagedata.write(run, tmp_path / "data")
    first = read(tmp_path / "data/features-0.js")["strongest"][0]
    row = run.distances[0]
    assert first["classes"].tolist() == [row.argmax(), row.argmin()]
    assert first["distances"].tolist() == [row.max(), row.min()]


def test_chunks_of_an_earlier_report_go(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/layer-99.js").touch()
    pagedata.write(run, tmp_path / "data")
    assert not (tmp_path / "data/layer-99.js").exists()

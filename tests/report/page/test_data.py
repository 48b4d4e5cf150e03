from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.report.synthetic import Synthetic, write_run

import fnx
from fnx.analysis import Run
from fnx.report.page import data as pagedata
from fnx.report.pictures.paths import sprite_path
from fnx.report.values import feature_values

KINDS = {"f4": np.float32, "f8": np.float64, "i4": np.int32, "u1": np.uint8, "u2": np.uint16}


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


def test_calibrated_values_take_the_place_of_raw_ones(tmp_path: Path) -> None:
    # A class whose top features by calibrated distance are not all among those by distance.
    spec = Synthetic(layers=(("conv", 300, "conv"), ("fc", 260, "fc")), calibrated=True)
    run = Run.open(write_run(tmp_path / "run", spec))
    assert run.calibrated is not None
    calibrated = np.asarray(run.calibrated)
    data = tmp_path / "data"
    pagedata.write(run, data)
    moments = read(data / "moments.js")["moments"]
    assert moments.tolist() == np.float32(run.features["null_second_moment"]).tolist()
    figures, layer = read(data / "figures.js"), read(data / "layer-1.js")
    rows = calibrated[300:]
    expected = np.histogram(rows[rows != 0], layer["edges"])[0].tolist()
    assert layer["calibrated"]["histogram"].tolist() == expected
    assert figures["calibrated"]["histogram"][100:].tolist() == expected
    random = np.asarray(run.calibrated_random)[:, 300:]
    expected = np.histogram(random[random != 0], layer["edges"])[0].tolist()
    assert layer["calibrated"]["histogramRandom"].tolist() == expected
    for sign, way in (("+", 1), ("-", -1)):
        table = run.layers.filter(sign=sign)
        shown = figures["calibrated"]["layers"][sign]
        assert shown["mode"].tolist() == table["calibrated_mode"].to_list()
        assert shown["low_random"].tolist() == table["calibrated_low_random"].to_list()
        assert shown["pct_kept"].tolist() == table["pct_kept"].to_list()
        pairs = layer["calibrated"]["pairs"][sign]
        at = pairs["pairFeatures"], pairs["pairClasses"]
        assert calibrated[at].tolist() == sorted(rows.ravel(), reverse=sign == "+")[:50]
        assert np.array_equal(pairs["pairDistances"], run.distances[at])
        found = read(data / "classes-0.js")["0"][sign]
        farthest = np.argsort(-way * calibrated[:, 0], kind="stable")[:200]
        assert set(farthest[way * calibrated[farthest, 0] > 0]) <= set(found["features"])
        assert 200 <= len(found["features"]) == len(set(found["features"])) < 400
        assert np.array_equal(found["distances"], run.distances[found["features"], 0])
    index = pagedata.index(run)
    top = unpacked(index["top"]["+"])
    assert index["calibrated"] is True
    assert top["calibrated"][:5].tolist() == calibrated[top["features"][:5], 0].tolist()


def test_a_run_that_is_not_calibrated_has_nothing_to_switch(run: Run, tmp_path: Path) -> None:
    pagedata.write(run, tmp_path)
    assert not (tmp_path / "moments.js").exists()
    assert "calibrated" not in read(tmp_path / "figures.js")
    assert "calibrated" not in read(tmp_path / "layer-0.js")
    assert pagedata.index(run)["calibrated"] is False


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


def test_many_classes_come_in_chunks_with_fewer_features_and_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(class_sizes=tuple(range(10, 21)))))
    monkeypatch.setattr(pagedata, "MAX_CURVES", 5)
    assert pagedata.top_per_class(run) == 5
    monkeypatch.setattr(pagedata, "MANY_CLASSES", 11)
    assert pagedata.top_per_class(run) == 5
    monkeypatch.setattr(pagedata, "MANY_CLASSES", 10)
    assert pagedata.top_per_class(run) == 3
    # A class needs 3 layers × 12 + 200 features × 8 + 201 points × 8 bytes for each of two signs.
    for room, classes in ((6487, 1), (6488, 1), (3 * 6488 - 1, 2), (3 * 6488, 3), (10**7, 11)):
        monkeypatch.setattr(pagedata, "CHUNK_BYTES", room)
        assert pagedata.classes_per_chunk(run) == classes
    one = 4 * 11 + 220  # distances to 11 classes; values and top images
    for room, features in ((one - 1, 1), (one * 7, 7), (10**6, 48)):
        monkeypatch.setattr(pagedata, "CHUNK_BYTES", room)
        assert pagedata.features_per_chunk(run) == features
    monkeypatch.setattr(pagedata, "CHUNK_BYTES", 4 * 6488)
    pagedata.write(run, tmp_path / "data")
    found = {}
    for path in tmp_path.glob("data/classes-*.js"):
        part = read(path)
        number = int(path.stem.removeprefix("classes-"))
        assert [int(key) // 4 for key in part] == [number] * len(part)
        found |= part
    assert sorted(map(int, found)) == list(range(11))
    real = np.asarray(run.distances)
    for key, value in found.items():
        at = value["+"]["features"]
        assert np.array_equal(value["+"]["distances"], real[at, int(key)])
    figures = read(tmp_path / "data/figures.js")
    assert figures["shown"].tolist() == [0, 2, 5, 8, 10]
    assert figures["curves"]["+"]["real"].reshape(5, -1)[:, 0].tolist() == [
        (real[:, i] > 0).sum() for i in (0, 2, 5, 8, 10)
    ]


def test_a_page_takes_all_distances_along_up_to_a_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagedata, "MAX_PAIRS", run.distances.size)
    assert pagedata.index(run)["whole"]
    monkeypatch.setattr(pagedata, "MAX_PAIRS", run.distances.size - 1)
    assert not pagedata.index(run)["whole"]
    monkeypatch.setattr(pagedata, "CHUNK_BYTES", (16 * 50 + 220) * 3)
    assert pagedata.features_per_chunk(run) == 3


def test_the_index_has_the_top_features_and_the_pictures(tmp_path: Path) -> None:
    layers = (("a b", 3, "conv"), ("fc", 2, "fc"))
    run = Run.open(write_run(tmp_path / "run", Synthetic(layers=layers)))
    for name in ("a_b-c8687a08/2", "a_b-c8687a08/0", "classes/1", "fc/x"):
        picture = run.path / f"pictures/{name}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    folder = next(run.path.glob("pictures/a_b*"))
    expected = sprite_path(run.path, "a b", 0).parent
    folder.rename(expected)
    index = unpacked(pagedata.index(run))
    assert index["classPictures"] == [1]
    first, second = index["layers"]
    assert (first["name"], first["first"], first["size"]) == ("a b", 0, 3)
    assert (first["pictures"], first["pictured"]) == (f"pictures/{expected.name}", [0, 2])
    assert (second["first"], second["size"], "pictured" in second) == (3, 2, False)
    real = np.asarray(run.distances)
    for sign, values in (("+", real), ("-", -real)):
        ids = index["top"][sign]["features"].reshape(5, 5)
        told = index["top"][sign]["distances"].reshape(5, 5)
        for i in range(5):
            order = [j for j in np.argsort(-values[:, i], kind="stable") if values[j, i] > 0]
            assert ids[i].tolist() == order + [-1] * (5 - len(order))
            assert told[i].tolist() == [*real[order, i].tolist(), *[0] * (5 - len(order))]


def test_units_are_numbered_only_where_some_are_missing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    features = pl.read_parquet(folder / "features.parquet")
    shifted = pl.when(pl.col("layer") == "fc6").then(pl.col("unit") + 1).otherwise("unit")
    features.with_columns(unit=shifted).write_parquet(folder / "features.parquet")
    layers = unpacked(pagedata.index(Run.open(folder))["layers"])
    assert ["units" in layer for layer in layers] == [False, False, True]
    assert layers[2]["units"].tolist() == list(range(1, 21))


def test_a_known_network_gives_a_layer_its_map_and_field(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    pl.DataFrame(
        {
            "name": ["conv1_2", "fc6"],
            "kind": ["conv", "fc"],
            "filters": [2, None],
            "neurons": [40, 3],
            "features": [2, 3],
            "parameters": [7, 9],
            "height": [5, None],
            "width": [4, None],
            "receptive_field": [3, None],
        }
    ).write_parquet(folder / "network.parquet")
    layers = pagedata.index(Run.open(folder))["layers"]
    assert [layer.get("network") for layer in layers] == [
        None,
        {"parameters": 7, "height": 5, "width": 4, "sees": "3 × 3 pixels"},
        {"parameters": 9, "sees": "the whole image"},
    ]


def sized(features: int, classes: int) -> Any:
    """What is asked of a run's size."""
    return SimpleNamespace(
        features=SimpleNamespace(height=features),
        classes=SimpleNamespace(height=classes),
        distances=SimpleNamespace(size=features * classes),
        scan=SimpleNamespace(layers=range(10)),
        of_array=False,
    )


def test_the_page_of_a_large_run_has_less_of_each_class_and_feature() -> None:
    assert [pagedata.top_per_class(sized(1, classes)) for classes in (300, 301)] == [5, 3]
    # Chunks of 220 kB: 4 bytes for each class of a feature, or 16 for each of its 50 top
    # classes, and 220 for its values and top images.
    whole, cut = sized(32_000, 1000), sized(32_001, 1000)
    assert [pagedata.features_per_chunk(run) for run in (whole, cut)] == [52, 215]
    assert pagedata.features_per_chunk(sized(7, 100)) == 7
    assert pagedata.classes_per_chunk(whole) == 220_000 // (2 * (120 + 1600 + 201 * 8)) == 33


def test_of_many_classes_three_hundred_have_curves_and_all_come_in_one_chunk_if_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = (("conv", 2, "conv"), ("fc", 1, "fc"))
    spec = Synthetic(class_sizes=(3,) * 302, layers=layers)
    run = Run.open(write_run(tmp_path / "run", spec))
    monkeypatch.setattr(pagedata, "CHUNK_BYTES", 10**7)
    figures = unpacked(pagedata.figures(run))
    assert len(figures["shown"]) == 300
    assert figures["shown"][[0, -1]].tolist() == [0, 301]
    assert figures["pairs"].tolist() == [604, 302]
    assert figures["pairsRandom"].tolist() == [1208, 604]
    (chunk,) = pagedata.classes(run)
    assert list(chunk) == [str(i) for i in range(302)]


def test_a_constant_feature_is_marked(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run", Synthetic(constant=[3, 47])))
    (chunk,) = pagedata.features(run)
    assert np.flatnonzero(unpacked(chunk)["constant"]).tolist() == [3, 47]


def test_a_feature_brings_its_values_and_top_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5)).astype(np.float32)
    features[:, 3] = 2  # a constant
    texts = [f"row {i}" for i in range(60)]
    run = fnx.analyze(
        features,
        np.repeat(["a", "b", "c"], 20),
        texts=texts,
        report="tables",
        logger="none",
        **{"paths.outputs": str(tmp_path)},
    )
    monkeypatch.setattr(pagedata, "CHUNK_BYTES", 1000)
    found = [unpacked(chunk) for chunk in pagedata.features(run)]
    assert len(found) > 1
    of_class = np.concatenate([part["values"]["of"] for part in found])
    counts = np.concatenate([part["values"]["counts"] for part in found]).reshape(5, 2, 16)
    ends = np.concatenate([part["values"]["ends"] for part in found]).reshape(5, 2)
    assert of_class.tolist() == np.abs(run.distances).argmax(axis=1).tolist()
    for number in range(5):
        shown = feature_values(run, number, int(of_class[number]))
        assert ends[number].tolist() == [shown.edges[0], shown.edges[-1]]
        percent = 100 * counts[number] / [[20], [40]]
        assert np.allclose(percent, [shown.inner, shown.outer])
    images = pagedata.top_images(run)
    top = [part["top"] for part in found]
    ids = np.concatenate([part["ids"] for part in top]).reshape(5, -1)
    values = np.concatenate([part["values"] for part in top]).reshape(ids.shape)
    order = np.argsort(-features[:, 1], kind="stable")[: ids.shape[1]]
    assert [images["names"][i] for i in ids[1]] == [texts[i] for i in order]
    assert [images["classes"][i] for i in ids[1]] == ["abc"[i // 20] for i in order]
    assert values[1].tolist() == features[order, 1].tolist()
    assert set(ids[3]) == {-1}


def test_a_run_without_its_embedding_says_why_there_are_no_values(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    (chunk,) = pagedata.features(run)
    assert chunk["noValues"].startswith("the embedding is gone")
    assert "values" not in chunk
    assert "top" not in chunk
    assert pagedata.top_images(run) == {"names": [], "classes": []}

"""What the page says, and what its views are drawn from, counted again from the distances."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from tests.numbers.reading import Document, chunks, numbers, unpacked, written
from tests.numbers.recount import Recount
from tests.numbers.runs import CLASSES, SIZES


def test_the_pages_headline(counted: Recount) -> None:
    page, answer = Document(counted.folder / "report.html"), counted.answer
    speaking, silent = counted.by_excess[:3], counted.by_excess[-1]
    names = "|".join(map(re.escape, counted.layers))
    assert re.findall(names, page.texts["sums"]) == [speaking[0], *speaking, silent]
    sides = [(counted.side(sign)["kept"], counted.thresholds[sign]) for sign in counted.signs]
    expected = [
        *(str(sum(SIZES)), str(len(counted.real)), "2"),  # two images could not be used
        *(written(share) for layer in (*speaking, silent) for share in counted.both(layer)),
        written(answer["kept"]),
        str(len(counted.real)),
        *(
            text
            for kept, t in sides
            for text in ([written(kept)] if len(sides) > 1 else []) + [written(t, 3)]
        ),
        written(answer["noise_share"]),
        written(answer["noise"]),
        written(answer["below"]),
    ]
    assert numbers(page.texts["sums"]) == expected
    first = page.texts["answer"]
    assert numbers(first, "100 bins", "resnet18")[0] == str(len(CLASSES))
    advice = json.loads((counted.folder / "advice.json").read_text())
    assert written(100 * advice["chance"]) + " %" in first
    advised = next((row for row in advice["table"] if row["recommended"]), None)
    told = (
        "better than chance" if advised is None else f"{advised['entry']} tells these classes apart"
    )
    assert told in first


def test_the_pages_tables(counted: Recount) -> None:
    page, plus = Document(counted.folder / "report.html"), counted.signs
    layers = []
    for name, rows in counted.layers.items():
        real, random = counted.both(name)
        each = [counted.share(name, sign)[0] for sign in plus] if len(plus) > 1 else []
        modes = [counted.spread(counted.real[rows], sign)[0] for sign in plus]
        layers.append([
            name, counted.kinds[name], str(len(rows)), *(f"{v:.1f} %" for v in (real, random)),
            written(real - random, 1), "", *(f"{v:.1f} %" for v in each),
            *(written(mode, 3) for mode in modes),
        ])  # fmt: skip
    assert page.rows("layers") == layers
    sides = [counted.side(sign) for sign in plus]
    assert [row[1:] for row in page.rows("thresholds")] == [
        [
            written(side["threshold"], 3),
            *(written(side[name], 1) for name in ("kept", "kept_random", "davg")),
            f"{100 * (side['kept_random'] or 0) / (side['kept'] or 1):.1f} %",
        ]
        for side in sides
    ]
    classes = []
    for class_id, (name, size) in enumerate(zip(CLASSES, SIZES, strict=True)):
        column = counted.real[:, class_id]
        best = {sign: counted.ranked(column, sign)[:5] for sign in plus}
        classes.append([
            name, str(size), *(str(counted.kept_by_class(sign)[class_id]) for sign in plus),
            *("".join(f"{counted.name(i)} {written(float(column[i]), 2)}" for i in best[sign])
              for sign in plus),
        ])  # fmt: skip
    assert page.rows("classes") == classes


def test_the_pages_index(counted: Recount) -> None:
    page = Document(counted.folder / "report.html")
    index = unpacked(json.loads(page.scripts["run-index"]))
    assert index["range"] == [counted.edges(1)[0], counted.high]
    assert index["thresholds"] == pytest.approx(counted.thresholds, rel=1e-12)
    assert (index["signed"], index["permutations"]) == (len(counted.signs) > 1, 3)
    assert list(index["classImages"]) == list(SIZES)
    assert index["classNames"] == list(CLASSES)
    assert [index[key] for key in ("classesPerChunk", "featuresPerChunk", "topPerClass")] == [
        len(CLASSES),
        len(counted.real),
        5,
    ]
    assert index["whole"] is True
    assert [(row["name"], row["first"], row["size"]) for row in index["layers"]] == [
        (name, rows[0], len(rows)) for name, rows in counted.layers.items()
    ]
    for sign, name in zip(counted.signs, ("Plus", "Minus"), strict=False):
        assert set(index[f"t{name}"]) == {np.float32(counted.thresholds[sign])}
        assert list(index[f"kept{name}"]) == list(counted.kept_by_class(sign))
        ids = index["top"][sign]["features"].reshape(len(CLASSES), 5)
        values = index["top"][sign]["distances"].reshape(len(CLASSES), 5)
        for class_id, column in enumerate(counted.real.T):
            best = counted.ranked(column, sign)[:5]
            assert [i for i in ids[class_id] if i >= 0] == best
            assert list(values[class_id][: len(best)]) == list(column[best])


def test_the_pages_figures(counted: Recount) -> None:
    held = chunks(counted.folder)["figures"]
    n_classes, layers = len(CLASSES), counted.layers.values()
    assert held["edges"] == pytest.approx(counted.edges(100), abs=1e-12)
    for key, pairs, values, times in (
        ("histogram", "pairs", counted.real[None], 1),
        ("histogramRandom", "pairsRandom", counted.random, 3),
    ):
        found = held[key].reshape(len(layers), 100)
        for row, ids in zip(found, layers, strict=True):
            assert row.tolist() == counted.histogram(values[:, ids], 100).tolist()
        assert held[pairs].tolist() == [len(ids) * n_classes * times for ids in layers]
    every = counted.spreads() | counted.shares()
    for sign in counted.signs:
        mine = [i for i, (_, other) in enumerate(counted.by_sign) if other == sign]
        for name, values in held["layers"][sign].items():
            expected = [np.nan if every[name][i] is None else every[name][i] for i in mine]
            assert values == pytest.approx(expected, rel=1e-12, nan_ok=True), name
        real = counted.count(counted.real, counted.curve_x, sign)
        random = np.array([counted.count(one, counted.curve_x, sign) for one in counted.random])
        curves = held["curves"][sign]
        assert curves["real"].tolist() == real.ravel().tolist()
        assert curves["random"].tolist() == random[0].ravel().tolist()
        assert curves["mean"] == pytest.approx(real.mean(axis=0))
        assert curves["meanRandom"] == pytest.approx(random.mean(axis=(0, 1)))
        assert curves["davg"] == pytest.approx(counted.excess[sign])
    assert held["shown"].tolist() == list(range(n_classes))


def test_the_pages_views(counted: Recount) -> None:
    held = chunks(counted.folder)
    real, random = counted.real, counted.random
    for number, (name, rows) in enumerate(counted.layers.items()):
        view = held[f"layer-{number}"]
        assert view["histogram"].tolist() == counted.histogram(real[rows], 100).tolist()
        expected = counted.histogram(random[:, rows], 100)
        assert view["histogramRandom"].tolist() == expected.tolist()
        for sign in counted.signs:
            told, kept = view["signs"][sign], counted.beyond(real[rows], sign)
            assert told["kept"].tolist() == kept.sum(axis=0).tolist()
            chance = counted.beyond(random[:, rows], sign).sum(axis=1).mean(axis=0)
            assert told["keptRandom"] == pytest.approx(chance)
            assert told["classesKept"].tolist() == kept.sum(axis=1).tolist()
            best = real[rows].argmax(axis=1) if sign == "+" else real[rows].argmin(axis=1)
            assert told["bestClass"].tolist() == best.tolist()
            assert told["best"].tolist() == real[rows][range(len(rows)), best].tolist()
            places = counted.ranked(real[rows].ravel(), sign)[:50]
            features, classes = np.divmod(places, len(CLASSES))
            assert told["pairFeatures"].tolist() == (features + rows[0]).tolist(), name
            assert told["pairClasses"].tolist() == classes.tolist()
            assert told["pairDistances"].tolist() == real[rows].ravel()[places].tolist()
    for class_id in range(len(CLASSES)):
        for sign, told in held["classes-0"][str(class_id)].items():
            column = real[:, class_id]
            best = counted.ranked(column, sign)
            assert told["features"].tolist() == best
            assert told["distances"].tolist() == column[best].tolist()
            each = [counted.beyond(column[rows], sign).sum() for rows in counted.layers.values()]
            assert told["kept"].tolist() == each
            for curve, values in (("curve", real), ("curveRandom", random[0])):
                expected = counted.count(values, counted.curve_x, sign)[class_id]
                assert told[curve].tolist() == expected.tolist()
    told = held["features-0"]
    assert told["distances"].reshape(real.shape).tolist() == real.tolist()
    assert told["constant"].tolist() == counted.constant.tolist()
    ordered = np.sort(random.transpose(1, 0, 2).reshape(len(real), -1), axis=1)
    places = [0, int(np.ceil(0.025 * 21)) - 1, int(np.ceil(0.975 * 21)) - 1, 20]
    assert told["random"].reshape(-1, 4).tolist() == ordered[:, places].tolist()

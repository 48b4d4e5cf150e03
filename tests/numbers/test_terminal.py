"""The closing summary and `python -m fnx.show`, counted again from the distances."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from tests.numbers.reading import numbers, written
from tests.numbers.recount import Recount
from tests.numbers.runs import CLASSES, CONSTANT, FAILED, SIZES

from fnx.analysis import Run
from fnx.commands import show
from fnx.report import summary


def closing_numbers(counted: Recount) -> list[str]:
    """Those of the closing summary."""
    seconds = json.loads((counted.folder / "run.json").read_text())["seconds"].values()
    return [
        str(sum(SIZES)), "2", "1",  # two failed: the first is named, and one more
        str(len(CLASSES)), written(sum(SIZES) / len(CLASSES), 1),
        str(len(counted.real)), str(len(CONSTANT)),
        *(text for sign in counted.signs for text in (
            written(counted.thresholds[sign], 3, sign=counted.plus),
            written(counted.side(sign)["kept"]), written(counted.side(sign)["kept_random"]),
        )),
        *beyond_noise(counted),
        *(written(one, 1) for one in seconds), written(math.fsum(seconds), 1),
    ]  # fmt: skip


def beyond_noise(counted: Recount) -> list[str]:
    """Percent of the features kept beyond random labels, where that is worth saying."""
    sides = [counted.side(sign) for sign in counted.signs]
    signal = 100 * sum(one["kept"] - one["kept_random"] for one in sides) / len(counted.real)
    return [f"{signal:.0f}"] if signal >= 2 else []


def test_the_closing_summary(counted: Recount) -> None:
    text = summary(Run.open(counted.folder)).partition("\nnext\n")[0]
    assert numbers(text, counted.folder) == closing_numbers(counted)
    assert ", ".join(counted.by_excess[:3]) in " ".join(text.split())


@pytest.fixture
def shown(
    counted: Recount, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setenv("COLUMNS", "200")

    def show_it(*words: str) -> tuple[Any, list[str]]:
        """What is told as JSON, and the numbers of the text."""
        show.main([str(counted.folder), *words, "--json"])
        told = json.loads(capsys.readouterr().out)
        show.main([str(counted.folder), *words])
        record = json.loads((counted.folder / "run.json").read_text())
        text = re.sub(r"(?m)^  disk .*$", "", capsys.readouterr().out)  # what lies in the folder
        return told, numbers(text, counted.folder, record["embedding"], " 68 %")

    return show_it


def plain(value: float) -> float | str:
    """A number as JSON has it: infinities as text."""
    return float(value) if np.isfinite(value) else str(float(value))


def test_show_the_run(counted: Recount, shown: Any) -> None:
    told, text = shown()
    assert told["thresholds"] == [
        {"sign": sign} | {key: pytest.approx(v) for key, v in counted.side(sign).items()}
        for sign in counted.signs
    ]
    lines = []
    for row, (name, rows) in zip(told["layers"], counted.layers.items(), strict=True):
        real, random = counted.both(name)
        assert (row["layer"], row["features"]) == (name, len(rows))
        expected = {"pct_kept": real, "pct_kept_random": random, "excess": real - random}
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        lines += [str(len(rows)), written(real, 1), written(random, 1)]
    assert text == closing_numbers(counted) + lines


@pytest.mark.parametrize("class_id", [0, 4])
def test_show_a_class(counted: Recount, shown: Any, class_id: int) -> None:
    told, text = shown("--class", CLASSES[class_id], "--top", "4")
    column = counted.real[:, class_id]
    failed = len(FAILED) if class_id == 0 else 0
    assert (told["class_id"], told["n_images"]) == (class_id, SIZES[class_id])
    assert told["n_failed"] == failed
    expected = [str(class_id), "0", str(len(CLASSES) - 1), str(SIZES[class_id])]
    expected += ["2"] if failed else []
    for sign, row in zip(counted.signs, told["kept"], strict=True):
        kept = int(counted.beyond(column, sign).sum())
        chance = counted.beyond(counted.random[:, :, class_id], sign).sum(axis=1).mean()
        assert row == {
            "sign": sign, "threshold": pytest.approx(counted.thresholds[sign], rel=1e-12),
            "kept": kept, "kept_random": pytest.approx(chance),
        }  # fmt: skip
        limit = written(counted.thresholds[sign], 3, sign=counted.plus)
        expected += [str(kept), str(len(column)), limit, written(chance)]
    best = []
    for sign in "+-":
        for rank, i in enumerate(counted.ranked(column, sign)[:4], 1):
            best.append((sign, rank, i, counted.name(i), plain(column[i])))
            expected += [
                str(rank),
                str(counted.units[i]),
                written(float(column[i]), 3, sign=counted.plus),
            ]
    found = [(row["sign"], row["rank"], row["feature_id"], f"{row['layer']}/{row['unit']}",
              row["distance"]) for row in told["strongest"]]  # fmt: skip
    assert found == best
    for row, rows in zip(told["layers"], counted.layers.values(), strict=True):
        kept = [int(counted.beyond(column[rows], sign).sum()) for sign in counted.signs]
        assert (row["features"], row["kept_plus"]) == (len(rows), kept[0])
        expected += [str(len(rows)), *map(str, kept)]
    assert text == expected


@pytest.mark.parametrize("feature", [15, 6])
def test_show_a_feature(counted: Recount, shown: Any, feature: int) -> None:
    told, text = shown("--feature", counted.name(feature))
    row = counted.real[feature]
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    signs = [next((s for s in counted.signs if counted.beyond(d, s)), None) for d in row]
    low, high = counted.random[:, feature].min(), counted.random[:, feature].max()
    assert [c["class_id"] for c in told["classes"]] == order
    assert [c["distance"] for c in told["classes"]] == [plain(row[i]) for i in order]
    assert [c["sign"] for c in told["classes"]] == [signs[i] for i in order]
    assert [c["n_images"] for c in told["classes"]] == [SIZES[i] for i in order]
    assert (told["random_low"], told["random_high"]) == (plain(low), plain(high))
    assert told["constant"] == (feature in CONSTANT)
    assert text == [
        str(counted.units[feature]), str(feature), "0", str(len(counted.real) - 1),
        *(str(signs.count(sign)) for sign in counted.signs), str(len(CLASSES)),
        *(written(counted.thresholds[sign], 3, sign=counted.plus) for sign in counted.signs),
        written(float(low), 3, sign=counted.plus), written(float(high), 3, sign=counted.plus),
        *(written(float(row[i]), 3, sign=counted.plus) for i in order),
    ]  # fmt: skip


@pytest.mark.parametrize("layer", ["body.a", "head"])
def test_show_a_layer(counted: Recount, shown: Any, layer: str) -> None:
    told, text = shown("--layer", layer, "--top", "6")
    rows = counted.layers[layer]
    place = list(counted.layers).index(layer) + 1
    assert (told["number"], told["features"], told["constant"]) == (place, len(rows), 1)
    expected = [str(place), str(len(counted.layers)), str(len(rows)), "1"]
    for sign, row in zip(counted.signs, told["shares"], strict=True):
        real, random = counted.share(layer, sign)
        ends = counted.spread(counted.real[rows], sign)
        assert (row["pct_kept"], row["pct_kept_random"]) == pytest.approx((real, random))
        assert [row[key] for key in ("mode", "low", "high")] == pytest.approx(
            [plain(end or 0) for end in ends], rel=1e-12
        ) or "inf" in map(str, ends)
        expected += [written(real, 2), written(random, 2)]
        expected += [written(end, 3, sign=counted.plus) for end in ends]
    assert told["edges"] == pytest.approx(counted.edges(40), abs=1e-12)
    bins = []
    for key, values in (("real", counted.real[rows]), ("random", counted.random[:, rows])):
        bins.append(100 * counted.histogram(values, 40) / values.size)
        assert told[key] == pytest.approx(bins[-1])
    filled = np.flatnonzero(bins[0] + bins[1])
    step = counted.high / (20 if len(counted.signs) > 1 else 40)
    digits = max(0, min(6, 1 - int(np.floor(np.log10(step)))))
    for i in range(filled[0], filled[-1] + 1):
        expected += [
            written(edge, digits, sign=counted.plus) for edge in counted.edges(40)[i : i + 2]
        ]
        expected += [written(bins[0][i], 1), written(bins[1][i], 1)]
    pairs = []
    for sign in "+-":
        for rank, at in enumerate(counted.ranked(counted.real[rows].ravel(), sign)[:6], 1):
            feature, class_id = rows[at // len(CLASSES)], at % len(CLASSES)
            value = counted.real[feature, class_id]
            pairs.append((sign, rank, feature, counted.units[feature], class_id,
                          CLASSES[class_id], plain(value)))  # fmt: skip
            expected += [
                str(rank),
                str(counted.units[feature]),
                written(float(value), 3, sign=counted.plus),
            ]
    assert {row.pop("calibrated_distance") for row in told["pairs"]} == {None}
    assert [tuple(row.values()) for row in told["pairs"]] == pairs
    assert text == expected

"""A run's tables and the tables of its figures, counted again from its distances."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from tests.numbers.recount import Recount, same
from tests.numbers.runs import SIZES

import fnx
from fnx.commands import show


def test_the_runs_tell_readings_apart(counted: Recount) -> None:
    for sign, t in counted.thresholds.items():
        limit = np.float32(t)
        if counted.bounded:  # else no candidate lies where distances do
            assert (counted.real == limit).any(), "ties of real distances"
            assert (counted.random == limit).any(), "ties of random distances"
        side = counted.side(sign)
        assert len({round(float(value or 0), 6) for value in side.values()}) == 5
    shares = sorted(value for layer in counted.layers for value in counted.both(layer))
    assert np.diff(shares).min() > 0.3
    assert list(counted.layers) != counted.by_excess


def check_tables(counted: Recount) -> None:
    def table(name: str) -> pl.DataFrame:
        return pl.read_parquet(counted.folder / f"{name}.parquet")

    sides = [counted.side(sign) for sign in counted.signs]
    classes = range(len(counted.sizes))
    same(table("thresholds"), {"sign": list(counted.signs)})
    same(table("thresholds"), {key: [side[key] for side in sides] for key in sides[0]})
    same(table("davg"), {"x": counted.grid, "davg_plus": counted.excess["+"]})
    same(table("davg"), {"davg_minus": counted.excess.get("-", [None] * len(counted.grid))})
    same(table("classes"), {"class_id": classes, "n_images": counted.sizes})
    for name, sign in (("t_plus", "+"), ("t_minus", "-")):
        same(table("classes"), {name: [counted.thresholds.get(sign) for _ in classes]})
    same(table("layers"), counted.spreads() | counted.shares())
    law = {f"lognormal_{name}": values for name, values in counted.spreads("lognormal").items()}
    same(table("layers"), law)
    top = [
        (class_id, sign, rank, feature, float(counted.real[feature, class_id]))
        for class_id in classes
        for sign in "+-"
        for rank, feature in enumerate(counted.ranked(counted.real[:, class_id], sign)[:10], 1)
    ]
    assert table("top_features").drop("p_value", "q_value", strict=False).rows() == top


def test_tables(counted: Recount) -> None:
    assert tuple(counted.sizes) == SIZES
    check_tables(counted)


def test_a_whole_runs_tables(whole_run: Recount) -> None:
    check_tables(whole_run)


def test_figure_1(whole_run: Recount) -> None:
    features, labels = features_and_labels(whole_run)
    best = int(whole_run.real.argmax())  # the first of the highest distances, class by class
    columns = whole_run.real.T.ravel()
    class_id, feature = divmod(int(columns.argmax()), len(whole_run.real))
    assert whole_run.real.ravel()[best] == columns.max()
    values = features[:, feature].astype(np.float64)
    inner, outer = values[labels == class_id], values[labels != class_id]
    edges = np.histogram_bin_edges(values, 100)
    share = [np.histogram(part, edges)[0] / len(part) for part in (inner, outer)]
    table = pl.read_parquet(whole_run.folder / "figures/fig01_pair.parquet")
    same(table.filter(curve="density"), {
        "x": edges[:-1], "x_end": edges[1:],
        "inner": share[0] / np.diff(edges), "outer": share[1] / np.diff(edges),
    })  # fmt: skip
    same(table.filter(curve="cumulative"), {
        "x": edges, "inner": [0, *share[0].cumsum()], "outer": [0, *share[1].cumsum()],
    })  # fmt: skip
    widest = (share[1].cumsum() - share[0].cumsum()).max()
    assert widest == pytest.approx(columns.max(), abs=1e-6)


def test_a_features_values(whole_run: Recount, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = features_and_labels(whole_run)
    feature, class_id = 20, 3
    name = whole_run.class_names[class_id]
    words = [str(whole_run.folder), "--feature", whole_run.name(feature), "--class", name, "--json"]
    show.main(words)
    told = json.loads(capsys.readouterr().out)["values"]
    values = features[:, feature].astype(np.float64)
    edges = np.linspace(values.min(), values.max(), 17)
    assert told["edges"] == pytest.approx(edges)
    for key, part in (("inner", values[labels == class_id]), ("outer", values[labels != class_id])):
        assert told[f"n_{key}"] == len(part)
        assert told[key] == pytest.approx(100 * np.histogram(part, edges)[0] / len(part))


def features_and_labels(run: Recount) -> tuple[np.ndarray, np.ndarray]:
    """What the run's distances are of."""
    record = json.loads((run.folder / "run.json").read_text())
    embedding = fnx.Embedding.open(record["embedding"])
    return np.asarray(embedding.features), np.asarray(embedding.labels)


def test_the_figures_tables(counted: Recount) -> None:
    def table(name: str) -> pl.DataFrame:
        return pl.read_parquet(counted.folder / f"figures/{name}.parquet")

    every = counted.by_sign
    heads = {
        "layer": [layer for layer, _ in every],
        "kind": [counted.kinds[layer] for layer, _ in every],
        "sign": [sign for _, sign in every],
        "threshold": [counted.thresholds[sign] for _, sign in every],
    }
    same(table("fig05_layers"), heads | counted.spreads())
    same(table("fig10_kept"), heads | counted.shares())
    edges = counted.edges(100)
    fig06 = table("fig06_distribution")
    assert fig06["kind"].unique(maintain_order=True).to_list() == ["conv", "fc", "other"]
    for kind in ("conv", "fc", "other"):
        rows = [i for layer, ids in counted.layers.items() for i in ids
                if counted.kinds[layer] == kind]  # fmt: skip
        real, random = counted.real[rows], counted.random[:, rows]
        same(fig06.filter(kind=kind), {
            "low": edges[:-1], "high": edges[1:],
            "pct": 100 * counted.histogram(real, 100) / real.size,
            "pct_random": 100 * counted.histogram(random, 100) / random.size,
            "t_plus": [counted.thresholds["+"]] * 100,
            "t_minus": [counted.thresholds.get("-")] * 100,
        })  # fmt: skip
    for sign, name in zip(counted.signs, ("fig09_presence", "fig09_absence"), strict=False):
        rows, flip = table(name), 1 if sign == "+" else -1
        x = counted.curve_x
        real = counted.count(counted.real, x, sign)
        random = np.array([counted.count(one, x, sign) for one in counted.random])
        same(rows.filter(curve="class"), {
            "class_id": np.repeat(range(7), 201), "x": np.tile(counted.neutral + flip * x, 7),
            "real": real.ravel(), "random": random[0].ravel(),
        })  # fmt: skip
        same(rows.filter(curve="mean"), {
            "x": counted.neutral + flip * x, "real": real.mean(axis=0),
            "random": random.mean(axis=(0, 1)),
        })  # fmt: skip
        same(rows.filter(curve="davg"), {
            "x": counted.neutral + flip * counted.grid, "davg": counted.excess[sign],
        })  # fmt: skip
        side = counted.side(sign)
        same(rows.filter(curve="threshold"), {
            "x": [side["threshold"]], "real": [side["kept"]], "random": [side["kept_random"]],
            "davg": [side["davg"]],
        })  # fmt: skip
    same(table("table2"), {
        "images": [sum(SIZES)], "classes": [7], "smallest": [3], "largest": [31],
        "mean": [sum(SIZES) / 7], "paper_images": [None],
    })  # fmt: skip
    same(table("table3"), {key: [value] for key, value in counted.table3().items()})

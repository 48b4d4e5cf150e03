"""A run's tables and the tables of its figures, counted again from its distances."""

from __future__ import annotations

import numpy as np
import polars as pl
from tests.numbers.recount import Recount, same
from tests.numbers.runs import CLASSES, SIZES


def test_the_runs_tell_readings_apart(counted: Recount) -> None:
    for sign, t in counted.thresholds.items():
        limit = np.float32(t)
        assert (counted.real == limit).any(), "ties of real distances"
        assert (counted.random == limit).any(), "ties of random distances"
        side = counted.side(sign)
        assert len({round(float(value or 0), 6) for value in side.values()}) == 5
    shares = sorted(value for layer in counted.layers for value in counted.both(layer))
    assert np.diff(shares).min() > 0.3
    assert list(counted.layers) != counted.by_excess


def test_tables(counted: Recount) -> None:
    def table(name: str) -> pl.DataFrame:
        return pl.read_parquet(counted.folder / f"{name}.parquet")

    sides = [counted.side(sign) for sign in counted.signs]
    same(table("thresholds"), {"sign": list(counted.signs)})
    same(table("thresholds"), {key: [side[key] for side in sides] for key in sides[0]})
    same(table("davg"), {"x": counted.grid, "davg_plus": counted.excess["+"]})
    same(table("davg"), {"davg_minus": counted.excess.get("-", [None] * len(counted.grid))})
    same(table("classes"), {"n_images": SIZES})
    for name, sign in (("t_plus", "+"), ("t_minus", "-")):
        same(table("classes"), {name: [counted.thresholds.get(sign)] * len(CLASSES)})
    same(table("layers"), counted.spreads() | counted.shares())
    law = {f"lognormal_{name}": values for name, values in counted.spreads("lognormal").items()}
    same(table("layers"), {name: values for name, values in law.items() if "random" not in name})
    top = [
        (class_id, sign, rank, feature, float(counted.real[feature, class_id]))
        for class_id in range(len(CLASSES))
        for sign in "+-"
        for rank, feature in enumerate(counted.ranked(counted.real[:, class_id], sign)[:10], 1)
    ]
    assert table("top_features").rows() == top


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
            "class_id": np.repeat(range(7), 201), "x": np.tile(flip * x, 7),
            "real": real.ravel(), "random": random[0].ravel(),
        })  # fmt: skip
        same(rows.filter(curve="mean"), {
            "x": flip * x, "real": real.mean(axis=0), "random": random.mean(axis=(0, 1)),
        })  # fmt: skip
        same(rows.filter(curve="davg"), {
            "x": flip * counted.grid, "davg": counted.excess[sign],
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

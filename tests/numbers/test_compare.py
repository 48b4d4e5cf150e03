"""What `python -m fnx.compare` says, counted again from the distances of the runs."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tests.numbers.reading import Document, numbers, written
from tests.numbers.recount import Recount, same
from tests.numbers.runs import CLASSES, KINDS, LAYERS, SIZES, drawn_distances, undrawn
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import agreement
from fnx.commands import compare

# Four runs of one data set and one of another, in ascending order of images per class. "second"
# lacks a layer, has another, two units less in "head", and other classes in another order.
SECOND_LAYERS = (*LAYERS[:3], ("head", 10, "fc"), ("tail", 6, "fc"))
SECOND_UNITS = [0, 1, 3, 4, 5, 7, 8, 9, 10, 11]
SECOND_CLASSES = ("eel", "ant", "hen", "cat", "bee", "dog", "fox")
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "harbor": ("signed", {"dataset": "harbor", "class_sizes": (2, 3, 5, 5, 6, 7, 9)}),
    "first": ("signed", {}),
    "places": ("signed", {"model": "places-net", "class_sizes": [n + 1 for n in SIZES]}),
    "second": ("signed", {
        "layers": SECOND_LAYERS, "class_names": SECOND_CLASSES,
        "class_sizes": [n + 2 for n in SIZES],
    }),
    "divergence": ("unbounded", {"class_sizes": [n + 4 for n in SIZES]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recount]:
    """The runs, in the order of the comparison."""
    root, found = tmp_path_factory.mktemp("compared"), {}
    for number, (name, (kind, changes)) in enumerate(RUNS.items()):
        spec = Synthetic(**{
            "dataset": "meadow", "model": "netto", "layers": LAYERS, "class_names": CLASSES,
            "class_sizes": SIZES, "permutations": 3,
            "arrays": drawn_distances(kind, seed=20 + number), **KINDS[kind], **changes,
        })  # fmt: skip
        folder = write_run(root / "runs" / name, spec)
        record = json.loads((folder / "run.json").read_text())
        record["crops"]["name"] = name
        if name == "places":
            record["weights_digest"] = "0ddba11" * 8
        (folder / "run.json").write_text(json.dumps(record))
        if name == "second":
            features = pl.read_parquet(folder / "features.parquet")
            units = [*range(5), *range(9), *range(7), *SECOND_UNITS, *range(6)]
            features = features.with_columns(pl.Series("unit", units, dtype=pl.Int32))
            features.write_parquet(folder / "features.parquet")
        signed = kind == "signed"
        found[name] = Recount(folder, "+-" if signed else "+", bounded=signed)
    return found


@pytest.fixture(scope="module")
def compared(runs: dict[str, Recount]) -> tuple[Path, str]:
    """The folder of the comparison, and what was printed."""
    out = next(iter(runs.values())).folder.parents[1] / "out"
    with pytest.MonkeyPatch.context() as patch, undrawn():
        printed: list[str] = []
        patch.setattr("sys.stdout.write", printed.append, raising=False)
        patch.setenv("COLUMNS", "400")
        folder = str(out.parent / "runs")
        compare.main([folder, "--out", str(out), "--formats", "svg"])
    return out, "".join(printed)


def table(compared: tuple[Path, str], name: str) -> pl.DataFrame:
    return pl.read_parquet(compared[0] / f"{name}.parquet")


def labels(compared: tuple[Path, str], runs: dict[str, Recount]) -> dict[str, str]:
    """What each run is called."""
    return dict(zip(runs, table(compared, "table3")["label"], strict=True))


def curves(runs: dict[str, Recount]) -> list[tuple[str, str, list[float]]]:
    """Sign, curve and a, b, R² of the three runs of one network and statistic."""
    chosen = [runs[name] for name in ("harbor", "first", "second")]
    n = np.array([np.mean(run.sizes) for run in chosen])
    found = []
    for sign in "+-":
        t = np.array([run.thresholds[sign] for run in chosen])
        for curve, x in (("log", np.log(n)), ("inverse_sqrt", n**-0.5)):
            line = stats.linregress(x, t)
            found.append((sign, curve, [line.intercept, line.slope, line.rvalue**2]))
    return found


def test_tables_of_runs(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    rows = [run.table3() for run in runs.values()]
    same(table(compared, "table3"), {key: [row[key] for row in rows] for key in rows[0]})
    assert len(set(labels(compared, runs).values())) == len(runs)
    sizes = [run.sizes for run in runs.values()]
    same(table(compared, "table2"), {
        "images": [sum(one) for one in sizes], "smallest": [min(one) for one in sizes],
        "largest": [max(one) for one in sizes], "mean": [np.mean(one) for one in sizes],
    })  # fmt: skip
    fits = curves(runs)
    same(table(compared, "fits"), {"sign": [f[0] for f in fits], "curve": [f[1] for f in fits]})
    for i, name in enumerate(("intercept", "slope", "r_squared")):
        assert table(compared, "fits")[name].to_list() == pytest.approx([f[2][i] for f in fits])
    assert set(table(compared, "fits")["points"]) == {3}


# ---- agreement


def alike(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """A row of a table holds these values."""
    for key, value in expected.items():
        number = isinstance(value, (float, np.floating))
        assert row[key] == (pytest.approx(value, rel=1e-6) if number else value), key


def ranks(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's correlation; None where a side is constant."""
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return None
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


class Two:
    """Two runs: what they share, and the shared distances of a layer."""

    def __init__(self, a: Recount, b: Recount, *, by_unit: bool, same_scale: bool) -> None:
        self.a, self.b, self.by_unit, self.same_scale = a, b, by_unit, same_scale
        self.signed = len(a.signs) > 1 and len(b.signs) > 1
        self.classes = [name for name in a.class_names if name in b.class_names]
        self.layers = [name for name in a.layers if name in b.layers]

    def rows(self, layer: str) -> tuple[list[int], list[int]]:
        """Ids of the compared features in both runs."""
        rows = self.a.layers[layer], self.b.layers[layer]
        if not self.by_unit:
            return rows
        of_a, of_b = ({run.units[i]: i for i in ids}
                      for run, ids in zip((self.a, self.b), rows, strict=True))  # fmt: skip
        units = [unit for unit in of_a if unit in of_b]
        return [of_a[unit] for unit in units], [of_b[unit] for unit in units]

    def blocks(self, layer: str) -> list[np.ndarray]:
        """The shared distances of both runs."""
        return [
            run.real[np.ix_(rows, [run.class_names.index(name) for name in self.classes])]
            for run, rows in zip((self.a, self.b), self.rows(layer), strict=True)
        ]

    def layer(self, layer: str) -> dict[str, Any]:
        """A row of the table of agreement."""
        x, y = self.blocks(layer)
        kept = [
            {sign: run.beyond(block, sign) if sign in run.signs else np.zeros(block.shape, bool)
             for sign in "+-"}
            for run, block in zip((self.a, self.b), (x, y), strict=True)
        ]  # fmt: skip
        either = [one["+"] | one["-"] for one in kept]
        row: dict[str, Any] = {
            "distance": "raw", "layer": layer, "units_a": len(x), "units_b": len(y),
            "pct_kept_a": 100 * either[0].mean(), "pct_kept_b": 100 * either[1].mean(),
            "spearman_classes": ranks(either[0].sum(axis=0), either[1].sum(axis=0)),
        }  # fmt: skip
        if self.same_scale:
            row["wasserstein"] = stats.wasserstein_distance(x.ravel(), y.ravel())
            for run, block, side in ((self.a, x, "a"), (self.b, y, "b")):
                size = np.abs(run.away(block))
                row[f"mean_{side}"] = size[np.isfinite(size)].mean()
            for sign, name in (("+", "mode_plus_shift"), ("-", "mode_minus_shift")):
                row[name] = self.b.spread(y, sign)[0] - self.a.spread(x, sign)[0]
        if not self.by_unit:
            return row
        both = {sign: (kept[0][sign] & kept[1][sign]).sum() for sign in "+-"}
        one = {sign: (kept[0][sign] | kept[1][sign]).sum() for sign in "+-"}
        if self.signed:
            row |= {
                "jaccard": (both["+"] + both["-"]) / (one["+"] + one["-"]),
                "jaccard_plus": both["+"] / one["+"], "jaccard_minus": both["-"] / one["-"],
                "pct_sign_flips": 100 * (x * y < 0).mean(),
                "mean_abs_difference": np.abs(x.astype(float) - y).mean(),
                "max_abs_difference": np.abs(x - y).max(),
            }  # fmt: skip
        else:
            row["jaccard"] = (either[0] & either[1]).sum() / (either[0] | either[1]).sum()
            x, y = np.abs(x), np.abs(y)
        row["spearman"] = ranks(x.ravel(), y.ravel())
        known = [r for r in map(ranks, x.T, y.T) if r is not None]
        return row | {"spearman_by_class": np.mean(known)}

    def pair(self) -> dict[str, Any]:
        """A row of the table of pairs."""
        rows = [self.layer(layer) for layer in self.layers]
        row: dict[str, Any] = {
            "distance": "raw", "classes": len(self.classes), "layers": len(self.layers),
            "features": sum(len(self.rows(layer)[0]) for layer in self.layers),
            "spearman_layers": ranks(*(np.array([r[f"pct_kept_{s}"] for r in rows]) for s in "ab")),
        }  # fmt: skip
        for sign, name in (("+", "plus"), ("-", "minus")):
            t = [run.thresholds.get(sign) for run in (self.a, self.b)]
            row |= {f"t_{name}_a": t[0], f"t_{name}_b": t[1]}
            row[f"t_{name}_shift"] = t[1] - t[0] if self.same_scale else None
        for name in ("spearman", "jaccard", "wasserstein"):
            known = [r[name] for r in rows if r.get(name) is not None]
            row[name] = np.median(known) if known else None
        row["mean_change"] = None
        if self.same_scale:
            changes = [100 * (r["mean_b"] - r["mean_a"]) / r["mean_a"] for r in rows]
            row["mean_change"] = np.median(changes)
        lowest = min(rows, key=lambda r: r.get("spearman", 0))
        named = self.by_unit
        row["spearman_lowest"] = lowest["spearman"] if named else None
        row["lowest_layer"] = lowest["layer"] if named else None
        return row


def pairs(runs: dict[str, Recount]) -> dict[tuple[str, str], Two]:
    """The pairs of runs of one data set, or of the same class names."""
    return {
        (a, b): Two(runs[a], runs[b], by_unit="places" not in (a, b), same_scale=b != "divergence")
        for a, b in combinations(runs, 2)
        if (a, b) != ("harbor", "second")
    }


def test_agreement_of_pairs(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    called = labels(compared, runs)
    expected = {
        (called[a], called[b]): two.pair() | {"by": "unit" if two.by_unit else "distribution"}
        for (a, b), two in pairs(runs).items()
    }
    found = table(compared, "agreement_pairs")
    assert found.select("run_a", "run_b").rows() == list(expected)
    for row in found.rows(named=True):
        alike(row, expected[row["run_a"], row["run_b"]])


def test_agreement_of_layers(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    called, found = labels(compared, runs), table(compared, "agreement")
    for (a, b), two in pairs(runs).items():
        rows = found.filter(run_a=called[a], run_b=called[b]).rows(named=True)
        assert [row["layer"] for row in rows] == two.layers
        for row in rows:
            expected = two.layer(row["layer"])
            alike(row, expected)
            apart = {key for key, value in row.items() if value is not None} - set(expected)
            assert apart == {"run_a", "run_b", "by", "kind", "note"}


@pytest.mark.parametrize("kind", ["centred", "unbounded"])
def test_mean_size_of_distances(tmp_path: Path, kind: str) -> None:
    spec = Synthetic(
        layers=LAYERS, class_names=CLASSES, class_sizes=SIZES, permutations=3, **KINDS[kind]
    )  # fmt: skip
    drawn = [drawn_distances(kind, seed=40 + number) for number in range(2)]
    folders = [write_run(tmp_path / str(i), spec.but(arrays=one)) for i, one in enumerate(drawn)]
    pairs, layers = agreement([Run.open(one) for one in folders], ["a", "b"], [(0, 1)])
    ends = np.cumsum([units for _, units, _ in LAYERS])[:-1]
    means = []
    for (real, _), name in zip(drawn, ("mean_a", "mean_b"), strict=True):
        size = np.abs(real.astype(float) - (0.5 if kind == "centred" else 0))
        assert np.isinf(size).any() == (kind == "unbounded")
        blocks = np.split(size, ends)
        means.append(np.array([block[np.isfinite(block)].mean() for block in blocks]))
        assert layers[name].to_list() == pytest.approx(means[-1].tolist(), rel=1e-6)
    change = np.median(100 * (means[1] - means[0]) / means[0])
    assert pairs["mean_change"].to_list() == [pytest.approx(change, rel=1e-6)]


def test_joint_distances(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    called, found = labels(compared, runs), table(compared, "agreement_joint")
    for (a, b), two in pairs(runs).items():
        rows = found.filter(run_a=called[a], run_b=called[b])
        if not two.by_unit:
            assert rows.is_empty()
            continue
        x, y = (np.concatenate([two.blocks(layer)[i].ravel() for layer in two.layers])
                for i in range(2))  # fmt: skip
        known = np.isfinite(x) & np.isfinite(y)
        assert rows["pairs"].sum() == known.sum()
        for row in rows.rows(named=True):
            ends = [(row[f"low_{s}"], row[f"high_{s}"]) for s in "ab"]
            inside = known
            for values, (low, high) in zip((x, y), ends, strict=True):
                assert high - low == pytest.approx((2 if values.min() < 0 else 1) * (
                    1 if np.abs(values[np.isfinite(values)]).max() <= 1 else runs[b].real_high
                ) / 60)  # fmt: skip
                inside = inside & (values.astype(float) >= low) & (values.astype(float) < high)
            assert row["pairs"] == inside.sum()


# ---- figures, page and terminal


def shift(value: float | None) -> str:
    """A difference as the page has it."""
    return ("+" if value and value > 0 else "") + written(value, 3)


def test_figures_of_several_runs(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    called = labels(compared, runs)
    for statistic, names in (
        ("ks", ["harbor", "first", "places", "second"]),
        ("kl", ["divergence"]),
    ):
        fig06 = table(compared, f"fig06_distribution_{statistic}")
        others = [name for name in names if name != "places"]
        fig05 = table(compared, f"fig05_layers_{statistic}")
        assert fig05["run"].unique(maintain_order=True).to_list() == [called[n] for n in others]
        for name in names:
            run = runs[name]
            if name in others:
                same(fig05.filter(run=called[name]), run.spreads())
            else:
                fig11 = table(compared, f"fig11_layers_{statistic}")
                assert set(fig11["run"]) == {called[name]}
                same(fig11, run.spreads())
            same(table(compared, "fig10_kept").filter(run=called[name]), run.shares())
            for kind in set(run.kinds.values()):
                ids = [i for layer, rows in run.layers.items() for i in rows
                       if run.kinds[layer] == kind]  # fmt: skip
                real, random = run.real[ids], run.random[:, ids]
                expected = {
                    "low": run.edges(100)[:-1], "high": run.edges(100)[1:],
                    "pct": 100 * run.histogram(real, 100) / real.size,
                    "pct_random": 100 * run.histogram(random, 100) / random.size,
                    "t_plus": [run.thresholds["+"]] * 100,
                }  # fmt: skip
                same(fig06.filter(run=called[name], kind=kind), expected)
                if kind == "fc":
                    fig08 = table(compared, f"fig08_fc_{statistic}")
                    same(fig08.filter(run=called[name]), expected)


def test_the_comparisons_page(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    page, called = Document(compared[0] / "compare.html"), labels(compared, runs)
    rows = [
        [
            written(np.mean(run.sizes), 1),
            *(text for sign in "+-" for side in [run.side(sign) if sign in run.signs else {}]
              for text in (written(side.get("threshold"), 3), written(side.get("davg")),
                           written(side.get("kept")), written(side.get("kept_random")))),
        ]
        for run in runs.values()
    ]  # fmt: skip
    assert [row[1:] for row in page.rows("thresholds")] == rows
    assert [row[4:7] for row in page.rows("thresholds", 1)] == [
        [written(a, 4), written(b, 4), written(r2, 3)] for _, _, (a, b, r2) in curves(runs)
    ]
    shown = {(row[0], row[1]): row for row in page.rows("agreement")}

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    for (a, b), two in pairs(runs).items():
        pair = two.pair()
        assert shown[called[a], called[b]][3:-1] == [
            "raw", str(pair["classes"]), str(pair["layers"]), written(pair["spearman"], 3),
            written(pair["spearman_lowest"], 3), pair["lowest_layer"] or "–",
            percent(pair["jaccard"]), written(pair["wasserstein"], 3),
            "–" if pair["mean_change"] is None else f"{written(pair['mean_change'], 1)} %",
            written(pair["spearman_layers"], 3), shift(pair["t_plus_shift"]),
            shift(pair["t_minus_shift"]),
        ]  # fmt: skip


def test_the_pages_layers_of_each_pair(
    compared: tuple[Path, str], runs: dict[str, Recount]
) -> None:
    page = Document(compared[0] / "compare.html")

    def percent(value: float | None) -> str:
        return written(None if value is None else 100 * value) + " %" * (value is not None)

    for number, two in enumerate(pairs(runs).values(), 1):
        expected = []
        for layer in two.layers:
            row = dict.fromkeys(("jaccard_plus", "jaccard_minus")) | two.layer(layer)
            units = str(row["units_a"])
            cells = [units if two.by_unit or row["units_b"] == row["units_a"]
                     else f"{units} and {row['units_b']}"]  # fmt: skip
            if two.by_unit:
                cells += [written(row["spearman"], 3), written(row["spearman_by_class"], 3)]
                if two.same_scale:
                    cells += [
                        written(row["mean_abs_difference"], 4),
                        written(row["max_abs_difference"], 3),
                        written(row["pct_sign_flips"], 1) + " %",
                    ]
                cells += [percent(row[f"jaccard{which}"]) for which in ("", "_plus", "_minus")]
            cells += [f"{row[f'pct_kept_{run}']:.1f} %" for run in "ab"]
            cells.append(written(row["spearman_classes"], 3))
            if two.same_scale:
                cells += [written(row[key], 4) for key in ("wasserstein", "mean_a", "mean_b")]
                cells += [shift(row["mode_plus_shift"]), shift(row["mode_minus_shift"])]
            expected.append([layer, *cells])
        assert page.rows("agreement", number) == expected


def test_the_comparisons_answer(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    page, called = Document(compared[0] / "compare.html"), labels(compared, runs)
    limits = sorted(
        (run.thresholds["+"], np.mean(run.sizes)) for name, run in runs.items()
        if name != "divergence"
    )  # fmt: skip
    expected = [text for t, n in (limits[0], limits[-1]) for text in (written(t, 3), written(n))]
    best = max(values[2] for sign, _, values in curves(runs) if sign == "+")
    expected += ["3", written(100 * best)]
    # The classes differ in size, and no run of the statistic that more than one has is calibrated.
    of_ks = str(len(runs) - 1)
    assert f"raw D is compared: {of_ks} of the {of_ks} runs" in page.texts["answer"]
    expected += [of_ks, of_ks]
    found = {key: two.pair() for key, two in pairs(runs).items()}
    ordered = sorted(
        (key for key, two in pairs(runs).items() if two.by_unit),
        key=lambda key: -found[key]["spearman"],
    )
    for key in (ordered[0], ordered[-1]):
        pair = found[key]
        assert f"{called[key[0]]} and {called[key[1]]} rank" in page.texts["answer"]
        expected += [
            written(pair["spearman"], 3), str(pair["layers"]), written(pair["spearman_lowest"], 3),
            written(100 * pair["jaccard"]),
        ]  # fmt: skip
        assert f" {pair['lowest_layer']}, " in page.texts["answer"]
    apart = [two for two in pairs(runs).values() if not two.by_unit][:3]
    for two in apart:
        rows = [two.layer(layer) for layer in two.layers]
        more = [row["pct_kept_b"] - row["pct_kept_a"] for row in rows]
        widest = rows[int(np.argmax(np.abs(more)))]
        expected += [
            str(sum(one > 0 for one in more)), str(len(rows)),
            written(widest["pct_kept_a"], 1), written(widest["pct_kept_b"], 1),
        ]  # fmt: skip
        assert f"difference is in {widest['layer']} (" in page.texts["answer"]
    assert numbers(page.texts["answer"]) == expected


def test_the_comparisons_text(compared: tuple[Path, str], runs: dict[str, Recount]) -> None:
    lines = [line for line in compared[1].splitlines() if line.strip()]
    called = labels(compared, runs)
    for place, (name, run) in enumerate(runs.items(), 1):
        (line,) = (line for line in lines if line.startswith(f"  {place}  {called[name]}  "))
        assert numbers(line, called[name]) == [
            str(place),
            written(np.mean(run.sizes), 1),
            *(text for sign in run.signs
              for text in (written(run.thresholds[sign], 3), written(run.side(sign)["davg"]))),
        ]  # fmt: skip
    told = [line for line in lines if "R2 =" in line]
    for line, (_, _, values) in zip(told, curves(runs), strict=True):
        expected = [written(value, digits) for value, digits in zip(values, (4, 4, 3), strict=True)]
        assert numbers(line, "R2")[-3:] == expected
    places = {name: place for place, name in enumerate(runs, 1)}
    for (a, b), two in pairs(runs).items():
        pair = two.pair()
        (line,) = (line for line in lines if line.startswith(f"  {places[a]} : {places[b]}  "))
        expected = [
            str(places[a]), str(places[b]), str(pair["layers"]), written(pair["spearman"], 3),
            "–" if pair["jaccard"] is None else f"{100 * pair['jaccard']:.0f}",
            written(pair["wasserstein"], 3), written(pair["mean_change"], 1, sign=True),
            written(pair["t_plus_shift"], 3, sign=True),
            written(pair["t_minus_shift"], 3, sign=True),
        ]  # fmt: skip
        assert numbers(line)[:-1] == [one for one in expected if one != "–"]

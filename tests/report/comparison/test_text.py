"""What a comparison says in sentences and in the terminal, number by number."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from fnx.analysis.comparison.networks import PAIR_COLUMNS, Networks
from fnx.analysis.comparison.probes import PROBE_COLUMNS
from fnx.report.comparison.answers import answers, numbered
from fnx.report.comparison.text import summary
from fnx.report.terminal.terminal import Terminal

TABLE3 = pl.DataFrame(
    {
        "label": ["a", "b", "c", "d", "e"],
        "model": ["net"] * 5,
        "statistic": ["ks", "ks", "ks", "kl", "kl"],
        "images_per_class": [12.5, 1040.0, 30.0, 8.0, 9.0],
        "t_plus": [0.25, 0.125, float("inf"), 0.5, 0.5],
        "davg_plus": [10.0, 2000.4, 0.0, 7.0, 8.0],
        "t_minus": [-0.5, -0.0625, float("-inf"), None, None],
        "davg_minus": [3.0, 4.0, 0.0, None, None],
    }
)
FITS = pl.DataFrame(
    {
        "model": ["net"] * 3,
        "statistic": ["ks"] * 3,
        "sign": ["+", "+", "-"],
        "curve": ["log", "inverse_sqrt", "log"],
        "points": [3, 3, 3],
        "intercept": [0.12345, 0.5, -0.25],
        "slope": [-0.0625, 1.5, 0.75],
        "r_squared": [0.754, 0.846, 0.99],
    }
)
PAIRS = pl.DataFrame(
    {
        "run_a": ["a", "a", "b", "d"],
        "run_b": ["b", "c", "c", "e"],
        "by": ["unit", "unit", "unit", "distribution"],
        "distance": ["raw", "calibrated", "raw", "raw"],
        "layers": [3, 4, 5, 2],
        "spearman": [0.5, 0.75, 0.25, None],
        "lowest_layer": ["x", "y", "z", None],
        "spearman_lowest": [0.4, 0.7, -0.2, None],
        "jaccard": [0.126, None, 0.9, None],
        "wasserstein": [0.1, 0.2, None, 0.4],
        "mean_change": [12.34, -3.0, None, None],
        "t_plus_shift": [-0.125, 0.0625, None, 0.5],
        "t_minus_shift": [0.25, None, None, None],
        "note": ["one note", "", "another", "one note"],
    }
)
LAYERS = pl.DataFrame(
    {
        "run_a": ["a", "d", "d", "d"],
        "run_b": ["b", "e", "e", "e"],
        "distance": ["raw"] * 4,
        "layer": ["x", "x", "y", "z"],
        "pct_kept_a": [0.0, 10.0, 40.0, 5.0],
        "pct_kept_b": [90.0, 12.5, 20.0, 5.0],
    }
)


def comparison(**changes: Any) -> Any:
    values = {
        "runs": [None] * 5,
        "labels": ("a", "b", "c", "d", "e"),
        "table3": TABLE3,
        "fits": FITS,
        "differences": pl.DataFrame({"key": ["seed", "crops.name"]}),
        "pairs": PAIRS,
        "layers": LAYERS,
        "distances": {"ks": (("calibrated",), "Sizes differ."), "kl": (("raw",), "")},
        "networks": Networks(
            pairs=pl.DataFrame(schema=PAIR_COLUMNS),
            cka=pl.DataFrame(),
            layers=pl.DataFrame(),
            units=pl.DataFrame(),
        ),
        "probes": pl.DataFrame(schema=PROBE_COLUMNS),
    }
    return SimpleNamespace(**values | changes)


def lines(compared: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "100")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    Terminal(stream).print(summary(compared, Path("out")))
    stream.seek(0)
    return [" ".join(line.split()) for line in stream.read().splitlines()]


def test_the_answer_names_extremes_fits_and_agreement() -> None:
    assert answers(comparison()) == [
        "t+ (ks) lies between 0.125 (b, 1,040 images per class) and 0.250 (a, 12).",
        "t+ (kl) is 0.500 in all 2 runs.",
        "Over 3 runs of net (ks) a + b/√n explains 85 % of the variance of t+ by n, the mean number"
        " of images per class.",
        "Sizes differ.",
        "Most alike: a and c rank the features by calibrated D with a correlation of 0.750 (median"
        " of 4 layers;"
        " lowest in y, 0.700).",
        "Least alike: b and c rank the features with a correlation of 0.250 (median of 5 layers;"
        " lowest in z, -0.200); of the pairs that either keeps, both keep 90 %.",
        "d and e are networks with different weights: the second keeps more in 1 of 3 layers; the"
        " widest difference is in y (40.0 % and 20.0 % of the pairs kept).",
    ]


def test_two_runs_that_agree_are_neither_most_nor_least_alike() -> None:
    alone = {"table3": TABLE3.head(1), "fits": FITS.clear(), "distances": {}}
    one = answers(comparison(**alone, pairs=PAIRS.head(1)))
    assert one == [
        "a and b rank the features with a correlation of 0.500 (median of 3 layers; lowest in x,"
        " 0.400); of the pairs that either keeps, both keep 13 %."
    ]


def test_without_a_pair_the_answer_says_so_unless_there_is_one_run() -> None:
    nothing = {"table3": TABLE3.head(1), "fits": FITS.clear(), "pairs": PAIRS.clear()}
    nothing |= {"distances": {}}
    assert answers(comparison(**nothing, runs=[None])) == []
    (sentence,) = answers(comparison(**nothing, runs=[None] * 2))
    assert sentence.startswith("No two of these runs are of the same data set")


def test_at_most_three_pairs_of_networks_are_told() -> None:
    others = [pl.lit(f"e {i}").alias("run_b") for i in range(4)]
    layers = pl.concat([LAYERS.tail(1).with_columns(other) for other in others])
    pairs = pl.concat([PAIRS.tail(1).with_columns(other) for other in others])
    told = answers(comparison(table3=TABLE3.head(1), fits=FITS.clear(), pairs=pairs, layers=layers))
    assert len(told) == 1 + 3


def test_of_a_pair_compared_by_both_distances_the_calibrated_one_is_told() -> None:
    pairs, layers = (
        pl.concat([rows.with_columns(distance=pl.lit(one)) for one in ("raw", "calibrated")])
        for rows in (PAIRS, LAYERS)
    )
    alone = {"table3": TABLE3.head(1), "fits": FITS.clear(), "distances": {}}
    two = pairs.filter(pl.col("run_a").is_in(["d"]) | (pl.col("run_b") == "b"))
    told = answers(comparison(**alone, pairs=two, layers=layers))
    assert [sentence[:44] for sentence in told] == [
        "a and b rank the features by calibrated D wi",
        "d and e are networks with different weights:",
    ]
    assert "keeps more in 1 of 3 layers" in told[1]


def test_the_terminal_has_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines(comparison(), monkeypatch)
    assert shown[2:7] == [
        "1 a net ks 12.5 0.250 10 −0.500 3",
        "2 b net ks 1,040.0 0.125 2,000 −0.062 4",
        "3 c net ks 30.0 ∞ 0 −∞ 0",
        "4 d net kl 8.0 0.500 7 – –",
        "5 e net kl 9.0 0.500 8 – –",
    ]
    assert (
        "t+ = a + b ln(n), n images per class (net, ks, 3 runs): a = 0.1235, b = −0.0625, R2 ="
        in (" ".join(shown))
    )
    at = next(i for i, line in enumerate(shown) if line.startswith("1 : 2"))
    assert shown[at : at + 4] == [
        "1 : 2 unit 3 0.500 x 13 % 0.100 +12.3 % −0.125 +0.250 [1]",
        "1 : 3 unit, calibrated 4 0.750 y – 0.200 −3.0 % +0.062 –",
        "2 : 3 unit 5 0.250 z 90 % – – – – [2]",
        "4 : 5 distribution 2 – – – 0.400 – +0.500 – [1]",
    ]
    assert shown[at + 4 :] == [
        "[1] one note",
        "[2] another",
        "",
        "settings that differ: seed, crops.name",
        "written to out",
        "open out/compare.html",
    ]


@pytest.mark.parametrize(("count", "more"), [(20, False), (21, True)])
def test_more_than_twenty_pairs_are_in_the_file(
    monkeypatch: pytest.MonkeyPatch, count: int, more: bool
) -> None:
    pairs = pl.concat([PAIRS.head(1)] * count)
    shown = lines(comparison(pairs=pairs), monkeypatch)
    assert sum(line.startswith("1 : 2") for line in shown) == 20
    assert ("and 1 more, in agreement_pairs.csv" in shown) == more


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], "none"),
        (list("abcdefgh"), "a, b, c, d, e, f, g, h"),
        (list("abcdefghij"), "a, b, c, d, e, f, g, h, and 2 more"),
    ],
)
def test_eight_settings_that_differ_are_named(
    monkeypatch: pytest.MonkeyPatch, keys: list[str], told: str
) -> None:
    differences = pl.DataFrame({"key": keys}, schema={"key": pl.String})
    shown = lines(comparison(differences=differences), monkeypatch)
    assert f"settings that differ: {told}" in shown


def test_one_run_has_no_fit_no_pair_and_no_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = comparison(
        runs=[None], table3=TABLE3.head(1), fits=FITS.clear(), pairs=PAIRS.clear()
    )
    text = "\n".join(lines(compared, monkeypatch))
    assert "no fit of t+ and t-: needs 3 runs of one model and statistic" in text
    assert "settings that differ" not in text
    assert "runs by" not in text


def test_notes_are_numbered_once_in_order() -> None:
    assert numbered(["b", "a", "b"]) == {"b": 1, "a": 2}
